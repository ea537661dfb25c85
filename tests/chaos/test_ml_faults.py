"""An ML service that flaps, hangs, or talks nonsense: the trace goes on, sensors notice nothing."""

import asyncio
import contextlib
import json
import socket

import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from tests.chaos.test_crowds import round_trips_s
from tests.flow.clients import FlatMl, RawSensor, Viewer, watching
from tests.flow.processes import metric, until, until_reports
from tests.fuzz.targets import resident_bytes
from tests.ports import free_port

GROWTH_MAX_BYTES = 64 << 20
PATIENCE_S = 1.0
"""How long a sensor may wait for an acknowledgement while its ML service misbehaves."""


def garbage(number):
    """Return something that is no result, of a different kind each time."""
    kinds = (
        "{", "null", '{"sensorID": 7}', '{"sensorID": "nobody", "status": "ok"}', "[" * 500,
        '{"sensorID": "nobody", "prediction": {"hypoxia_probability": 1e999}}', b"\xff\xfe\x00",
        '{"status": "error", "message": "no"}', "x" * 5_000,
    )  # fmt: skip
    return kinds[number % len(kinds)]


@contextlib.asynccontextmanager
async def misbehaving(handle):
    """Run an ML service that does what *handle* does with each connection; yield its URL."""

    async def handled(connection):
        with contextlib.suppress(ConnectionClosed):
            await handle(connection)

    async with serve(handled, "127.0.0.1", 0, compression=None, close_timeout=0.2) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws/ctg"


@pytest.mark.chaos
async def test_garbage_at_full_speed(system):
    """Counted, not shown, not stored; acknowledgements come as before, memory is bounded."""
    entries = system.configure(3)

    async def shout(connection):
        number = 0
        while True:
            await connection.send(garbage(number))
            number += 1
            await asyncio.sleep(0)  # sending alone would never let the rest of this test go on

    async with misbehaving(shout) as ml_url:
        backend = await system.serve(ml=ml_url).announced()
        async with watching(backend.url) as viewer:
            await until_reports(backend.url, {"ml": "up"}, "it is connected")
            before = resident_bytes(backend.pid)
            taken = await round_trips_s(backend.url, entries, range(10, 60))
            garbage_counted = await metric(backend.url, 'ctgkit_results_total{outcome="garbage"}')
            assert garbage_counted > 100
            assert resident_bytes(backend.pid) - before < GROWTH_MAX_BYTES
            await until(lambda: len(viewer.seen) >= 150, "every sample is shown")
        assert {m["status"] for m in viewer.seen} == {"error"}
        assert await backend.stopped() == 0
    print(f"worst acknowledgement: {1e3 * max(taken):.0f} ms")
    assert sorted(taken)[int(0.99 * len(taken))] < PATIENCE_S
    assert "Traceback" not in backend.err
    assert system.query("SELECT count(*) FROM predictions") == [(0,)]


async def test_it_accepts_and_never_answers(system):
    """Not even the handshake: health says down, viewers get the trace, the stop is quick."""
    (entry,) = system.configure(1)
    raw = RawSensor(entry)
    with socket.create_server(("127.0.0.1", 0)) as mute:  # the kernel accepts, nobody is there
        ml_url = f"ws://127.0.0.1:{mute.getsockname()[1]}/ws/ctg"
        backend = await system.serve(ml=ml_url).announced()
        async with watching(backend.url) as viewer, asyncio.TaskGroup() as tasks:
            playing = tasks.create_task(raw.play(backend.url))
            await until(lambda: len(viewer.seen) > 100, "the trace goes on")
            await until_reports(backend.url, {"ml": "down", "status": "degraded"}, "told so")
            raw.stop.set()
            await playing
        assert await backend.stopped(5) == 0
    raw.assert_stored(system)


@pytest.mark.chaos
async def test_it_stops_reading(system):
    """Its requests wait in a bounded outbox, then the oldest are dropped; memory is bounded."""
    (entry,) = system.configure(1)

    async def deaf(connection):
        connection.transport.pause_reading()
        await connection.wait_closed()

    async with misbehaving(deaf) as ml_url:
        backend = await system.serve(ml=ml_url).announced()
        raw, viewer = RawSensor(entry, window=4_000, batch=50), Viewer()
        async with asyncio.TaskGroup() as tasks:
            viewing = tasks.create_task(viewer.watch_for_ever(backend.url))
            await until_reports(backend.url, {"ml": "up"}, "it is connected")
            before = resident_bytes(backend.pid)
            playing = tasks.create_task(raw.play(backend.url))
            await until_reports(backend.url, {"ml": "stalled"}, "told so")
            acked, seen = raw.acked, len(viewer.seen)
            await until(lambda: raw.acked > acked + 2_000, "sensors notice nothing")
            await until(lambda: len(viewer.seen) > seen + 200, "the trace goes on")
            assert resident_bytes(backend.pid) - before < GROWTH_MAX_BYTES
            raw.stop.set()
            await playing
            viewing.cancel()
        assert await backend.stopped() == 0
    raw.assert_stored(system)


@pytest.mark.chaos
async def test_it_flaps_every_second(system):
    """Twenty times gone and back: each sample is shown once at least, each is stored once."""
    (entry,) = system.configure(1)
    port = free_port()
    ml = FlatMl()
    arguments = ("--ml-format", "flat")
    backend = await system.serve(*arguments, ml=f"ws://127.0.0.1:{port}/ws/ctg").announced()
    raw = RawSensor(entry, window=5, pause_s=0.02)
    async with watching(backend.url) as viewer, asyncio.TaskGroup() as tasks:
        playing = tasks.create_task(raw.play(backend.url))
        for _ in range(20):
            async with serve(ml.handle, "127.0.0.1", port, compression=None, close_timeout=0.1):
                await asyncio.sleep(0.5)  # flapping is a matter of time
            await asyncio.sleep(0.5)
        raw.stop.set()
        await playing
        everything = {seq / 4 for seq in range(raw.first, raw.next)}
        await until(lambda: set(viewer.seconds()) >= everything, "every sample was shown")
        assert viewer.seconds("ok")
        assert viewer.seconds("error")
    assert raw.connects == 1
    assert await backend.stopped() == 0
    assert "Traceback" not in backend.err
    raw.assert_stored(system)
    shown = [json.loads(body) for (body,) in system.query("SELECT body FROM predictions")]
    assert len(shown) <= len(everything)
