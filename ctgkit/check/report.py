"""Verdicts as text for people, JSON for scripts, JUnit XML for CI.

This module performs no I/O.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ctgkit.check.checks import Catalogue, Check, Outcome, Verdict
from ctgkit.cli import junit
from ctgkit.errors import printable

DISCLAIMER = "a test tool, not a medical device"
COLOURS: dict[Outcome, str] = {
    "pass": "green",
    "warn": "yellow",
    "fail": "red",
    "skipped": "bright_black",
}
_ORDER: tuple[Outcome, ...] = ("pass", "warn", "fail", "skipped")


def details(verdict: Verdict) -> list[str]:
    """Return the lines under a verdict that explain it."""
    if verdict.outcome == "skipped":
        return [printable(f"skipped: {verdict.actual}")]
    if verdict.outcome == "pass":
        return []
    return [printable(f"expected: {verdict.expected}"), printable(f"actual:   {verdict.actual}")]


def catalogue_lines(checks: Sequence[Check]) -> list[str]:
    """Return one line per check: address, level, title."""
    width = max((len(c.id) for c in checks), default=0)
    return [
        f"{c.id:{width}}  {c.level:6}  {c.title}{'  (strict)' if c.strict else ''}" for c in checks
    ]


def counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Return how many verdicts of each kind there are."""
    counted = Counter(v.outcome for v in verdicts)
    return {outcome: counted[outcome] for outcome in _ORDER}


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return the last line of a report."""
    number = ", ".join(f"{n} {outcome}" for outcome, n in counts(verdicts).items() if n)
    seconds = sum(v.seconds for v in verdicts)
    return f"{number or 'nothing was checked'} in {seconds:.1f} s ({DISCLAIMER})"


def as_dict(target: str, profile: str, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return the whole report for JSON."""
    return {
        "target": target,
        "profile": profile,
        "note": DISCLAIMER,
        "counts": counts(verdicts),
        "verdicts": [
            {
                "id": v.check.id,
                "clause": v.check.clause,
                "level": v.check.level,
                "title": v.check.title,
                "outcome": v.outcome,
                "expected": v.expected,
                "actual": v.actual,
                "seconds": round(v.seconds, 3),
            }
            for v in verdicts
        ],
    }


def as_junit(target: str, verdicts: Sequence[Verdict], strict: bool) -> bytes:
    """Return the report as JUnit XML; a warning is a failure only when *strict*."""
    return junit.as_junit(f"ctgkit check {target}", [_case(v, strict) for v in verdicts])


def _case(verdict: Verdict, strict: bool) -> junit.Case:
    outcome = verdict.outcome
    if outcome == "warn":
        outcome = "fail" if strict else "pass"
    return junit.Case(
        classname=f"ctgkit.{verdict.check.clause}",
        name=f"{verdict.check.id} {verdict.check.title}",
        outcome=outcome,
        message=verdict.actual,
        text="\n".join(details(verdict)),
        seconds=verdict.seconds,
    )


def clauses_of(catalogue: Catalogue) -> set[str]:
    """Return the clauses that a catalogue judges."""
    return {check.clause for check in catalogue.checks.values()}
