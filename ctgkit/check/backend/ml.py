"""The backend's side of the ML service: clauses M-1, M-2, M-4."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from ctgkit.check.backend.acks import acked, acks, send_numbered
from ctgkit.check.backend.viewers import (
    ERROR,
    falls_back,
    gets,
    gets_about,
    no_answer,
    requests_at,
)
from ctgkit.check.checks import TIMED, Catalogue, Mismatch, NotJudged, Skip, arranging
from ctgkit.check.connection import Line, until, until_rest
from ctgkit.check.messages import excerpt, parsed, reading, result, sample
from ctgkit.check.ml_service import silence
from ctgkit.check.rig import Bench

CHECKS = Catalogue()
STORM_S, STORM_MAX_HZ = 2.0, 10
HANG_SAMPLES, HANG_MIN, HANG_MAX_S = 8000, 300, 240.0
"""More than the buffers between the two hold, a megabyte: then a backend that waits is held up.
Fewer say nothing about one that waits, so one that needs more than four minutes isn't judged."""
NEW_LINK_TRIES = 3
PACE_SAMPLES, FLOOD_S, FLOOD_MAX = 100, 15.0, 40_000
"""A flood lasts some seconds at the pace of the backend."""
SEND_GROUP = 500
STRANGER = "99999999-8888-4777-8666-555555555555"


@CHECKS.add("M-1.1/path", "The backend connects to its ML service at /ws/ctg", needs="ml-listen")
async def path(bench: Bench) -> None:
    if not bench.ml.paths:
        raise Mismatch("the backend connects to --ml-listen", "it never did")
    if (asked := bench.ml.paths[-1].rstrip("/")) != "/ws/ctg":
        raise Mismatch("/ws/ctg", asked)


@CHECKS.add("M-1.1/one", "One connection serves all sensors", needs="ml pair")
async def one_connection(bench: Bench) -> None:
    async with bench.sensor() as first, bench.sensor(1) as second:
        for number, sensor in enumerate((first, second)):
            sec = await bench.sends(sensor)
            seen = reading((await requests_at(bench, sec))[0])
            wanted = bench.settings.sensors[number].id
            if seen is None or seen.sensor_id != wanted:
                raise Mismatch(f"sensorID {wanted}", str(seen and seen.sensor_id))
        if len(bench.ml.links) != 1:
            raise Mismatch("one connection", f"{len(bench.ml.links)}")


@CHECKS.add("M-2.1/request", "A request is one sample with its sensorID", needs="ml sensor")
async def request_shape(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        sec = bench.sec()
        await sensor.send(sample(sec, 140.5, 15.25, 0.5))
        text = (await requests_at(bench, sec))[0]
        seen = reading(text)
        wanted = (bench.own_id, 140.5, 15.25, 0.5)
        if seen is None or (seen.sensor_id, seen.fhr, seen.uterus, seen.spasms) != wanted:
            raise Mismatch("sensorID, BPMChild, uterus, spasms as sent", excerpt(text))


@CHECKS.add(
    "M-2.1/no-signal", "No signal is sent as null, in the flat format as 0", needs="ml sensor"
)
async def request_without_signal(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        sec = bench.sec()
        await sensor.send(sample(sec, 0))
        text = (await requests_at(bench, sec))[0]
        seen = reading(text)
        missing = seen is None or '"BPMChild"' not in text
        if seen is None or missing or seen.fhr != (0 if seen.flat else None):
            raise Mismatch("BPMChild null, or 0 in the flat format", excerpt(text))


@CHECKS.add("M-2.1/each", "Each sample of an array is a separate request", needs="ml sensor")
async def array_is_split(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        secs = [bench.sec() for _ in range(3)]
        await sensor.send("[" + ", ".join(map(sample, secs)) + "]")
        for sec in secs:
            await requests_at(bench, sec)


@CHECKS.add(
    "M-2.2/once", "A sample that a sensor repeats is sent to the ML service once", needs="ml v1"
)
async def once(bench: Bench) -> None:
    async with bench.sensor(v1=True) as sensor:
        sent = await send_numbered(bench, sensor, 3)
        await acked(sensor, sent[-1][0])
    async with bench.sensor(v1=True) as sensor:
        await sensor.send(*(text for _, text in sent))
        await acked(sensor, sent[-1][0])
        sec = bench.sec()
        await sensor.send(sample(sec, seq=bench.seq()))
        await requests_at(bench, sec)
    for _, text in sent:
        sec = parsed(text)["secFromStart"]
        requests = [parsed(request) for request in bench.ml.requests_at(sec)]
        if (count := sum(not request.get("past") for request in requests)) != 1:
            raise Mismatch(f"one request for {sec:g} s that isn't about the past", f"{count}")


GARBAGE: dict[str, tuple[str, str | bytes]] = {
    "json": ("Invalid JSON", '{"sensorID": '),
    "binary": ("Bytes that are not text", b"\xff\xfe\x00"),
    "scalar": ("A number", "42"),
    "list": ("A list", "[1, 2]"),
    "no-id": ("A result without sensorID", '{"secFromStart": 1, "status": "ok"}'),
    "stranger": (
        "A result of an unknown sensor",
        result(sample(1, sensor_id=STRANGER)),
    ),
    "error": ("The service's error answer", ERROR),
}


async def _garbage(garbage: str | bytes, bench: Bench) -> None:
    """Let the service say *garbage* before a good result: only that arrives, on the same link."""
    async with bench.viewer() as viewer, bench.sensor() as sensor:
        links = bench.ml.links.copy()
        await gets_about(viewer, await bench.sends(sensor))
        await bench.ml.say(garbage)
        await gets_about(viewer, await bench.sends(sensor))
        if {garbage, _lossy(garbage), _bytes(garbage)} & set(viewer.received):
            raise Mismatch("it isn't relayed", f"a viewer got {excerpt(garbage)}")
        if bench.ml.links != links:
            raise Mismatch("the connection to the service lives on", "it was closed")


def _lossy(text: str | bytes) -> str:
    return text if isinstance(text, str) else text.decode(errors="replace")


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


for _name, (_title, _text) in GARBAGE.items():
    CHECKS.add(f"M-4.1/{_name}", f"{_title}: not relayed to viewers", needs="ml sensor")(
        partial(_garbage, _text)
    )


WRONG_TYPES: dict[str, dict[str, object]] = {
    "data": {"data": [1, 2]},
    "prediction": {"prediction": "high"},
    "status": {"status": 7},
    "secFromStart": {"secFromStart": "late"},
}


@CHECKS.add(
    "M-4.1/wrong-type", "A result with a member of a wrong type is not relayed", needs="ml sensor"
)
async def wrong_types(bench: Bench) -> None:
    async with bench.viewer() as viewer, bench.sensor() as sensor:
        bench.ml.answer = lambda request: (
            *(result(request, note=f"bad-{name}", **bad) for name, bad in WRONG_TYPES.items()),
            result(request, note="good"),
        )
        await bench.sends(sensor)
        await gets(viewer, lambda t: '"good"' in str(t), "the good result after four bad ones")
        if bad := [t for t in viewer.received if '"bad-' in str(t)]:
            raise Mismatch("results of wrong types aren't relayed", excerpt(bad[0]))


@CHECKS.add(
    "M-4.1/shown", "A sample whose answer is invalid is shown with status error", needs="ml sensor"
)
async def invalid_answer(bench: Bench) -> None:
    await no_answer(bench, lambda request: result(request, status=7, note="bad"))


@CHECKS.add(
    "M-4.2/error",
    "An error answers the oldest request; the others keep their results",
    needs="ml sensor",
    tries=TIMED,
)
async def error_answers_the_oldest(bench: Bench) -> None:
    """Answer the first of two requests with an error: it is shown with status error, alone."""
    waiting: list[str] = []

    def both_at_once(request: str) -> Sequence[str]:
        waiting.append(request)
        return (ERROR, result(waiting[1])) if len(waiting) == 2 else ()

    bench.ml.answer = both_at_once
    async with bench.viewer() as viewer, bench.sensor() as sensor:
        first, second = bench.fresh(), bench.fresh()
        await sensor.send(first[1], second[1])
        await falls_back(viewer, first[0])
        about = await gets_about(viewer, second[0])
        if any(parsed(text).get("status") == "error" for text in about):
            raise Mismatch("the second sample has its result", excerpt(about[0]))


# What follows disturbs the link, so it comes last; whether it comes back is asked first.


@CHECKS.add(
    "M-1.1/redials", "The backend reconnects after the connection is lost", needs="ml sensor"
)
async def redials(bench: Bench) -> None:
    await bench.ml.drop()
    await comes_back(bench, bench.settings.redial_s)
    async with bench.sensor() as sensor:
        for _ in range(NEW_LINK_TRIES - 1):  # it may not know yet that it is connected
            with suppress(Mismatch):
                await requests_at(bench, await bench.sends(sensor))
                return
        await requests_at(bench, await bench.sends(sensor))


@CHECKS.add(
    "M-1.1/persists", "The backend reconnects to a service that was down", needs="ml sensor"
)
async def persists(bench: Bench) -> None:
    await bench.ml.fall()
    await dials(bench, bench.settings.redial_s)
    bench.ml.up = True
    await comes_back(bench, bench.settings.redial_s)


@CHECKS.add(
    "M-1.1/pace",
    "A service that is down sees at most 10 attempts per second",
    needs="ml sensor",
)
async def pace(bench: Bench) -> None:
    await bench.ml.fall()
    await _no_storm(bench)


@CHECKS.add(
    "M-1.1/brief",
    "A service that closes each connection sees at most 10 attempts per second",
    needs="ml sensor",
)
async def brief(bench: Bench) -> None:
    bench.ml.stays = False
    await bench.ml.drop()
    await _no_storm(bench)


async def _no_storm(bench: Bench) -> None:
    tried = len(bench.ml.paths)
    await asyncio.sleep(STORM_S)
    if (count := len(bench.ml.paths) - tried) > STORM_MAX_HZ * STORM_S + 1:
        raise Mismatch(f"{STORM_MAX_HZ} attempts a second at most", f"{count} in {STORM_S:g} s")


async def dials(bench: Bench, within_s: float) -> None:
    """Wait until the backend tries to connect to its ML service."""
    tried = len(bench.ml.paths)
    await until(lambda: len(bench.ml.paths) > tried, "it dials", lambda: "it doesn't", within_s)


async def comes_back(bench: Bench, within_s: float) -> None:
    """Wait until the backend is connected to its ML service."""
    await until(lambda: bench.ml.linked, "it connects", lambda: "it doesn't", within_s)


@CHECKS.add("M-1.2/silent", "A silent service delays no sample", needs="ml sensor")
async def silent_service(bench: Bench) -> None:
    bench.ml.answer = silence
    await _all_are_kept(bench, 50)


@CHECKS.add("M-1.2/hanging", "A service that stops reading delays no sample", needs="ml sensor")
async def hanging_service(bench: Bench) -> None:
    pace_hz = await _pace_hz(bench)
    bench.ml.reading.clear()
    loop = asyncio.get_running_loop()
    end_s = loop.time() + HANG_MAX_S
    await _all_are_kept(bench, HANG_MIN)
    kept = HANG_MIN
    while kept < HANG_SAMPLES and pace_hz * HANG_MAX_S > HANG_SAMPLES / 2 and loop.time() < end_s:
        await _all_are_kept(bench, SEND_GROUP)
        kept += SEND_GROUP
    if kept < HANG_SAMPLES:
        raise NotJudged(
            f"{kept} samples are kept, but at {pace_hz:.0f} a second it takes too long to fill"
            " the buffers between the two; with --strict M-1.2/flooded does",
            counts=False,
        )


async def _pace_hz(bench: Bench) -> float:
    """Return how many samples the backend keeps per second."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    with arranging(f"{PACE_SAMPLES} samples kept, to measure the pace"):
        await _all_are_kept(bench, PACE_SAMPLES)
    return PACE_SAMPLES / (loop.time() - began_s)


@CHECKS.add(
    "M-1.2/flooded",
    "Thousands of samples that the service does not read delay none",
    needs="ml sensor",
    strict=True,
)
async def flooded_service(bench: Bench) -> None:
    pace_hz = await _pace_hz(bench)
    bench.ml.reading.clear()
    await _all_are_kept(bench, round(min(FLOOD_MAX, max(HANG_SAMPLES, FLOOD_S * pace_hz))))


@CHECKS.add("M-1.2/down", "Samples are kept while the service is down", needs="ml sensor")
async def service_down(bench: Bench) -> None:
    await bench.ml.fall()
    await _all_are_kept(bench, 50)


async def _all_are_kept(bench: Bench, count: int) -> None:
    """Send samples and expect each in the database, or acknowledged."""
    if bench.database is not None:
        after = bench.db.last_row()
        async with bench.sensor() as sensor:
            for _ in range(0, count, SEND_GROUP):
                await sensor.send(*(bench.fresh()[1] for _ in range(min(SEND_GROUP, count))))
                bench.pulse.beat()
            await _reaches(bench, after, -(-count // SEND_GROUP) * min(SEND_GROUP, count))
    elif "v1" not in bench.lacks:
        async with bench.sensor(v1=True) as sensor:
            sent = await send_numbered(bench, sensor, count)
            await _all_acked(bench, sensor, sent[-1][0])
    else:
        raise Skip("needs --store, or a backend that speaks ctgkit.v1")


async def _all_acked(bench: Bench, sensor: Line, last: int) -> None:
    done = await until_rest(
        lambda: max(acks(sensor), default=-1) >= last, bench.pulse, 3 * bench.timeout_s
    )
    if not done:
        raise Mismatch(f'{{"ack": {last}}}', sensor.seen())


async def _reaches(bench: Bench, after: int, count: int) -> None:
    """Wait for so many rows, for as long as there is progress: slow is not held up."""
    stored = 0

    def all_there() -> bool:
        nonlocal stored
        now = bench.db.count(after, bench.own_id)
        if now > stored:
            stored = now
            bench.pulse.beat()
        return stored >= count

    if not await until_rest(all_there, bench.pulse, 3 * bench.timeout_s):
        raise Mismatch(
            f"{count} samples in the database", f"{stored} are, and no more came for a while"
        )
