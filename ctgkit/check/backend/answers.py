"""Which answer belongs to which sample, and what isn't relayed: more of V-2, M-2 and M-4."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

from ctgkit.check.backend.ml import comes_back
from ctgkit.check.backend.samples import PRECISE, VALUES
from ctgkit.check.backend.viewers import (
    SILENT_S,
    asked,
    falls_back,
    gets,
    gets_about,
    gets_answer,
    gets_later,
    is_fallback,
    read_on,
    requests_at,
    shown,
    slow_viewer,
)
from ctgkit.check.checks import TIMED, Catalogue, Mismatch, arranging
from ctgkit.check.connection import Line
from ctgkit.check.messages import PREDICTION, excerpt, parsed, reading, result, sample
from ctgkit.check.ml_service import echo, silence
from ctgkit.check.rig import Bench

CHECKS = Catalogue()
DELAY_MAX_S, LEEWAY_S = 1.0, 0.5
PATIENT_RESULTS, PATIENT_BYTES = 250, 16_000
"""What waits for a viewer that pauses: less than 256 results, and than 4 MiB."""


async def _answered_once(bench: Bench, viewer: Line, sec: float, how: str) -> None:
    """Wait until a sample would count as unanswered, and see that it doesn't."""
    await asyncio.sleep(SILENT_S + DELAY_MAX_S)
    await viewer.settle()
    if extra := [t for t in shown(viewer, sec) if is_fallback(t, sec)]:
        raise Mismatch(f"the sample that was answered{how} isn't shown without", excerpt(extra[0]))


@CHECKS.add(
    "V-2.2/answered",
    "An answered sample is not also shown without its result",
    needs="sensor ml",
    tries=TIMED,
)
async def answered(bench: Bench) -> None:
    async with bench.viewer() as viewer, bench.sensor() as sensor:
        sec = await bench.sends(sensor)
        await gets_about(viewer, sec)
        await _answered_once(bench, viewer, sec, "")


@CHECKS.add(
    "M-4.2/number",
    "A result answers its sample however secFromStart is written",
    needs="sensor ml",
    tries=TIMED,
)
async def number_in_another_form(bench: Bench) -> None:
    begin = int(bench.leap(4)) + 1

    def spelt(request: str) -> Sequence[str]:
        seen, text = reading(request), result(request)
        if seen is None or seen.sec != begin + 1:
            return (text,)
        head, _, rest = text.partition('"secFromStart": ')
        return (f'{head}"secFromStart": {(begin + 1) / 1000!r}e3,{rest.partition(",")[2]}',)

    bench.ml.answer = spelt
    async with bench.viewer() as viewer, bench.sensor() as sensor:
        await sensor.send(sample(begin), sample(begin + 1))
        await gets_about(viewer, begin + 1)
        try:
            await _answered_once(bench, viewer, begin + 1, " with the time in another form")
        except Mismatch:
            if not any(is_fallback(t, begin) for t in viewer.received):
                raise  # otherwise so is every sample, as V-2.2/answered says


@CHECKS.add(
    "M-4.2/twins",
    "One result for two samples with the same time answers only the first",
    needs="sensor ml",
    tries=TIMED,
)
async def twins(bench: Bench) -> None:
    asked: list[str] = []

    def first_only(request: str) -> Sequence[str]:
        asked.append(request)
        return (result(request),) if len(asked) == 1 else ()

    bench.ml.answer = first_only
    async with bench.viewer() as viewer, bench.sensor() as sensor:
        with arranging("an unanswered sample is shown (V-2.2/silent)"):
            asked.append("")  # the first was answered
            await falls_back(viewer, await bench.sends(sensor))
        bench.ml.answer = echo  # one that is known to be silent may be asked no more
        with arranging("a service that answers again is asked"):
            await gets_answer(bench, viewer, await bench.sends(sensor))
        bench.ml.answer = first_only
        asked.clear()
        sec = bench.sec()
        await sensor.send(sample(sec, 140.5), sample(sec, 151.5))
        await falls_back(viewer, sec)
        await viewer.settle()
        lost = [seen.fhr for t in viewer.received if is_fallback(t, sec) and (seen := reading(t))]
        if lost != [151.5]:
            raise Mismatch("the second sample alone is shown without, BPMChild 151.5", f"{lost}")


@CHECKS.add("V-2.2/once", "An unanswered sample is shown once", needs="sensor ml")
async def shown_once(bench: Bench) -> None:
    """Let its time pass, then cut the connection over which it was asked."""
    bench.ml.answer = silence
    async with bench.viewer() as viewer, bench.sensor() as sensor:
        sec = await bench.sends(sensor)
        with arranging("an unanswered sample is shown"):
            await falls_back(viewer, sec)
        await bench.ml.drop()
        await asyncio.sleep(DELAY_MAX_S)
        await viewer.settle()
        if (count := len(shown(viewer, sec))) != 1:
            raise Mismatch(f"one message about {sec:g} s", f"{count}")


@CHECKS.add(
    "V-2.2/in-time",
    "An unanswered sample is shown within 2 s plus at most 1 s",
    needs="sensor ml",
    tries=TIMED,
)
async def shown_in_time(bench: Bench) -> None:
    loop, limit_s = asyncio.get_running_loop(), SILENT_S + DELAY_MAX_S
    async with bench.viewer() as viewer, bench.sensor() as sensor:
        # one that is known to be silent may be asked no more
        await gets_answer(bench, viewer, await bench.sends(sensor))
        bench.ml.answer = silence
        sec, _ = await asked(bench, sensor)
        began_s = loop.time()
        with arranging("an unanswered sample is shown"):
            await falls_back(viewer, sec)
        if (taken_s := loop.time() - began_s) > limit_s + LEEWAY_S:
            raise Mismatch(f"within {limit_s:g} s", f"{taken_s:.1f} s")


@CHECKS.add("V-2.1/left", "A result of a sensor that has left reaches viewers", needs="sensor ml")
async def sensor_has_left(bench: Bench) -> None:
    bench.ml.answer = silence
    async with bench.viewer() as viewer:
        async with bench.sensor() as sensor:
            _, request = await asked(bench, sensor)
        await gets_later(bench, viewer, request)


@CHECKS.add(
    "V-2.3/patient",
    "A viewer that pauses for 250 results stays connected and gets them",
    needs="sensor ml",
)
async def patient_queue(bench: Bench) -> None:
    async with AsyncExitStack() as stack:
        with arranging("results for a viewer that reads, beside one that pauses (V-2.3/others)"):
            pausing = slow_viewer(bench, PATIENT_RESULTS, PATIENT_BYTES)
            slow = await stack.enter_async_context(pausing)
        if (got := await read_on(bench, slow, PATIENT_RESULTS)) < PATIENT_RESULTS:
            how = f"closed with {slow.close_code}" if slow.close_code else "nothing more came"
            raise Mismatch(f"{PATIENT_RESULTS} results after the pause", f"{got}: {how}")


# What isn't relayed


def _changed(**changes: object) -> Callable[[str], str]:
    return lambda request: result(request, note="bad", **changes)


def _without(member: str) -> Callable[[str], str]:
    def make(request: str) -> str:
        message = parsed(result(request, note="bad"))
        del message[member]
        return json.dumps(message)

    return make


def _nan(request: str) -> str:
    text = result(request, note="bad", prediction=PREDICTION)
    return text.replace("0.62", "NaN")


BAD_RESULTS: dict[str, tuple[str, Callable[[str], str]]] = {
    "no-status": ("A result without status", _without("status")),
    "no-time": ("A result without secFromStart", _without("secFromStart")),
    "no-data": ("A result without data", _without("data")),
    "range": (
        "A probability of 62",
        _changed(prediction=PREDICTION | {"hypoxia_probability": 62}),
    ),
    "alerts": (
        "A string for the list of alerts",
        _changed(prediction=PREDICTION | {"alerts": "x"}),
    ),
    "nan": ("A result with NaN, which is not JSON", _nan),
}


async def _not_relayed(make: Callable[[str], str], bench: Bench) -> None:
    bench.ml.answer = lambda request: (make(request), result(request, note="good"))
    async with bench.viewer() as viewer, bench.sensor() as sensor:
        await bench.sends(sensor)
        await gets(viewer, lambda t: '"good"' in str(t), "the good result after the bad one")
        if bad := [t for t in viewer.received if '"bad"' in str(t)]:
            raise Mismatch("it isn't relayed", excerpt(bad[0]))


for _name, (_title, _make) in BAD_RESULTS.items():
    CHECKS.add(f"M-4.1/{_name}", f"{_title}: not relayed", needs="sensor ml")(
        partial(_not_relayed, _make)
    )


@CHECKS.add(
    "M-2.3/discarded",
    "Answers to samples resent to the service after a reconnect reach no viewer",
    needs="sensor ml",
)
async def answers_to_the_past(bench: Bench) -> None:
    async with bench.viewer() as viewer, bench.sensor() as sensor:
        earlier = [bench.fresh() for _ in range(5)]
        await sensor.send(*(text for _, text in earlier))
        for sec, _ in earlier:
            await gets_answer(bench, viewer, sec)
        old = {sec for sec, _ in earlier}

        def again(request: str) -> Sequence[str]:
            seen = reading(request)
            return (result(request, note="again" if seen and seen.sec in old else "new"),)

        bench.ml.answer = again
        await bench.ml.drop()
        with arranging("the backend comes back"):
            await comes_back(bench, bench.settings.patience_s)
        sec = await bench.sends(sensor)
        await gets_about(viewer, sec)
        if extra := [t for t in viewer.received if '"again"' in str(t)]:
            raise Mismatch("answers to what was sent again are discarded", excerpt(extra[0]))


# Requests


async def _request(bench: Bench, sensor: Line, sec: float, text: str) -> str:
    await sensor.send(text)
    return (await requests_at(bench, sec))[0]


@CHECKS.add("M-2.1/values", "A request has the values as they were sent", needs="sensor ml")
async def request_values(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        sec = bench.sec()
        seen = reading(await _request(bench, sensor, sec, sample(sec, *PRECISE)))
        got = seen and (seen.fhr, seen.uterus, seen.spasms)
        if got != PRECISE:
            raise Mismatch(f"{', '.join(VALUES[1:])}: {PRECISE}", f"{got}")


def _members(request: str) -> dict[str, object]:
    message = parsed(request)
    nested = message.get("data") if isinstance(message, dict) else None
    return nested if isinstance(nested, dict) else message


@CHECKS.add(
    "M-2.1/not-measured",
    "An unmeasured value is sent as null, in the flat format as 0",
    needs="sensor ml",
)
async def request_without_toco(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        sec = bench.sec()
        text = await _request(bench, sensor, sec, sample(sec, 140.5, "null", "null"))
        flat = not isinstance(parsed(text).get("data"), dict)
        members = _members(text)
        if any(members.get(name, "") != (0 if flat else None) for name in VALUES[2:]):
            raise Mismatch("uterus and spasms null, or 0 in the flat format", excerpt(text))


@CHECKS.add("M-2.1/anew", "A request spells its keys as PROTOCOL does", needs="sensor ml")
async def request_is_written_anew(bench: Bench) -> None:
    async with bench.sensor() as sensor:
        sec = bench.sec()
        odd = sample(sec).replace("BPMChild", "bpmChild").replace("uterus", "UTERUS")
        with arranging("a sample with keys in another case is taken (S-4.2)"):
            text = await _request(bench, sensor, sec, odd)
        if missing := [name for name in VALUES[1:] if name not in _members(text)]:
            raise Mismatch(f"the member {missing[0]}", excerpt(text))


@CHECKS.add("M-2.1/no-seq", "A request has no seq", needs="v1 ml")
async def request_without_number(bench: Bench) -> None:
    async with bench.sensor(v1=True) as sensor:
        sec = bench.sec()
        text = await _request(bench, sensor, sec, sample(sec, seq=bench.seq()))
        if "seq" in parsed(text):
            raise Mismatch("no seq", excerpt(text))
