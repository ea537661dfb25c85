"""What a viewer that joins later gets of the past: clause V-3."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from ctgkit.check.backend.takeover import must_end
from ctgkit.check.backend.viewers import gets, gets_about, gets_answer, is_fallback, shown
from ctgkit.check.checks import Catalogue, Mismatch, arranging
from ctgkit.check.connection import until
from ctgkit.check.messages import (
    PREDICTION,
    excerpt,
    parsed,
    reading,
    result,
    sample,
    shape_problem,
)
from ctgkit.check.rig import Bench
from ctgkit.check.watch import is_at

CHECKS = Catalogue()


@CHECKS.add("V-3.1/past", "?backfill=S starts with past results", needs="witness", level="SHOULD")
async def backfill(bench: Bench) -> None:
    async with _with_past(bench, (0, 1, 2, 3)) as secs, bench.viewer("?backfill=600") as viewer:
        for sec in secs:
            text = (await gets_about(viewer, sec))[0]
            message = parsed(text)
            if message.get("prediction") is not None or message.get("status") != "ok":
                raise Mismatch('"prediction": null, "status": "ok"', excerpt(text))
            if problem := shape_problem(text):
                raise Mismatch("the shape of a result", f"{problem}: {excerpt(text)}")


@CHECKS.add(
    "V-3.1/seconds", "The past goes back no further than S seconds", needs="witness", level="SHOULD"
)
async def backfill_is_bounded(bench: Bench) -> None:
    async with _with_past(bench, (0, 100, 195, 200)) as secs, bench.viewer("?backfill=10") as late:
        await gets_about(late, secs[-1])
        await gets_about(late, secs[-2])
        if old := [sec for sec in secs[:2] if shown(late, sec)]:
            raise Mismatch("the last 10 s", f"a sample {secs[-1] - old[0]:g} s old")


@CHECKS.add("V-3.1/bad", "A backfill that is not a number of seconds gets 400", level="SHOULD")
async def bad_backfill(bench: Bench) -> None:
    for text in ("x", "nan", "1e"):
        response = await bench.handshake(f"/ws?backfill={text}", bench.viewer_headers())
        if response.status != 400:
            raise Mismatch(f"HTTP 400 for ?backfill={text}", f"HTTP {response.status}")


@CHECKS.add(
    "V-3.1/sensors", "The past is each sensor's own last S seconds",
    needs="witness pair", level="SHOULD",
)  # fmt: skip
async def past_of_each(bench: Bench) -> None:
    """Let a second sensor be an hour ahead in its own data time."""
    async with _with_past(bench, (0, 1)) as secs, bench.sensor(1) as other:
        ahead = bench.leap(3600) + 3600
        async with bench.viewer("?backfill=0.001") as early:
            await other.send(sample(ahead))
            with arranging("the second sensor's sample is shown"):
                await gets_about(early, ahead)
        async with bench.viewer("?backfill=10") as late:
            await gets_about(late, ahead)
            for sec in secs:
                await gets_about(late, sec)


@CHECKS.add(
    "V-3.1/closed", "The past of an examination that has ended isn't shown",
    needs="witness store", level="SHOULD",
)  # fmt: skip
async def past_of_what_ended(bench: Bench) -> None:
    async with _with_past(bench, (0,)) as (sec,):
        with arranging("the sample is stored"):
            examination = await until(
                lambda: bench.examination_of(sec) or 0, "it is", lambda: "it isn't", bench.timeout_s
            )
    with arranging("its examination ends (S-5.3)"):
        await must_end(bench, examination)
    async with bench.viewer("?backfill=600") as late:
        await late.settle()
        if "viewer" not in bench.lacks:
            with arranging("what is new comes after the past"):
                async with bench.sensor() as sensor:
                    await gets_about(late, await bench.sends(sensor))
        if past := [t for t in shown(late, sec) if not is_fallback(t, sec)]:
            raise Mismatch(f"nothing about {sec:g} s", excerpt(past[0]))


@CHECKS.add("V-3.1/live", "New results follow the past", needs="witness", level="SHOULD")
async def backfill_goes_on(bench: Bench) -> None:
    async with (
        bench.sensor() as sensor,
        bench.watch() as watch,
        bench.viewer("?backfill=600") as viewer,
    ):
        sec = await bench.sends(sensor)
        await watch.saw(sec)
        await gets_about(viewer, sec)


@CHECKS.add(
    "V-3.1/prediction",
    "The last result with a prediction follows the past",
    needs="witness ml",
    level="SHOULD",
)
async def backfill_of_predictions(bench: Bench) -> None:
    bench.ml.answer = lambda request: (result(request, prediction=PREDICTION, status="warning"),)
    async with bench.viewer() as early, _with_past(bench, (0, 1)) as secs:
        await gets_answer(bench, early, secs[-1])
        async with bench.viewer("?backfill=600") as late:
            await gets(
                late,
                lambda t: t in shown(late, secs[-1]) and bool(parsed(t).get("prediction")),
                "the last result with a prediction",
            )
            await late.settle()
            first = next(n for n, t in enumerate(late.received) if _predicts(t, secs))
            if any(_is_past(t, secs) for t in late.received[first:]):
                raise Mismatch("the prediction comes after the past", "it comes before a sample")


def _about(text: str | bytes, secs: Sequence[float]) -> bool:
    seen = reading(text)
    return seen is not None and any(is_at(seen, sec) for sec in secs)


def _predicts(text: str | bytes, secs: Sequence[float]) -> bool:
    return _about(text, secs) and bool(parsed(text).get("prediction"))


def _is_past(text: str | bytes, secs: Sequence[float]) -> bool:
    return _about(text, secs) and parsed(text).get("prediction") is None


@asynccontextmanager
async def _with_past(bench: Bench, offsets: Sequence[float]) -> AsyncIterator[list[float]]:
    """Keep a sensor connected whose samples so far are at *offsets*; yield their data times.

    What viewers get of them live has been sent by then: it isn't taken for the past.
    """
    begin = bench.leap(offsets[-1])
    secs = [begin + offset for offset in offsets]
    async with AsyncExitStack() as stack:
        watch = await stack.enter_async_context(bench.watch())
        sensor = await stack.enter_async_context(bench.sensor())
        early = None
        if "viewer" not in bench.lacks:
            early = await stack.enter_async_context(bench.viewer())
        await sensor.send(*map(sample, secs))
        for sec in secs:
            await watch.saw(sec)
            if early is not None:
                with arranging("a viewer gets the samples that will be the past"):
                    await gets_answer(bench, early, sec)
        yield secs
