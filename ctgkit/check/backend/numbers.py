"""Numbers at their edges, and what is owed for them: more of clauses S-6."""

import asyncio
import statistics
import uuid

from ctgkit.check.backend.acks import acked, acks, errors, must_be_rows, send_numbered
from ctgkit.check.checks import Catalogue, Mismatch, arranging
from ctgkit.check.connection import Line, until
from ctgkit.check.messages import parsed, sample
from ctgkit.check.rig import Bench

CHECKS = Catalogue()
LARGEST, NO_DOUBLE = 2**63 - 1, 2**53 + 1
ACK_WITHIN_S, ACK_TRIES = 1.0, 5


@CHECKS.add("S-6.2/gaps", "Numbers may have gaps", needs="v1")
async def gaps(bench: Bench) -> None:
    async with bench.sensor(v1=True) as sensor:
        numbers = [bench.seq() for _ in range(10)]
        for seq in (numbers[0], numbers[4], numbers[9]):
            await sensor.send(sample(bench.sec(), seq=seq))
        await acked(sensor, numbers[9])


@CHECKS.add("S-6.2/zero", "0 is a valid number: the sample is acknowledged", needs="v1")
async def number_zero(bench: Bench) -> None:
    async with bench.sensor(v1=True, stream=str(uuid.uuid4())) as sensor:
        await sensor.send(sample(bench.sec(), seq=0))
        await acked(sensor, 0)


@CHECKS.add("S-6.2/largest", "2⁵³ + 1 and 2⁶³ - 1 are acknowledged as they are", needs="v1")
async def largest_numbers(bench: Bench) -> None:
    for seq in (NO_DOUBLE, LARGEST):
        async with bench.sensor(v1=True, stream=str(uuid.uuid4())) as sensor:
            await sensor.send(sample(bench.sec(), seq=seq))
            await acked(sensor, seq - 1)
            if (got := max(acks(sensor))) != seq:
                raise Mismatch(f'{{"ack": {seq}}}', f'{{"ack": {got}}}')


@CHECKS.add("S-6.2/integer", "31.0 and true are rejected as numbers", needs="v1")
async def number_is_an_integer(bench: Bench) -> None:
    async with bench.sensor(v1=True, stream=str(uuid.uuid4())) as sensor:
        for count, seq in enumerate(("31.0", "true"), 1):
            await sensor.send(sample(bench.sec(), seq=seq))
            await until(
                lambda count=count: len(errors(sensor)) >= count,  # type: ignore[misc]
                f'{{"error": …}} for "seq": {seq}',
                sensor.seen,
                sensor.timeout_s,
            )


@CHECKS.add("S-6.3/soon", "An acknowledgement comes within 1 s", needs="v1")
async def acknowledged_soon(bench: Bench) -> None:
    """Ask five times: a busy machine delays one or the other."""
    loop, taken_s = asyncio.get_running_loop(), []
    async with bench.sensor(v1=True) as sensor:
        for _ in range(ACK_TRIES):
            seq, began_s = bench.seq(), loop.time()
            await sensor.send(sample(bench.sec(), seq=seq))
            await acked(sensor, seq)
            taken_s.append(loop.time() - began_s)
    if (median_s := statistics.median(taken_s)) > ACK_WITHIN_S:
        raise Mismatch(f"within {ACK_WITHIN_S:g} s", f"{median_s:.1f} s, median of {ACK_TRIES}")


@CHECKS.add("S-6.4/alone", "A rejected sample by itself is not acknowledged", needs="v1")
async def rejected_alone(bench: Bench) -> None:
    async with bench.sensor(v1=True) as sensor:
        seq = bench.seq()
        await sensor.send(sample(bench.bad_sec(), 999, seq=seq))
        with arranging("a rejected sample is answered (S-6.4/numbered)"):
            await until(lambda: errors(sensor), '{"error": …}', sensor.seen, sensor.timeout_s)
        await sensor.settle()
        if acks(sensor):
            raise Mismatch("the error alone", f'{{"ack": {acks(sensor)[0]}}} as well')


@CHECKS.add(
    "S-6.4/first", "The error of a bad sample comes before an ack that covers it", needs="v1"
)
async def error_comes_first(bench: Bench) -> None:
    """Send three samples in an array, the middle one bad."""
    async with bench.sensor(v1=True) as sensor:
        numbers = [bench.seq() for _ in range(3)]
        texts = [
            sample(bench.sec(), seq=numbers[0]),
            sample(bench.bad_sec(), 999, seq=numbers[1]),
            sample(bench.sec(), seq=numbers[2]),
        ]
        await sensor.send("[" + ", ".join(texts) + "]")
        with arranging("the last sample of an array with a bad one is acknowledged (S-4.5)"):
            await acked(sensor, numbers[2])
        for reply in map(parsed, sensor.received):
            if "error" in reply and reply.get("seq") == numbers[1]:
                return
            if reply.get("ack", -1) >= numbers[1]:
                raise Mismatch(f"the error of {numbers[1]} before {reply}", "it comes later")


@CHECKS.add(
    "S-6.5/lower",
    "A number below the last one of its connection is stored or rejected",
    needs="v1 store",
)
async def lower_number(bench: Bench) -> None:
    async with bench.sensor(v1=True) as sensor:
        low, high = bench.seq(), bench.seq()
        await sensor.send(sample(bench.sec(), seq=high))
        with arranging("a sample is acknowledged"):
            await acked(sensor, high)
        sec, last = bench.sec(), bench.seq()
        await sensor.send(sample(sec, seq=low), sample(bench.sec(), seq=last))
        await _stored_unless_rejected(bench, sensor, sec, low, last)


async def _stored_unless_rejected(
    bench: Bench, sensor: Line, sec: float, seq: int, last: int
) -> None:
    await acked(sensor, last)
    await until(
        lambda: (
            bench.examination_of(sec) is not None
            or any(e.get("seq") == seq for e in errors(sensor))
        ),
        f"sample {seq}, after higher numbers, is stored, or rejected with an error",
        lambda: "acknowledged and not stored",
        bench.timeout_s,
    )


@CHECKS.add(
    "S-6.5/moment",
    "Two samples with the same time and different numbers are both stored",
    needs="v1 store",
)
async def two_of_a_moment(bench: Bench) -> None:
    after, sec = bench.db.last_row(), bench.sec()
    async with bench.sensor(v1=True) as sensor:
        first, second = bench.seq(), bench.seq()
        await sensor.send(sample(sec, seq=first), sample(sec, seq=second))
        await acked(sensor, second)
    await must_be_rows(bench, after, [sec], 2, f"two samples at {sec:g} s")


@CHECKS.add(
    "S-5.2/stays",
    "A sample resent later stays in its examination",
    needs="v1 store",
)
async def stays_in_its_examination(bench: Bench) -> None:
    async with bench.sensor(v1=True) as sensor:
        sent = await send_numbered(bench, sensor, 1)
        with arranging("a sample is acknowledged"):
            await acked(sensor, sent[0][0])
    sec = parsed(sent[0][1])["secFromStart"]
    before = bench.db.examinations_of(sec, bench.own_id)
    async with bench.sensor(v1=True) as sensor:
        await sensor.send(sent[0][1])
        await acked(sensor, sent[0][0])
    after = bench.db.examinations_of(sec, bench.own_id)
    if before and not set(before) <= set(after):
        raise Mismatch(f"the sample at {sec:g} s is in examination {before[0]}", f"in {after}")
