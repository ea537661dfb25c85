"""A plain normal trace: steady baseline, variability, accelerations, contractions.

Every value is a function of (seed, sensor, time) alone. This module performs no I/O.
"""

import numpy as np
from numpy.typing import NDArray

from ctgkit.samples import RATE_HZ
from ctgkit.simulate.source import Chunk, Source

_BASELINE_BPM = (120.0, 150.0)
"""Range of the baseline, beats/min; within the normal 110-160 (FIGO 2015)."""
_VARIABILITY_BPM = 3.0
"""Standard deviation around the baseline, beats/min. Chosen: gives the normal bandwidth of
5-25 beats/min (FIGO 2015)."""
_VARIABILITY_HZ = (0.01, 0.5)
"""Frequencies of which variability is made, Hz. Chosen: slow drift to fast beats."""
_ACCELERATION = (150.0, 40.0, 20.0)
"""Accelerations: one in each slot, its length, its height; s, s, beats/min. FIGO 2015 asks for
at least 15 beats/min over 15 s, twice in 20 min."""
_CONTRACTION = (200.0, 70.0, 40.0)
"""Contractions: one in each slot, its length, its height; s, s, toco units. Chosen: three in
10 min, below the five that make tachysystole (FIGO 2015)."""
_RESTING_TONE = 10.0
"""Toco between contractions, device units. Chosen."""
_N_WAVES, _N_SLOTS = 24, 512


class _PlainSource:
    def __init__(self, rng: np.random.Generator, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._next = 0
        self._baseline_bpm = rng.uniform(*_BASELINE_BPM)
        self._wave_hz = np.geomspace(*_VARIABILITY_HZ, _N_WAVES) * rng.uniform(0.9, 1.1, _N_WAVES)
        self._wave_phase = rng.uniform(0, 2 * np.pi, _N_WAVES)
        power = self._wave_hz**-0.5
        self._wave_bpm = power * _VARIABILITY_BPM * np.sqrt(2 / np.sum(power**2))
        self._accelerations, self._contractions = rng.random((2, _N_SLOTS))

    def read(self, n_samples: int) -> Chunk:
        """Return the next samples; it never ends."""
        t_s = np.arange(self._next, self._next + n_samples) / self._rate_hz
        self._next += n_samples
        waves = np.sin(2 * np.pi * self._wave_hz[:, None] * t_s + self._wave_phase[:, None])
        fhr_bpm = self._baseline_bpm + (self._wave_bpm[:, None] * waves).sum(axis=0)
        fhr_bpm += _bumps(t_s, self._accelerations, *_ACCELERATION)
        spasms = np.round(2 * _bumps(t_s, self._contractions, *_CONTRACTION)) / 2
        # monitors output quarter beats and half toco units
        return Chunk(t_s, np.round(4 * fhr_bpm) / 4, _RESTING_TONE + spasms, spasms)


def _bumps(
    t_s: NDArray[np.float64],
    where: NDArray[np.float64],
    slot_s: float,
    length_s: float,
    height: float,
) -> NDArray[np.float64]:
    """Return one raised cosine per slot, somewhere in it (*where*, in [0, 1))."""
    slot, within_s = np.divmod(t_s, slot_s)
    phase = (within_s - where[slot.astype(int) % len(where)] * (slot_s - length_s)) / length_s
    inside = (phase > 0) & (phase < 1)
    return np.where(inside, 0.5 * height * (1 - np.cos(2 * np.pi * phase)), 0.0)


def plain_source(*, seed: int, sensor: int, rate_hz: float = RATE_HZ) -> Source:
    """Return the trace of one sensor; the same seed and sensor number give the same samples."""
    return _PlainSource(np.random.default_rng((seed, sensor)), rate_hz)
