"""What is a sample and what isn't: clauses S-4."""

import asyncio
from collections.abc import Callable
from functools import partial

from ctgkit.check.backend.door import STRANGER
from ctgkit.check.checks import Catalogue, Mismatch
from ctgkit.check.connection import Line
from ctgkit.check.liveness import answers_pings
from ctgkit.check.messages import BAD_SEC, Reading, sample
from ctgkit.check.rig import Bench
from ctgkit.check.watch import Watch, is_at

CHECKS = Catalogue()
BAD_FRAMES_MAX = 100
VALUES = ("secFromStart", "BPMChild", "uterus", "spasms")
PRECISE = (140.7123456789, 15.312345678901, 0.123456789)
"""Values that 32 bits, or some digits, don't hold."""


async def arrives(bench: Bench, frame: str | bytes, sec: float) -> Reading:
    """Send one frame and return how its sample at *sec* arrived."""
    async with bench.watch() as watch, bench.sensor() as sensor:
        await sensor.send(frame)
        try:
            return await watch.saw(sec)
        finally:
            sensor.must_live()


async def still_heard(bench: Bench, watch: Watch, sensor: Line) -> float:
    """Expect that a good sample arrives after what was sent before; return its data time."""
    sec = await bench.sends(sensor)
    try:
        await watch.saw(sec)
    finally:
        sensor.must_live()
    return sec


async def rejects(bench: Bench, frame: str | bytes) -> None:
    """Expect that nothing comes of *frame*, and that a good sample after it arrives."""
    async with bench.watch() as watch, bench.sensor() as sensor:
        await sensor.send(own_moment(bench, frame))
        none_but(watch, await still_heard(bench, watch, sensor))


def own_moment(bench: Bench, frame: str | bytes) -> str | bytes:
    """Return a bad frame with a data time of its own: a late one is not taken for the next."""
    sec = f"{bench.bad_sec():g}"
    if isinstance(frame, bytes):
        return frame.replace(BAD_SEC.encode(), sec.encode())
    return frame.replace(BAD_SEC, sec)


async def _rejects(frame: str | bytes, bench: Bench) -> None:
    await rejects(bench, frame)


def none_but(watch: Watch, *secs: float) -> None:
    """Raise a Mismatch if anything arrived that is not at one of *secs*."""
    if stray := [r for r in watch.fresh() if not any(is_at(r, sec) for sec in secs)]:
        raise Mismatch("the bad sample is rejected", f"it arrived {watch.where}: {stray[0]}")
    if foreign := watch.foreign():
        raise Mismatch(
            "the bad sample is rejected",
            f"it arrived {watch.where} as a sample of {foreign[0].sensor_id}: {foreign[0]}",
        )


def same(got: object, wanted: float | None, what: str) -> None:
    """Raise a Mismatch unless a value came through unchanged."""
    if got != wanted:
        raise Mismatch(f"{what} {wanted}", f"{what} {got}")


# Good samples: what they are called and what they look like around their data time.

GOOD: dict[str, tuple[str, Callable[[float], str | bytes]]] = {
    "S-4.1/text": ("A sample in a text frame arrives", sample),
    "S-4.1/binary": ("A sample in a binary frame arrives", lambda sec: sample(sec).encode()),
    "S-4.1/integers": ("Integers are numbers", lambda sec: sample(int(sec), 140, 15, 0)),
    "S-4.1/exponent": ("1.405e2 is a number", lambda sec: sample(sec, "1.405e2")),
    "S-4.1/whitespace": (
        "White space between members is allowed",
        lambda sec: "\n\t" + sample(sec).replace(": ", " :\r\n ") + " ",
    ),
    "S-4.2/bpmChild": (
        "bpmChild means BPMChild",
        lambda sec: sample(sec).replace("BPMChild", "bpmChild"),
    ),
    "S-4.2/upper": (
        "Keys in capitals mean the same",
        lambda sec: (
            sample(sec)
            .replace("secFromStart", "SECFROMSTART")
            .replace("data", "DATA")
            .replace("uterus", "UTERUS")
        ),
    ),
    "S-4.2/unknown": (
        "Unknown members are ignored",
        lambda sec: sample(sec).replace("{", '{"x": [1, {"y": null}], ', 1),
    ),
    "S-4.3/absent": (
        "Without sensorID, the sample is the sensor's own",
        lambda sec: sample(sec).replace('"sensorID": "", ', ""),
    ),
    "S-4.3/empty": ("With an empty sensorID, the sample is the sensor's own", sample),
}


async def _good(make: Callable[[float], str | bytes], bench: Bench) -> None:
    sec = float(int(bench.leap(2)) + 1)  # whole, so that it may be written without a fraction
    seen = await arrives(bench, make(sec), sec)
    if not isinstance(seen.fhr, int | float) or abs(seen.fhr - 140.5) > 0.5:
        raise Mismatch("a heart rate of 140 or 140.5", str(seen.fhr))


for _id, (_title, _make) in GOOD.items():
    CHECKS.add(_id, _title, needs="witness")(partial(_good, _make))


@CHECKS.add("S-4.1/values", "The values arrive as they were sent", needs="witness")
async def values(bench: Bench) -> None:
    sec = bench.sec() + 0.000123
    seen = await arrives(bench, sample(sec, *PRECISE), sec)
    for got, wanted, what in zip(
        (seen.sec, seen.fhr, seen.uterus, seen.spasms), (sec, *PRECISE), VALUES, strict=True
    ):
        same(got, wanted, what)


@CHECKS.add("S-4.3/own", "The sensor's own id is accepted, in capitals too", needs="witness")
async def own_id(bench: Bench) -> None:
    for sensor_id in (bench.own_id, bench.own_id.upper()):
        sec = bench.sec()
        await arrives(bench, sample(sec, sensor_id=sensor_id), sec)


@CHECKS.add("S-4.3/null", "With sensorID null, the sample is the sensor's own", needs="witness")
async def null_id(bench: Bench) -> None:
    sec = bench.sec()
    await arrives(bench, sample(sec).replace('"sensorID": ""', '"sensorID": null'), sec)


@CHECKS.add("S-4.3/other", "A sample with an unknown sensor's id is rejected", needs="witness")
async def other_id(bench: Bench) -> None:
    await rejects(bench, sample(BAD_SEC, sensor_id=STRANGER))


@CHECKS.add(
    "S-4.3/second", "A sample with another known sensor's id is rejected", needs="witness pair"
)
async def second_id(bench: Bench) -> None:
    await rejects(bench, sample(BAD_SEC, sensor_id=bench.settings.sensors[1].id))


NOT_MEASURED: dict[str, tuple[str, Callable[[float], str]]] = {
    "no-toco": (
        "absent",
        lambda sec: f'{{"secFromStart": {sec}, "data": {{"BPMChild": 140.5}}}}',
    ),
    "null-toco": ("null", lambda sec: sample(sec, 140.5, "null", "null")),
}


async def _not_measured(make: Callable[[float], str], bench: Bench) -> None:
    sec = bench.sec()
    seen = await arrives(bench, make(sec), sec)
    missing = 0 if seen.flat else None
    if (seen.uterus, seen.spasms) != (missing, missing):
        raise Mismatch("what is not measured is NULL", f"uterus {seen.uterus}, {seen.spasms}")


for _name, (_title, _make) in NOT_MEASURED.items():
    CHECKS.add(
        f"S-4.4/{_name}",
        f"uterus and spasms may be {_title}: not measured, NULL downstream",
        needs="witness",
    )(partial(_not_measured, _make))


NO_SIGNAL: dict[str, Callable[[float], str]] = {
    "null": lambda sec: sample(sec, "null"),
    "zero": lambda sec: sample(sec, 0),
    "absent": lambda sec: sample(sec).replace('"BPMChild": 140.5, ', ""),
}  # fmt: skip


async def _no_signal(make: Callable[[float], str], bench: Bench) -> None:
    sec = bench.sec()
    seen = await arrives(bench, make(sec), sec)
    same(seen.fhr or None, None, "BPMChild")
    if seen.fhr is not None and not seen.flat:
        raise Mismatch("no signal is NULL", "it is 0")


for _name, _make in NO_SIGNAL.items():
    CHECKS.add(
        f"S-4.4/{_name}",
        f"BPMChild {_name} means no signal: NULL downstream",
        needs="witness",
    )(partial(_no_signal, _make))


@CHECKS.add("S-4.5/array", "Every sample of an array arrives", needs="witness")
async def array(bench: Bench) -> None:
    async with bench.watch() as watch, bench.sensor() as sensor:
        secs = [bench.sec() for _ in range(5)]
        await sensor.send("[" + ", ".join(map(sample, secs)) + "]")
        for sec in secs:
            await watch.saw(sec)


@CHECKS.add("S-4.5/one-bad", "Only the bad sample of an array is rejected", needs="witness")
async def one_bad_of_three(bench: Bench) -> None:
    async with bench.watch() as watch, bench.sensor() as sensor:
        first, last = bench.sec(), bench.sec()
        bad = sample(bench.bad_sec(), 999)
        await sensor.send(f"[{sample(first)}, {bad}, {sample(last)}]")
        await watch.saw(first)
        await watch.saw(last)
        none_but(watch, first, last)


async def _rate(rate_hz: float, bench: Bench) -> None:
    """Send a second of samples at a rate, in real time, and expect each where it belongs."""
    loop = asyncio.get_running_loop()
    async with bench.watch() as watch, bench.sensor() as sensor:
        began_s, begin = loop.time(), bench.leap(2)
        secs = [begin + n / rate_hz for n in range(int(rate_hz) + 1)]
        for sec in secs:
            await asyncio.sleep(began_s + sec - begin - loop.time())
            await sensor.send(sample(sec))
        for sec in secs:
            await watch.saw(sec)


for _hz in (1.0, 4.0, 1 / 0.12):
    CHECKS.add(f"S-4.6/{_hz:.3g}hz", f"Samples at {_hz:.3g} Hz all arrive", needs="witness")(
        partial(_rate, _hz)
    )


EDGES: dict[str, tuple[float, float, float]] = {
    "lowest": (20, -50, -50),
    "highest": (300, 300, 300),
}
BEYOND = {
    "fhr-low": sample(BAD_SEC, 19.9),
    "fhr-high": sample(BAD_SEC, 300.1),
    "fhr-negative": sample(BAD_SEC, -1),
    "uterus-low": sample(BAD_SEC, uterus=-50.1),
    "uterus-high": sample(BAD_SEC, uterus=300.1),
    "spasms-high": sample(BAD_SEC, spasms=300.1),
    "sec-negative": sample(-0.5),
    "sec-high": sample(31_622_400.5),
}


async def _edge(edge: tuple[float, float, float], bench: Bench) -> None:
    sec = bench.sec()
    seen = await arrives(bench, sample(sec, *edge), sec)
    for got, wanted, what in zip(
        (seen.fhr, seen.uterus, seen.spasms), edge, VALUES[1:], strict=True
    ):
        same(got, wanted, what)


for _name, _edge_values in EDGES.items():
    CHECKS.add(f"S-4.7/{_name}", f"The {_name} values arrive", needs="witness")(
        partial(_edge, _edge_values)
    )
for _name, _text in BEYOND.items():
    CHECKS.add(f"S-4.7/{_name}", f"An out-of-range value ({_name}) is rejected", needs="witness")(
        partial(_rejects, _text)
    )


MALFORMED: dict[str, tuple[str, str | bytes]] = {
    "json": ("Invalid JSON", '{"secFromStart": 500.5, "data": {"BPMChild": 140'),
    "utf8": ("Invalid UTF-8 in a binary frame", sample(BAD_SEC).encode().replace(b'""', b'"\xff"')),
    "empty": ("An empty frame", ""),
    "trailing": ("Two objects in one frame", sample(BAD_SEC) * 2),
    "comma": ("A comma before a brace", sample(BAD_SEC).replace("}}", ",}}")),
    "scalar": ("A number alone", "140.5"),
    "null": ("null alone", "null"),
    "deep": ("Brackets nested 4000 deep", "[" * 4000 + "]" * 4000),
    "nan": ("NaN", sample(BAD_SEC, "NaN")),
    "infinity": ("Infinity", sample(BAD_SEC, "Infinity")),
    "overflow": ("1e999, which is not finite", sample(BAD_SEC, "1e999")),
    "digits": ("A number of 5000 digits", sample(BAD_SEC, "1" * 5000)),
    "text": ("A number written as a string", sample(BAD_SEC, '"140.5"')),
    "bool": ("true instead of a number", sample(BAD_SEC, "true")),
    "list": ("A list instead of a number", sample(BAD_SEC, "[140.5]")),
    "object": ("An object instead of a number", sample(BAD_SEC, "{}")),
    "toco-bool": ("true as uterus", sample(BAD_SEC, uterus="true")),
    "toco-text": ("A string as uterus", sample(BAD_SEC, uterus='"15"')),
    "sec-absent": ("secFromStart absent", '{"data": {"BPMChild": 140.5}}'),
    "sec-null": ("secFromStart null", sample("null")),
    "sec-text": ("secFromStart as a string", sample('"500.5"')),
    "sec-nan": ("secFromStart NaN", sample("NaN")),
    "data-absent": ("data absent", '{"secFromStart": 500.5}'),
    "data-list": ("data as a list", '{"secFromStart": 500.5, "data": [140.5, 15, 0]}'),
    "id-number": ("sensorID as a number", sample(BAD_SEC).replace('""', "7")),
}

for _name, (_title, _frame) in MALFORMED.items():
    CHECKS.add(
        f"S-4.8/{_name}", f"{_title}: rejected, and the connection stays open", needs="witness"
    )(partial(_rejects, _frame))


@CHECKS.add("C-2.1/flow", "A ping is answered while samples flow", needs="sensor")
async def ping(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        for _ in range(5):
            await sensor.send(*(bench.fresh()[1] for _ in range(20)))
            await answers_pings(sensor.connection, bench.timeout_s)


@CHECKS.add(
    "S-4.5/empty", "An empty array is a bad frame: 100 of them close with 1008", needs="sensor"
)
async def empty_arrays(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        await sensor.send(*["[]"] * BAD_FRAMES_MAX)
        await sensor.closed(1008)


@CHECKS.add("S-4.8/control", "A ping is answered, a pong is ignored", needs="witness")
async def control_frames(bench: Bench) -> None:
    async with bench.watch() as watch, bench.sensor() as sensor:
        await sensor.connection.pong(b"unasked")
        await sensor.settle()
        sec = await bench.sends(sensor)
        await watch.saw(sec)


@CHECKS.add("S-4.9/hundred", "100 bad frames in a row close with 1008", needs="sensor")
async def hundred_bad(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        await sensor.send(*[sample(bench.bad_sec(), 999)] * BAD_FRAMES_MAX)
        await sensor.closed(1008)


@CHECKS.add(
    "S-4.9/in-a-row", "99 bad frames, a good one, and 99 bad ones close nothing", needs="witness"
)
async def interrupted_row(bench: Bench) -> None:
    async with bench.watch() as watch, bench.sensor() as sensor:
        for _ in range(2):
            await sensor.send(*[sample(bench.bad_sec(), 999)] * (BAD_FRAMES_MAX - 1))
            await still_heard(bench, watch, sensor)


TIMES: dict[str, tuple[str, tuple[float, ...]]] = {
    "repeated": ("Two samples with the same time both arrive", (0, 0)),
    "reordered": ("Samples out of order arrive as sent", (0.5, 0, 0.25)),
    "jump": ("Samples arrive after the time jumps forward an hour", (0, 3600)),
    "back": ("Samples arrive after the time goes back an hour", (3600, 0)),
}


async def _times(offsets: tuple[float, ...], bench: Bench) -> None:
    begin = bench.leap(7200)
    secs = [begin + offset for offset in offsets]
    async with bench.watch() as watch, bench.sensor() as sensor:
        await sensor.send(*map(sample, secs))
        await watch.saw(secs[-1])
        for sec in secs:
            await watch.saw(sec, secs.count(sec))


for _name, (_title, _offsets) in TIMES.items():
    CHECKS.add(f"S-4.11/{_name}", _title, needs="witness")(partial(_times, _offsets))
