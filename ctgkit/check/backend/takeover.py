"""A sensor that connects again while it is connected: clause S-1.4."""

import asyncio
from contextlib import AsyncExitStack

from ctgkit.check.checks import Catalogue, Mismatch, arranging
from ctgkit.check.connection import Line, until
from ctgkit.check.rig import Bench

CHECKS = Catalogue()


@CHECKS.add("S-1.4/closed", "A second connection closes the first with 4409", needs="sensor")
async def takeover(bench: Bench) -> None:
    async with bench.sensor() as older, bench.sensor() as newer:
        await older.closed(4409)
        newer.must_live()


@CHECKS.add(
    "S-1.1/takeover",
    "With its id in upper case a sensor takes over its own connection",
    needs="sensor",
)
async def takeover_in_upper_case(bench: Bench) -> None:
    with arranging("a second connection takes over (S-1.4/closed)"):
        async with bench.sensor() as older, bench.sensor():
            await older.closed(4409)
    path = f"/ws/sensor?sensor_id={bench.own_id.upper()}"
    async with bench.sensor() as older, bench.line(path, [bench.token()]):
        await older.closed(4409)


@CHECKS.add(
    "S-1.4/serves", "After a takeover the new connection's samples are taken", needs="witness"
)
async def takeover_serves(bench: Bench) -> None:
    async with bench.watch() as watch, bench.sensor(), bench.sensor() as newer:
        sec = await bench.sends(newer)
        await watch.saw(sec)


async def stored_in(bench: Bench, sensor: Line) -> int:
    """Send one sample and return the examination in which it is stored."""
    began_s = asyncio.get_running_loop().time()
    sec = await bench.sends(sensor)
    found = await until(
        lambda: bench.examination_of(sec) or 0,
        f"the sample at {sec:g} s in the database",
        lambda: "it isn't there",
        bench.timeout_s,
    )
    await bench.quiet.commits(began_s)
    return found


def end_of(bench: Bench, examination: int) -> str | None:
    """Return when an examination ended, None while it is open."""
    _, end = bench.db.examination(examination) or (None, None)
    return end


async def must_end(
    bench: Bench,
    examination: int,
    why: str = "",
    actual: str = "it has none",
    *,
    after_loss: bool = False,
) -> None:
    """Wait until an examination has ended."""
    settings = bench.settings
    wait_s = max(settings.grace_s, settings.handover_s) if after_loss else settings.grace_s
    await until(
        lambda: end_of(bench, examination),
        f"examination {examination} has an end_time{why}",
        lambda: actual,
        bench.timeout_s + wait_s,
    )


def must_be_open(bench: Bench, examination: int, why: str = "its sensor is connected") -> None:
    """Raise a Mismatch if an examination has ended."""
    if (end := end_of(bench, examination)) is not None:
        raise Mismatch(f"examination {examination} is open, {why}", f"it ended at {end}")


async def must_go_on(bench: Bench, sensor: Line, examination: int, whose: str) -> None:
    """Expect samples in an examination after a connection has left, which may be noticed late."""
    for _ in range(3):
        await sensor.settle()
        if (later := await stored_in(bench, sensor)) != examination:
            raise Mismatch(f"{whose} are in examination {examination}", f"in {later}")
    must_be_open(bench, examination)


@CHECKS.add("S-1.4/examination", "A takeover leaves the examination open", needs="sensor store")
async def takeover_keeps_examination(bench: Bench) -> None:
    async with bench.sensor() as older:
        before = await stored_in(bench, older)
        async with bench.sensor() as newer:
            after = await stored_in(bench, newer)
            if before != after:
                raise Mismatch("both samples in one examination", f"in {before} and {after}")


@CHECKS.add(
    "S-1.4/older-leaves",
    "When the replaced connection closes, the sensor's examination stays open",
    needs="sensor store",
)
async def older_leaves(bench: Bench) -> None:
    async with AsyncExitStack() as stack:
        older = await stack.enter_async_context(bench.sensor())
        before = await stored_in(bench, older)
        newer = await stack.enter_async_context(bench.sensor())
        await stored_in(bench, newer)
        await older.connection.close()
        whose = "samples after the replaced connection has left"
        await must_go_on(bench, newer, before, whose)


@CHECKS.add(
    "S-1.4/newer-leaves",
    "After the newer connection closes, later samples go into an open examination",
    needs="sensor store",
)
async def newer_leaves(bench: Bench) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(bench.sensor())
        newer = await stack.enter_async_context(bench.sensor())
        await stored_in(bench, newer)
        await newer.connection.close()
        third = await stack.enter_async_context(bench.sensor())
        must_be_open(bench, await stored_in(bench, third))
