"""Stationary Gaussian noise with a given spectrum, at any position, without state.

Overlap-add: frame k covers samples [k frame / 2, k frame / 2 + frame); its Fourier coefficients
are row k of its stream. A sine window makes neighbouring frames add up to constant power.
"""

from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np

from ctgkit.simulate.signal.stream import Floats, Streams

ENGINE_HZ: Final = 4.0
"""Rate at which everything is synthesised, samples/s; monitors output every 250 ms."""

FRAME, SLOW_FRAME = 512, 2048
"""Lengths of a frame in samples: 128 s, and 512 s for what swings over minutes."""

FREQUENCIES_HZ: Final[Floats] = np.asarray(np.fft.rfftfreq(FRAME, 1 / ENGINE_HZ), np.float64)
SLOW_HZ: Final[Floats] = np.asarray(np.fft.rfftfreq(SLOW_FRAME, 1 / ENGINE_HZ), np.float64)


@cache
def _window(frame: int) -> Floats:
    """Return a sine window: overlapping by half, its squares add up to one."""
    return np.asarray(np.sin(np.pi * (np.arange(frame) + 0.5) / frame))


def amplitudes(psd_per_hz: Floats) -> Floats:
    """Return the coefficient scale of a one-sided spectrum.

    Parameters
    ----------
    psd_per_hz : ndarray of shape (n_frequencies,)
        Power per Hz at :data:`FREQUENCIES_HZ` or :data:`SLOW_HZ`.

    Returns
    -------
    ndarray of shape (n_frequencies,)
        Standard deviation of the real and imaginary part of each Fourier coefficient.
    """
    scale: Floats = 0.5 * np.sqrt(psd_per_hz * ENGINE_HZ * 2 * (len(psd_per_hz) - 1))
    scale[0] = 0.0
    return scale


def noise(
    streams: Streams,
    name: str,
    first: int,
    count: int,
    scale: Floats | Callable[[float], Floats],
) -> Floats:
    """Return samples *first* to *first* + *count* of the noise called *name*.

    Parameters
    ----------
    streams : Streams
        The sensor's random numbers.
    name : str
        The component.
    first, count : int
        Engine sample index, and how many; before 0 is allowed.
    scale : ndarray of shape (n_frequencies,) or callable
        :func:`amplitudes` of the spectrum, or a function from a frame's centre, seconds, to them
        at FREQUENCIES_HZ.

    Returns
    -------
    ndarray of shape (count,)
    """
    out = np.zeros(count)
    frame = FRAME if callable(scale) else 2 * (len(scale) - 1)
    hop, window = frame // 2, _window(frame)
    used = 0 if callable(scale) else _used(scale)
    for number in range(first // hop - 1, (first + count - 1) // hop + 1):
        if callable(scale):
            size = scale((number + 1) * hop / ENGINE_HZ)
            used = _used(size)
        else:
            size = scale
        z = streams.generator(name, number).standard_normal((used, 2)) * size[:used, None]
        wave = np.fft.irfft(z.view(np.complex128)[:, 0], frame) * window
        start = number * hop - first
        low, high = max(start, 0), min(start + frame, count)
        out[low:high] += wave[low - start : high - start]
    return out


def _used(size: Floats) -> int:
    """Return how many coefficients aren't zero from some frequency on."""
    return int(np.flatnonzero(size)[-1]) + 1 if size[-1] == 0 else len(size)


_PARTS = 16
_BLEND: Final = 0.5 - 0.5 * np.cos(np.pi * np.arange(_PARTS) / _PARTS)


@cache
def _weights(knot_s: float, tau_s: float) -> Floats:
    """Return what the last normals weigh in a knot, the latest first."""
    phi = np.exp(-knot_s / tau_s)
    memory = max(1, int(np.ceil(3.0 / (1.0 - phi))))
    weights: Floats = phi ** np.arange(memory)[::-1]
    weights /= np.sqrt((weights**2).sum())
    return weights[::-1]


def slow(streams: Streams, name: str, t_s: Floats, knot_s: float, tau_s: float) -> Floats:
    """Return a smooth wandering of unit variance, correlated over about *tau_s*.

    Parameters
    ----------
    streams : Streams
        The sensor's random numbers.
    name : str
        The component.
    t_s : ndarray of shape (n_samples,)
        Times, seconds, increasing.
    knot_s, tau_s : float
        Distance of the knots of the interpolation, and correlation time, seconds.

    Returns
    -------
    ndarray of shape (n_samples,)
        Cosine interpolation between knots; each knot is a weighted sum of the last few normals.
    """
    first, last = int(t_s[0] // knot_s), int(t_s[-1] // knot_s) + 1
    weights = _weights(knot_s, tau_s)
    z = streams.normal(name, first - len(weights) + 1, last + 1, 1)[:, 0]
    knots = np.convolve(z, weights, "valid")
    left, right = knots[:-1, None], knots[1:, None]
    fine = np.append((left + (right - left) * _BLEND).ravel(), knots[-1])
    times = (first * _PARTS + np.arange(len(fine))) * (knot_s / _PARTS)
    wave: Floats = np.interp(t_s, times, fine)
    return wave
