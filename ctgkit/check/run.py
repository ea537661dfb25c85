"""Runs checks one after another and turns what happens into verdicts."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from ctgkit.check.checks import Check, Mismatch, NotJudged, Outcome, Skip, Verdict
from ctgkit.check.connection import OWN_TROUBLE
from ctgkit.errors import StoreError

log = logging.getLogger(__name__)

CHECK_MAX_S = 60.0
"""A check in which nothing moves for longer has failed, seconds; more with a long ``--timeout``."""


class Judged(Protocol):
    """A party under test, with what checks of it use."""

    @property
    def lacks(self) -> Mapping[str, str]:
        """What checks may need and isn't there -> why."""

    @property
    def offered(self) -> frozenset[str]:
        """What of this the user gave the means for: without it checks are *not judged*."""

    @property
    def timeout_s(self) -> float:
        """How long to wait for each thing that is expected, seconds."""

    @property
    def moved_at_s(self) -> float:
        """When something last arrived, loop time in seconds: slow is not held up."""

    async def alive(self) -> bool:
        """Return whether something listens at the target."""

    async def prepare(self) -> None:
        """Undo what the last check may have left."""

    async def ailment(self) -> str:
        """Return what the target no longer does, although it did at the beginning."""

    async def revive(self) -> bool:
        """Restart the target, and return whether it works again; False when that can't be."""


async def run_checks(
    judged: Judged,
    checks: Sequence[Check],
    tell: Callable[[Verdict], None] = lambda _verdict: None,
    excused: Mapping[str, str] | None = None,
    allowed: Mapping[str, str] | None = None,
) -> list[Verdict]:
    """Run *checks* in order, and see after each whether the target still works.

    Parameters
    ----------
    judged : Judged
        The party under test.
    checks : sequence of Check
        What to ask.
    tell : callable
        Gets each verdict as it falls.
    excused : mapping of str to str
        Ids of checks whose failure is only a warning, and why: the profile decides otherwise.
    allowed : mapping of str to str
        The same, where the user decides.

    Returns
    -------
    list of Verdict
        One per check. When the target has died or no longer works, the check before fails, and
        the rest is blocked unless the target can be restarted.
    """
    excused, allowed = excused or {}, allowed or {}
    verdicts: list[Verdict] = []
    blocked = ""
    for check in checks:
        if blocked:
            verdict = Verdict(check=check, outcome="blocked", actual=blocked)
        else:
            verdict = await _judge(judged, check)
            if verdict.outcome == "fail" and (
                check.level == "SHOULD" or check.id in excused or check.id in allowed
            ):
                verdict = replace(verdict, outcome="warn", allowed=allowed.get(check.id, ""))
            if verdict.outcome != "skipped" and (ailment := await _ailment(judged)):
                verdict, blocked = await _broken(judged, verdict, ailment)
        verdicts.append(verdict)
        tell(verdict)
    return verdicts


async def _ailment(judged: Judged) -> str:
    """Return why nothing more can be judged, if so."""
    if not await judged.alive():
        return "the target is gone: nothing listens there any more"
    try:
        return await judged.ailment()
    except OSError as error:
        if error.errno in OWN_TROUBLE:
            log.warning("the checker can't see whether the target works: %s", error)
            return ""
        return f"the target can't be reached: {error}"


async def _broken(judged: Judged, verdict: Verdict, ailment: str) -> tuple[Verdict, str]:
    """Return the verdict on the check after which the target broke, and what blocks the rest."""
    seen = f"{verdict.actual}; then " if verdict.outcome in ("fail", "warn") else ""
    revived = await judged.revive()
    cure = "; after a restart it works again" if revived else "; it may need a restart"
    broken = replace(
        verdict,
        outcome="fail",
        allowed="",
        expected=verdict.expected or "the target works on after this",
        actual=seen + ailment + cure,
    )
    return broken, "" if revived else f"{ailment}, since {verdict.check.id}"


async def _judge(judged: Judged, check: Check) -> Verdict:
    loop = asyncio.get_running_loop()
    if not _lacking(judged, check):
        await judged.prepare()
    if lack := _lacking(judged, check):  # preparing may have found out more
        outcome: Outcome = "not judged" if lack in judged.offered else "skipped"
        return Verdict(check=check, outcome=outcome, actual=judged.lacks[lack])
    began_s = loop.time()
    expected = actual = ""
    counts = True
    outcome = "pass"
    try:
        await _tried(judged, check)
    except Skip as skip:
        outcome, actual = "skipped", str(skip)
    except NotJudged as unjudged:
        outcome, actual, counts = "not judged", str(unjudged), unjudged.counts
    except Mismatch as mismatch:
        outcome, expected, actual = "fail", mismatch.expected, mismatch.actual
    except StoreError as error:
        outcome, actual = "not judged", f"the checker can't read the store: {error}"
    except OSError as error:
        if error.errno in OWN_TROUBLE:
            outcome, actual = "not judged", f"the checker's machine: {error}"
        else:
            outcome, expected, actual = "fail", "a connection", str(error)
    except Exception as error:  # what a peer says may surprise a check; the others go on
        log.exception("check %s broke", check.id)
        outcome, actual = "not judged", f"the check itself broke: {error!r}"
    return Verdict(
        check=check,
        outcome=outcome,
        expected=expected,
        actual=actual,
        counts=counts,
        seconds=loop.time() - began_s,
    )


async def _tried(judged: Judged, check: Check) -> None:
    """Make a check, and once more where it depends on seconds."""
    for _ in range(check.tries - 1):
        with contextlib.suppress(Mismatch):
            return await _while_it_moves(judged, check)
        await judged.prepare()
        if lack := _lacking(judged, check):
            raise NotJudged(judged.lacks[lack])
    return await _while_it_moves(judged, check)


async def _while_it_moves(judged: Judged, check: Check) -> None:
    """Make a check for as long as something arrives.

    Raises
    ------
    Mismatch
        When nothing has moved for long.
    """
    loop = asyncio.get_running_loop()
    patience_s = max(CHECK_MAX_S, 10 * judged.timeout_s)
    began_s = loop.time()
    timers: list[asyncio.TimerHandle] = []

    def extend() -> None:
        with contextlib.suppress(RuntimeError):  # it is over
            limit.reschedule(max(began_s, judged.moved_at_s) + patience_s)
        timers[:] = [loop.call_later(patience_s / 20, extend)]

    try:
        async with asyncio.timeout(patience_s) as limit:
            extend()
            try:
                await check.run(judged)
            finally:
                timers[0].cancel()
    except TimeoutError:
        if not limit.expired():
            raise
        raise Mismatch("the check comes to an end", f"nothing moved for {patience_s:g} s") from None


def _lacking(judged: Judged, check: Check) -> str:
    """Return the first need of a check that isn't met."""
    return next((need for need in check.needs if need in judged.lacks), "")
