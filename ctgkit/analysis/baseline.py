"""Stage 2: the baseline, by robust kernel smoothing.

Pure: arrays in, arrays out. Works on means over :data:`BIN_S`, like every baseline method that
has to be cheap; a baseline moves over minutes.

The weight of each mean is its chance to belong to the baseline: flat stretches count, flanks of
events hardly, and with every pass what lies far from the present estimate counts less. The
kernel is a two-sided exponential, which two cumulative sums give exactly (a weighted smoothing
costs some 20 µs for 20 min). Own design after analysis.md 4.3; scores in docs/analysis.md.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BIN_S = 5.0
"""Length of the means that the baseline is computed from, seconds."""

KERNEL_S = 60.0
"""Time constant of the kernel, seconds. Scores are flat from 45 to 75 (docs/analysis.md)."""

REJECT_BPM = (20.0, 12.0, 8.0)
"""Distance from the estimate at which a mean counts as nothing, for each pass, beats/min."""

START_REACH_S = 480.0
"""Half length of the windows whose weighted medians are the first estimate, seconds: a level
counts as the baseline only where it prevails over minutes (FIGO 2015: 10 min windows)."""

START_EVERY_S = 400.0

FLAT_MEAN_S, FLAT_REACH_S, FLAT_RANGE_BPM = 30.0, 40.0, 12.0
"""A mean has half the prior weight where the 30 s moving mean ranges over 12 beats/min within
40 s to either side (analysis.md 4.3, 2)."""

RIDGE = 0.002
"""Weight that remains of a rejected mean: without any, a gap would divide by zero."""

RELIABLE_FROM = 0.1
"""Below this share of the full weight the baseline is indeterminate (NICHD: < 2 min in 10)."""

Floats = NDArray[np.float64]
_ZERO = np.zeros(1)


def estimate(mean_bpm: Floats, valid_share: Floats) -> tuple[Floats, Floats]:
    """Return the baseline and its reliability.

    Parameters
    ----------
    mean_bpm : array of shape (n_bins,)
        Means over :data:`BIN_S`, beats/min; NaN where there is nothing.
    valid_share : array of shape (n_bins,)
        Share of good samples in each, in [0, 1].

    Returns
    -------
    baseline_bpm : array of shape (n_bins,)
        NaN throughout when there is no sample at all.
    reliability : array of shape (n_bins,)
        Share of the means around that support it, in [0, 1].
    """
    known = np.flatnonzero(np.isfinite(mean_bpm))
    if known.size == 0:
        return np.full(mean_bpm.size, np.nan), np.zeros(mean_bpm.size)
    filled = np.interp(np.arange(mean_bpm.size), known, mean_bpm[known])
    prior = valid_share * flatness(filled)
    baseline = _first_estimate(filled, prior)
    support = prior
    rows = np.empty((2, filled.size))
    for reject_bpm in REJECT_BPM:
        distance = (filled - baseline) / reject_bpm
        support = np.maximum(0.0, 1.0 - distance * distance)
        support *= support
        rows[1] = prior * (support + RIDGE) + 1e-12
        np.multiply(rows[1], filled, out=rows[0])
        smooth = kernel_sums(rows)
        baseline = smooth[0] / smooth[1]
    return baseline, kernel_sums(valid_share * support) / _full_support(mean_bpm.size)


def flatness(mean_bpm: Floats) -> Floats:
    """Return how flat the surroundings of each mean are: 1 level, 0 a flank.

    Parameters
    ----------
    mean_bpm : array of shape (n_bins,)
        Without gaps.
    """
    slow = moving_mean(mean_bpm, round(FLAT_MEAN_S / BIN_S / 2))
    reach = round(FLAT_REACH_S / BIN_S)
    around = np.concatenate((np.full(reach, slow[0]), slow, np.full(reach, slow[-1])))
    spread = moving_max(around, 2 * reach + 1) + moving_max(-around, 2 * reach + 1)
    relative = spread / FLAT_RANGE_BPM
    flat: Floats = 1.0 / (1.0 + relative * relative * relative)
    return flat


def moving_max(values: Floats, width: int) -> Floats:
    """Return the maximum of each *width* neighbours, an array that is shorter by width - 1.

    Maxima over 2, 4, 8 … neighbours come from two of the step before.
    """
    reached = 1
    while 2 * reached <= width:
        values = np.maximum(values[:-reached], values[reached:])
        reached *= 2
    rest = width - reached
    return np.maximum(values[:-rest], values[rest:]) if rest else values


def moving_mean(values: Floats, reach: int) -> Floats:
    """Return the mean over *reach* values to either side, fewer at the ends."""
    low, high, count = _reaches(values.size, reach)
    total = np.concatenate((_ZERO, values.cumsum()))
    mean: Floats = (total[high] - total[low]) / count
    return mean


def kernel_sums(rows: Floats) -> Floats:
    """Return the sums along the last axis (n_bins,), weighted by exp(-distance / KERNEL_S).

    A cumulative sum of x·eᵗ, divided by eᵗ, is the one-sided sum; over the 20 min that are looked
    at, eᵗ grows to e²⁰, far from the limits of double precision.
    """
    growth, decay = _growth(rows.shape[-1])
    sums: Floats = (rows * growth).cumsum(axis=-1)
    sums *= decay
    sums += (rows * decay)[..., ::-1].cumsum(axis=-1)[..., ::-1] * growth
    sums -= rows
    return sums


@lru_cache(maxsize=512)
def _reaches(size: int, reach: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    at = np.arange(size)
    low, high = np.maximum(at - reach, 0), np.minimum(at + reach + 1, size)
    return low, high, high - low


@lru_cache(maxsize=512)
def _growth(n_bins: int) -> tuple[Floats, Floats]:
    exponent = (np.arange(n_bins) - n_bins / 2) * (BIN_S / KERNEL_S)
    return np.exp(exponent), np.exp(-exponent)


@lru_cache(maxsize=512)
def _full_support(n_bins: int) -> Floats:
    return kernel_sums(np.ones(n_bins))


def _first_estimate(filled: Floats, prior: Floats) -> Floats:
    """Return weighted medians over some minutes, joined by lines."""
    n, reach = filled.size, round(START_REACH_S / BIN_S)
    knots = np.linspace(0, n - 1, 2 + int(n * BIN_S / START_EVERY_S)).astype(int)
    medians = []
    for knot in knots:
        window = slice(max(0, knot - reach), knot + reach + 1)
        medians.append(weighted_median(filled[window], prior[window] + 1e-9))
    return np.interp(np.arange(n), knots, medians)


def weighted_median(values: Floats, weights: Floats) -> float:
    """Return the value at which half of the weight is reached."""
    order = values.argsort()
    total = weights[order].cumsum()
    return float(values[order[total.searchsorted(total[-1] / 2)]])
