"""The other parties of a backend under test: a sensor, a viewer, an ML service, in this process."""

import asyncio
import contextlib
import json
from contextlib import asynccontextmanager

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from ctgkit.config import SensorEntry
from ctgkit.server.app import run_backend
from ctgkit.server.settings import BackendSettings
from ctgkit.wire import SUBPROTOCOL, TOKEN_HEADER

SENSORS = tuple(
    SensorEntry(id=f"0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d{n:02x}", token=f"token-{n}", bed=bed)
    for n, bed in enumerate(("one", "one", "two"))
)


@asynccontextmanager
async def backend_on(path, **settings):
    """Run a backend without an ML service, unless one is named."""
    chosen = {"sensors": SENSORS, "database": path, "port": 0, "ml_url": None} | settings
    async with run_backend(BackendSettings(**chosen)) as backend:
        yield backend


def ws(backend, path):
    return backend.url.replace("http", "ws", 1) + path


def sensor(backend, number=0, *, v1=True, token=None, **more):
    """Connect one sensor."""
    entry = SENSORS[number]
    return connect(
        ws(backend, f"/ws/sensor?sensor_id={entry.id}"),
        additional_headers={TOKEN_HEADER: entry.token if token is None else token},
        subprotocols=[SUBPROTOCOL] if v1 else None,
        compression=None,
        **more,
    )


def viewer(backend, query="", **more):
    return connect(ws(backend, f"/ws{query}"), **more)


def message(seq=None, sec=None, fhr=140.0, **more):
    """Return one sample as text."""
    body = {
        "sensorID": "",
        "secFromStart": (seq or 0) * 0.25 if sec is None else sec,
        "data": {"BPMChild": fhr, "uterus": 10.0, "spasms": 0.0},
    }
    return json.dumps(body | ({} if seq is None else {"seq": seq}) | more)


async def acked(connection, seq):
    """Read replies until *seq* is acknowledged; return the others."""
    others = []
    while True:
        reply = json.loads(await connection.recv())
        if reply.get("ack", -1) >= seq:
            return others
        if "ack" not in reply:
            others.append(reply)


async def closed_with(connection):
    """Read until it is closed; return the code."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await connection.recv()
    return connection.close_code


@asynccontextmanager
async def ml_service(answer):
    """Serve ``answer(request) -> list of texts`` and yield its URL."""

    async def converse(connection):
        async for text in connection:
            for reply in answer(json.loads(text)):
                await connection.send(reply)

    async with serve(converse, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws/ctg"


def result(request, **changes):
    """Return a plain result for a request."""
    body = {"prediction": None, "status": "ok", "timestamp": "2026-01-01T00:00:00Z"}
    return json.dumps(request | body | changes)


async def until(condition):
    """Wait for a condition; the deadline is the test's."""
    while not condition():
        await asyncio.sleep(0.005)


async def hears(backend):
    """Wait until a node is on the bus."""
    await until(lambda: backend.health().get("bus") == "up")


@asynccontextmanager
async def nodes_on(bus, *databases, **settings):
    """Run a node on each database; all are on the bus."""
    async with contextlib.AsyncExitStack() as stack:
        nodes = []
        for number, database in enumerate(databases):
            node = backend_on(database, bus=bus, node=f"node-{number}", **settings)
            nodes.append(await stack.enter_async_context(node))
            await hears(nodes[-1])
        yield nodes
