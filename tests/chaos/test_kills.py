"""SIGKILL at random instants under load: nothing acknowledged is lost, nothing is stored twice."""

import asyncio
import json
import random

import pytest

from tests.flow.clients import RawSensor
from tests.flow.processes import metric, sensor_url, until, until_reports
from tests.ports import free_port

OPEN, CLOSED, INTERRUPTED = 0, 1, 2
PROCESSES = ("serve", "sensor", "ml", "watch")


class Ward:
    """A backend, an ML service, a sensor and a watch, any of which may be killed."""

    def __init__(self, system, sensors, grace_s):
        self._system, self._grace_s = system, grace_s
        self.entries = system.configure(sensors)
        self._ports = {"serve": free_port()}
        self.url = f"http://127.0.0.1:{self._ports['serve']}"
        self.running = {}

    async def start(self, name):
        """Start one of the four; return when it works."""
        port = self._ports.get(name)
        match name:
            case "serve":
                ml = self.running["ml"].url
                process = self._system.serve("--grace", self._grace_s, port=port, ml=ml)
                await process.announced()
            case "ml":
                process = await self._system.start("ml", "--port", port or 0).announced()
                self._ports["ml"] = int(process.url.rpartition(":")[2].partition("/")[0])
            case "sensor":
                fast = ("--rate", 100, "--json", "--url", sensor_url(self.url))
                process = self._system.start("sensor", *fast)  # the first of the configured ones
                await until(lambda: "sensor connected" in process.err, "the sensor connected")
            case "watch":
                process = self._system.start("watch", self.url, "--json")
                await until(lambda: "connected" in process.err, "the watch connected")
        self.running[name] = process

    async def kill(self, name):
        """Kill one and start it again."""
        self.running[name].kill()
        await self.start(name)

    def assert_examinations(self):
        """Assert that each is closed, or was interrupted at its last sample; none is left open.

        With a grace period there is one in all, resumed after each crash, and still in its grace.
        """
        if self._grace_s:
            assert self._system.query("SELECT id, status FROM examinations") == [(1, OPEN)]
            return
        for status, end_time, number in self._system.query(
            "SELECT status, end_time, id FROM examinations ORDER BY id"
        ):
            assert status in (CLOSED, INTERRUPTED)
            sql = "SELECT max(created_at) FROM ctg WHERE examination_id = ?"
            ((last,),) = self._system.query(sql, number)
            assert end_time is not None
            assert status == CLOSED or last in (None, end_time)


async def assert_survives(system, kills, seed, names=PROCESSES, grace_s=0):
    """Kill *kills* times one of the processes at a random instant under load."""
    luck = random.Random(seed)
    ward = Ward(system, 3, grace_s)
    for name in ("ml", "serve", "sensor", "watch"):
        await ward.start(name)
    raw = [
        RawSensor(entry, window=200 * n + 1, pause_s=0.01)
        for n, entry in enumerate(ward.entries[1:])
    ]
    async with asyncio.TaskGroup() as tasks:
        playing = [tasks.create_task(one.play(ward.url)) for one in raw]
        await until(lambda: all(one.acked > one.first for one in raw), "a load")
        for _ in range(kills):
            await asyncio.sleep(luck.uniform(0, 0.3))  # any instant will do
            await ward.kill(luck.choice(names))
        acked = [one.acked for one in raw]
        await until(lambda: all(one.acked > n for one, n in zip(raw, acked, strict=True)), "a load")
        await until_reports(ward.url, {"ml": "up", "sensors": 3}, "all found one another")
        lines = len(ward.running["watch"].lines())
        await until(lambda: len(ward.running["watch"].lines()) > lines, "the watch shows results")
        assert await metric(ward.url, "ctgkit_samples_rejected_total") == 0
        assert await ward.running["sensor"].stopped() == 0
        for one in raw:
            one.stop.set()
        await asyncio.gather(*playing)
    ward.running["watch"].kill()
    assert await ward.running["serve"].stopped() == 0
    assert "Traceback" not in ward.running["serve"].err
    summary = json.loads(ward.running["sensor"].out)
    assert (summary["unacked"], summary["rejected"]) == (0, 0)
    system.assert_sound()
    for one in raw:
        one.assert_stored(system)
    sql = "SELECT count(*) FROM ctg WHERE uuid = ?"
    assert system.query(sql, ward.entries[0].id) >= [(summary["acked"],)]
    ward.assert_examinations()


@pytest.mark.chaos
@pytest.mark.parametrize(("seed", "grace_s"), [(1, 0), (2, 60)])
async def test_any_process_killed_fifty_times(system, seed, grace_s):
    """Whichever it is, the others go on and find it again."""
    await assert_survives(system, 50, seed, grace_s=grace_s)


@pytest.mark.chaos
async def test_the_backend_killed_fifty_times(system):
    """The same for the one that stores, with sensors that have much or little under way."""
    await assert_survives(system, 50, 3, ("serve",))


async def assert_survives_kills(system, times, seed):
    """Kill the backend *times* times at random instants under load, with and without grace."""
    luck = random.Random(seed)
    entries = system.configure(4)
    port = free_port()
    backend = await system.serve(port=port).announced()
    raw = [RawSensor(entry, window=500 * n + 1) for n, entry in enumerate(entries[1:])]
    sensor = system.start("sensor", "--rate", 200, "--json", "--url", sensor_url(backend.url))
    async with asyncio.TaskGroup() as tasks:
        playing = [tasks.create_task(one.play(backend.url)) for one in raw]
        for connects in range(1, times + 1):
            await until(
                lambda connects=connects: (
                    all(one.connects == connects for one in raw)
                    and sensor.err.count("sensor connected") == connects
                ),
                "all are connected",
            )
            await asyncio.sleep(luck.uniform(0, 0.3))  # any instant will do
            backend.kill()
            grace_s = 0 if connects == times else luck.choice((0, 60))
            backend = await system.serve("--grace", grace_s, port=port).announced()
        await until(lambda: all(one.connects > times for one in raw), "the raw sensors are back")
        await until(lambda: sensor.err.count("sensor connected") > times, "the sensor is back")
        assert await sensor.stopped() == 0
        for one in raw:
            one.stop.set()
        await asyncio.gather(*playing)
    assert await backend.stopped() == 0
    summary = json.loads(sensor.out)
    assert (summary["unacked"], summary["rejected"], summary["reconnects"]) == (0, 0, times)
    system.assert_sound()
    for one in raw:
        one.assert_stored(system)
        assert one.acked > one.first
    sql = "SELECT count(*) FROM ctg WHERE uuid = ?"
    assert system.query(sql, entries[0].id) == [(summary["acked"],)]
    examinations = system.query("SELECT status, end_time, id FROM examinations ORDER BY id")
    assert [status for status, _, _ in examinations[:-1]] == [INTERRUPTED] * (len(examinations) - 1)
    assert examinations[-1][0] == CLOSED
    for _, end_time, examination_id in examinations[:-1]:
        sql = "SELECT max(created_at) FROM ctg WHERE examination_id = ?"
        assert (end_time,) in system.query(sql, examination_id) or system.query(
            "SELECT 1 FROM ctg WHERE examination_id = ?", examination_id
        ) == []


async def test_the_backend_killed_three_times(system):
    """Nothing acknowledged is lost, nothing is stored twice."""
    await assert_survives_kills(system, 3, seed=1)
