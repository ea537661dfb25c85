"""Thresholds on a score: what fails a run.

This module performs no I/O.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ctgkit.score.alarms import AlarmTally
from ctgkit.score.matching import Tally
from ctgkit.score.scoring import Score

DELAY_PERCENT = 50.0
"""Of the delays, the one that is limited: the median."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a score has to keep; None asks for nothing."""

    min_f1: Mapping[str, float] = field(default_factory=dict)
    """Kind, or type of deceleration -> F1; the key ``""`` is every kind of which there was
    something to find, or something found."""
    min_type_accuracy: float | None = None
    max_baseline_rmsd_bpm: float | None = None
    max_delay_s: float | None = None
    max_false_alarms_per_h: float | None = None
    min_alarm_sensitivity: float | None = None
    min_auc: float | None = None


class Outcome(NamedTuple):
    """Whether one threshold was kept."""

    asked: str
    actual: str
    kept: bool


def judge(score: Score, limits: Limits) -> list[Outcome]:
    """Return an outcome per threshold; what was not reported keeps none."""
    everything = {**(score.tallies or {}), **(score.types or {})}
    some = [kind for kind, tally in (score.tallies or {}).items() if tally.f1 is not None]
    outcomes = []
    for name, least in limits.min_f1.items():
        for kind in [name] if name else some or ["events"]:
            f1 = everything.get(kind, Tally()).f1
            outcomes.append(_outcome(f"F1 of {kind}", f1, least, at_least=True))
    alarms = score.alarms or AlarmTally()
    for asked, value, limit, at_least in (
        ("type accuracy", score.type_accuracy, limits.min_type_accuracy, True),
        ("baseline RMSD, bpm", score.baseline_rmsd_bpm, limits.max_baseline_rmsd_bpm, False),
        ("median delay, s", score.delay_s(DELAY_PERCENT), limits.max_delay_s, False),
        ("false alarms per hour", alarms.false_per_h, limits.max_false_alarms_per_h, False),
        ("share of alarms raised", alarms.sensitivity, limits.min_alarm_sensitivity, True),
        ("AUC", score.calls.auc if score.calls else None, limits.min_auc, True),
    ):
        if limit is not None:
            outcomes.append(_outcome(asked, value, limit, at_least=at_least))
    return outcomes


def _outcome(asked: str, value: float | None, limit: float, *, at_least: bool) -> Outcome:
    text = f"{asked} {'>=' if at_least else '<='} {limit:g}"
    if value is None:
        return Outcome(text, "not known: not reported, or nothing to compare", False)
    return Outcome(text, f"{value:.3g}", value >= limit if at_least else value <= limit)


def exit_code(scores: Sequence[Score], outcomes: Sequence[Outcome]) -> int:
    """Return 0 when all was scored and every threshold kept, otherwise 1."""
    scored = bool(scores) and all(score.said for score in scores)
    anything = any(score.scored for score in scores)
    return 0 if scored and anything and all(outcome.kept for outcome in outcomes) else 1
