"""All servers of ours, each in this process, and what none of them may ever write to a log."""

import asyncio
import contextlib
import importlib.util
import itertools
import logging
import traceback

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from ctgkit.bench.mlecho import ml_echo
from ctgkit.config import SensorEntry
from ctgkit.mlstub.script import Rule, Script
from ctgkit.mlstub.service import MlService, MlSettings
from ctgkit.net.server import listen
from ctgkit.proxy.parties import Parties
from ctgkit.proxy.passage import Report, faulty_relay
from ctgkit.recording.format import VERSION, Header, Line
from ctgkit.recording.journal import JournalWriter
from ctgkit.recording.passage import recording_relay
from ctgkit.recording.tape import Tape
from ctgkit.replay.backend import Stage
from ctgkit.sensor.control import serve_control
from ctgkit.server.app import run_backend
from ctgkit.server.settings import BackendSettings
from tests.ports import free_port

SENSOR = SensorEntry(id="0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d00", token="a-token-nobody-guesses")


class Server:
    """Where one listens, and how a well-behaved client opens a WebSocket there."""

    def __init__(self, url, path, *headers, health=None):
        authority = url.partition("://")[2].partition("/")[0]
        self.host, _, port = authority.rpartition(":")
        self.port, self.path, self.headers, self.health = int(port), path, headers, health


class Switch:
    """Of a control address: counts what it was told."""

    def __init__(self):
        self.calls = []

    async def on(self):
        self.calls.append("on")

    async def off(self):
        self.calls.append("off")

    def inject(self, event, size, duration_s):
        self.calls.append("inject")
        return 0.0


@contextlib.asynccontextmanager
async def backend(directory, **settings):
    chosen = {"sensors": (SENSOR,), "database": directory / "ctg.db", "port": 0, "ml_url": None}
    async with run_backend(BackendSettings(**chosen | settings)) as running:
        yield Server(
            running.url,
            f"/ws/sensor?sensor_id={SENSOR.id}",
            ("X-Auth-Sensor-Token", SENSOR.token),
            health="/api/health",
        )


@contextlib.asynccontextmanager
async def viewers(directory):
    async with backend(directory) as server:
        yield Server(f"http://{server.host}:{server.port}", "/ws?backfill=10", health="/livez")


@contextlib.asynccontextmanager
async def ml(_directory):
    async with MlService(MlSettings(port=0)) as service:
        yield Server(service.url, "/ws/ctg", health="/health")


@contextlib.asynccontextmanager
async def scripted_ml(_directory):
    """A service that doesn't answer honestly, which is another loop."""
    rules = [
        Rule(every=2, answer="garbage"),
        Rule(every=3, answer="oversized"),
        Rule(every=5, delay_s=0.05),
        Rule(every=7, disconnect=True),
    ]
    settings = MlSettings(port=0, script=Script(rule=rules))
    async with MlService(settings) as service:
        yield Server(service.url, "/ws/ctg", health="/health")


@contextlib.asynccontextmanager
async def control(_directory):
    switch = Switch()
    async with await serve_control(listen("127.0.0.1", 0), switch) as server:
        yield Server(server.url("http"), None, health="/api/health")


@contextlib.asynccontextmanager
async def replay(_directory):
    stage, stop = Stage(1.0), asyncio.Event()
    stream = (Line(n / 200, "v1", "<", b"{}" * 500) for n in itertools.count())
    async with stage.serve("127.0.0.1", 0) as url, asyncio.TaskGroup() as tasks:
        playing = tasks.create_task(stage.play(stream, stop))
        try:
            yield Server(url, "/ws", health="/api/health")
        finally:
            stop.set()
            playing.cancel()


@contextlib.asynccontextmanager
async def echo_target():
    async def answer(connection):
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                await connection.send(message)

    def choose(_connection, offered):
        return offered[0] if offered else None

    async with serve(answer, "127.0.0.1", 0, select_subprotocol=choose) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextlib.asynccontextmanager
async def proxy(_directory, target=None, faults=()):
    async with contextlib.AsyncExitStack() as stack:
        target = target or await stack.enter_async_context(echo_target())
        relay = faulty_relay(target, Parties(faults, 0), Report(lambda strike: None))
        yield Server(await stack.enter_async_context(relay.serve("127.0.0.1", 0)), "/ws")


@contextlib.asynccontextmanager
async def record(directory, target=None):
    async with contextlib.AsyncExitStack() as stack:
        target = target or await stack.enter_async_context(echo_target())
        header = Header(version=VERSION, created="", made_by="test", simulated=True, what="")
        journal = stack.enter_context(
            JournalWriter(directory / "run.jsonl", header, durable=False, replace=True)
        )
        relay = recording_relay(target, Tape(journal, asyncio.Event()))
        yield Server(await stack.enter_async_context(relay.serve("127.0.0.1", 0)), "/ws")


@contextlib.asynccontextmanager
async def bench_ml(_directory):
    port = free_port()
    echo = asyncio.ensure_future(_entered(ml_echo("127.0.0.1", port, 60.0)))
    server = Server(f"ws://127.0.0.1:{port}", "/ws/ctg")
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            break
        await asyncio.sleep(0.01)
    try:
        yield server
    finally:
        echo.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await echo


async def _entered(context):
    async with context:
        await asyncio.Event().wait()


SERVERS = (backend, viewers, ml, scripted_ml, control, replay, proxy, record, bench_ml)

LOOPS = ["asyncio", *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]


class Logs(logging.Handler):
    """Everything that is logged, and what the event loop complains of."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.lines, self.ugly = [], []

    def emit(self, record):
        text = record.getMessage()
        self.lines.append(text)
        if record.exc_info or record.levelno >= logging.ERROR or "Traceback" in text:
            shown = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
            self.ugly.append(f"{record.name}: {text}\n{shown}")


def run_on(loop_name, main):
    """Run a coroutine function on an event loop with all logs watched; return them."""
    factory = None
    if loop_name == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    logs, root = Logs(), logging.getLogger()
    level = root.level
    root.addHandler(logs)
    root.setLevel(logging.INFO)
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.get_loop().set_exception_handler(
                lambda loop, context: logs.ugly.append(f"loop: {context}")
            )
            runner.run(main(logs))
    finally:
        root.removeHandler(logs)
        root.setLevel(level)
    return logs
