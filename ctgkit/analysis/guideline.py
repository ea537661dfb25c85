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
        return isinstance(value, (float, int)) and _OPERATORS[self.op](value, self.threshold)


class Clause(NamedTuple):
    """One line of a guideline: all conditions hold, so the level applies."""

    code: str
    level: str
    all_of: tuple[Condition, ...]
    text: str

    def holds(self, values: dict[str, Value]) -> bool:
        """Whether all conditions hold."""
        return all(condition.holds(values) for condition in self.all_of)


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
    reasons: tuple[str, ...] = ()
    """What isn't known, and so keeps the class open or may make it worse."""


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

        The class rests on what is known: a clause that holds counts although something else is
        unknown, but the best class needs everything. On too little signal nothing is classified,
        except what an event proves by itself.
        """
        held = [c for c in self.clauses if c.holds(features.values)]
        worst = max((self.levels.index(c.level) for c in held), default=0)
        deciding = [c for c in held if self.levels.index(c.level) == worst]
        found = tuple(e for c in deciding for e in evidence(c, features))
        urgent = worst == len(self.levels) - 1 and any(e.events for e in found)
        lacking = _lacking_signal(features.values) if self.requires else ()
        unknown = _unknown(features.values, self.requires)
        if not urgent and (lacking or (unknown and worst == 0)):
            return Verdict(self.name, INDETERMINATE, reasons=lacking + unknown)
        codes = tuple(c.code for c in deciding)
        return Verdict(self.name, self.levels[worst], codes, found, reasons=lacking + unknown)


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

    def judge(self, features: Features) -> Verdict:
        """Return the verdict; indeterminate when unknown rows could change it."""
        points = {row.feature: row.points(features.values) for row in self.rows}
        least = sum(p for p in points.values() if p is not None)
        most = least + 2 * sum(p is None for p in points.values())
        level = self._class(least)
        lacking = _lacking_signal(features.values)
        unknown = _unknown(features.values, [row.feature for row in self.rows])
        if level != self._class(most) or lacking:
            level = INDETERMINATE
        return Verdict(self.name, level, points=points, reasons=lacking + unknown)

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


def _lacking_signal(values: dict[str, Value]) -> tuple[str, ...]:
    """Return why there is too little signal for a class; empty when there is enough."""
    examined = values.get("examined_min")
    examined = examined if isinstance(examined, int | float) else 0.0
    reasons = []
    if examined < EXAMINED_MIN:
        reasons.append(f"{examined:.0f} min examined, a class needs {EXAMINED_MIN:.0f}")
    if values.get("signal_quality") == "poor":
        loss_pct = values.get("signal_loss_pct")
        reasons.append(f"{loss_pct} % of the signal of 10 min lost")
    return tuple(reasons)


UNKNOWN = {
    "baseline_bpm": "baseline unknown: less than 2 of 10 min with a signal",
    "variability_bpm": "variability unknown: fewer than 2 of 10 min to measure it in",
    "movements_per_30min": "movements are not measured",
    "oscillations_per_min": "oscillations unknown: fewer than 2 min without events",
}


def _unknown(values: dict[str, Value], requires: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        UNKNOWN.get(name, f"{name} unknown") for name in requires if values.get(name) is None
    )
