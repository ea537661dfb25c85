"""Truth and results make a score; many scores make one.

This module performs no I/O.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit.events import Event
from ctgkit.score.alarms import AlarmTally, judge_alarms
from ctgkit.score.calls import Calls, judge_calls
from ctgkit.score.matching import Tally, match
from ctgkit.score.results import Found, Results
from ctgkit.score.risk import Risk
from ctgkit.score.truth import Span, Truth

TYPED: Final = "deceleration"
"""The kind of events that has types."""

COVERED = 0.5
"""A baseline is compared where at least this share of the time has one on both sides. Chosen."""

INTERVAL_FROM, RESAMPLES = 5, 1000
"""Recordings below which no interval is given; resamples behind one. Chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one recording, or many, came to. What was not reported, or isn't known, is None."""

    name: str
    tallies: Mapping[str, Tally] | None = None
    """Kind -> tally, of the kinds of which the truth speaks; None: no events were reported."""
    types: Mapping[str, Tally] | None = None
    """Type of deceleration -> tally; what was found with another type is no hit."""
    typed: Tally | None = None
    """Decelerations that were found and have a true type; hits have the same."""
    baseline_gaps_bpm: tuple[float, ...] | None = None
    """Reported minus true."""
    delays_s: tuple[float, ...] | None = None
    """From the onset of each event that was found to the first result that told it."""
    alarms: AlarmTally | None = None
    alarms_by_code: bool = False
    calls: Calls | None = None
    """What probability and status alone are worth."""
    risks: tuple[Risk, ...] | None = None
    """Hypoxia probability against the simulated pH, one per recording."""
    unreadable: int = 0
    said: bool = True
    """Whether there were results at all."""

    @property
    def scored(self) -> bool:
        """Whether anything could be compared."""
        return (
            any(t.wanted or t.found for t in (self.tallies or {}).values())
            or bool(self.baseline_gaps_bpm)
            or (self.alarms is not None)
            or (self.calls is not None)
        )

    @property
    def type_accuracy(self) -> float | None:
        """Share of the found decelerations whose type is right, in [0, 1]."""
        return None if self.typed is None else self.typed.sensitivity

    @property
    def baseline_rmsd_bpm(self) -> float | None:
        """Root mean square of the gaps, beats/min."""
        gaps = self.baseline_gaps_bpm
        return float(np.sqrt(np.mean(np.square(gaps)))) if gaps else None

    def baseline_gap_bpm(self, percent: float) -> float | None:
        """Return a percentile of the absolute gap, beats/min."""
        gaps = self.baseline_gaps_bpm
        return float(np.percentile(np.abs(gaps), percent)) if gaps else None

    def delay_s(self, percent: float) -> float | None:
        """Return a percentile of the delay, seconds."""
        return float(np.percentile(self.delays_s, percent)) if self.delays_s else None


class Played(NamedTuple):
    """What became of a run that may run out of time."""

    scores: list[Score]
    partial: tuple[str, ...] = ()
    """Scenarios that were cut short."""
    left: tuple[str, ...] = ()
    """Those that weren't played at all."""
    signal_version: str | None = None
    """Which patients were played, where some were."""
    seed: int | None = None


class _Matched(NamedTuple):
    """What became of the events of one kind."""

    asked: list[Event]
    pairs: list[tuple[Event, Found]]
    extra: list[Found]
    """Found, and neither true nor spared."""

    def tally(self, subtype: str = "") -> Tally:
        """Return how many there are; of one type only those that have it."""
        hits = [(e, f) for e, f in self.pairs if not subtype or e.subtype == f.subtype == subtype]
        found = [*(f for _, f in self.pairs), *self.extra]
        return Tally(
            sum(not subtype or e.subtype == subtype for e in self.asked),
            sum(not subtype or f.subtype == subtype for f in found),
            len(hits),
            sum((f.onset_s - e.onset_s) ** 2 for e, f in hits),
        )


def score(truth: Truth, results: Results) -> Score:
    """Return what *results* are worth against *truth*."""
    matched: dict[str, _Matched] = {}
    if results.events is not None:
        matched = {kind: _matched(truth, results.events, kind) for kind in truth.kinds}
    types, typed = _by_type(matched[TYPED]) if TYPED in matched else (None, None)
    pairs = [pair for one in matched.values() for pair in one.pairs]
    delays_s = [f.named_at_s - e.onset_s for e, f in pairs if f.named_at_s is not None]
    return Score(
        name=truth.name,
        tallies={kind: one.tally() for kind, one in matched.items()} or None,
        types=types,
        typed=typed,
        baseline_gaps_bpm=_gaps(truth.baseline, results.baseline),
        delays_s=tuple(delays_s) or None,
        alarms=_alarms(truth, results),
        alarms_by_code=results.alarms_by_code,
        calls=judge_calls(truth.alarms, results.moments, truth.length_s),
        risks=_risks(truth, results),
        unreadable=results.unreadable,
    )


def _matched(truth: Truth, events: Sequence[Found], kind: str) -> _Matched:
    asked = [e for e in truth.events if e.kind == kind]
    found = [
        e for e in events if e.kind == kind and e.end_s > truth.from_s and e.onset_s < truth.to_s
    ]
    pairs = match(asked, found)
    taken = {j for _, j in pairs}
    rest = [e for j, e in enumerate(found) if j not in taken]
    forgiven = {j for _, j in match([e for e in truth.spared if e.kind == kind], rest)}
    return _Matched(
        asked,
        [(asked[i], found[j]) for i, j in pairs],
        [e for j, e in enumerate(rest) if j not in forgiven],
    )


def _risks(truth: Truth, results: Results) -> tuple[Risk, ...] | None:
    if truth.acidotic is None or not results.risk:
        return None
    return (Risk(truth.acidotic, truth.acidotic_since_s, results.risk),)


def _alarms(truth: Truth, results: Results) -> AlarmTally | None:
    if truth.alarms is None or results.alarms is None or truth.length_s is None:
        return None
    return judge_alarms(
        truth.alarms, results.alarms, truth.length_s, by_code=results.alarms_by_code
    )


def _by_type(matched: _Matched) -> tuple[dict[str, Tally] | None, Tally | None]:
    """Return a tally of each true type, and of the types of what was found.

    None where the truth has no types, or no found event has one.
    """
    named = sorted({e.subtype for e in matched.asked if e.subtype})
    told = [*(f.subtype for _, f in matched.pairs), *(f.subtype for f in matched.extra)]
    if not named or (told and not any(told)):
        return None, None
    with_type = [(e, f) for e, f in matched.pairs if e.subtype]
    right = sum(e.subtype == f.subtype for e, f in with_type)
    typed = Tally(len(with_type), len(with_type), right)
    return {name: matched.tally(name) for name in named}, typed


def _gaps(truth: Sequence[Span], own: Sequence[Span] | None) -> tuple[float, ...] | None:
    """Return the gaps, each over a span of whichever side has the longer spans."""
    if not truth or not own:
        return None
    true, reported = np.array(truth, float), np.array(own, float)
    own_is_finer = _length_s(reported) < _length_s(true)
    coarse, fine = (true, reported) if own_is_finer else (reported, true)
    gaps = []
    for from_s, to_s, bpm in coarse.tolist():
        shared_s = np.clip(np.minimum(fine[:, 1], to_s) - np.maximum(fine[:, 0], from_s), 0, None)
        covered_s = float(shared_s.sum())
        if covered_s >= COVERED * (to_s - from_s) > 0:
            mean = float(shared_s @ fine[:, 2]) / covered_s
            gaps.append(mean - bpm if own_is_finer else bpm - mean)
    return tuple(gaps) or None


def _length_s(spans: NDArray[np.float64]) -> float:
    return float(np.median(spans[:, 1] - spans[:, 0]))


def combined(scores: Sequence[Score]) -> Score:
    """Return one score of many recordings: events, gaps and delays of all together."""
    gaps = [gap for s in scores for gap in s.baseline_gaps_bpm or ()]
    delays = [delay for s in scores for delay in s.delays_s or ()]
    typed = [s.typed for s in scores if s.typed is not None]
    alarms = [s.alarms for s in scores if s.alarms is not None]
    calls = [s.calls for s in scores if s.calls is not None]
    return Score(
        name="overall",
        tallies=_sums(s.tallies for s in scores),
        types=_sums(s.types for s in scores),
        typed=sum(typed, Tally()) if typed else None,
        baseline_gaps_bpm=tuple(gaps) or None,
        delays_s=tuple(delays) or None,
        alarms=sum(alarms, AlarmTally()) if alarms else None,
        alarms_by_code=any(s.alarms_by_code for s in scores),
        calls=sum(calls[1:], calls[0]) if calls else None,
        risks=tuple(risk for s in scores for risk in s.risks or ()) or None,
        unreadable=sum(s.unreadable for s in scores),
    )


def _sums(many: Iterable[Mapping[str, Tally] | None]) -> dict[str, Tally] | None:
    total: dict[str, Tally] = {}
    for tallies in many:
        for name, tally in (tallies or {}).items():
            total[name] = total.get(name, Tally()) + tally
    return total or None


def f1_intervals(scores: Sequence[Score]) -> dict[str, tuple[float, float]]:
    """Return how far chance moves the F1 of each kind: 95 %, by bootstrap over recordings.

    Empty below 5 recordings, whose resamples say little. The same scores give the same interval.
    """
    tallies = [score.tallies for score in scores if score.tallies is not None]
    if len(tallies) < INTERVAL_FROM:
        return {}
    drawn = np.random.default_rng(0).integers(len(tallies), size=(RESAMPLES, len(tallies)))
    intervals = {}
    for kind in _sums(tallies) or {}:
        rows = [one.get(kind, Tally()) for one in tallies]
        hits = np.array([t.hits for t in rows])[drawn].sum(axis=1)
        both = np.array([t.wanted + t.found for t in rows])[drawn].sum(axis=1)
        if len(some := np.flatnonzero(both)):
            low, high = np.percentile(2 * hits[some] / both[some], (2.5, 97.5)).tolist()
            intervals[kind] = (low, high)
    return intervals


FIGURES: Final[Mapping[str, Callable[[Score], float | None]]] = {
    "type_accuracy": lambda s: s.type_accuracy,
    "baseline_rmsd_bpm": lambda s: s.baseline_rmsd_bpm,
    "alarm_sensitivity": lambda s: s.alarms.sensitivity if s.alarms else None,
    "false_alarms_per_h": lambda s: s.alarms.false_per_h if s.alarms else None,
    "auc": lambda s: s.calls.auc if s.calls else None,
    "brier": lambda s: s.calls.brier if s.calls else None,
    "time_to_alarm_s": lambda s: s.calls.delay_s if s.calls else None,
}
"""Figures of which an interval is given, besides the F1."""
DRAWS = 300
"""Resamples behind the interval of a figure that isn't a sum. Chosen: it takes a second."""


def figure_intervals(scores: Sequence[Score]) -> dict[str, tuple[float, float]]:
    """Return how far chance moves each other figure: 95 %, by bootstrap over recordings.

    Empty below 5 recordings. The same scores give the same interval.
    """
    said = [score for score in scores if score.said]
    if len(said) < INTERVAL_FROM:
        return {}
    drawn = np.random.default_rng(0).integers(len(said), size=(DRAWS, len(said)))
    together = [combined([said[n] for n in row]) for row in drawn]
    intervals = {}
    for name, figure in FIGURES.items():
        values = [value for one in together if (value := figure(one)) is not None]
        if values:
            low, high = np.percentile(values, (2.5, 97.5)).tolist()
            intervals[name] = (low, high)
    return intervals
