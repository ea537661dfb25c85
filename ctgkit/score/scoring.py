"""Truth and results make a score; many scores make one.

This module performs no I/O.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from ctgkit.events import Event
from ctgkit.score.alarms import AlarmTally, judge_alarms
from ctgkit.score.matching import Tally, match
from ctgkit.score.results import Found, Results
from ctgkit.score.truth import Span, Truth

TYPED: Final = "deceleration"
"""The kind of events that has types."""

COVERED = 0.5
"""A baseline is compared where at least this share of the time has one on both sides. Chosen."""


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


def score(truth: Truth, results: Results) -> Score:
    """Return what *results* are worth against *truth*."""
    tallies: dict[str, Tally] | None = None
    types = typed = delays_s = None
    if results.events is not None and truth.kinds:
        tallies = {}
        pairs: list[tuple[Event, Found]] = []
        for kind in truth.kinds:
            asked = [e for e in truth.events if e.kind == kind]
            counted = _counted(truth, results.events, kind)
            matched = match(asked, counted)
            pairs += [(asked[i], counted[j]) for i, j in matched]
            taken = {j for _, j in matched}
            rest = [e for j, e in enumerate(counted) if j not in taken]
            forgiven = {j for _, j in match([e for e in truth.spared if e.kind == kind], rest)}
            extra = [e for j, e in enumerate(rest) if j not in forgiven]
            tallies[kind] = Tally(len(asked), len(matched) + len(extra), len(matched))
            if kind == TYPED:
                types, typed = _by_type(asked, [(asked[i], counted[j]) for i, j in matched], extra)
        known = [(e, f.named_at_s) for e, f in pairs if f.named_at_s is not None]
        if known or not pairs:
            delays_s = tuple(at_s - e.onset_s for e, at_s in known)
    return Score(
        name=truth.name,
        tallies=tallies,
        types=types,
        typed=typed,
        baseline_gaps_bpm=_gaps(truth.baseline, results.baseline),
        delays_s=delays_s,
        alarms=_alarms(truth, results),
        alarms_by_code=results.alarms_by_code,
        unreadable=results.unreadable,
    )


def _counted(truth: Truth, events: Sequence[Found], kind: str) -> list[Found]:
    return [
        e for e in events if e.kind == kind and e.end_s > truth.from_s and e.onset_s < truth.to_s
    ]


def _alarms(truth: Truth, results: Results) -> AlarmTally | None:
    if truth.alarms is None or results.alarms is None or truth.length_s is None:
        return None
    return judge_alarms(
        truth.alarms, results.alarms, truth.length_s, by_code=results.alarms_by_code
    )


def _by_type(
    asked: Sequence[Event], pairs: Sequence[tuple[Event, Found]], extra: Sequence[Found]
) -> tuple[dict[str, Tally] | None, Tally | None]:
    """Return a tally of each true type, and of the types of what was found.

    None where the truth has no types, or no found event has one.
    """
    named = sorted({e.subtype for e in asked if e.subtype})
    told = [f.subtype for _, f in pairs] + [f.subtype for f in extra]
    if not named or (told and not any(told)):
        return None, None
    tallies = {
        name: Tally(
            sum(e.subtype == name for e in asked),
            told.count(name),
            sum(e.subtype == f.subtype == name for e, f in pairs),
        )
        for name in named
    }
    with_type = [(e, f) for e, f in pairs if e.subtype]
    right = sum(e.subtype == f.subtype for e, f in with_type)
    return tallies, Tally(len(with_type), len(with_type), right)


def _gaps(truth: Sequence[Span], own: Sequence[Span] | None) -> tuple[float, ...] | None:
    """Return the gaps, each over a span of whichever side has the longer spans."""
    if not truth or own is None:
        return None
    true, reported = np.array(truth, float), np.array(own, float).reshape(-1, 3)
    if not len(reported):
        return ()
    own_is_finer = _length_s(reported) <= _length_s(true)
    coarse, fine = (true, reported) if own_is_finer else (reported, true)
    gaps = []
    for from_s, to_s, bpm in coarse.tolist():
        shared_s = np.clip(np.minimum(fine[:, 1], to_s) - np.maximum(fine[:, 0], from_s), 0, None)
        covered_s = float(shared_s.sum())
        if covered_s >= COVERED * (to_s - from_s) > 0:
            mean = float(shared_s @ fine[:, 2]) / covered_s
            gaps.append(mean - bpm if own_is_finer else bpm - mean)
    return tuple(gaps)


def _length_s(spans: "np.ndarray[tuple[int, int], np.dtype[np.float64]]") -> float:
    return float(np.median(spans[:, 1] - spans[:, 0]))


@dataclass(slots=True)
class _Sum:
    tallies: dict[str, Tally] = field(default_factory=dict)
    types: dict[str, Tally] = field(default_factory=dict)

    @staticmethod
    def add(total: dict[str, Tally], more: Mapping[str, Tally] | None) -> None:
        for name, tally in (more or {}).items():
            total[name] = total.get(name, Tally()) + tally


def combined(scores: Sequence[Score]) -> Score:
    """Return one score of many recordings: events, gaps and delays of all together."""
    total = _Sum()
    for one in scores:
        total.add(total.tallies, one.tallies)
        total.add(total.types, one.types)
    typed = [s.typed for s in scores if s.typed is not None]
    gaps = [s.baseline_gaps_bpm for s in scores if s.baseline_gaps_bpm is not None]
    delays = [s.delays_s for s in scores if s.delays_s is not None]
    alarms = [s.alarms for s in scores if s.alarms is not None]
    return Score(
        name="overall",
        tallies=total.tallies or None,
        types=total.types or None,
        typed=sum(typed, Tally()) if typed else None,
        baseline_gaps_bpm=tuple(g for one in gaps for g in one) if gaps else None,
        delays_s=tuple(d for one in delays for d in one) if delays else None,
        alarms=sum(alarms, AlarmTally()) if alarms else None,
        alarms_by_code=any(s.alarms_by_code for s in scores if s.alarms is not None),
        unreadable=sum(s.unreadable for s in scores),
    )
