"""Stage 2: the baseline, by robust kernel smoothing.

Pure: arrays in, arrays out. Works on means over :data:`BIN_S`, like every baseline method that
has to be cheap; a baseline moves over minutes.

The weight of each mean is its chance to belong to the baseline: flat stretches count, flanks of
events hardly, and with every pass what lies far from the present estimate counts less. The
kernel is a two-sided exponential, which two cumulative sums give exactly (a weighted smoothing
costs some 20 µs for 20 min). Own design after notes/analysis.md 4.3; scores in docs/analysis.md.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit.analysis import plateau
from ctgkit.analysis.plateau import Plateaus
from ctgkit.analysis.windows import moving_max, moving_mean
from ctgkit.samples import PREDICTION_WINDOW_S

BIN_S = 5.0
"""Length of the means that the baseline is computed from, seconds."""

KERNEL_S = 60.0
"""Time constant of the kernel, seconds. Scores are flat from 45 to 75 (docs/analysis.md)."""

REJECT_BPM = (28.0, 12.0, 8.0)
"""Distance from the estimate at which a mean counts as nothing, for each pass, beats/min."""

FLAT_MEAN_S, FLAT_REACH_S, FLAT_RANGE_BPM = 30.0, 40.0, 12.0
"""A mean has half the prior weight where the 30 s moving mean ranges over 12 beats/min within
40 s to either side (notes/analysis.md 4.3, 2)."""

HELD_REACH = 2
"""Means to either side over which the levels are smoothed before they are refined."""

RIDGE = 0.006
"""Weight of the level itself in each mean: where nothing else supports a baseline, it is held."""

RELIABLE_FROM = 0.1
"""Below this share of the full weight nothing supports the baseline: it is held from before. Below
this share of the time with a signal it is unknown."""

MEASURED_MIN_S = 120.0
"""A baseline needs as much signal in 10 min (NICHD 2008)."""

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """The baseline of each mean, and how sure it is; arrays of shape (n_bins,)."""

    baseline_bpm: Floats
    """NaN throughout when there is no sample at all."""
    reliability: Floats
    """Share of the means around that support it, in [0, 1]."""
    measured: Floats
    """Share of the time around with a signal, in [0, 1]."""
    other_bpm: float | None
    """Another level that is nearly as likely to be the present baseline; None without doubt."""

    def present_bpm(self) -> float | None:
        """Return the mean of the last 10 min; None on less than 2 min with a signal."""
        bins = int(PREDICTION_WINDOW_S / BIN_S)
        measured = self.measured[-bins:] >= RELIABLE_FROM
        if np.count_nonzero(measured) * BIN_S < MEASURED_MIN_S:
            return None
        return float(self.baseline_bpm[-bins:][measured].mean())


NOTHING = Estimate(np.empty(0), np.empty(0), np.empty(0), None)


def estimate(
    mean_bpm: Floats,
    valid_share: Floats,
    plateaus: Plateaus | None = None,
    n_bins: int | None = None,
) -> Estimate:
    """Return the baseline of the last means.

    Parameters
    ----------
    mean_bpm : array of shape (n_bins,)
        Means over :data:`BIN_S`, beats/min; NaN where there is nothing.
    valid_share : array of shape (n_bins,)
        Share of good samples in each, in [0, 1].
    plateaus : Plateaus
        Which levels it had before; by default nothing was before.
    n_bins : int
        Means since the start, earlier ones included; by default those given.
    """
    plateaus = plateaus or Plateaus(mean_bpm.size)
    n_bins = n_bins or mean_bpm.size
    known = np.flatnonzero(np.isfinite(mean_bpm))
    if known.size == 0:
        nothing = np.zeros(mean_bpm.size)
        plateaus.update(nothing, nothing, n_bins)
        return Estimate(np.full(mean_bpm.size, np.nan), nothing, nothing, None)
    filled = np.interp(np.arange(mean_bpm.size), known, mean_bpm[known])
    prior = valid_share * flatness(filled)
    weight = valid_share * plateau.steadiness(filled)
    levels, other_bpm = plateaus.update(filled, weight, n_bins)
    held = baseline = moving_mean(levels, HELD_REACH)
    support = prior
    rows = np.empty((2, filled.size))
    for reject_bpm in REJECT_BPM:
        distance = (filled - baseline) / reject_bpm
        support = np.maximum(0.0, 1.0 - distance * distance)
        support *= support
        rows[1] = prior * support
        np.multiply(rows[1], filled, out=rows[0])
        rows[0] += RIDGE * held
        rows[1] += RIDGE
        smooth = kernel_sums(rows)
        baseline = smooth[0] / smooth[1]
    rows[0], rows[1] = valid_share * support, valid_share
    reliability, measured = kernel_sums(rows) / _full_support(mean_bpm.size)
    return Estimate(baseline, reliability, measured, other_bpm)


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
def _growth(n_bins: int) -> tuple[Floats, Floats]:
    exponent = (np.arange(n_bins) - n_bins / 2) * (BIN_S / KERNEL_S)
    return np.exp(exponent), np.exp(-exponent)


@lru_cache(maxsize=512)
def _full_support(n_bins: int) -> Floats:
    return kernel_sums(np.ones(n_bins))
