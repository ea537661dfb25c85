"""Clocks that jump: the backend's, and what a sensor takes for the time."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.flow.clients import RawSensor, dial_sensor, sample, watching
from tests.flow.processes import until, until_reports

OPEN = 0


@pytest.fixture
def clock(system):
    """Return the environment of a process whose wall clock a file moves, and how to move it."""
    found = sorted(Path("/usr/lib").glob("**/libfaketime.so.1"))
    if not found:
        pytest.skip("needs libfaketime (apt install faketime)")
    file = system.directory / "clock"

    def jump(seconds):
        file.write_text(f"{seconds:+d}\n")

    jump(0)
    env = {
        "LD_PRELOAD": str(found[0]), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    return env, jump


@pytest.mark.chaos
async def test_the_backends_clock_jumps(system, clock):
    """An hour on and two back: nobody is cut off, no examination ends, the grace period holds."""
    env, jump = clock
    entry, leaving = system.configure(2)
    backend = await system.serve("--grace", 30, env=env).announced()
    raw = RawSensor(entry, window=20, pause_s=0.01)

    async def health_hour():
        health = await until_reports(backend.url, {"status": "ok"}, "well")
        return health["timestamp"][:13]

    async with asyncio.TaskGroup() as tasks:
        playing = tasks.create_task(raw.play(backend.url))
        hours = [await health_hour()]
        for seconds in (3_600, -3_600):
            async with dial_sensor(backend.url, leaving) as connection:
                await connection.send(sample(1_000 + seconds))
                await connection.recv()
            jump(seconds)
            acked = raw.acked
            await until(lambda acked=acked: raw.acked > acked + 50, "acknowledgements go on")
            hours.append(await health_hour())
            await until_reports(backend.url, {"sensors": 1, "examinations_open": 1}, "still open")
        raw.stop.set()
        await playing
    assert len(set(hours)) == 3  # it did jump
    assert raw.connects == 1
    assert await backend.stopped() == 0
    assert "Traceback" not in backend.err
    assert system.query("SELECT status FROM examinations") == [(OPEN,)]  # in its grace period
    raw.assert_stored(system)
    system.assert_sound()


@pytest.mark.chaos
async def test_a_crash_before_the_clock_was_set_back(system, clock):
    """Its last sample lies in the future: the examination is resumed, not lost."""
    env, jump = clock
    (entry,) = system.configure(1)
    jump(3_600)
    for seq in (10, 11):
        backend = await system.serve("--grace", 60, env=env).announced()
        async with dial_sensor(backend.url, entry) as connection:
            await connection.send(sample(seq))
            assert json.loads(await connection.recv()) == {"ack": seq}
            backend.kill()
        jump(0)
    assert system.query("SELECT examination_id, seq FROM ctg") == [(1, 10), (1, 11)]


async def test_a_sensors_data_time_jumps(system):
    """It stands still, leaps and goes back: stored and shown as it came (PROTOCOL S-4.11)."""
    (entry,) = system.configure(1)
    backend = await system.serve().announced()
    times = [10.0, 10.0, 5.0, 1e6, 0.0, 31_622_400.0, 0.25]
    async with watching(backend.url) as viewer:
        async with dial_sensor(backend.url, entry) as connection:
            for seq, sec in enumerate(times, 1):
                await connection.send(sample(seq, secFromStart=sec))
            while json.loads(await connection.recv()) != {"ack": len(times)}:
                pass
        await until(lambda: len(viewer.seen) == len(times), "all are shown")
    assert viewer.seconds() == times
    assert await backend.stopped() == 0
    assert system.query("SELECT sec_from_start FROM ctg ORDER BY id") == [(sec,) for sec in times]
