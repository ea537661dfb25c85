"""One sensor's samples, the newest hours of them. This module performs no I/O."""

import numpy as np
from numpy.typing import NDArray

CAPACITY = 4 * 3600 * 4
"""Samples kept per sensor. Chosen: four hours at 4 Hz, 1.4 MB at most twice."""

_CHANNELS = 3
_FIRST_SIZE = 1024

Channel = NDArray[np.float64]


class Trace:
    """Data time, heart rate and toco in order of time; the oldest samples fall out.

    Parameters
    ----------
    capacity : int
        Samples kept, at least 1.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._rows = np.empty((_CHANNELS, min(_FIRST_SIZE, 2 * capacity)))
        self._start = self._stop = 0

    def __len__(self) -> int:
        return self._stop - self._start

    @property
    def first_s(self) -> float:
        """Data time of the oldest sample, seconds; there must be one."""
        return float(self._rows[0, self._start])

    @property
    def last_s(self) -> float:
        """Data time of the newest sample, seconds; there must be one."""
        return float(self._rows[0, self._stop - 1])

    def append(self, t_s: float, fhr_bpm: float | None, toco: float | None) -> None:
        """Add a sample later than all others; ``None`` is no signal."""
        if self._stop == self._rows.shape[1]:
            self._make_room()
        self._rows[:, self._stop] = (
            t_s,
            np.nan if fhr_bpm is None else fhr_bpm,
            np.nan if toco is None else toco,
        )
        self._stop += 1
        self._start = max(self._start, self._stop - self._capacity)

    def _make_room(self) -> None:
        """Move the samples to the front of an array with at least half its room free."""
        kept = self._rows[:, self._start : self._stop]
        self._rows = np.empty((_CHANNELS, min(2 * self._capacity, 4 * kept.shape[1])))
        self._rows[:, : kept.shape[1]] = kept
        self._start, self._stop = 0, kept.shape[1]

    def forget_from(self, t_s: float) -> None:
        """Drop the samples at *t_s* and later."""
        times = self._rows[0, self._start : self._stop]
        self._stop = self._start + int(np.searchsorted(times, t_s))

    def between(self, start_s: float, end_s: float) -> tuple[Channel, Channel, Channel]:
        """Return times, heart rates and toco from *start_s* to *end_s*, NaN where no signal."""
        times = self._rows[0, self._start : self._stop]
        first, last = np.searchsorted(times, (start_s, end_s), side="left")
        t_s, fhr_bpm, toco = self._rows[:, self._start + int(first) : self._start + int(last)]
        return t_s, fhr_bpm, toco
