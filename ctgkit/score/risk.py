"""Does the hypoxia probability tell the acidotic from the others? AUC, calibration, delay.

Judged against the simulated pH of each recording: a model's, not medicine. This module performs
no I/O.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

LAST_S: Final = 600.0
"""A recording's probability is the mean of its last 10 minutes: cord pH is measured at birth."""

FALSE_ALARM_SHARE: Final = 0.15
"""Share of the recordings without acidosis that may be called acidotic. Chosen."""

BINS: Final = 5
RESAMPLES: Final = 1000


@dataclass(frozen=True, slots=True)
class Risk:
    """One recording: what was true, and what was said."""

    acidotic: bool
    since_s: float | None
    """When the pH first was at or below the limit, seconds, to ten minutes."""
    course: tuple[tuple[float, float], ...]
    """Data time, seconds, and probability, by time."""

    @property
    def probability(self) -> float:
        """Mean probability of the last minutes."""
        last_s = self.course[-1][0] - LAST_S
        return float(np.mean([p for at_s, p in self.course if at_s >= last_s]))


class Bin(NamedTuple):
    """One bin of the calibration curve."""

    predicted: float
    """Mean probability."""
    observed: float
    """Share of acidotic recordings."""
    recordings: int


class Verdict(NamedTuple):
    """How well the probability tells who is acidotic; None where it can't be said."""

    acidotic: int
    others: int
    auc: float | None
    auc_95: tuple[float, float] | None
    """Bootstrap over recordings."""
    sensitivity: float | None
    """With a threshold that calls FALSE_ALARM_SHARE of the others acidotic."""
    threshold: float | None
    delay_s: float | None
    """Median, from the pH's fall to the first probability above the threshold."""
    calibration: tuple[Bin, ...]


def auc(acidotic: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Return the share of pairs in which the acidotic one has the higher probability.

    >>> auc(np.array([0.9, 0.5]), np.array([0.5, 0.1]))
    0.875
    """
    above = (acidotic[:, None] > others[None, :]).mean()
    equal = (acidotic[:, None] == others[None, :]).mean()
    return float(above + equal / 2)


def verdict(risks: Sequence[Risk]) -> Verdict:
    """Return what *risks* together say."""
    p = np.array([r.probability for r in risks])
    bad = np.array([r.acidotic for r in risks], bool)
    calibration = _calibration(p, bad)
    n_bad, n_others = int(bad.sum()), int((~bad).sum())
    if not n_bad or not n_others:
        return Verdict(n_bad, n_others, None, None, None, None, None, calibration)
    threshold = float(np.quantile(p[~bad], 1 - FALSE_ALARM_SHARE, method="higher"))
    delays = [d for r in risks if r.acidotic and (d := _delay_s(r, threshold)) is not None]
    return Verdict(
        n_bad,
        n_others,
        auc(p[bad], p[~bad]),
        _interval(p, bad),
        float((p[bad] > threshold).mean()),
        threshold,
        float(np.median(delays)) if delays else None,
        calibration,
    )


def _delay_s(risk: Risk, threshold: float) -> float | None:
    if risk.since_s is None:
        return None
    later = (at_s for at_s, p in risk.course if at_s >= risk.since_s and p > threshold)
    first_s = next(later, None)
    return None if first_s is None else first_s - risk.since_s


def _interval(p: NDArray[np.float64], bad: NDArray[np.bool_]) -> tuple[float, float]:
    random = np.random.default_rng(0)
    drawn = (random.integers(len(p), size=len(p)) for _ in range(RESAMPLES))
    both = [i for i in drawn if 0 < bad[i].sum() < len(i)]
    low, high = np.percentile([auc(p[i][bad[i]], p[i][~bad[i]]) for i in both], (2.5, 97.5))
    return float(low), float(high)


def _calibration(p: NDArray[np.float64], bad: NDArray[np.bool_]) -> tuple[Bin, ...]:
    parts = np.array_split(np.argsort(p, kind="stable"), min(BINS, len(p)))
    return tuple(Bin(float(p[i].mean()), float(bad[i].mean()), len(i)) for i in parts if len(i))
