"""Where a fake sensor's samples come from: anything that can be read in chunks.

This module performs no I/O.
"""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Chunk(NamedTuple):
    """Consecutive samples of one sensor, as equally long arrays of shape (n_samples,)."""

    sec_from_start: NDArray[np.float64]
    """Data time, seconds, strictly increasing."""
    fhr_bpm: NDArray[np.float64]
    """Heart rate, beats/min; NaN where there is no signal, never 0."""
    uterus: NDArray[np.float64]
    """Toco, device units or mmHg; NaN where not measured."""
    spasms: NDArray[np.float64]
    """Contraction intensity; NaN where not measured."""


class Source(Protocol):
    """A simulated sensor or a recording.

    Reading in chunks of any size gives the same samples.
    """

    def read(self, n_samples: int) -> Chunk:
        """Return the next *n_samples* samples; fewer, down to none, at the end."""
        ...
