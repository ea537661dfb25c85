"""The peers of the original system: its frontend, its sensor, its ML service."""

import asyncio
import json

import pytest

from tests.flow.clients import FlatMl, RawSensor, dial_sensor, values, watching
from tests.flow.processes import metric, until


def original_sample(n):
    """Return what the original sensor sends: other case, no id, the clock's digits, 120 ms."""
    data = {"bpmChild": 137.123456789 + n % 5, "uterus": 14.25, "spasms": 19.75}
    return {"sensorID": "", "secFromStart": 0.120000123 * (n + 1), "data": data}


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
async def test_the_original_sensor_is_understood(system, binary):
    """Its messages are stored as they are and reach the original frontend at /ws and /ws/."""
    (entry,) = system.configure(1)
    backend = await system.serve().announced()
    sent = [original_sample(n) for n in range(50)]
    async with (
        watching(backend.url, "/ws") as viewer,
        watching(backend.url, "/ws/") as other,
        dial_sensor(backend.url, entry, numbered=False) as sensor,
    ):
        assert sensor.subprotocol is None
        for message in sent:
            await sensor.send(json.dumps(message).encode() if binary else json.dumps(message))
        await until(lambda: len(viewer.points()) == len(other.points()) == 50, "the trace")
        sensor.transport.abort()  # it leaves without a close frame
    assert await backend.stopped() == 0
    expected = [(m["secFromStart"], *m["data"].values()) for m in sent]
    assert viewer.points(entry.id) == other.points() == expected
    sql = "SELECT sec_from_start, bpm, uterus, spasms, seq FROM ctg ORDER BY id"
    assert system.query(sql) == [(*row, None) for row in expected]
    assert system.query("SELECT status FROM examinations") == [(1,)]


async def test_the_original_ml_service_is_understood(system):
    """Flat requests out; its answers in, relayed byte for byte; nothing else reaches viewers."""
    (entry,) = system.configure(1)
    ml = FlatMl()
    garbage = [
        json.dumps({"status": "error", "message": "Processing error: x", "timestamp": "now"}),
        "null", "[]", "{", '"text"', "{}", '{"sensorID": 7}', '{"sensorID": ""}', "\x00", "",
        json.dumps({"sensorID": "somebody else", "secFromStart": 1, "data": {"BPMChild": 140}}),
    ]  # fmt: skip
    async with ml.running() as ml_url:
        options = ("--ml-format", "flat", "--keep-results", "all")
        backend = await system.serve(*options, ml=ml_url).announced()
        async with watching(backend.url) as viewer, asyncio.TaskGroup() as tasks:
            raw = RawSensor(entry, window=1, pause_s=0.01)
            playing = tasks.create_task(raw.play(backend.url))
            await until(lambda: len(viewer.seconds("ok")) > 20, "results")
            ml.extra = list(garbage)
            n = len(viewer.seconds("ok"))
            await until(lambda: not ml.extra and len(viewer.seconds("ok")) > n + 20, "more results")
            raw.stop.set()
            await playing
            last_s = (raw.next - 1) / 4
            await until(lambda: viewer.seconds()[-1] == last_s, "the last result")
        assert await metric(backend.url, "ctgkit_results_total{outcome=") == len(viewer.seen) + len(
            garbage
        )
    assert await backend.stopped() == 0
    wanted = {"sensorID", "secFromStart", "BPMChild", "uterus", "spasms"}
    assert all(list(request) == sorted(wanted, key=list(request).index) for request in ml.requests)
    assert all(request.keys() == wanted for request in ml.requests)
    no_signal = [r["BPMChild"] for r in ml.requests if r["secFromStart"] * 4 % 7 == 0]
    assert set(no_signal) == {0}  # it takes numbers only
    assert {m["sensorID"] for m in viewer.seen} == {entry.id}
    assert all("message" not in m for m in viewer.seen)
    answered = [m for m in viewer.seen if m["status"] == "ok"]
    assert not any(m["timestamp"].endswith("Z") for m in answered)  # as it came
    stored = [
        json.loads(body) for (body,) in system.query("SELECT body FROM predictions ORDER BY id")
    ]
    assert stored == answered
    raw.assert_stored(system)


async def test_an_ml_service_that_refuses_everything_leaves_the_trace_alive(system):
    """Nested requests to the original service: only errors come back, each sample is shown."""
    (entry,) = system.configure(1)
    async with FlatMl().running() as ml_url:
        backend = await system.serve("--ml-format", "nested", ml=ml_url).announced()
        async with watching(backend.url) as viewer, asyncio.TaskGroup() as tasks:
            raw = RawSensor(entry, pause_s=0.01)
            playing = tasks.create_task(raw.play(backend.url))
            await until(lambda: len(viewer.points()) > 50, "a trace")
            raw.stop.set()
            await playing
            await until(lambda: len(viewer.seen) == raw.next - raw.first, "every sample")
        assert {m["status"] for m in viewer.seen} == {"error"}
        assert await metric(backend.url, 'ctgkit_results_total{outcome="error"}') == len(
            viewer.seen
        )


async def test_both_shapes_at_once_suit_both_services(system):
    """With --ml-format both the original service answers, and the nested shape is there too."""
    (entry,) = system.configure(1)
    ml = FlatMl()
    async with ml.running() as ml_url:
        backend = await system.serve("--ml-format", "both", ml=ml_url).announced()
        async with watching(backend.url) as viewer, asyncio.TaskGroup() as tasks:
            raw = RawSensor(entry, pause_s=0.01)
            playing = tasks.create_task(raw.play(backend.url))
            await until(lambda: len(viewer.seconds("ok")) > 10, "results")
            raw.stop.set()
            await playing
    for request in ml.requests:
        bpm, uterus = values(int(request["secFromStart"] * 4))
        assert (request["BPMChild"], request["uterus"]) == (bpm or 0, uterus)
        assert request["data"] == {"BPMChild": bpm, "uterus": uterus, "spasms": 0}


async def test_a_live_trace_without_any_ml_service(system):
    """What the original frontend reads is there although nobody answers at the ML address."""
    (entry,) = system.configure(1)
    backend = await system.serve(ml="ws://127.0.0.1:1/ws/ctg").announced()
    raw = RawSensor(entry, pause_s=0.01)
    async with (
        watching(backend.url, "/ws") as viewer,
        watching(backend.url, "/ws/") as other,
        asyncio.TaskGroup() as tasks,
    ):
        playing = tasks.create_task(raw.play(backend.url))
        await until(lambda: len(viewer.points()) > 20 and len(other.points()) > 20, "a trace")
        raw.stop.set()
        await playing
    for message in viewer.seen:
        assert message["prediction"] is None
        assert message["status"] == "error"
        assert message["timestamp"].endswith("Z")
    assert all(
        (bpm, uterus) == values(int(second * 4)) for second, bpm, uterus, _ in viewer.points()
    )
