"""Keep-alive of the backend's connection, at an ML service: clauses C-2."""

import contextlib
from collections.abc import AsyncIterator
from typing import TypeVar

from ctgkit.check.checks import Catalogue, Mismatch
from ctgkit.check.liveness import Mute, Pinged, answers_pings, is_closed, stays_open
from ctgkit.check.service.rig import ServiceBench
from ctgkit.net.client import NotConnected, dial

CHECKS = Catalogue()
P = TypeVar("P", bound=Pinged)


@contextlib.asynccontextmanager
async def _connected(bench: ServiceBench, kind: type[P]) -> AsyncIterator[P]:
    try:
        connection: P = await dial(
            bench.target.socket_url,
            kind=kind,
            open_timeout_s=bench.timeout_s,
            pings=False,
        )
    except NotConnected as error:
        raise Mismatch("a WebSocket", error.reason) from error
    try:
        yield connection
    finally:
        await connection.close()


@CHECKS.add("C-2.1/service-pong", "A ping of the backend is answered")
async def pongs(bench: ServiceBench) -> None:
    async with _connected(bench, Pinged) as connection:
        await answers_pings(connection, bench.timeout_s)


@CHECKS.add(
    "C-2.3/service-gone", "A backend that answers no pings is closed with 1011",
    level="SHOULD", strict=True,
)  # fmt: skip
async def gone(bench: ServiceBench) -> None:
    async with _connected(bench, Mute) as connection:
        await is_closed(connection)


@CHECKS.add("C-2.4/service-silent", "A backend without sensors stays connected", strict=True)
async def silent(bench: ServiceBench) -> None:
    async with _connected(bench, Pinged) as connection:
        await stays_open(connection)
