"""Peers that send small frames without end, from processes with nothing of CTGKit's own in them."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections import Counter
from typing import ClassVar
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from ctgkit.mlstub.service import MlService, MlSettings
from ctgkit.net import budget
from ctgkit.net.connection import FRAMES_PER_TURN, SLICE_BYTES
from ctgkit.net.newcomers import BoundedConnection
from ctgkit.proxy.parties import Parties
from ctgkit.proxy.passage import Report, faulty_relay
from ctgkit.recording.passage import recording_relay
from ctgkit.replay.backend import Stage
from tests.conftest import DEADLINE_S, TIME_FACTOR
from tests.extras import need
from tests.flow.flooders import KINDS
from tests.server.parties import SENSORS, acked, backend_on, message, sensor, until, viewer

LOOPS = ("asyncio", "uvloop")
FRAMES_IN_A_TURN = 2 * (FRAMES_PER_TURN + SLICE_BYTES // 6)
"""What a turn may hold at most: it ends with the slice in which it has had enough, and on uvloop
what was read may follow at once what had waited."""


def on(loop, test):
    """Run a coroutine on an event loop."""
    factory = None
    if loop == "uvloop":
        try:
            need("uvloop")
            import uvloop

            factory = uvloop.new_event_loop
        except pytest.skip.Exception:
            test.close()
            raise

    async def bounded():
        async with asyncio.timeout(DEADLINE_S * TIME_FACTOR):
            await test

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(bounded())


async def flooded(url, kind, *, seconds=10.0, again=False, count=1, **more):
    """Flood a server from another process; return what the flooder saw."""

    def run():
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            return json.loads(process.stdout.read())

    arguments = {"port": urlsplit(url).port, "kind": kind, "seconds": seconds}
    arguments |= {"again": again, "count": count} | more
    command = [sys.executable, "-m", "tests.flow.flooders", json.dumps(arguments)]
    return await asyncio.to_thread(run)


@contextlib.asynccontextmanager
async def echo():
    """Serve something for relays to lead to."""

    async def answer(connection):
        with contextlib.suppress(ConnectionClosed):
            async for text in connection:
                await connection.send(text)

    async with serve(answer, "127.0.0.1", 0, compression=None) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def every_server(tmp_path):
    """Flood each server we have, all at once; they share this loop."""
    token = {"headers": {"X-Auth-Sensor-Token": SENSORS[0].token}}
    gate = f"/ws/sensor?sensor_id={SENSORS[0].id}"
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        backend = await enter(backend_on(tmp_path / "x.db"))
        closed = await enter(backend_on(tmp_path / "y.db", viewer_token="secret"))
        ml = await enter(MlService(MlSettings(port=0)))
        stage = await enter(Stage(1.0).serve("127.0.0.1", 0))
        target = await enter(echo())
        report = Report(lambda strike: None)
        proxy = await enter(faulty_relay(target, Parties((), 0), report).serve("127.0.0.1", 0))
        record = await enter(recording_relay(target, _NoTape()).serve("127.0.0.1", 0))
        async with asyncio.TaskGroup() as tasks:
            floods = {
                name: tasks.create_task(flooded(url, kind, **more))
                for name, url, kind, more in (
                    ("viewer", backend.url, "mixed", {}),
                    ("sensor", backend.url, "pongs", {"path": gate} | token),
                    ("before its token", closed.url, "pings", {}),
                    ("ml", ml.url, "fragments", {"path": "/ws/ctg"}),
                    ("replay", stage, "tiny", {}),
                    ("proxy", proxy, "pings", {"path": "/"}),
                    ("record", record, "mixed", {"path": "/"}),
                )
            }
            async with sensor(backend, 1) as s:
                seq = 0
                while not all(flood.done() for flood in floods.values()):
                    seq += 1
                    await s.send(message(seq))
                    assert await acked(s, seq) == []
        for name, flood in floods.items():
            seen = flood.result()
            assert seen.get("1008") == 1, (name, seen)
        assert backend.health()["flooders_closed"] == 2
        assert closed.health()["flooders_closed"] == 1
        assert ml.counts.closed == {"flood": 1}
        assert 'ctgkit_connections_closed_total{reason="flood"} 2.0' in (
            backend.counters.text().decode()
        )


class _NoTape:
    """What `record` writes to, without a file."""

    def __getattr__(self, name):
        return lambda *arguments, **more: None


@pytest.mark.parametrize("loop", LOOPS)
def test_a_flooder_is_closed_and_nobody_else_notices(loop, tmp_path):
    """In every server, with and without a token, on both event loops."""
    on(loop, every_server(tmp_path))


@pytest.mark.parametrize("loop", LOOPS)
def test_each_kind_of_flood_is_noticed(loop, tmp_path):
    """Whatever the frames are."""

    async def kinds():
        async with backend_on(tmp_path / "x.db") as backend, asyncio.TaskGroup() as tasks:
            floods = {kind: tasks.create_task(flooded(backend.url, kind)) for kind in KINDS}
        for kind, flood in floods.items():
            assert flood.result().get("1008") == 1, (kind, flood.result())

    on(loop, kinds())


class Watched(BoundedConnection):
    """Knows in which turn of the loop each frame was handled."""

    turns: ClassVar[Counter[int]] = Counter()
    turn = 0

    def process_event(self, event):
        self.turns[Watched.turn] += 1
        super().process_event(event)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", ["pings", "tiny", "mixed"])
def test_a_turn_has_few_frames(loop, kind, monkeypatch):
    """However many a read brings, also when they are of a kind that is never closed."""
    monkeypatch.setattr(budget, "IDLE_FRAMES_MAX", 40_000)

    def count():
        Watched.turn += 1
        asyncio.get_running_loop().call_soon(count)

    async def receive(connection):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.recv(decode=False)

    async def turns():
        Watched.turns.clear()
        async with serve(
            receive, "127.0.0.1", 0, create_connection=Watched, compression=None
        ) as server:
            count()
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            seen = await flooded(url, kind)
            assert seen.keys() & {"1008", "1009"}  # too many fragments are too much by themselves
        assert sum(Watched.turns.values()) > 4_000
        assert max(Watched.turns.values()) <= FRAMES_IN_A_TURN

    on(loop, turns())


@pytest.mark.parametrize("loop", LOOPS)
def test_an_ml_service_that_floods(loop, tmp_path):
    """It is closed as well; sensors are acknowledged and their samples shown meanwhile."""

    async def pour(connection):
        with contextlib.suppress(ConnectionClosed):
            while True:
                async with connection.send_context():
                    connection.transport.write(b"\x89\x00" * 10_000)

    async def suffer():
        async with serve(pour, "127.0.0.1", 0, compression=None) as server:
            ml_url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws/ctg"
            async with (
                backend_on(tmp_path / "x.db", ml_url=ml_url, ml_retry_s=0.05) as backend,
                viewer(backend) as v,
                sensor(backend) as s,
            ):
                seq = 0
                while backend.health()["flooders_closed"] < 3:
                    seq += 1
                    await s.send(message(seq))
                    await acked(s, seq)
                    assert json.loads(await v.recv())["status"] == "error"

    on(loop, suffer())


async def test_who_pings_with_every_sample_is_no_flooder(tmp_path):
    """Nor who sends hundreds of pings at once."""
    async with backend_on(tmp_path / "x.db") as backend, sensor(backend) as s, viewer(backend) as v:
        for _ in range(5):
            for pong in [await s.ping() for _ in range(150)] + [await v.ping() for _ in range(150)]:
                await pong
        await s.send(message(1))
        await acked(s, 1)
        assert backend.counters.closed == {}


def repeated(server, frames, headers=""):
    """Return a request with *frames* behind it."""
    return (
        f"GET /ws HTTP/1.1\r\nHost: {urlsplit(server).netloc}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {'A' * 22}==\r\n{headers}\r\n"
    ).encode() + frames


@pytest.mark.parametrize("loop", LOOPS)
def test_frames_right_behind_the_request(loop, tmp_path):
    """They wait for the answer: no pong comes before the handshake is over."""

    async def impatient():
        async with backend_on(tmp_path / "x.db") as backend:
            parts = urlsplit(backend.url)
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(repeated(backend.url, KINDS["pings"] * 200))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            assert await reader.readexactly(400) == b"\x8a\x00" * 200
            writer.close()

    on(loop, impatient())


@pytest.mark.parametrize("loop", LOOPS)
def test_nothing_is_lost_in_turns(loop):
    """Large and small messages, at once and then the end of the stream: all come, in order."""
    texts = [b"%06d" % n + b"x" * (n % 7 * n % 900 + 10) for n in range(4_000)]

    async def poured():
        got, over = [], asyncio.Event()

        async def receive(connection):
            with contextlib.suppress(Exception):
                while True:
                    got.append(await connection.recv(decode=False))
            over.set()

        async with serve(
            receive, "127.0.0.1", 0, create_connection=BoundedConnection, compression=None
        ) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with connect(url, compression=None) as client:
                async with client.send_context():
                    for text in texts:
                        client.protocol.send_binary(text)
                client.transport.write_eof()  # without a close frame, as the original sensors do
                await over.wait()
        assert got == texts

    on(loop, poured())


@pytest.mark.parametrize("loop", LOOPS)
def test_messages_that_nobody_reads_are_few(loop):
    """In bytes: a handler that is busy lets the kernel hold the rest."""
    large = b"x" * 60_000

    async def unread():
        held = []

        async def busy(connection):
            held.append(connection)
            await connection.wait_closed()

        async with serve(
            busy, "127.0.0.1", 0, create_connection=BoundedConnection, compression=None,
            max_queue=64, ping_interval=None,
        ) as server:  # fmt: skip
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with connect(url, compression=None, ping_interval=None) as client:
                client.transport.write(b"")
                async with asyncio.TaskGroup() as tasks:
                    sending = tasks.create_task(send_all(client, large))
                    await until(lambda: held and not held[0].transport.is_reading())
                    waiting = held[0].recv_messages.frames.queue
                    assert sum(len(frame.data) for frame in waiting) < 512 * 1024
                    sending.cancel()
                held[0].transport.abort()

    async def send_all(client, text):
        for _ in range(400):
            await client.send(text)

    on(loop, unread())
