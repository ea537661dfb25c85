"""Stationary Gaussian noise with a given spectrum, at any position, without state.

Overlap-add: frames begin a hop apart; the Fourier coefficients of frame k are row k of its stream.
Where neighbours overlap they rise and fall like a sine, so that they add up to constant power.
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

TAPER: Final = 112
"""How far frames overlap, samples; slow ones by half. The less, the fewer numbers are drawn."""

_LEAD: Final = 64 + TAPER
"""How far before 0 the first frame begins: a block of 10 min with its margin of 64 samples then
touches seven frames, not eight."""

FREQUENCIES_HZ: Final[Floats] = np.asarray(np.fft.rfftfreq(FRAME, 1 / ENGINE_HZ), np.float64)
SLOW_HZ: Final[Floats] = np.asarray(np.fft.rfftfreq(SLOW_FRAME, 1 / ENGINE_HZ), np.float64)


@cache
def _window(frame: int, taper: int) -> Floats:
    """Return what rises and falls over *taper* samples: overlapping, its squares add up to one."""
    rise = np.sin(np.pi / 2 * (np.arange(taper) + 0.5) / taper)
    return np.concatenate([rise, np.ones(frame - 2 * taper), rise[::-1]])


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
    frame = FRAME if callable(scale) else 2 * (len(scale) - 1)
    taper, lead = (TAPER, _LEAD) if frame == FRAME else (frame // 2, 0)
    hop = frame - taper
    low, stop = (first + lead - taper) // hop, (first + lead + count - 1) // hop + 1
    if callable(scale):
        centres_s = [(n * hop - lead + frame // 2) / ENGINE_HZ for n in range(low, stop)]
        size = np.stack([scale(centre_s) for centre_s in centres_s])
    else:
        size = scale[None]
    used = max(_used(one) for one in size)
    z = np.empty((stop - low, used, 2))
    for row, number in zip(z, range(low, stop), strict=True):
        streams.generator(name, number).standard_normal(out=row)
    z *= size[:, :used, None]
    # all frames at once: numpy's calls cost more than what they do to one frame
    waves = np.fft.irfft(z.view(np.complex128)[..., 0], frame)
    waves *= _window(frame, taper)
    waves[1:, :taper] += waves[:-1, hop:]
    start = first + lead - low * hop
    wave: Floats = waves[:, :hop].reshape(-1)[start : start + count]
    return wave


def _used(size: Floats) -> int:
    """Return how many coefficients aren't zero from some frequency on."""
    return int(np.flatnonzero(size).max(initial=0)) + 1 if size[-1] == 0 else len(size)


@cache
def _weights(knot_s: float, tau_s: float) -> Floats:
    """Return what the last normals weigh in a knot, the latest last."""
    phi = np.exp(-knot_s / tau_s)
    memory = max(1, int(np.ceil(3.0 / (1.0 - phi))))
    weights: Floats = phi ** np.arange(memory)[::-1]
    weights /= np.sqrt((weights**2).sum())
    return weights


def _knots(
    streams: Streams, name: str, first: int, stop: int, knot_s: float, tau_s: float
) -> Floats:
    """Return knots *first* to *stop*: each is a weighted sum of the last few normals."""
    weights = _weights(knot_s, tau_s)
    z = streams.normal(name, first - len(weights) + 1, stop, 1)[:, 0]
    return np.correlate(z, weights)


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
        Level at each knot, and smooth between them.
    """
    place = t_s / knot_s
    index = np.floor(place)
    first, stop = int(index[0]), int(index[-1]) + 2
    knots = _knots(streams, name, first, stop, knot_s, tau_s)
    left = index.astype(np.intp) - first
    wave: Floats = knots[left] + (knots[1:] - knots[:-1])[left] * _eased(place - index)
    return wave


def _eased(part: Floats) -> Floats:
    """Return a way from 0 to 1, without a step in its slope, like a cosine but cheaper."""
    return part * part * (3 - 2 * part)


@cache
def _blend(samples: int) -> Floats:
    """Return the way from one knot to the next in so many samples, from 0 to just below 1."""
    return _eased(np.arange(samples) / samples)


def slow_samples(streams: Streams, name: str, t_s: Floats, knot_s: float, tau_s: float) -> Floats:
    """Return :func:`slow` in a third of the time, where *t_s* is consecutive engine samples.

    The distance of the knots, *knot_s*, must be a whole number of them.
    """
    first, count, between = round(float(t_s[0]) * ENGINE_HZ), len(t_s), round(knot_s * ENGINE_HZ)
    low, stop = first // between, (first + count - 1) // between + 2
    knots = _knots(streams, name, low, stop, knot_s, tau_s)[:, None]
    wave = knots[:-1] + (knots[1:] - knots[:-1]) * _blend(between)
    start = first - low * between
    samples: Floats = wave.reshape(-1)[start : start + count]
    return samples
