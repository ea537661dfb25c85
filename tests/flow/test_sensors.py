"""Sensors that come, go, return, misbehave and are switched on from afar."""

import asyncio
import contextlib
import json
from dataclasses import replace

import pytest
from websockets.exceptions import ConnectionClosed

from ctgkit.config import new_sensors, write_config
from tests.flow.clients import RawSensor, dial_sensor, sample
from tests.flow.processes import ask, metric, sensor_url, until, until_reports
from tests.ports import free_port

OPEN, CLOSED = 0, 1


async def send_and_hear(connection, *seqs):
    """Send numbered samples; return when all are acknowledged."""
    for seq in seqs:
        await connection.send(sample(seq))
    while json.loads(await connection.recv()).get("ack") != seqs[-1]:
        pass


async def test_a_second_connection_replaces_the_first(system):
    """The first is closed with 4409, the examination stays open and goes on."""
    (entry,) = system.configure(1)
    backend = await system.serve().announced()
    async with dial_sensor(backend.url, entry) as first:
        await send_and_hear(first, 10, 11)
        async with dial_sensor(backend.url, entry) as second:
            with pytest.raises(ConnectionClosed) as closed:
                await first.recv()
            assert closed.value.rcvd.code == 4409
            await send_and_hear(second, 11, 12)
            await until_reports(backend.url, {"sensors": 1, "examinations_open": 1}, "one is left")
            assert system.query("SELECT end_time FROM examinations") == [(None,)]
    assert await backend.stopped() == 0
    assert system.query("SELECT examination_id, seq FROM ctg") == [(1, 10), (1, 11), (1, 12)]
    assert system.query("SELECT id, status FROM examinations") == [(1, CLOSED)]


async def test_examinations_per_bed_and_their_grace(system):
    """Each bed has its own; it outlives its last sensor by the grace period, not longer."""
    left, left_too, right = (
        replace(entry, bed=bed)
        for entry, bed in zip(new_sensors(3), ("left", "left", "right"), strict=True)
    )
    write_config(system.directory / "ctgkit.toml", (left, left_too, right))
    backend = await system.serve("--grace", 1).announced()
    async with dial_sensor(backend.url, right) as stays:
        await send_and_hear(stays, 1)
        async with dial_sensor(backend.url, left) as one, dial_sensor(backend.url, left_too) as two:
            await send_and_hear(one, 1)
            await send_and_hear(two, 1)
        async with dial_sensor(backend.url, left) as again:  # within the grace period
            await send_and_hear(again, 2)
        await until_reports(backend.url, {"examinations_open": 1}, "the left one closed")
        async with dial_sensor(backend.url, left) as later:
            await send_and_hear(later, 3)
            await until_reports(backend.url, {"examinations_open": 2, "sensors": 2}, "a new one")
    assert await backend.stopped() == 0
    stored = system.query("SELECT e.bed, e.id, uuid, seq FROM ctg JOIN examinations e"
                          " ON e.id = examination_id ORDER BY ctg.id")  # fmt: skip
    assert stored == [
        ("right", 1, right.id, 1),
        ("left", 2, left.id, 1),
        ("left", 2, left_too.id, 1),
        ("left", 2, left.id, 2),
        ("left", 3, left.id, 3),
    ]


async def test_bad_frames_are_rejected_one_by_one_until_there_are_too_many(system):
    """99 and a good one do no harm, 100 in a row close with 1008; others notice nothing."""
    entry, other = system.configure(2)
    backend = await system.serve().announced()
    foreign = sample(5, sensorID=other.id)
    nonsense = [
        "{", "[]", "null", "\x00", b"\xff\xfe", '{"secFromStart": NaN}', foreign, "7",
        sample(6).replace("secFromStart", "sec"), sample(6).replace("121.5", "1e9"),
    ]  # fmt: skip
    async with dial_sensor(backend.url, other) as good, dial_sensor(backend.url, entry) as bad:
        for n in range(99):
            await bad.send(nonsense[n % len(nonsense)])
        replies = [json.loads(await bad.recv()) for _ in range(99)]
        assert all(reply.keys() >= {"error"} for reply in replies)
        assert replies[6]["seq"] == 5
        await send_and_hear(bad, 8)
        for n in range(100):
            await bad.send(nonsense[n % len(nonsense)])
        with contextlib.suppress(ConnectionClosed):
            while True:
                assert "error" in json.loads(await bad.recv())
        assert bad.close_code == 1008
        await send_and_hear(good, 1)
        assert await metric(backend.url, "ctgkit_samples_rejected_total{") == 199
        assert await metric(backend.url, "ctgkit_samples_accepted_total") == 2
        assert await metric(backend.url, "ctgkit_samples_received_total") == 201
    assert await backend.stopped() == 0
    assert backend.err.count("sample rejected") == 1  # once per burst
    assert system.query("SELECT uuid, seq FROM ctg") == [(entry.id, 8), (other.id, 1)]


async def test_a_large_frame_closes_only_its_connection(system):
    """16 KiB are taken, one byte more is closed with 1009."""
    entry, other = system.configure(2)
    backend = await system.serve().announced()
    async with dial_sensor(backend.url, other) as good, dial_sensor(backend.url, entry) as bad:
        await bad.send(sample(1).ljust(16_384))
        assert json.loads(await bad.recv()) == {"ack": 1}
        await bad.send(sample(2).ljust(16_385))
        with pytest.raises(ConnectionClosed) as closed:
            await bad.recv()
        assert closed.value.rcvd.code == 1009
        await send_and_hear(good, 1)
    assert await backend.stopped() == 0


async def test_batches_are_taken_apart(system):
    """An array of samples: the good ones are stored, each bad one is answered."""
    (entry,) = system.configure(1)
    backend = await system.serve().announced()
    async with dial_sensor(backend.url, entry) as connection:
        parts = [sample(1), sample(2), "{}", sample(3), sample(3)]
        await connection.send(f"[{','.join(parts)}]")
        replies = [json.loads(await connection.recv()) for _ in range(2)]
        assert sorted(next(iter(reply)) for reply in replies) == ["ack", "error"]
        assert {"ack": 3} in replies
    assert await backend.stopped() == 0
    assert system.query("SELECT seq FROM ctg") == [(1,), (2,), (3,)]


async def test_switched_on_and_off_through_the_backend(system):
    """/api/sensors/start and stop drive `ctgkit sensor --control`."""
    port = free_port(2)
    entries = system.configure(2, control_port=port)
    backend = await system.serve().announced()
    arguments = ("--url", sensor_url(backend.url), "--control", f"127.0.0.1:{port}", "--json")
    sensor = system.start("sensor", "--sensors", 2, *arguments, "--rate", 50)
    await until(lambda: len(sensor.lines()) == 2, "both control addresses are bound")

    async def call(path):
        answer = await ask(backend.url, f"/api/sensors/{path}")
        return answer.status, answer.json()

    for number, entry in enumerate(entries, 1):
        described = {"uuid": entry.id, "ip": entry.control, "connected": True}
        message = "Sensor started successfully"
        assert await call("start") == (200, {"message": message, "sensor": described})
        await until_reports(backend.url, {"sensors": number}, f"{number} run")
    assert await call("start") == (400, {"error": "all sensors are already started"})
    stopped = (200, {"message": "All sensors stopped successfully"})
    assert await call("stop") == stopped
    await until_reports(backend.url, {"sensors": 0}, "none runs")
    assert await call("stop") == stopped
    status, body = await call("start?count=2")
    assert (status, len(body["sensors"])) == (200, 2)
    await until_reports(backend.url, {"sensors": 2}, "both run")
    assert await sensor.stopped() == 0
    assert await backend.stopped() == 0
    summary = sensor.lines()[-1]
    assert summary["sent"] == summary["acked"] > 0
    assert system.query("SELECT count(*) FROM ctg") == [(summary["acked"],)]
    assert system.query("SELECT status FROM examinations") == [(CLOSED,), (CLOSED,)]


async def test_a_hundred_sensors_at_once(system):
    """All are let in, acknowledged and told goodbye."""
    entries = system.configure(100)
    backend = await system.serve().announced()
    raw = [RawSensor(entry, window=2) for entry in entries]
    async with asyncio.TaskGroup() as tasks:
        playing = [tasks.create_task(one.play(backend.url)) for one in raw]
        await until(lambda: all(one.acked > one.first + 5 for one in raw), "acknowledgements")
        assert await backend.stopped() == 0
        await until(lambda: all(one.close_codes for one in raw), "closed")
        for task in playing:
            task.cancel()
    assert {tuple(one.close_codes) for one in raw} == {(1001,)}
    system.assert_sound()
    for one in raw:
        one.assert_stored(system)
