"""Acknowledgements under ``ctgkit.v1``: clauses S-6."""

import uuid
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from ctgkit.check.backend.viewers import gets_about
from ctgkit.check.checks import Catalogue, Mismatch, arranging
from ctgkit.check.connection import Line, until
from ctgkit.check.messages import STREAM_HEADER, parsed, sample
from ctgkit.check.rig import Bench

CHECKS = Catalogue()
ACK_PATIENCE_S = 3.0


def acks(line: Line) -> list[int]:
    """Return the acknowledgements that came over a line."""
    replies = map(parsed, line.received)
    return [r["ack"] for r in replies if isinstance(r, dict) and isinstance(r.get("ack"), int)]


def errors(line: Line) -> list[dict[str, Any]]:
    """Return the error replies that came over a line."""
    return [r for r in map(parsed, line.received) if isinstance(r, dict) and "error" in r]


async def acked(line: Line, seq: int) -> None:
    """Wait for the acknowledgement of everything up to *seq*; how soon it comes is one check's."""
    await until(
        lambda: any(ack >= seq for ack in acks(line)),
        f'{{"ack": {seq}}}',
        line.seen,
        max(line.timeout_s, ACK_PATIENCE_S),
    )


async def send_numbered(bench: Bench, line: Line, count: int) -> list[tuple[int, str]]:
    """Send new numbered samples and return their numbers and texts."""
    sent = []
    for _ in range(count):
        seq = bench.seq()
        sent.append((seq, sample(bench.sec(), seq=seq)))
    await line.send(*(text for _, text in sent))
    return sent


@CHECKS.add(
    "S-6.1/silent", "Without ctgkit.v1, the backend sends nothing to a sensor", needs="witness"
)
async def silent(bench: Bench) -> None:
    async with bench.watch() as watch, bench.sensor() as sensor:
        sec = bench.sec()
        await sensor.send(sample(bench.bad_sec(), 999), sample(sec, seq=bench.seq()))
        await watch.saw(sec)
        if "ml" not in bench.lacks:  # its result may not come here
            async with bench.viewer() as viewer:
                later = await bench.sends(sensor)
                with arranging("a viewer gets the sensor's result"):
                    await gets_about(viewer, later)
        await sensor.settle()
        if sensor.received:
            raise Mismatch("nothing is written to the sensor", sensor.seen())


@CHECKS.add("S-6.1/other", "An unknown subprotocol is not selected", needs="sensor")
async def other_subprotocol(bench: Bench) -> None:
    path, headers = bench.sensor_path(), [bench.token(), ("Sec-WebSocket-Protocol", "chat.v9")]
    response = await bench.handshake(path, headers)
    if chosen := response.headers.get("sec-websocket-protocol"):
        raise Mismatch("no subprotocol", chosen)


@CHECKS.add("S-6.2/seq", "With ctgkit.v1, a sample without seq is rejected", needs="v1")
async def seq_required(bench: Bench) -> None:
    async with bench.sensor(v1=True) as sensor:
        await bench.sends(sensor)
        await until(lambda: errors(sensor), '{"error": …}', sensor.seen, sensor.timeout_s)


@CHECKS.add("S-6.2/range", 'A seq of -1, 2⁶³, 1.5 or "1" is rejected', needs="v1")
async def seq_range(bench: Bench) -> None:
    async with bench.sensor(v1=True) as sensor:
        bad = ("-1", str(2**63), "1.5", '"1"')
        await sensor.send(*(sample(bench.sec(), seq=seq) for seq in bad))
        await until(
            lambda: len(errors(sensor)) >= len(bad),
            f"{len(bad)} error replies",
            lambda: f"{len(errors(sensor))}, {sensor.seen()}",
            sensor.timeout_s,
        )


@CHECKS.add("S-6.3/ack", "Committed samples are acknowledged", needs="v1")
async def acknowledged(bench: Bench) -> None:
    async with bench.sensor(v1=True) as sensor:
        sent = await send_numbered(bench, sensor, 20)
        await acked(sensor, sent[-1][0])
        _must_rise(acks(sensor), sent[-1][0])


def _must_rise(seen: Sequence[int], last: int) -> None:
    if list(seen) != sorted(seen) or seen[-1] > last:
        raise Mismatch(f"acknowledgements that rise to {last}", str(list(seen)[-5:]))


@CHECKS.add(
    "S-6.3/rising", "Acknowledgements never decrease, even when samples are resent", needs="v1"
)
async def acknowledgements_rise(bench: Bench) -> None:
    async with bench.sensor(v1=True) as sensor:
        sent = await send_numbered(bench, sensor, 5)
        await acked(sensor, sent[-1][0])
        await sensor.send(sent[0][1], sent[2][1])
        last = await send_numbered(bench, sensor, 1)
        await acked(sensor, last[-1][0])
        _must_rise(acks(sensor), last[-1][0])


@CHECKS.add("S-6.3/committed", "An acknowledged sample is in the database", needs="v1 store")
async def acknowledged_is_committed(bench: Bench) -> None:
    async with bench.sensor(v1=True) as sensor:
        for _ in range(10):
            sec, seq = bench.sec(), bench.seq()
            await sensor.send(sample(sec, seq=seq))
            await acked(sensor, seq)
            if bench.examination_of(sec) is None:
                raise Mismatch(f"the sample at {sec:g} s is stored once {seq} is acked", "it isn't")


@CHECKS.add("S-6.4/numbered", "A rejected sample is answered with its seq", needs="v1")
async def rejected_with_seq(bench: Bench) -> None:
    async with bench.sensor(v1=True) as sensor:
        seq = bench.seq()
        await sensor.send(sample(bench.sec(), 999, seq=seq))
        await _rejected(sensor, seq)


@CHECKS.add(
    "S-6.4/unreadable", "An unreadable sample is answered with an error without seq", needs="v1"
)
async def rejected_without_seq(bench: Bench) -> None:
    async with bench.sensor(v1=True) as sensor:
        await sensor.send("{")
        await _rejected(sensor, None)


async def _rejected(sensor: Line, seq: int | None) -> None:
    found = await until(lambda: errors(sensor), '{"error": …}', sensor.seen, sensor.timeout_s)
    if found[0].get("seq") != seq or not isinstance(found[0]["error"], str):
        raise Mismatch(f'{{"error": "reason"}} with seq {seq}', str(found[0])[:120])


@CHECKS.add("S-6.5/acked-again", "A resent sample is acknowledged again", needs="v1")
async def resend_is_acked(bench: Bench) -> None:
    async with bench.sensor(v1=True) as sensor:
        sent = await send_numbered(bench, sensor, 5)
        await acked(sensor, sent[-1][0])
    async with bench.sensor(v1=True) as sensor:
        await sensor.send(*(text for _, text in sent))
        await acked(sensor, sent[-1][0])


@CHECKS.add("S-6.5/once", "A sample sent twice on one connection is stored once", needs="v1 store")
async def resend_is_stored_once(bench: Bench) -> None:
    after = bench.db.last_row()
    async with bench.sensor(v1=True) as sensor:
        sent = await send_numbered(bench, sensor, 5)
        await sensor.send(*(text for _, text in sent))
        last = await send_numbered(bench, sensor, 1)
        await acked(sensor, last[-1][0])
    await must_be_once(bench, after, (text for _, text in sent + last))


@CHECKS.add("S-6.5/earlier", "A sample resent after a reconnect is stored once", needs="v1 store")
async def resend_after_reconnect(bench: Bench) -> None:
    after = bench.db.last_row()
    async with bench.sensor(v1=True) as sensor:
        sent = await send_numbered(bench, sensor, 5)
        await acked(sensor, sent[-1][0])
    async with bench.sensor(v1=True) as sensor:
        await sensor.send(*(text for _, text in sent))
        last = await send_numbered(bench, sensor, 1)
        await acked(sensor, last[-1][0])
    await must_be_once(bench, after, (text for _, text in sent + last))


@CHECKS.add(
    "S-6.5/restarted",
    "A restarted sensor's samples are stored or rejected, never just acknowledged",
    needs="v1 store",
)
async def restarted(bench: Bench) -> None:
    """Count anew from 1 in the examination that saw high numbers, which is kept open."""
    async with AsyncExitStack() as stack:
        if "pair" not in bench.lacks:
            await stack.enter_async_context(bench.sensor(1))
        async with bench.sensor(v1=True) as sensor:
            with arranging("five samples acknowledged"):
                sent = await send_numbered(bench, sensor, 5)
                await acked(sensor, sent[-1][0])
        for start in (1, 3):
            await _stored_or_rejected(bench, start)


@CHECKS.add(
    "S-6.5/stream", "Numbers already used by another named stream are stored", needs="v1 store"
)
async def another_stream(bench: Bench) -> None:
    after = bench.db.last_row()
    secs = [bench.sec() for _ in range(3)]
    for _ in range(2):  # the very same samples, as a script plays them
        async with bench.sensor(v1=True, stream=str(uuid.uuid4())) as sensor:
            await sensor.send(*(sample(sec, seq=seq) for seq, sec in enumerate(secs, 1)))
            await acked(sensor, 3)
    await must_be_rows(bench, after, secs, 2 * len(secs), "3 samples of each of two named streams")


@CHECKS.add(
    "S-6.5/conflict",
    "A number reused with other values is rejected, not just acknowledged",
    needs="v1 store",
)
async def conflict(bench: Bench) -> None:
    for stream in (str(uuid.uuid4()), ""):
        async with bench.sensor(v1=True, stream=stream) as sensor:
            (first, _), (last, _) = await send_numbered(bench, sensor, 2)
            with arranging("two samples acknowledged"):
                await acked(sensor, last)
            sec = bench.sec()
            await sensor.send(sample(sec, 151.5, seq=first))
            await _rejected(sensor, first)
            if bench.examination_of(sec) is not None:
                raise Mismatch("the rejected sample isn't stored", "it is")


@CHECKS.add(
    "S-6.7/named",
    "A stream continues over several connections: each sample is stored once",
    needs="v1 store",
)
async def named_stream(bench: Bench) -> None:
    after, stream = bench.db.last_row(), str(uuid.uuid4())
    async with bench.sensor(v1=True, stream=stream) as sensor:
        sent = await send_numbered(bench, sensor, 3)
        await acked(sensor, sent[-1][0])
    async with bench.sensor(v1=True, stream=stream) as sensor:
        more = await send_numbered(bench, sensor, 1)
        await sensor.send(*(text for _, text in sent))
        await acked(sensor, more[-1][0])
        last = await send_numbered(bench, sensor, 1)
        await acked(sensor, last[-1][0])
    await must_be_once(bench, after, (text for _, text in sent + more + last))


@CHECKS.add("S-6.7/bad-name", "A stream's name with other characters gets 400", needs="v1")
async def bad_stream_name(bench: Bench) -> None:
    for name in ("a b", "x" * 65, "naïve", "a/b"):
        response = await bench.handshake(
            bench.sensor_path(), [bench.token(), (STREAM_HEADER, name)]
        )
        if response.status != 400:
            raise Mismatch(f"HTTP 400 for {STREAM_HEADER}: {name}", f"HTTP {response.status}")


async def _stored_or_rejected(bench: Bench, start: int) -> None:
    """Send new samples with low numbers, and see that what is acknowledged is stored."""
    async with bench.sensor(v1=True) as sensor:
        sent = {seq: bench.sec() for seq in range(start, start + 3)}
        await sensor.send(*(sample(sec, seq=seq) for seq, sec in sent.items()))

        def refused() -> set[int]:
            return {e["seq"] for e in errors(sensor) if isinstance(e.get("seq"), int)}

        def settled() -> bool:
            done = max(acks(sensor), default=-1)
            return sensor.code is not None or all(s <= done or s in refused() for s in sent)

        await until(
            settled, "each sample is acknowledged or rejected", sensor.seen, bench.timeout_s
        )
        owed = {
            sec
            for seq, sec in sent.items()
            if seq <= max(acks(sensor), default=-1) and seq not in refused()
        }
        await until(  # late would be another clause's fault, S-6.3
            lambda: all(bench.examination_of(sec) is not None for sec in owed),
            f"samples {start} to {start + 2} of a sensor that counts anew are stored,"
            " or rejected with an error",
            lambda: "acknowledged and not stored",
            bench.timeout_s,
        )


async def must_be_once(bench: Bench, after: int, texts: Iterable[str]) -> None:
    """Expect one row of each sample; the last one has been acknowledged."""
    sent = {parsed(text)["secFromStart"] for text in texts}
    await must_be_rows(bench, after, sent, len(sent), f"{len(sent)} samples, each once")


async def must_be_rows(
    bench: Bench, after: int, secs: Iterable[float], count: int, what: str
) -> None:
    """Expect so many rows of these moments: late would be another clause's fault, S-6.3."""
    wanted = set(secs)

    def stored() -> list[float]:
        return [r.sec for r in bench.db.readings(after) if r.sec in wanted]

    await until(
        lambda: set(stored()) == wanted and len(stored()) >= count,
        f"{what} in the database",
        lambda: f"{len(stored())} rows of {len(set(stored()))} moments",
        bench.timeout_s,
    )
    if len(stored()) != count:
        raise Mismatch(f"{what}: {count} rows", f"{len(stored())} rows")
