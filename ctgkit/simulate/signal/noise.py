"""Stationary Gaussian noise with a given spectrum, at any position, without state.

Overlap-add: frame k covers samples [k HOP, k HOP + FRAME); its Fourier coefficients are row k of
its stream. A sine window makes neighbouring frames add up to constant power.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from ctgkit.simulate.signal.stream import Floats, Streams

ENGINE_HZ: Final = 4.0
"""Rate at which everything is synthesised, samples/s; monitors output every 250 ms."""

FRAME: Final = 2048
HOP: Final = FRAME // 2
FREQUENCIES_HZ: Final = np.fft.rfftfreq(FRAME, 1 / ENGINE_HZ)
_WINDOW: Final = np.sin(np.pi * (np.arange(FRAME) + 0.5) / FRAME)


def amplitudes(psd_per_hz: Floats) -> Floats:
    """Return the coefficient scale of a one-sided spectrum.

    Parameters
    ----------
    psd_per_hz : ndarray of shape (FRAME / 2 + 1,)
        Power per Hz at :data:`FREQUENCIES_HZ`.

    Returns
    -------
    ndarray of shape (FRAME / 2 + 1,)
        Standard deviation of the real and imaginary part of each Fourier coefficient.
    """
    scale: Floats = 0.5 * np.sqrt(psd_per_hz * ENGINE_HZ * FRAME)
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
    scale : ndarray of shape (FRAME / 2 + 1,) or callable
        :func:`amplitudes` of the spectrum, or a function from a frame's centre, seconds, to them.

    Returns
    -------
    ndarray of shape (count,)
    """
    out = np.zeros(count)
    for frame in range(first // HOP - 1, (first + count - 1) // HOP + 1):
        z = streams.generator(name, frame).standard_normal((2, FRAME // 2 + 1))
        size = scale((frame + 1) * HOP / ENGINE_HZ) if callable(scale) else scale
        wave = np.fft.irfft((z[0] + 1j * z[1]) * size, FRAME) * _WINDOW
        start = frame * HOP - first
        low, high = max(start, 0), min(start + FRAME, count)
        out[low:high] += wave[low - start : high - start]
    return out


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
    phi = np.exp(-knot_s / tau_s)
    memory = max(1, int(np.ceil(3.0 / (1.0 - phi))))
    weights = phi ** np.arange(memory)[::-1]
    weights /= np.sqrt((weights**2).sum())
    z = streams.normal(name, first - memory + 1, last + 1, 1)[:, 0]
    knots = np.convolve(z, weights[::-1], "valid")
    position = t_s / knot_s - first
    left = np.minimum(position.astype(np.intp), len(knots) - 2)
    blend = 0.5 - 0.5 * np.cos(np.pi * (position - left))
    wave: Floats = knots[left] * (1 - blend) + knots[left + 1] * blend
    return wave
