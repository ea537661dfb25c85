"""Examinations and their tables: clauses S-5 and D."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from ctgkit.check.backend.takeover import must_be_open, must_end, must_go_on, stored_in
from ctgkit.check.checks import Catalogue, Mismatch, arranging
from ctgkit.check.connection import until
from ctgkit.check.messages import sample
from ctgkit.check.rig import Bench

CHECKS = Catalogue()
CLOCK_MAX_S = 600.0
"""What a backend's clock may differ from ours, seconds: less than between any two time zones."""


@CHECKS.add("S-5.1/belongs", "A stored sample belongs to an examination", needs="sensor store")
async def belongs(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        examination = await stored_in(bench, sensor)
        if bench.db.examination(examination) is None:
            raise Mismatch("an examination of the sample", f"none has the id {examination}")


@CHECKS.add("S-5.1/stored-once", "A sample is stored once", needs="sensor store")
async def stored_once(bench: Bench) -> None:
    after = bench.db.last_row()
    async with bench.sensor() as sensor:
        sec = await bench.sends(sensor)
        await stored_in(bench, sensor)
        rows = [r for r in bench.db.readings(after) if r.sec == sec]
        if len(rows) != 1:
            raise Mismatch("one row", f"{len(rows)} rows of the sample at {sec:g} s")


@CHECKS.add(
    "S-5.1/own-rows", "Samples of two sensors are stored under their own sensor", needs="pair store"
)
async def own_rows(bench: Bench) -> None:
    await _own_rows(bench, together=False)


@CHECKS.add(
    "S-5.1/together",
    "Samples that two sensors send at the same moment are all stored",
    needs="pair store",
)
async def together(bench: Bench) -> None:
    await _own_rows(bench, together=True)


async def _own_rows(bench: Bench, *, together: bool) -> None:
    """Send samples of two sensors, each alone or all at once, and look whose they are."""
    after = bench.db.last_row()
    async with bench.sensor() as first, bench.sensor(1) as second:
        sent: dict[float, str] = {}

        async def stored() -> None:
            began_s = asyncio.get_running_loop().time()
            await until(
                lambda: _owners(bench, after).keys() >= sent.keys(),
                f"{len(sent)} samples in the database",
                lambda: f"{len(_owners(bench, after).keys() & sent.keys())} are",
                bench.timeout_s,
            )
            await bench.quiet.commits(began_s)

        for _ in range(20 if together else 3):
            for number, sensor in enumerate((first, second)):
                sec, text = bench.fresh()
                sent[sec] = bench.settings.sensors[number].id
                await sensor.send(text)
                if not together:
                    await stored()
        await stored()
        seen = _owners(bench, after)
        if wrong := [sec for sec, owner in sent.items() if seen[sec] != owner]:
            raise Mismatch(
                f"the sample at {wrong[0]:g} s is of {sent[wrong[0]]}", f"of {seen[wrong[0]]}"
            )


def _owners(bench: Bench, after: int) -> dict[float, str]:
    return {r.sec: r.sensor_id for r in bench.db.readings(after)}


@CHECKS.add(
    "D-1/row",
    "A row of ctg has the sensor's lower-case UUID and the values as sent",
    needs="sensor store",
)
async def row_of_a_sample(bench: Bench) -> None:
    async with bench.watch() as watch, bench.sensor() as sensor:
        sec = bench.sec()
        await sensor.send(sample(sec, 140.5, 15.25, 0.5))
        await watch.saw(sec)
    row = bench.db.row_at(sec)
    wanted = {"uuid": bench.own_id, "bpm": 140.5, "uterus": 15.25, "spasms": 0.5}
    if wrong := {n: row[n] for n, value in wanted.items() if row[n] != value}:
        name, got = next(iter(wrong.items()))
        raise Mismatch(f"ctg.{name} is {wanted[name]!r}", repr(got))


@CHECKS.add(
    "D-1/lower", "The UUID is stored in lower case, however the sensor spells it",
    needs="sensor store",
)  # fmt: skip
async def uuid_in_lower_case(bench: Bench) -> None:
    path = f"/ws/sensor?sensor_id={bench.own_id.upper()}"
    with arranging("a sensor with its id in upper case is let in (S-1.1/case)"):
        async with bench.line(path, [bench.token()]) as sensor:
            sec = await bench.sends(sensor)
            await until(
                lambda: bench.examination_of(sec), "its sample is stored", lambda: "it isn't",
                bench.timeout_s,
            )  # fmt: skip
    if (got := bench.db.row_at(sec)["uuid"]) != bench.own_id:
        raise Mismatch(f"ctg.uuid is {bench.own_id!r}", repr(got))


@CHECKS.add(
    "D-2/times",
    "start_time and end_time are texts, UTC in ISO 8601",
    needs="sensor store",
    level="SHOULD",
)
async def times_of_an_examination(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        examination = await stored_in(bench, sensor)
    times = bench.db.examination(examination) or (None, None)
    for column, text in zip(("start_time", "end_time"), times, strict=True):
        if text is None and column == "end_time":
            continue  # S-5.3, or it has a grace period
        wanted = f"examinations.{column} is a text in ISO 8601, UTC: about {_now():%FT%TZ}"
        try:
            at = datetime.fromisoformat(text)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise Mismatch(wanted, repr(text)) from None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        if abs((_now() - at).total_seconds()) > CLOCK_MAX_S:
            raise Mismatch(wanted, repr(text))


def _now() -> datetime:
    return datetime.now(UTC)


@CHECKS.add(
    "S-5.2/opens", "A sensor that connects alone opens an examination", needs="sensor store"
)
async def opens(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        must_be_open(bench, await stored_in(bench, sensor))


@CHECKS.add(
    "S-5.2/joins", "A second sensor of the bed joins the open examination", needs="pair store"
)
async def joins(bench: Bench) -> None:
    async with bench.sensor() as first, bench.sensor(1) as second:
        found = [await stored_in(bench, first), await stored_in(bench, second)]
        if found[0] != found[1]:
            raise Mismatch("both sensors in one examination", f"examinations {found}")


@CHECKS.add(
    "S-5.2/beds", "Sensors of two beds have separate examinations", needs="sensor beds store"
)
async def beds_apart(bench: Bench) -> None:
    other = bench.settings.in_another_bed
    assert other is not None
    async with bench.sensor() as first, bench.sensor(other) as second:
        found = [await stored_in(bench, first), await stored_in(bench, second)]
        if found[0] == found[1]:
            raise Mismatch("an examination for each bed", f"{found[0]} for both")


@CHECKS.add(
    "S-5.3/rejoins",
    "Within the grace period a returning sensor rejoins its examination",
    needs="sensor grace store",
)
async def rejoins(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        before = await stored_in(bench, sensor)
    async with bench.sensor() as sensor:
        if (after := await stored_in(bench, sensor)) != before:
            raise Mismatch(f"the sensor is in examination {before} again", f"in {after}")


@CHECKS.add("S-5.3/closed", "An examination ends when its last sensor leaves", needs="sensor store")
async def closed(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        examination = await stored_in(bench, sensor)
    await must_end(bench, examination)


@CHECKS.add(
    "S-5.3/vanished",
    "An examination ends when its last sensor vanishes without closing",
    needs="sensor store",
)
async def closed_after_a_loss(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        examination = await stored_in(bench, sensor)
        sensor.connection.transport.abort()
        await must_end(bench, examination, after_loss=True)


@CHECKS.add(
    "S-5.3/last",
    "An examination stays open while one of its two sensors remains",
    needs="pair store",
)
async def open_until_the_last(bench: Bench) -> None:
    await _outlives(bench, leaving=1, staying=0)


@CHECKS.add(
    "S-5.3/first",
    "It stays open when the sensor that opened it leaves before the other",
    needs="pair store",
)
async def open_without_the_first(bench: Bench) -> None:
    await _outlives(bench, leaving=0, staying=1)


async def _outlives(bench: Bench, leaving: int, staying: int) -> None:
    """Let one of two sensors leave, and see that the other's examination goes on."""
    async with AsyncExitStack() as stack:
        lines = {n: await stack.enter_async_context(bench.sensor(n)) for n in (0, 1)}
        await stored_in(bench, lines[leaving])
        examination = await stored_in(bench, lines[staying])
        await lines[leaving].connection.close()
        whose = "samples of the sensor that stays"
        await must_go_on(bench, lines[staying], examination, whose)


@CHECKS.add("S-5.3/next", "A sensor that connects later opens the next one", needs="sensor store")
async def next_one(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        earlier = await stored_in(bench, sensor)
    await must_end(bench, earlier)
    async with bench.sensor() as sensor:
        if await stored_in(bench, sensor) == earlier:
            raise Mismatch("a new examination", f"{earlier} again, though it had ended")
