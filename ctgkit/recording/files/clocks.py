"""Channels that were sampled by clocks of their own -> one recording, at the heart rate's times.

A channel that has no row at some time has not lost its signal there: it has other times. This
module performs no I/O.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_ENOUGH = 8
"""Samples from which on a channel's own rate is believed."""
_SLOWER = 1.5
"""Ratio of steps from which on a channel is slower, and held between its samples."""
_GAP_STEPS = 1.5
"""A step of the heart rate longer than this many usual ones is a gap."""
_SHARED = 0.25
"""Share of equal times from which on two channels have one clock. Chosen: clocks of their own meet
in 1 % of their milliseconds, and a signal lost for half the time in half of its grid."""
_ON_GRID = 0.01
"""How far from a grid's places times may be, steps."""


class Series(NamedTuple):
    """One channel at its own times."""

    sec: NDArray[np.float64]
    """Strictly increasing, shape (n,)."""
    values: NDArray[np.float64]


class Joined(NamedTuple):
    """All channels at one clock's times."""

    sec: NDArray[np.float64]
    fhr_bpm: NDArray[np.float64]
    others: list[NDArray[np.float64]]
    notes: list[str]


def own_series(sec: NDArray[np.float64], values: NDArray[np.float64]) -> Series:
    """Return a column's own samples: every k-th row where only those are filled, else all."""
    there = np.flatnonzero(~np.isnan(values))
    if len(there) < _ENOUGH or len(there) > 0.6 * len(values):
        return Series(sec, values)
    steps = np.diff(there)
    k = int(np.bincount(steps).argmax())
    phase = int(np.bincount(there % k).argmax())
    if k < 2 or (there % k == phase).mean() < 0.95 or (steps == k).mean() < 0.5:
        return Series(sec, values)
    return Series(sec[phase::k], values[phase::k])


def in_turns(sec: NDArray[np.float64], columns: list[NDArray[np.float64]]) -> list[Series] | None:
    """Return two columns' samples where each row has one or the other; None where it isn't so."""
    one, other = (~np.isnan(values) for values in columns)
    n_one, n_other, both = int(one.sum()), int(other.sum()), int((one & other).sum())
    if min(n_one, n_other) < max(_ENOUGH, 0.2 * len(sec)) or both > 0.1 * min(n_one, n_other):
        return None
    changes = int((np.diff(one[one | other].astype(int)) != 0).sum())
    if changes < 0.25 * (n_one + n_other):
        return None  # signal of one, then of the other, for a while each
    return [Series(sec[there], v[there]) for there, v in zip((one, other), columns, strict=True)]


def step_of(sec: NDArray[np.float64]) -> float:
    """Return the usual step, seconds; infinity for a single sample."""
    if len(sec) < 2:
        return float("inf")
    steps = np.diff(sec)
    if (steps == steps[0]).all():  # as most are, and a third of the time
        return float(steps[0])
    return float(np.percentile(steps, 50, method="lower"))


def join(heart: Series, others: list[tuple[str, Series]]) -> Joined:
    """Return the channels at the heart rate's times, and in its gaps at those of the others.

    Parameters
    ----------
    heart : Series
        A step much longer than the usual one is a loss of signal.
    others : list
        Name and samples. A slower channel is held between its samples; one with another clock
        gives each time its nearest sample.
    """
    notes: list[str] = []
    sec = heart.sec
    placing: list[str] = []
    for name, one in others:
        how = _placing(heart.sec, one.sec)
        placing.append(how)
        if how == "held":
            notes.append(f"{name} has one sample every {step_of(one.sec):.4g} s: held in between")
        elif how == "nearest":
            notes.append(_about_nearest(name, heart.sec, one.sec))
        if how != "same":  # the usual case costs nothing
            sec = np.union1d(sec, _in_gaps(heart.sec, one.sec, exact=how == "shared"))
    fhr_bpm = heart.values
    if sec is not heart.sec:
        fhr_bpm = np.full(len(sec), np.nan)
        fhr_bpm[np.searchsorted(sec, heart.sec)] = heart.values
    placed = [
        _place(sec, one, how, heart.sec) for (_, one), how in zip(others, placing, strict=True)
    ]
    return Joined(sec, fhr_bpm, placed, notes)


def _placing(heart_sec: NDArray[np.float64], sec: NDArray[np.float64]) -> str:
    if heart_sec is sec or np.array_equal(heart_sec, sec):
        return "same"
    if min(len(heart_sec), len(sec)) < _ENOUGH:
        return "shared"
    if _shortest(sec) >= _SLOWER * _shortest(heart_sec):
        return "held"
    if _shortest(heart_sec) >= _SLOWER * _shortest(sec):
        return "nearest"
    inside = sec[(sec >= heart_sec[0]) & (sec <= heart_sec[-1])]
    if len(inside) and np.isin(inside, heart_sec).mean() >= _SHARED:
        return "shared"
    if _on_one_grid(heart_sec, sec):
        return "shared"
    return "nearest"


def _shortest(sec: NDArray[np.float64]) -> float:
    """Return the shortest usual step, seconds: the clock's, however many samples are lost."""
    return float(np.percentile(np.diff(sec), 5, method="lower"))


def _on_one_grid(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Tell whether both have times of one grid, so that only samples are missing."""
    step_s = min(_shortest(one), _shortest(other))
    both = (np.concatenate((one, other)) - one[0]) / step_s
    return bool(np.abs(both - np.round(both)).max() < _ON_GRID)


def _about_nearest(name: str, heart_sec: NDArray[np.float64], sec: NDArray[np.float64]) -> str:
    hz, heart_hz = 1 / step_of(sec), 1 / step_of(heart_sec)
    if _shortest(heart_sec) >= _SLOWER * _shortest(sec):
        return f"{name} has {hz:.4g} samples/s, the heart rate {heart_hz:.4g}: those nearest taken"
    return f"{name} has its own clock: the nearest sample is used"


def _in_gaps(
    heart_sec: NDArray[np.float64], sec: NDArray[np.float64], *, exact: bool
) -> NDArray[np.float64]:
    """Return the times that the heart rate has nothing near."""
    if exact:
        return sec
    step_s = step_of(heart_sec)
    after = np.searchsorted(heart_sec, sec)
    before_s = sec - heart_sec[np.maximum(after - 1, 0)]
    after_s = heart_sec[np.minimum(after, len(heart_sec) - 1)] - sec
    gap_s = np.where((after > 0) & (after < len(heart_sec)), before_s + after_s, np.inf)
    near_s = np.minimum(np.abs(before_s), np.abs(after_s))
    return sec[(gap_s > _GAP_STEPS * step_s) & (near_s > 0.75 * step_s)]


def _place(
    sec: NDArray[np.float64], one: Series, how: str, heart_sec: NDArray[np.float64]
) -> NDArray[np.float64]:
    if how == "same" and sec is heart_sec:
        return one.values
    placed = np.full(len(sec), np.nan)
    if how in ("same", "shared"):
        placed[np.searchsorted(sec, one.sec)] = one.values
        return placed
    after = np.searchsorted(one.sec, sec, side="right")
    last = np.maximum(after - 1, 0)
    age_s = sec - one.sec[last]
    if how == "held":
        held = (after > 0) & (age_s < 1.5 * step_of(one.sec))
        placed[held] = one.values[last[held]]
        return placed
    following = np.minimum(after, len(one.sec) - 1)
    nearest = np.where(np.abs(one.sec[following] - sec) < np.abs(age_s), following, last)
    reach_s = 1.5 * max(step_of(one.sec), step_of(heart_sec))
    near = np.abs(one.sec[nearest] - sec) <= reach_s
    placed[near] = one.values[nearest[near]]
    return placed
