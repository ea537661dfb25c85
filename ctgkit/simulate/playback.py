"""A recording as the source of a fake sensor.

This module performs no I/O.
"""

from ctgkit.recording import Recording
from ctgkit.simulate.source import Chunk


class RecordingSource:
    """Plays the samples of a recording once, at the recording's own times."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._next = 0

    def read(self, n_samples: int) -> Chunk:
        """Return the next samples; see :class:`~ctgkit.simulate.source.Source`."""
        part = slice(self._next, self._next + n_samples)
        self._next += n_samples
        r = self._recording
        return Chunk(r.sec_from_start[part], r.fhr_bpm[part], r.uterus[part], r.spasms[part])
