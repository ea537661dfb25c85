"""Processes come and go under load: the others go on, and nothing acknowledged is lost."""

import asyncio
import json
import random
import signal

import pytest

from tests.flow.clients import RawSensor, Viewer
from tests.flow.processes import free_port, sensor_url, until

OPEN, CLOSED, INTERRUPTED = 0, 1, 2


async def load(system, process, sensors):
    """Start playing raw sensors against a backend; return the running tasks' group."""
    tasks = asyncio.TaskGroup()
    await tasks.__aenter__()
    return tasks, [tasks.create_task(sensor.play(process.url)) for sensor in sensors]


@pytest.mark.parametrize("configured", [False, True], ids=["no-configuration", "init"])
async def test_four_terminals(system, configured):
    """serve, ml, sensor --sensors 3 and watch find one another's credentials."""
    if configured:
        assert await system.start("init").ended() == 0
    ml = await system.start("ml", "--port", 0).announced()
    arguments = ("--port", 0, "--ml", ml.url, "--ml-retry", 0.1)
    ready = system.directory / "ready"
    backend = system.start("serve", *arguments, "--ready-file", ready, "--json")
    await until(ready.exists, "serve wrote its ready file")
    url = ready.read_text().strip()
    assert backend.lines() == [{"url": url}]
    watch = system.start("watch", url, "--json")
    await until(lambda: "connected" in watch.err, "watch connected")
    speed = ("--duration", 320, "--speed", 100, "--json")
    sensor = system.start("sensor", "--sensors", 3, "--url", sensor_url(url), *speed)
    assert await sensor.ended() == 0, sensor.err
    summary = json.loads(sensor.out)
    assert summary["sent"] == summary["acked"] == 3 * 320 * 4
    results = await until(
        lambda: len(watch.lines()) >= summary["sent"] and watch.lines(), "a line for each sample"
    )
    assert len({r["sensorID"] for r in results}) == 3
    assert {r["status"] for r in results} <= {"ok", "warning", "critical"}
    assert sum(r["prediction"] is not None for r in results) >= 3 * 20 * 4 - 3
    state = system.directory / "XDG_STATE_HOME" / "ctgkit"
    assert (state / "credentials.toml").exists() is not configured
    assert await asyncio.gather(watch.stopped(), backend.stopped(), ml.stopped()) == [0, 0, 0]
    exam = system.start("exam", "list", "--json")
    assert await exam.ended() == 0
    (listed,) = exam.lines()
    assert (listed["samples"], listed["sensors"], listed["state"]) == (3840, 3, "closed")
    assert listed["predictions"] == 3840
    system.assert_sound(state / "ctgkit.db")


async def test_each_process_killed_and_restarted(system):
    """Whatever is killed, the others go on and find it again."""
    entries = system.configure(3)
    ports = {"ml": free_port()}
    ml = await system.start("ml", "--port", ports["ml"]).announced()
    backend = await system.serve(ml=ml.url).announced()
    port, url = int(backend.url.rsplit(":")[-1]), backend.url
    raw, viewer = RawSensor(entries[2], pause_s=0.01), Viewer()

    def start_sensor():
        fast = ("--rate", 50, "--json", "--url", sensor_url(url))
        return system.start("sensor", "--sensors", 2, *fast)

    def acked_more(than):
        return lambda: raw.acked > than + 100

    def seen_more(status):
        before = len(viewer.seconds(status))
        return lambda: len(viewer.seconds(status)) > before + 50

    async with asyncio.TaskGroup() as tasks:
        playing = tasks.create_task(raw.play(url))
        watching = tasks.create_task(viewer.watch_for_ever(url))
        sensor, watch = start_sensor(), system.start("watch", url, "--json")
        await until(lambda: len(watch.lines()) > 10, "the watch shows results")

        ml.kill()
        await until(seen_more("error"), "the trace goes on without the ML service")
        ml = await system.start("ml", "--port", ports["ml"]).announced()
        await until(seen_more("ok"), "the ML service was found again")

        sensor.kill()
        watch.kill()
        await until(acked_more(raw.acked), "the other sensor goes on")
        sensor, watch = start_sensor(), system.start("watch", url, "--json")
        await until(
            lambda: {m["sensorID"] for m in watch.lines()} == {e.id for e in entries},
            "the new watch shows all sensors",
        )

        lines = len(watch.lines())
        backend.kill()
        backend = await system.serve(port=port, ml=ml.url).announced()
        await until(lambda: raw.connects == 2, "the raw sensor is back")
        await until(lambda: sensor.err.count("sensor connected") == 4, "the sensors are back")
        await until(lambda: len(watch.lines()) > lines + 100, "the watch is back")
        await until(seen_more("ok"), "the viewer is back")

        assert await sensor.stopped() == 0
        raw.stop.set()
        await playing
        watching.cancel()
    assert await asyncio.gather(watch.stopped(), backend.stopped(), ml.stopped()) == [0, 0, 0]
    summary = json.loads(sensor.out)
    assert summary["unacked"] == summary["rejected"] == 0
    assert summary["reconnects"] == 2
    system.assert_sound()
    raw.assert_stored(system)
    # the sensors of the second start count from their own first number
    stored = system.query(
        "SELECT count(*) FROM ctg WHERE uuid <> ? AND created_at >= (SELECT min(created_at) FROM"
        " ctg WHERE uuid <> ? AND sec_from_start = 0 AND examination_id = 1 AND id > (SELECT max(id)"
        " FROM ctg WHERE uuid <> ? AND sec_from_start = 0) - 1)",
        *[entries[2].id] * 3,
    )
    assert stored
    states = system.query("SELECT status, end_time IS NULL FROM examinations ORDER BY id")
    assert states == [(INTERRUPTED, 0), (CLOSED, 0)]


async def assert_survives_kills(system, times, seed, *arguments):
    """Kill the backend *times* times at random instants under load."""
    luck = random.Random(seed)
    entries = system.configure(4)
    port = free_port()
    backend = await system.serve(*arguments, port=port).announced()
    raw = [RawSensor(entry) for entry in entries[1:]]
    fast = ("--rate", 200, "--json", "--url", sensor_url(backend.url))
    sensor = system.start("sensor", *fast)
    async with asyncio.TaskGroup() as tasks:
        playing = [tasks.create_task(one.play(backend.url)) for one in raw]
        for _ in range(times):
            before = [one.connects for one in raw]
            await until(
                lambda before=before: all(
                    one.connects > n or not before[0] for one, n in zip(raw, before, strict=True)
                ) or all(raw_one.acked >= raw_one.first for raw_one in raw),
                "the sensors are connected",
            )
            await asyncio.sleep(luck.uniform(0, 0.4))  # the instant is the point
            backend.kill()
            backend = await system.serve(*arguments, port=port).announced()
            await until(
                lambda before=before: all(
                    one.connects > n for one, n in zip(raw, before, strict=True)
                ),
                "the raw sensors are back",
            )
        connected = "sensor connected"
        await until(lambda: sensor.err.count(connected) == backend_starts(sensor), "back")
        assert await sensor.stopped() == 0
        for one in raw:
            one.stop.set()
        await asyncio.gather(*playing)
    assert await backend.stopped() == 0
