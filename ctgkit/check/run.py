"""Runs checks one after another and turns what happens into verdicts."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from ctgkit.check.checks import Check, Mismatch, Outcome, Skip, Verdict

log = logging.getLogger(__name__)

CHECK_MAX_S = 60.0
"""A check that takes longer has failed, seconds."""


class Judged(Protocol):
    """A party under test, with what checks of it use."""

    @property
    def lacks(self) -> Mapping[str, str]:
        """What checks may need and isn't there -> why."""

    async def alive(self) -> bool:
        """Return whether something listens at the target."""

    async def prepare(self) -> None:
        """Undo what the last check may have left."""


async def run_checks(
    judged: Judged,
    checks: Sequence[Check],
    tell: Callable[[Verdict], None] = lambda _verdict: None,
    lenient: Collection[str] = (),
) -> list[Verdict]:
    """Run *checks* in order.

    Parameters
    ----------
    judged : Judged
        The party under test.
    checks : sequence of Check
        What to ask.
    tell : callable
        Gets each verdict as it falls.
    lenient : collection of str
        Ids of checks whose failure is only a warning: the profile decides otherwise.

    Returns
    -------
    list of Verdict
        One per check. After the target has died, the rest is skipped.
    """
    verdicts: list[Verdict] = []
    gone = ""
    for check in checks:
        if gone:
            verdict = Verdict(check=check, outcome="skipped", actual=gone)
        else:
            verdict = await _judge(judged, check, "warn" if check.id in lenient else "fail")
            if verdict.outcome in ("warn", "fail") and not await judged.alive():
                verdict = replace(
                    verdict, outcome="fail", actual=verdict.actual + "; the target is gone"
                )
                gone = f"the target is gone since {check.id}"
        verdicts.append(verdict)
        tell(verdict)
    return verdicts


async def _judge(judged: Judged, check: Check, failure: Outcome) -> Verdict:
    loop = asyncio.get_running_loop()
    if not _lacking(judged, check):
        await judged.prepare()
    if lacking := _lacking(judged, check):  # preparing may have found out more
        return Verdict(check=check, outcome="skipped", actual=lacking)
    began_s = loop.time()
    outcome: Outcome = "pass"
    expected = actual = ""
    try:
        async with asyncio.timeout(CHECK_MAX_S):
            await check.run(judged)
    except Skip as skip:
        outcome, actual = "skipped", str(skip)
    except Mismatch as mismatch:
        outcome, expected, actual = failure, mismatch.expected, mismatch.actual
    except TimeoutError:
        outcome, expected, actual = failure, "an end", f"none within {CHECK_MAX_S:g} s"
    except OSError as error:
        outcome, expected, actual = failure, "a connection", str(error)
    except Exception as error:  # what a peer says may surprise a check; the others go on
        log.exception("check %s broke", check.id)
        outcome, expected, actual = failure, "something that the check can read", repr(error)
    if outcome == "fail" and check.level == "SHOULD":
        outcome = "warn"
    return Verdict(
        check=check,
        outcome=outcome,
        expected=expected,
        actual=actual,
        seconds=loop.time() - began_s,
    )


def _lacking(judged: Judged, check: Check) -> str:
    return next((judged.lacks[need] for need in check.needs if need in judged.lacks), "")
