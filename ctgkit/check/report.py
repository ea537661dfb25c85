"""Verdicts as text for people, JSON for scripts, JUnit XML for CI.

This module performs no I/O.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from ctgkit.check.checks import Catalogue, Check, Outcome, Verdict
from ctgkit.cli import junit
from ctgkit.errors import printable

DISCLAIMER = "a test tool, not a medical device"
COLOURS: dict[Outcome, str] = {
    "pass": "green",
    "warn": "yellow",
    "fail": "red",
    "skipped": "bright_black",
    "not judged": "magenta",
    "blocked": "red",
}
_ORDER: tuple[Outcome, ...] = ("pass", "warn", "fail", "skipped", "not judged", "blocked")
ALIKE_MIN = 4
"""So many failures that read alike have one cause, most likely."""


def details(verdict: Verdict) -> list[str]:
    """Return the lines under a verdict that explain it."""
    if verdict.outcome == "pass":
        return []
    if not verdict.expected:
        return [printable(f"{verdict.outcome}: {verdict.actual}")]
    lines = [f"expected: {verdict.expected}", f"actual:   {verdict.actual}"]
    if verdict.allowed:
        lines.append(f"allowed:  {verdict.allowed}")
    return [printable(line) for line in lines]


def unjudged(verdicts: Sequence[Verdict]) -> list[str]:
    """Return what was not judged, folded by reason: one line each."""
    reasons: dict[tuple[Outcome, str], list[str]] = {}
    for v in verdicts:
        if v.outcome in ("skipped", "not judged", "blocked"):
            reasons.setdefault((v.outcome, v.actual), []).append(v.check.id)
    return [
        printable(f"{len(ids)} {outcome}: {reason} ({_some(ids)})")
        for (outcome, reason), ids in reasons.items()
    ]


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids) if len(ids) <= 4 else f"{ids[0]} … {ids[-1]}"


def likely_causes(verdicts: Sequence[Verdict]) -> list[str]:
    """Return one line for each cause that many failures seem to have in common."""
    alike: dict[str, list[Verdict]] = {}
    for v in verdicts:
        if v.outcome == "fail":
            alike.setdefault(re.sub(r"\d[\d.]*", "N", v.actual), []).append(v)
    lines = []
    for group in alike.values():
        if len(group) >= ALIKE_MIN:
            ids = [v.check.id for v in group]
            said = group[0].actual
            lines.append(
                printable(f"likely one cause: {len(ids)} checks saw {said!r}, first {ids[0]}")
            )
    first = next((v for v in verdicts if v.outcome == "blocked"), None)
    if first is not None:
        lines.append(printable(f"root cause: {first.actual}; what came later was not judged"))
    return lines


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


def summary(verdicts: Sequence[Verdict], seconds: float | None = None) -> str:
    """Return the last line of a report; *seconds* is what the whole run took."""
    number = ", ".join(f"{n} {outcome}" for outcome, n in counts(verdicts).items() if n)
    seconds = sum(v.seconds for v in verdicts) if seconds is None else seconds
    return f"{number or 'nothing was checked'} in {seconds:.1f} s ({DISCLAIMER})"


def as_dict(
    target: str, profile: str, verdicts: Sequence[Verdict], seconds: float | None = None
) -> dict[str, Any]:
    """Return the whole report for JSON; *seconds* is what the whole run took."""
    return {
        "target": target,
        "profile": profile,
        "note": DISCLAIMER,
        "counts": counts(verdicts),
        "seconds": round(sum(v.seconds for v in verdicts) if seconds is None else seconds, 3),
        "likely_causes": likely_causes(verdicts),
        "verdicts": [
            {
                "id": v.check.id,
                "clause": v.check.clause,
                "level": v.check.level,
                "title": v.check.title,
                "outcome": v.outcome,
                "expected": v.expected,
                "actual": v.actual,
                "allowed": v.allowed,
                "seconds": round(v.seconds, 3),
            }
            for v in verdicts
        ],
    }


def as_junit(target: str, verdicts: Sequence[Verdict], strict: bool) -> bytes:
    """Return the report as JUnit XML; a warning is a failure only when *strict*."""
    return junit.as_junit(f"ctgkit check {target}", [_case(v, strict) for v in verdicts])


def _case(verdict: Verdict, strict: bool) -> junit.Case:
    outcome: Literal["pass", "fail", "skipped"] = "pass"
    if verdict.is_bad or (strict and verdict.outcome == "warn" and not verdict.allowed):
        outcome = "fail"
    elif verdict.outcome in ("skipped", "not judged"):
        outcome = "skipped"
    prefix = f"{verdict.outcome}: " if verdict.outcome in ("not judged", "blocked") else ""
    return junit.Case(
        classname=f"ctgkit.{verdict.check.clause}",
        name=f"{verdict.check.id} {verdict.check.title}",
        outcome=outcome,
        message=prefix + verdict.actual,
        text="\n".join(details(verdict)),
        seconds=verdict.seconds,
    )


def clauses_of(catalogue: Catalogue) -> set[str]:
    """Return the clauses that a catalogue judges."""
    return {check.clause for check in catalogue.checks.values()}
