"""Keep-alive of sensors and viewers: clauses C-2."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from websockets.exceptions import ConnectionClosed

from ctgkit.check.checks import Catalogue, Mismatch, arranging
from ctgkit.check.liveness import Mute, Pinged, answers_pings, is_closed, is_pinged, stays_open
from ctgkit.check.rig import Bench
from ctgkit.net.client import NotConnected, dial

CHECKS = Catalogue()
SAMPLE_EVERY_S = 1.0
ALLOWED, FLOOD = 900, 5000
"""Frames that say nothing: 1,000 at once are allowed, and 100 a second."""
P = TypeVar("P", bound=Pinged)


@contextlib.asynccontextmanager
async def _connected(bench: Bench, kind: type[P]) -> AsyncIterator[tuple[P, P]]:
    """Yield a sensor's and a viewer's connection, which send no pings of their own."""
    connections: list[P] = []
    async with contextlib.AsyncExitStack() as stack:
        for path, headers in (
            (bench.sensor_path(), [bench.token()]),
            ("/ws", bench.viewer_headers()),
        ):
            try:
                one: P = await dial(
                    bench.target.socket_url + path,
                    kind=kind,
                    headers=headers,
                    open_timeout_s=bench.timeout_s,
                    max_bytes=None,
                    pings=False,
                )
            except NotConnected as error:
                raise Mismatch(f"a WebSocket at {path}", error.reason) from error
            stack.push_async_callback(one.close)
            connections.append(one)
        yield connections[0], connections[1]


async def _of_both(bench: Bench, kind: type[P], judge: Callable[[P], Awaitable[None]]) -> None:
    """Judge a sensor's and a viewer's connection side by side."""

    async def named(who: str, connection: P) -> None:
        try:
            await judge(connection)
        except Mismatch as mismatch:
            raise Mismatch(f"{who}: {mismatch.expected}", mismatch.actual) from None

    async with _connected(bench, kind) as (sensor, viewer):
        both = (named("sensor", sensor), named("viewer", viewer))
        for problem in await asyncio.gather(*both, return_exceptions=True):
            if isinstance(problem, BaseException):
                raise problem


@CHECKS.add("C-2.1/pong", "Pings of sensors and viewers are answered", needs="sensor")
async def pongs(bench: Bench) -> None:
    await _of_both(bench, Pinged, lambda one: answers_pings(one, bench.timeout_s))


@CHECKS.add(
    "C-2.5/allowed", "900 pings and short frames at once close no connection", needs="sensor"
)
async def within_the_budget(bench: Bench) -> None:
    async with bench.sensor() as sensor, bench.viewer() as viewer:
        with arranging("a viewer may speak (V-1.1/ignored)"):
            await viewer.send("hello")
            await viewer.settle()
        for line in (sensor, viewer):
            for _ in range(ALLOWED // 2):
                await line.connection.ping()
        await viewer.send(*["hello"] * (ALLOWED // 2))
        for who, line in (("sensor", sensor), ("viewer", viewer)):
            await line.settle()
            if line.code is not None:
                raise Mismatch(f"the {who} stays connected", line.seen())


@CHECKS.add(
    "C-2.5/flood", "A client that sends thousands of pings at once is closed with 1008",
    needs="sensor", level="SHOULD",
)  # fmt: skip
async def beyond_the_budget(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(FLOOD):
                await sensor.connection.ping()
        await sensor.closed(1008)


@CHECKS.add(
    "C-2.2/pinged", "Sensors and viewers are pinged every 30 s",
    needs="sensor", level="SHOULD", strict=True,
)  # fmt: skip
async def pinged(bench: Bench) -> None:
    await _of_both(bench, Pinged, is_pinged)


@CHECKS.add(
    "C-2.3/gone", "A client that answers no pings is closed with 1011, even if it sends samples",
    needs="sensor", level="SHOULD", strict=True,
)  # fmt: skip
async def gone(bench: Bench) -> None:
    async with _connected(bench, Mute) as (sensor, viewer):
        sending = asyncio.ensure_future(_send_samples(bench, sensor))
        try:
            for problem in await asyncio.gather(
                is_closed(sensor), is_closed(viewer), return_exceptions=True
            ):
                if isinstance(problem, BaseException):
                    raise problem
        finally:
            sending.cancel()


async def _send_samples(bench: Bench, sensor: Mute) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await sensor.send(bench.fresh()[1])
            await asyncio.sleep(SAMPLE_EVERY_S)


@CHECKS.add(
    "C-2.4/silent", "A client that answers pings but sends nothing stays connected",
    needs="sensor", strict=True,
)  # fmt: skip
async def silent(bench: Bench) -> None:
    await _of_both(bench, Pinged, stays_open)
