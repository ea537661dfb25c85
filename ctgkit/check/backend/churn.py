"""Connections that come and go while samples flow: clauses S-1.6 and V-2.4.

These come last of what needs no process: a backend that locks up has been judged before.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

from ctgkit.check.backend.viewers import shown
from ctgkit.check.checks import Catalogue, Mismatch
from ctgkit.check.connection import Line, until_rest
from ctgkit.check.rig import Bench
from ctgkit.check.watch import Watch

CHECKS = Catalogue()
LEAVERS, AT_A_TIME = 200, 20
"""Viewers that come and go, and how many of them are there at a time."""
FLOW_HZ, IN_FLIGHT_MAX = 100.0, 20
RECONNECTS = 50
BURSTS, BURST_VIEWERS = 15, 20
"""How often both sensors connect in one moment, the first time together with viewers."""


@asynccontextmanager
async def _flow(bench: Bench, seen_by: Line) -> AsyncIterator[Line]:
    """Keep samples flowing from the first sensor at the backend's pace; yield its line."""
    async with bench.sensor() as sensor:

        async def flow() -> None:
            sent = 0
            while True:
                if sent - seen_by.total < IN_FLIGHT_MAX:
                    await bench.sends(sensor)
                    sent += 1
                await asyncio.sleep(1 / FLOW_HZ)

        flowing = bench.background(flow())
        try:
            yield sensor
        finally:
            flowing.cancel()


async def _viewers_leave(bench: Bench, *, politely: bool) -> None:
    """Let viewers come and go under flow, and see that another one still gets everything."""
    async with bench.viewer() as steady, _flow(bench, steady) as sensor:
        for begun in range(0, LEAVERS, AT_A_TIME):
            async with AsyncExitStack() as stack:
                lines = [await stack.enter_async_context(bench.viewer()) for _ in range(AT_A_TIME)]
                for line in lines:
                    if politely:
                        await line.connection.close()
                    else:
                        line.connection.transport.abort()
            sec = await bench.sends(sensor)
            came = await until_rest(
                lambda sec=sec: bool(shown(steady, sec)) or steady.code is not None,  # type: ignore[misc]
                bench.pulse,
                2 * bench.timeout_s,
            )
            if not came or steady.code is not None:
                how = "closed politely" if politely else "vanished"
                raise Mismatch(
                    f"a viewer gets results while {LEAVERS} others come and go",
                    f"nothing after {begun + AT_A_TIME} viewers had {how}; {steady.seen()}",
                )
            steady.received.clear()


@CHECKS.add(
    "V-2.4/aborts",
    "200 viewers that vanish while samples flow interrupt no one's results",
    needs="sensor viewer",
)
async def aborts(bench: Bench) -> None:
    await _viewers_leave(bench, politely=False)


@CHECKS.add(
    "V-2.4/closes",
    "200 viewers that close while samples flow interrupt no one's results",
    needs="sensor viewer",
)
async def closes(bench: Bench) -> None:
    await _viewers_leave(bench, politely=True)


@CHECKS.add(
    "S-1.6/reconnects",
    "A sensor that reconnects 50 times at once is served each time",
    needs="witness",
)
async def reconnects(bench: Bench) -> None:
    async with bench.watch() as watch:
        for number in range(1, RECONNECTS + 1):
            async with bench.sensor(settle=False) as sensor:
                sec = await bench.sends(sensor)
                await sensor.settle()
                if sensor.code is not None:
                    raise Mismatch(f"connection {number} of {RECONNECTS} stays open", sensor.seen())
            with _named(f"connection {number} of {RECONNECTS}"):
                await watch.saw(sec)


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Say in a mismatch which connection it is about."""
    try:
        yield
    except Mismatch as mismatch:
        raise Mismatch(f"{mismatch.expected}, over {what}", mismatch.actual) from None


@CHECKS.add(
    "S-1.6/burst",
    "Sensors and viewers that connect at the same moment are all served",
    needs="witness",
)
async def burst(bench: Bench) -> None:
    """Connect everybody in one moment; whoever gets 101 must stay connected."""
    for number in range(BURSTS):
        async with bench.watch() as watch, AsyncExitStack() as stack:
            await _all_at_once(bench, watch, stack, viewers=0 if number else BURST_VIEWERS)


async def _all_at_once(bench: Bench, watch: Watch, stack: AsyncExitStack, viewers: int) -> None:
    sensors = 1 if "pair" in bench.lacks else 2

    async def sensor(number: int) -> Line:
        return await stack.enter_async_context(bench.sensor(number, settle=False))

    async def viewer() -> Line:
        return await stack.enter_async_context(bench.viewer())

    parties = [sensor(n) for n in range(sensors)] + [viewer() for _ in range(viewers)]
    lines = await _all_of(parties)
    sec = await bench.sends(lines[0])
    for line in lines:
        with suppress(Mismatch):
            await line.settle()
    if closed := [line for line in lines if line.code is not None]:
        raise Mismatch(
            f"all {len(lines)} connections that were let in at one moment stay open",
            f"{len(closed)} don't: {closed[0].seen()}",
        )
    await watch.saw(sec)


async def _all_of(parties: Sequence[Coroutine[Any, Any, Line]]) -> list[Line]:
    found = await asyncio.gather(*parties, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return [line for line in found if isinstance(line, Line)]
