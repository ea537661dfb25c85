"""The checks of an ML service: clauses M-2 and M-3.

The checker is the backend. Data time is what counts, so minutes of it are sent in a moment.
"""

import itertools
import re
from functools import partial
from typing import Any

from ctgkit.check.checks import Catalogue, Mismatch, NotJudged
from ctgkit.check.messages import excerpt, sample, shape_problem
from ctgkit.check.service import liveness
from ctgkit.check.service.rig import (
    ENOUGH_S,
    LONG_S,
    ServiceBench,
    Trace,
    calm,
    has_prediction,
    new_sensor,
    worsening,
)

SERVICE = Catalogue()
FIRST_AFTER_S, EVERY_S = 300.0, 30.0
"""First prediction and its period, seconds of data time."""
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
THRESHOLDS = (0.3, 0.5, 0.8)
RISKS = ("low", "medium", "high", "critical")


@SERVICE.add("M-1.1/sensors", "One connection may carry many sensors")
async def many_sensors(bench: ServiceBench) -> None:
    ids = [new_sensor() for _ in range(5)]
    async with bench.talk() as talk:
        answers = await talk.ask(*(bench.request(i, 10.0, 140.5) for i in ids))
    got = [a.get("sensorID") if isinstance(a, dict) else a for a in answers]
    if got != ids:
        raise Mismatch("an answer for each of five sensors", str(got)[:120])


@SERVICE.add("M-1.1/again", "After a reconnect the service answers again")
async def answers_again(bench: ServiceBench) -> None:
    for _ in range(2):
        async with bench.talk() as talk:
            await talk.ask(bench.request(new_sensor(), 10.0, 140.5))
            talk.line.connection.transport.abort()


@SERVICE.add("M-2.1/request", "A request in the chosen format is understood")
async def understands(bench: ServiceBench) -> None:
    if bench.only_flat:
        raise Mismatch(
            "nested requests are understood",
            "this service takes only flat messages; all else was judged with --ml-format flat",
        )
    await _plain(bench, 140.5)


@SERVICE.add("M-2.1/no-signal", "A request without signal is understood")
async def understands_no_signal(bench: ServiceBench) -> None:
    await _plain(bench, "null")


async def _plain(bench: ServiceBench, fhr: float | str) -> dict[str, Any]:
    async with bench.talk() as talk:
        (answer,) = await talk.ask(bench.request(new_sensor(), 10.0, fhr))
    if not isinstance(answer, dict) or "sensorID" not in answer:
        raise Mismatch("a result", str(answer)[:120])
    return answer


@SERVICE.add("M-3.1/shape", "A result has the contract's members and types")
async def shape(bench: ServiceBench) -> None:
    async with bench.talk() as talk:
        await talk.ask(bench.request(new_sensor(), 10.0, 140.5))
        if problem := shape_problem(talk.line.received[-1]):
            raise Mismatch("the shape of a result", f"{problem}: {excerpt(talk.line.received[-1])}")


@SERVICE.add("M-3.1/echo", "A result repeats its sample")
async def echo(bench: ServiceBench) -> None:
    sensor_id = new_sensor()
    async with bench.talk() as talk:
        (answer,) = await talk.ask(bench.request(sensor_id, 10.25, 140.5, 15.25))
    data = answer.get("data") if isinstance(answer, dict) else None
    data = data if isinstance(data, dict) else {}
    got = (
        answer.get("sensorID"),
        answer.get("secFromStart"),
        data.get("BPMChild"),
        data.get("uterus"),
    )
    if got != (wanted := (sensor_id, 10.25, 140.5, 15.25)):
        raise Mismatch(str(wanted), str(got))


@SERVICE.add("M-3.1/timestamp", "timestamp is ISO 8601 with Z")
async def timestamp(bench: ServiceBench) -> None:
    stamp = str((await _plain(bench, 140.5)).get("timestamp"))
    if not TIMESTAMP.fullmatch(stamp):
        raise Mismatch("2026-01-01T12:00:00.000Z", stamp)


@SERVICE.add("M-3.1/order", "Each request gets one answer, in order")
async def order(bench: ServiceBench) -> None:
    ids = [new_sensor() for _ in range(3)]
    asked = [(ids[n % 3], 10.0 + n) for n in range(150)]
    async with bench.talk() as talk:
        answers = await talk.ask(*(bench.request(i, sec, 140.5) for i, sec in asked))
        await talk.line.settle()
        extra = len(talk.line.received) - len(asked)
    got = [(a.get("sensorID"), a.get("secFromStart")) for a in answers if isinstance(a, dict)]
    if extra or got != asked:
        wrong = next((n for n, pair in enumerate(asked) if n >= len(got) or got[n] != pair), -1)
        raise Mismatch("150 answers in order", f"{len(answers)}, the first wrong is {wrong + 1}")


@SERVICE.add("M-3.2/prediction", "A prediction has the contract's members, types and ranges")
async def prediction(bench: ServiceBench) -> None:
    async with bench.talk() as talk:
        _, _, answers = await talk.predicted(calm)
    answer = next(filter(has_prediction, answers))
    if problem := prediction_problem(answer["prediction"]):
        raise Mismatch("a valid prediction", f"{problem}: {str(answer['prediction'])[:120]}")


def prediction_problem(prediction: Any) -> str | None:
    """Return what is wrong with a prediction (PROTOCOL M-3.2), or None."""
    if not isinstance(prediction, dict):
        return "not an object"
    for name in ("hypoxia_probability", "confidence"):
        value = prediction.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
            return f"{name} is not in 0 to 1"
    if prediction.get("hypoxia_risk") not in RISKS:
        return "hypoxia_risk is not " + ", ".join(RISKS)
    for name in ("alerts", "recommendations"):
        value = prediction.get(name)
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            return f"{name} is not a list of texts"
    return None


def _probabilities(answers: list[Any]) -> set[float]:
    found = [a["prediction"].get("hypoxia_probability") for a in answers if _predicts(a)]
    return {p for p in found if isinstance(p, int | float)}


def _predicts(answer: Any) -> bool:
    return has_prediction(answer) and isinstance(answer["prediction"], dict)


PLAYED: dict[str, tuple[str, Trace]] = {
    "calm": ("a calm trace", calm),
    "flat": ("a flat trace at 165", lambda _: 165),
    "slow": ("a heart rate of 85", lambda n: 85 + n % 3),
    "lossy": ("a trace that is half lost", lambda n: "null" if n % 2 else 150 + n % 5),
}


async def _thresholds(fhr: Trace, bench: ServiceBench) -> None:
    async with bench.talk() as talk:
        _, _, answers = await talk.predicted(fhr)
    _judge_thresholds(answers)


def _judge_thresholds(answers: list[Any]) -> None:
    """Raise a Mismatch unless risk and status of all answers follow their probability."""
    for answer in filter(has_prediction, answers):
        if not isinstance(answer["prediction"], dict):
            raise Mismatch("an object", str(answer["prediction"])[:120])
        p = answer["prediction"].get("hypoxia_probability")
        if not isinstance(p, int | float):
            raise Mismatch("a probability", str(p))
        risk = RISKS[(p > 0.3) + (p > 0.5) + (p > 0.8)]
        status = ("ok", "warning", "critical")[(p > 0.5) + (p > 0.8)]
        got = (answer["prediction"].get("hypoxia_risk"), answer.get("status"))
        if got != (risk, status):
            raise Mismatch(f"risk {risk} and status {status} at {p}", f"{got[0]} and {got[1]}")


for _name, (_what, _fhr) in PLAYED.items():
    SERVICE.add(f"M-3.2/risk-{_name}", f"Risk and status follow the probability: {_what}")(
        partial(_thresholds, _fhr)
    )


@SERVICE.add("M-3.2/risk-levels", "Risk and status are right on both sides of each threshold")
async def risk_levels(bench: ServiceBench) -> None:
    reached: set[float] = set()
    for fhr, end_s in ((worsening, LONG_S), (PLAYED["slow"][1], ENOUGH_S)):
        async with bench.talk() as talk:
            _, _, answers = await talk.predicted(fhr, end_s)
        _judge_thresholds(answers)
        reached |= _probabilities(answers)
    if beyond := [t for t in THRESHOLDS if not any(p > t for p in reached)]:
        raise NotJudged(
            f"no trace drove the probability above {beyond[0]:g}:"
            f" it stayed between {min(reached):g} and {max(reached):g}",
            counts=False,
        )


async def _first(rate_hz: float, bench: ServiceBench) -> None:
    """Expect no prediction before 300 s of data time, and one within the next period."""
    begin_s, end_s = 10.0, 10.0 + FIRST_AFTER_S + EVERY_S
    async with bench.talk() as talk:
        sensor_id = new_sensor()
        answers = await talk.play(sensor_id, begin_s, end_s, rate_hz, calm)
    secs = [
        begin_s + n / rate_hz
        for n, a in enumerate(answers)
        if isinstance(a, dict) and a.get("prediction")
    ]
    expected = (
        f"the first prediction {FIRST_AFTER_S:g} to {FIRST_AFTER_S + EVERY_S:g} s after the start"
    )
    if not secs:
        raise Mismatch(expected, "none came")
    if secs[0] - begin_s < FIRST_AFTER_S - 1 / rate_hz - 0.01:
        raise Mismatch(expected, f"it came after {secs[0] - begin_s:g} s")


for _hz in (1.0, 4.0, 1 / 0.12):
    SERVICE.add(f"M-3.3/first-{_hz:.3g}hz", f"5 minutes are 5 minutes at {_hz:.3g} Hz")(
        partial(_first, _hz)
    )


@SERVICE.add("M-3.3/period", "A prediction is repeated for 30 s of data time, then renewed")
async def period(bench: ServiceBench) -> None:
    async with bench.talk() as talk:
        _, rate_hz, answers = await talk.predicted(worsening, LONG_S)
    made: list[float] = []
    last = None
    for n, answer in enumerate(answers):
        now = answer.get("prediction") if isinstance(answer, dict) else None
        if now is None and last is not None:
            raise Mismatch("the last prediction is repeated", f"none at {10 + n / rate_hz:g} s")
        if now != last:
            made.append(n / rate_hz)
            last = now
    for earlier, later in itertools.pairwise(made):
        if later - earlier < EVERY_S - 1:
            raise Mismatch(
                f"a new prediction every {EVERY_S:g} s", f"one after {later - earlier:g} s"
            )
    if len(made) < 2:
        raise NotJudged("all its predictions are the same, of a trace that worsens", counts=False)


@SERVICE.add("M-3.3/separate", "Each sensor has its own five minutes")
async def separate(bench: ServiceBench) -> None:
    async with bench.talk() as talk:
        _, rate_hz, _ = await talk.predicted(calm)
        answers = await talk.play(new_sensor(), ENOUGH_S, ENOUGH_S + 50, rate_hz, calm)
    if any(map(has_prediction, answers)):
        raise Mismatch("no prediction for a sensor that has just begun", "another sensor's")


@SERVICE.add("M-3.4/restart", "A sensor that restarts has no old prediction")
async def restart(bench: ServiceBench) -> None:
    async with bench.talk() as talk:
        sensor_id, rate_hz, _ = await talk.predicted(calm)
        answers = await talk.play(sensor_id, 0, 60, rate_hz, calm)
    if any(map(has_prediction, answers)):
        raise Mismatch("no prediction in the first minute of a new examination", "the old one")


UNREADABLE: dict[str, tuple[str, str | bytes]] = {
    "json": ("Invalid JSON", '{"sensorID": '),
    "utf8": ("Bytes that are not UTF-8", b'{"sensorID": "\xff"}'),
    "scalar": ("A number", "42"),
    "list": ("A list", "[1, 2]"),
    "empty": ("An empty object", "{}"),
    "sec-text": ("secFromStart as a string", sample('"1"', sensor_id="a")),
    "nan": ("NaN", sample(1, "NaN", sensor_id="a")),
    "bpm-text": ("BPMChild as a string", sample(1, '"140"', sensor_id="a")),
}


async def _unreadable(message: str | bytes, bench: ServiceBench) -> None:
    """Expect an error answer, and a result for the good request after it."""
    async with bench.talk() as talk:
        bad, good = await talk.ask(message, bench.request(new_sensor(), 10.0, 140.5))
    members = ("status", "message", "timestamp")
    about = f"the answer to {excerpt(message)}"
    if not isinstance(bad, dict) or not all(isinstance(bad.get(m), str) for m in members):
        raise Mismatch(f'{about} is {{"status": "error", "message", "timestamp"}}', str(bad)[:120])
    if bad["status"] != "error":
        raise Mismatch(f'{about} has "status": "error"', str(bad)[:120])
    if not isinstance(good, dict) or "sensorID" not in good:
        raise Mismatch(f"a result for the good request after {excerpt(message)}", str(good)[:120])


for _name, (_title, _message) in UNREADABLE.items():
    SERVICE.add(f"M-3.5/{_name}", f"{_title}: answered with an error")(
        partial(_unreadable, _message)
    )


@SERVICE.add("M-3.6/names", "With a prediction, all names of the contract are present")
async def names(bench: ServiceBench) -> None:
    async with bench.talk() as talk:
        _, _, answers = await talk.predicted(calm)
    answer = next(filter(has_prediction, answers))
    wanted = {"sensorID", "secFromStart", "data", "prediction", "status", "timestamp"}
    wanted_of_it = {
        "hypoxia_probability", "hypoxia_risk", "alerts", "confidence", "recommendations"
    }  # fmt: skip
    missing = (wanted - answer.keys()) | (wanted_of_it - set(answer["prediction"]))
    if missing:
        raise Mismatch("every name of M-3.1 and M-3.2", "missing: " + ", ".join(sorted(missing)))


SERVICE.checks |= liveness.CHECKS.checks
