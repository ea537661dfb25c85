"""What probability and status alone are worth: for a service that says nothing else.

Every 30 s of data time the result is held against what the truth calls for in the last 10 min
(docs/score.md): a ranking (AUC), honesty of the numbers (calibration), and alarms by status.
This module performs no I/O.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

import numpy as np

from ctgkit.samples import RISK_HIGH_ABOVE
from ctgkit.score.alarms import (
    ANY,
    LEAST_S,
    TOLERANCE_S,
    Alarm,
    AlarmTally,
    intervals,
    judge_alarms,
    merged,
)

BINS = ((0.0, 0.3), (0.3, 0.5), (0.5, 0.8), (0.8, 1.01))
"""Of the calibration: the contract's levels of risk."""
RANKS = {"ok": 0.0, "warning": 0.5, "critical": 1.0}
"""What a status is worth where no probability is said."""
ALARMING = ("warning", "critical")


class Moment(NamedTuple):
    """What was said at one moment."""

    at_s: float
    """Data time, seconds."""
    probability: float | None
    status: str

    @property
    def alarming(self) -> bool:
        """Whether it calls for somebody."""
        return self.status in ALARMING or (self.probability or 0.0) > RISK_HIGH_ABOVE


class Bin(NamedTuple):
    """One level of risk in the calibration."""

    from_p: float
    to_p: float
    said: float
    """Mean probability."""
    called: float
    """Share of the moments at which the truth calls for an alarm."""
    moments: int


@dataclass(frozen=True, slots=True)
class Calls:
    """Moments of one recording, or of many."""

    moments: tuple[tuple[float, bool], ...] = ()
    """(Probability, or the status' rank; whether the truth calls for an alarm)."""
    delays_s: tuple[float, ...] = ()
    """From the onset of each alarm that is called for to the first alarming result."""
    tally: AlarmTally = field(default_factory=AlarmTally)
    by_probability: bool = True

    def __add__(self, other: "Calls") -> "Calls":
        return Calls(
            self.moments + other.moments,
            self.delays_s + other.delays_s,
            self.tally + other.tally,
            self.by_probability and other.by_probability,
        )

    @property
    def auc(self) -> float | None:
        """Share of pairs in which the moment that calls for an alarm has the higher value.

        None where there are not both kinds of moments.
        """
        said = np.array([p for p, _ in self.moments])
        called = np.array([c for _, c in self.moments], bool)
        n_called, n_others = int(called.sum()), int((~called).sum())
        if not n_called or not n_others:
            return None
        values, ranks = np.unique(said, return_inverse=True)
        counts = np.bincount(ranks, minlength=len(values))
        upper = np.cumsum(counts)
        mean_rank = (upper - counts + 1 + upper) / 2
        total = float(mean_rank[ranks][called].sum())
        return (total - n_called * (n_called + 1) / 2) / (n_called * n_others)

    @property
    def brier(self) -> float | None:
        """Mean squared distance of probability and truth, in [0, 1]; lower is better."""
        if not self.moments or not self.by_probability:
            return None
        return float(np.mean([(p - c) ** 2 for p, c in self.moments]))

    @property
    def delay_s(self) -> float | None:
        """Median time to alarm, seconds."""
        return median(self.delays_s) if self.delays_s else None

    def calibration(self) -> list[Bin]:
        """Return, per level of risk, what was said and what is true."""
        if not self.by_probability:
            return []
        bins = []
        for low, high in BINS:
            inside = [(p, c) for p, c in self.moments if low <= p < high]
            if inside:
                said, called = np.mean(inside, axis=0).tolist()
                bins.append(Bin(low, min(high, 1.0), said, called, len(inside)))
        return bins


def judge_calls(
    wanted: Sequence[Alarm] | None, moments: Sequence[Moment] | None, length_s: float | None
) -> Calls | None:
    """Return what the moments are worth; None where nothing is known or said.

    Parameters
    ----------
    wanted : sequence of Alarm or None
        What the truth calls for.
    moments : sequence of Moment or None
        What was said, in order of time.
    length_s : float or None
        Length of the recording, seconds.
    """
    if wanted is None or not moments or length_s is None:
        return None
    serious = merged([alarm for alarm in wanted if alarm.serious])
    by_probability = any(m.probability is not None for m in moments)
    judged = tuple(
        (
            (m.probability or 0.0) if by_probability else RANKS.get(m.status, 0.0),
            any(a.onset_s <= m.at_s and a.end_s > m.at_s - TOLERANCE_S for a in serious),
        )
        for m in moments
        if not by_probability or m.probability is not None
    )
    raised = intervals(((m.at_s, (ANY,) if m.alarming else ()) for m in moments), moments[-1].at_s)
    delays = [d for alarm in serious if (d := _delay_s(alarm, raised, length_s)) is not None]
    tally = judge_alarms(wanted, raised, length_s, by_code=False)
    return Calls(judged, tuple(delays), tally, by_probability)


def _delay_s(alarm: Alarm, raised: Sequence[Alarm], length_s: float) -> float | None:
    if alarm.end_s - alarm.onset_s < LEAST_S or alarm.onset_s > length_s - LEAST_S:
        return None
    during = [
        r for r in raised if r.end_s >= alarm.onset_s and r.onset_s < alarm.end_s + TOLERANCE_S
    ]
    return max(0.0, during[0].onset_s - alarm.onset_s) if during else None
