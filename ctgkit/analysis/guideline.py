"""Stage 5: guidelines as tables, and the one engine that reads them.

Pure. A verdict is never a bare class: it names the clauses that hold, with the values, the
thresholds and the events behind them.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ctgkit.analysis.features import Features, Value

INDETERMINATE = "indeterminate"
"""The class when the signal doesn't allow one."""

EXAMINED_MIN = 10.0
"""No class on less signal than this, minutes (FIGO 2015 and NICHD 2008: 10 min windows)."""

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Condition(NamedTuple):
    """A feature compared with a threshold."""

    feature: str
    op: str
    """``<``, ``<=``, ``>`` or ``>=``."""
    threshold: float

    def holds(self, values: dict[str, Value]) -> bool:
        """Whether it holds; what can't be told doesn't."""
        value = values.get(self.feature)
        return isinstance(value, int | float) and _OPERATORS[self.op](value, self.threshold)


class Clause(NamedTuple):
    """One line of a guideline: all conditions hold, so the level applies."""

    code: str
    level: str
    all_of: tuple[Condition, ...]
    text: str


class Evidence(NamedTuple):
    """A condition that holds, with what it rests on."""

    clause: str
    feature: str
    value: float
    op: str
    threshold: float
    events: list[str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a guideline says."""

    guideline: str
    level: str
    clauses: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    points: dict[str, int | None] | None = None
    """Points by row, for scales; None for a row that can't be told."""


@dataclass(frozen=True, slots=True)
class Guideline:
    """A guideline of clauses: the worst level whose clause holds, else the first one."""

    name: str
    title: str
    levels: tuple[str, ...]
    """From best to worst; the best is the class when no clause holds."""
    clauses: tuple[Clause, ...]
    requires: tuple[str, ...] = ("baseline_bpm", "variability_bpm")
    """Features without which the best class is not given."""

    def judge(self, features: Features) -> Verdict:
        """Return the verdict on *features*.

        On too little signal nothing is classified, except what an event proves by itself.
        """
        held = [c for c in self.clauses if all(k.holds(features.values) for k in c.all_of)]
        worst = max((self.levels.index(c.level) for c in held), default=0)
        deciding = [c for c in held if self.levels.index(c.level) == worst]
        found = tuple(e for c in deciding for e in evidence(c, features))
        urgent = worst == len(self.levels) - 1 and any(e.events for e in found)
        if not (urgent or _sufficient(features.values, self.requires)):
            return Verdict(self.name, INDETERMINATE)
        return Verdict(self.name, self.levels[worst], tuple(c.code for c in deciding), found)


class Row(NamedTuple):
    """A row of a scale: points for bands of a number, or for words."""

    feature: str
    bands: tuple[tuple[float, float, int], ...] = ()
    """(from, to, points), both ends included; the first band that fits counts, so that an edge
    that two cells share goes to the better one, which is listed first. Nothing fits: 0 points."""
    words: dict[str, int] = {}  # noqa: RUF012 - never changed
    """Points by word."""

    def points(self, values: dict[str, Value]) -> int | None:
        """Return the points; None when the feature can't be told."""
        value = values.get(self.feature)
        if value is None:
            return None
        if isinstance(value, str):
            return self.words[value]
        return next((p for low, high, p in self.bands if low <= value <= high), 0)


@dataclass(frozen=True, slots=True)
class Scale:
    """A guideline of points: the class follows from their sum."""

    name: str
    title: str
    rows: tuple[Row, ...]
    classes: tuple[tuple[int, str], ...]
    """(least sum, class), best first."""
    requires: tuple[str, ...] = ("baseline_bpm", "variability_bpm")

    def judge(self, features: Features) -> Verdict:
        """Return the verdict; indeterminate when unknown rows could change it."""
        points = {row.feature: row.points(features.values) for row in self.rows}
        least = sum(p for p in points.values() if p is not None)
        most = least + 2 * sum(p is None for p in points.values())
        level = self._class(least)
        if level != self._class(most) or not _sufficient(features.values, self.requires):
            level = INDETERMINATE
        return Verdict(self.name, level, points=points)

    def _class(self, total: int) -> str:
        return next(name for least, name in self.classes if total >= least)


def evidence(clause: Clause, features: Features) -> list[Evidence]:
    """Return what a clause that holds rests on."""
    return [
        Evidence(
            clause.code,
            k.feature,
            float(features.values[k.feature] or 0.0),
            k.op,
            k.threshold,
            features.event_ids.get(k.feature, []),
        )
        for k in clause.all_of
    ]


def _sufficient(values: dict[str, Value], requires: Sequence[str]) -> bool:
    examined = values.get("examined_min")
    return (
        isinstance(examined, int | float)
        and examined >= EXAMINED_MIN
        and values.get("signal_quality") != "poor"
        and all(values.get(name) is not None for name in requires)
    )
