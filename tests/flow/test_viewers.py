"""Viewers: slow ones, late ones, and what an ML service that falls silent means for them."""

import asyncio
import socket
import time

from tests.conftest import TIME_FACTOR
from tests.flow.clients import FlatMl, RawSensor, watching
from tests.flow.processes import metric, until, until_reports

TOO_SLOW = b"\x88\x0a" + (1013).to_bytes(2, "big") + b"too slow"
"""The frame that closes such a viewer's connection."""


def stuck_viewer(url):
    """Open a viewer's connection that is never read."""
    host, _, port = url.removeprefix("http://").partition(":")
    viewer = socket.socket()
    viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    viewer.connect((host, int(port)))
    viewer.sendall(
        f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode()
    )
    return viewer


async def test_a_viewer_that_never_reads_is_dropped_and_the_others_miss_nothing(system):
    """Its queue overflows, it is cut off within seconds, what it missed is counted."""
    (entry,) = system.configure(1)
    backend = await system.serve().announced()
    raw = RawSensor(entry, window=200)
    async with watching(backend.url) as viewer, asyncio.TaskGroup() as tasks:
        with stuck_viewer(backend.url):
            await until_reports(backend.url, {"viewers": 2}, "both watch")
            playing = tasks.create_task(raw.play(backend.url))
            await until_reports(backend.url, {"viewers": 1}, "the stuck one is gone")
            raw.stop.set()
            await playing
        everything = [seq / 4 for seq in range(raw.first, raw.next)]
        await until(lambda: len(viewer.seen) == len(everything), "the other one has everything")
        assert await metric(backend.url, 'ctgkit_messages_dropped_total{reason="viewer"}') > 0
    assert viewer.seconds() == everything
    assert "it doesn't keep up" in backend.err
    assert await backend.stopped() == 0


def last_words(viewer, told):
    """Wait until *told* says so, then read as fast as one can; return what comes last.

    In a thread: the server waits a second, and the test's event loop is busy with a sensor.
    """
    give_up_s = time.monotonic() + 60 * TIME_FACTOR
    while not told():
        assert time.monotonic() < give_up_s, "it never fell behind"
        time.sleep(0.005)
    viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    viewer.settimeout(60 * TIME_FACTOR)
    last = b""
    while not last.endswith(TOO_SLOW) and (piece := viewer.recv(1 << 20)):
        last = (last + piece)[-len(TOO_SLOW) :]
    return last


async def test_a_viewer_that_falls_behind_is_told_so(system):
    """It may come again later: 1013."""
    (entry,) = system.configure(1)
    backend = await system.serve().announced()
    raw = RawSensor(entry, window=200)
    async with asyncio.TaskGroup() as tasks:
        with stuck_viewer(backend.url) as viewer:
            playing = tasks.create_task(raw.play(backend.url))
            heard = asyncio.to_thread(
                last_words, viewer, lambda: "it doesn't keep up" in backend.err
            )
            assert await heard == TOO_SLOW
        raw.stop.set()
        await playing
    assert await backend.stopped() == 0


async def test_a_late_viewer_starts_with_the_recent_past(system):
    """The last seconds asked for, in order, then what is live, without a hole between."""
    (entry,) = system.configure(1)
    backend = await system.serve().announced()
    raw = RawSensor(entry, pause_s=0.001)
    async with asyncio.TaskGroup() as tasks:
        playing = tasks.create_task(raw.play(backend.url))
        await until(lambda: raw.acked > raw.first + 400, "some past")
        async with watching(backend.url, "/ws?backfill=50") as late:
            await until(lambda: len(late.seen) > 300, "past and present")
            raw.stop.set()
            await playing
            last_s = (raw.next - 1) / 4
            await until(lambda: late.seconds()[-1] == last_s, "the last sample")
    seen = sorted(set(late.seconds()))
    assert late.seconds()[:201] == seen[:201]
    assert seen == [seen[0] + n / 4 for n in range(len(seen))]
    assert seen[0] > raw.first / 4 + 25
    assert await backend.stopped() == 0


async def test_an_ml_service_that_falls_silent(system):
    """Connected but not answering for 2 s: the trace goes on, and recovers by itself."""
    clock = asyncio.get_running_loop().time
    (entry,) = system.configure(1)
    ml = FlatMl()
    raw = RawSensor(entry, window=5, pause_s=0.02)
    async with ml.running() as ml_url, asyncio.TaskGroup() as tasks:
        backend = await system.serve("--ml-format", "flat", ml=ml_url).announced()
        async with watching(backend.url) as viewer:
            playing = tasks.create_task(raw.play(backend.url))
            await until(lambda: len(viewer.seconds("ok")) > 20, "results")
            ml.answering, silent_since = False, clock()
            await until(lambda: viewer.seconds("error"), "the first sample without a result")
            assert clock() - silent_since > 1.9  # a busy service isn't doubted too early
            await until(lambda: len(viewer.seconds("error")) > 20, "the trace without results")
            await until_reports(backend.url, {"ml": "stalled", "status": "degraded"}, "told so")
            ml.answering = True
            n = len(viewer.seconds("ok"))
            await until(lambda: len(viewer.seconds("ok")) > n + 20, "results again")
            await until_reports(backend.url, {"ml": "up", "status": "ok"}, "told so")
            raw.stop.set()
            await playing
            everything = {seq / 4 for seq in range(raw.first, raw.next)}
            await until(lambda: set(viewer.seconds()) == everything, "every sample was shown")
        assert await backend.stopped() == 0
