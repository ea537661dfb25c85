"""Differences folded into what changed: by sensor, member, change and time range.

This module performs no I/O.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from ctgkit.cli.junit import Case, as_junit
from ctgkit.replay.expect import Difference, Verdict

CHANGES_MAX = 12
"""Different changes of one member that are listed; with more, they are one group."""
WHOLE = {"{": "an object", "[": "a list"}
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")


@dataclass(slots=True)
class Group:
    """One change of one member, wherever it was found."""

    member: str
    change: str
    count: int = 0
    sensors: set[str] = field(default_factory=set)
    first_s: float | None = None
    last_s: float | None = None
    largest: float = 0.0
    """Of numbers, the largest difference."""
    example: str = ""

    def add(self, difference: Difference) -> None:
        """Count one."""
        self.count += 1
        self.sensors.add(difference.sensor_id)
        self.example = self.example or str(difference)
        if (at_s := _at_s(difference.key)) is not None:
            self.first_s = at_s if self.first_s is None else min(self.first_s, at_s)
            self.last_s = at_s if self.last_s is None else max(self.last_s, at_s)
        if (gap := _gap(difference)) is not None:
            self.largest = max(self.largest, gap)

    def __str__(self) -> str:
        what = self.change or f"differs by up to {self.largest:.4g}"
        who = f"{len(self.sensors)} sensor" + "s" * (len(self.sensors) != 1)
        when = ""
        if self.first_s is not None and self.last_s is not None:
            span = f"{self.first_s:,.10g}"
            if self.last_s != self.first_s:
                span += f"–{self.last_s:,.10g}"
            when = f", {span} s"
        return f"{self.member}: {what}, {who}{when}, {self.count:,} result" + "s" * (
            self.count != 1
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "member": self.member,
            "change": self.change or None,
            "largest_difference": self.largest if not self.change else None,
            "sensors": sorted(self.sensors),
            "first_s": self.first_s,
            "last_s": self.last_s,
            "count": self.count,
            "example": self.example,
        }


class Grouping:
    """Takes differences one by one, in bounded memory."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], Group] = {}
        self._changes: dict[str, int] = {}

    def add(self, difference: Difference) -> None:
        """Fold one difference in."""
        member, change = _shape(difference)
        key = (member, change)
        if key not in self._groups:
            if change and self._changes.get(member, 0) >= CHANGES_MAX:
                key = (member, "other changes")
            else:
                self._changes[member] = self._changes.get(member, 0) + bool(change)
            self._groups.setdefault(key, Group(*key))
        self._groups[key].add(difference)

    def groups(self) -> list[Group]:
        """Return the groups, the most frequent first."""
        return sorted(self._groups.values(), key=lambda g: (-g.count, g.member, g.change))


def _shape(difference: Difference) -> tuple[str, str]:
    member = re.sub(r"\[\d+\]", "[]", difference.member)
    if difference.member == "answer":
        return ("answer", "missing" if difference.actual == "none" else "not expected")
    if _gap(difference) is not None:
        return member, ""
    sides = [difference.expected, difference.actual]
    if sum(side[:1] in ("{", "[") for side in sides) == 1:  # there or not, whatever it held
        sides = [WHOLE.get(side[:1], side) if len(side) > 2 else side for side in sides]
    return member, " → ".join(sides)


def _gap(difference: Difference) -> float | None:
    if NUMBER.fullmatch(difference.expected) and NUMBER.fullmatch(difference.actual):
        return abs(float(difference.expected) - float(difference.actual))
    return None


def _at_s(key: str) -> float | None:
    number, _, unit = key.partition(" ")
    return float(number) if unit == "s" else None


def junit(name: str, groups: Sequence[Group], verdict: Verdict, ok: bool) -> bytes:
    """Return the comparison as JUnit XML: a case for all, and a failed one per group."""
    told = (
        f"{verdict.compared} answers compared: {verdict.different} differ,"
        f" {verdict.missing} missing, {verdict.unexpected} unexpected"
    )
    cases = [
        Case("ctgkit.replay", f"{name} is answered as expected", "pass" if ok else "fail", told)
    ]
    cases += [
        Case(
            "ctgkit.replay",
            f"{g.member}: {g.change or 'another number'}",
            "fail",
            str(g),
            g.example,
        )
        for g in groups
    ]
    return as_junit(f"ctgkit replay {name}", cases)


def html(name: str, groups: Sequence[Group], verdict: Verdict, ok: bool) -> str:
    """Return the comparison as one HTML page without any external request."""
    rows = "".join(
        f"<tr><td>{escape(g.member)}<td>{escape(g.change or f'by up to {g.largest:.4g}')}"
        f"<td>{len(g.sensors)}<td>{_span(g)}<td>{g.count:,}<td><code>{escape(g.example)}</code></tr>"
        for g in groups
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        f"<title>ctgkit replay: {escape(name)}</title><style>"
        ":root{color-scheme:light dark;font:15px/1.45 system-ui,sans-serif}"
        "body{margin:2rem auto;max-width:75rem;padding:0 1rem}table{border-collapse:collapse}"
        "th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-top:1px solid #8884}"
        f"</style><h1>{escape(name)}: {'as expected' if ok else 'not as expected'}</h1>"
        f"<p>{verdict.compared:,} answers compared: {verdict.different:,} differ,"
        f" {verdict.missing:,} missing, {verdict.unexpected:,} unexpected.</p>"
        "<table><tr><th>member<th>change<th>sensors<th>data time, s<th>results<th>example</tr>"
        f"{rows}</table><p>A test tool, not a medical device.</p></html>\n"
    )


def _span(group: Group) -> str:
    if group.first_s is None or group.last_s is None:
        return ""
    return f"{group.first_s:,.10g}–{group.last_s:,.10g}"
