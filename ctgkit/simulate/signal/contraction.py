"""When contractions are, and how they look.

Contraction k sits where the integral of the rate passes k plus a jitter: any of them can be found
without walking through those before it.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ctgkit.simulate.patient import Patient
from ctgkit.simulate.signal import fitted
from ctgkit.simulate.signal.noise import slow
from ctgkit.simulate.signal.stream import Floats, Streams

LONGEST_S = 700.0
"""No contraction reaches further than this from its peak; bounds the search."""

_LN10 = float(np.log(10.0))
_REACH = 1.75  # the bell is zero further than this from its peak, at a power of 1 and more
_FOOT = 0.02  # the bell is cut at 2 % of its height and lowered, so that it starts from zero


class Contraction(NamedTuple):
    """One contraction; onset and end are where it crosses 10 % of its height."""

    id: str
    number: int
    peak_s: float
    rise_s: float
    """From 10 % to the peak."""
    fall_s: float
    """From the peak to 10 %."""
    height: float
    """Above the resting tone, toco units."""
    power: float
    """Exponent of the bell: 2 is Gaussian, less is pointed."""

    @property
    def onset_s(self) -> float:
        """Where it begins, seconds."""
        return self.peak_s - self.rise_s

    @property
    def end_s(self) -> float:
        """Where it ends, seconds."""
        return self.peak_s + self.fall_s


def bell(contraction: Contraction, t_s: Floats) -> tuple[slice, Floats]:
    """Return the contraction's shape, 0 to 1: an asymmetric generalised Gaussian.

    Parameters
    ----------
    contraction : Contraction
        Which one.
    t_s : ndarray of shape (n_samples,)
        Times, seconds, increasing.

    Returns
    -------
    slice
        Which of them it touches; elsewhere it is 0.
    ndarray
        The shape there.
    """
    peak_s, rise_s, fall_s = contraction.peak_s, contraction.rise_s, contraction.fall_s
    ends = t_s.searchsorted((peak_s - _REACH * rise_s, peak_s + _REACH * fall_s))
    inside = slice(*ends.tolist())
    x = t_s[inside] - peak_s
    if not len(x):
        return inside, x
    middle = x.searchsorted(0.0)
    x[:middle] /= -rise_s
    x[middle:] /= fall_s
    shape = np.exp(-_LN10 * x**contraction.power)
    shape -= _FOOT
    return inside, np.maximum(shape, 0.0) / (1 - _FOOT)


class Contractions:
    """The contractions of one patient.

    Parameters
    ----------
    patient : Patient
        Supplies rate, height and length over time.
    streams : Streams
        The sensor's random numbers.
    """

    def __init__(self, patient: Patient, streams: Streams) -> None:
        self._patient, self._streams = patient, streams
        edges = patient.edges_s("toco.per_10min")
        steps = [np.arange(a, b, 10.0) for a, b in pairwise(edges)]
        times = np.concatenate([*steps, [edges[-1]]])
        self._times = np.array(sorted(set(times.tolist())))  # np.unique imports numpy.ma, 16 ms
        rates = np.broadcast_to(
            np.maximum(patient.at("toco.per_10min", self._times), 1e-3) / 600, self._times.shape
        )
        pieces = np.diff(self._times) * (rates[1:] + rates[:-1]) / 2
        self._counts = np.concatenate([[0.0], np.cumsum(pieces)])
        self._first_rate, self._last_rate = float(rates[0]), float(rates[-1])
        self._phase = float(streams.generator("toco.contraction.phase", 0).random())

    def _count_at(self, t_s: float) -> float:
        if t_s < 0:
            return t_s * self._first_rate
        if t_s > self._times[-1]:
            return float(self._counts[-1] + (t_s - self._times[-1]) * self._last_rate)
        return float(np.interp(t_s, self._times, self._counts))

    def _times_of(self, counts: Floats) -> Floats:
        inside = np.interp(counts, self._counts, self._times)
        before, beyond = np.minimum(counts, 0), np.maximum(counts - self._counts[-1], 0)
        times: Floats = inside + before / self._first_rate + beyond / self._last_rate
        return times

    def between(self, from_s: float, to_s: float) -> list[Contraction]:
        """Return the contractions that touch [*from_s*, *to_s*), by index."""
        first = int(np.floor(self._count_at(from_s - LONGEST_S))) - 2
        stop = int(np.ceil(self._count_at(to_s + LONGEST_S))) + 2
        u = self._streams.uniform("toco.contraction", first, stop, 2)
        z = self._streams.normal("toco.contraction", first - 1, stop, 4)
        counts = np.arange(first, stop, dtype=np.float64) + self._phase
        cv = self._patient.at("toco.interval_cv", self._times_of(counts))
        peaks = self._times_of(counts + np.clip(cv / np.sqrt(2) * z[1:, 0], -0.45, 0.45))
        # neighbours are alike: AR over the index with coefficient .3 (notes/signal_model.md 6)
        z = (z[1:] + 0.3 * z[:-1]) / np.sqrt(1.09)
        trend = slow(self._streams, "toco.contraction.trend", peaks, 300.0, 900.0)
        rows = self._shapes(peaks, z, u[:, 0], trend)
        often = self._patient.at("toco.per_10min", peaks) >= 0.02
        begin_s = peaks - np.minimum(2 * rows[:, 1], LONGEST_S)
        end_s = peaks + np.minimum(2 * rows[:, 2], LONGEST_S)
        touching = (begin_s < to_s) & (end_s > from_s)
        found = np.flatnonzero(touching & often)
        return [
            Contraction(f"c{first + i}", first + i, *row)
            for i, row in zip(found.tolist(), rows[found].tolist(), strict=True)
        ]

    def _shapes(self, peaks_s: Floats, z: Floats, u: Floats, trend: Floats) -> Floats:
        """Return what contractions look like: a row each, with Contraction's last five members."""
        at = self._patient.at
        length = at("toco.duration_s", peaks_s) * np.exp(
            at("toco.duration_spread", peaks_s) * z[:, 1]
        )
        length = np.minimum(length, LONGEST_S)
        height = at("toco.amplitude", peaks_s) * np.exp(
            at("toco.amplitude_spread", peaks_s) * (0.8 * z[:, 2] + 0.6 * trend)
        )
        rise = np.clip(fitted.RISE_MEAN + fitted.RISE_SD * z[:, 3], 0.15, 0.85)
        low, high = fitted.BELL_POWER
        return np.stack(
            [peaks_s, length * rise, length * (1 - rise), height, low + (high - low) * u], axis=1
        )
