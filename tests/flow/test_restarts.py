"""Processes come and go under load: the others go on, and nothing acknowledged is lost."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from tests.flow.clients import RawSensor, Viewer, dial_sensor, sample
from tests.flow.processes import sensor_url, until
from tests.ports import free_port

CLOSED, INTERRUPTED = 1, 2


@pytest.mark.parametrize(
    ("configured", "duration_s"), [(False, 310), (True, 10)], ids=["no-configuration", "init"]
)
async def test_four_terminals(system, configured, duration_s):
    """serve, ml, sensor --sensors 3 and watch find one another's credentials."""
    if configured:
        assert await system.start("init").ended() == 0
    ready = system.directory / "ready"
    ml = await system.start("ml", "--port", 0).announced()
    arguments = ("--port", 0, "--ml", ml.url, "--ml-retry", 0.1)
    backend = system.start("serve", *arguments, "--ready-file", ready, "--json")
    await until(ready.exists, "serve wrote its ready file")
    url = ready.read_text().strip()
    assert backend.lines() == [{"url": url}]
    watch = system.start("watch", url, "--json")
    await until(lambda: "connected" in watch.err, "watch connected")
    speed = ("--duration", duration_s, "--speed", 200, "--json")
    sensor = system.start("sensor", "--sensors", 3, "--url", sensor_url(url), *speed)
    assert await sensor.ended() == 0, sensor.err
    summary = json.loads(sensor.out)
    total = 3 * 4 * duration_s
    assert summary["sent"] == summary["acked"] == total
    results = await until(
        lambda: len(watch.lines()) >= total and watch.lines(), "a line for each sample"
    )
    assert len({r["sensorID"] for r in results}) == 3
    assert {r["status"] for r in results} <= {"ok", "warning", "critical"}
    predicted = [r["secFromStart"] >= 300 for r in results]
    assert [r["prediction"] is not None for r in results] == predicted
    watch.kill()
    assert await asyncio.gather(backend.stopped(), ml.stopped()) == [0, 0]
    exam = system.start("exam", "list", "--json")
    assert await exam.ended() == 0
    (listed,) = exam.lines()
    assert (listed["samples"], listed["predictions"]) == (total, total)
    assert (listed["sensors"], listed["state"]) == (3, "closed")
    state = system.directory / "XDG_STATE_HOME" / "ctgkit"
    assert (state / "credentials.toml").exists() is not configured
    system.assert_sound((system.directory if configured else state) / "ctgkit.db")


async def test_each_process_killed_and_restarted(system):
    """Whatever is killed, the others go on and find it again."""
    entries = system.configure(3)
    ml_port = free_port()
    ml = await system.start("ml", "--port", ml_port).announced()
    backend = await system.serve(ml=ml.url).announced()
    url = backend.url
    raw, viewer = RawSensor(entries[2], pause_s=0.02), Viewer()

    def start_sensor():
        fast = ("--rate", 50, "--json", "--url", sensor_url(url))
        return system.start("sensor", "--sensors", 2, *fast)

    def more(status):
        n = len(viewer.seconds(status))
        return lambda: len(viewer.seconds(status)) > n + 50

    async with asyncio.TaskGroup() as tasks:
        playing = tasks.create_task(raw.play(url))
        viewing = tasks.create_task(viewer.watch_for_ever(url))
        sensor, watch = start_sensor(), system.start("watch", url, "--json")
        await until(lambda: len(watch.lines()) > 10, "the watch shows results")

        ml.kill()
        await until(more("error"), "the trace goes on without the ML service")
        ml = await system.start("ml", "--port", ml_port).announced()
        await until(more("ok"), "the ML service was found again")

        sensor.kill()
        watch.kill()
        acked = raw.acked
        restarted_us = datetime.now(UTC).timestamp() * 1e6
        sensor, watch = start_sensor(), system.start("watch", url, "--json")
        await until(
            lambda: {m["sensorID"] for m in watch.lines()} == {e.id for e in entries},
            "the new watch shows all sensors",
        )
        assert raw.acked > acked
        assert raw.connects == 1

        lines = len(watch.lines())
        backend.kill()
        backend = await system.serve(port=int(url.rpartition(":")[2]), ml=ml.url).announced()
        await until(lambda: raw.connects == 2, "the raw sensor is back")
        await until(lambda: sensor.err.count("sensor connected") == 4, "the sensors are back")
        await until(lambda: len(watch.lines()) > lines + 50, "the watch is back")
        await until(more("ok"), "the viewer and the ML link are back")

        assert await sensor.stopped() == 0
        raw.stop.set()
        await playing
        viewing.cancel()
    watch.kill()
    assert await asyncio.gather(backend.stopped(), ml.stopped()) == [0, 0]
    summary = json.loads(sensor.out)
    assert (summary["unacked"], summary["rejected"], summary["reconnects"]) == (0, 0, 2)
    system.assert_sound()
    raw.assert_stored(system)
    sql = "SELECT count(*) FROM ctg WHERE uuid <> ? AND seq >= ?"
    assert system.query(sql, entries[2].id, restarted_us) == [(summary["acked"],)]
    sql = "SELECT status FROM examinations WHERE end_time IS NOT NULL ORDER BY id"
    assert system.query(sql) == [(INTERRUPTED,), (CLOSED,)]


async def test_numbers_of_an_earlier_examination_in_a_resumed_one(system):
    """Twice killed between commit and acknowledgement, the second time within the grace period."""
    (entry,) = system.configure(1)
    port = free_port()
    for grace_s, last in ((0, 199), (0, 209), (60, 219)):
        backend = await system.serve("--grace", grace_s, port=port).announced()
        async with dial_sensor(backend.url, entry) as connection:
            for seq in range(100, last + 1):
                await connection.send(sample(seq))
            while json.loads(await connection.recv())["ack"] < last:
                pass  # committed; a sensor that was cut off from this answer sends it all again
            backend.kill()
    rows = system.query("SELECT examination_id, seq FROM ctg ORDER BY id")
    assert rows == [(1 if seq < 200 else 2, seq) for seq in range(100, 220)]
