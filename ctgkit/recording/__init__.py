"""Recordings: files of samples, read in any of several formats.

- csv      one row per sample, plain or gzipped
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """The samples of one sensor, as equally long arrays of shape (n_samples,), n_samples >= 1."""

    sec_from_start: NDArray[np.float64]
    """Data time, seconds, >= 0, strictly increasing; steps may be uneven."""
    fhr_bpm: NDArray[np.float64]
    """Heart rate, beats/min; NaN where there is no signal, never 0."""
    uterus: NDArray[np.float64]
    """Toco, device units or mmHg; NaN where not recorded."""
    spasms: NDArray[np.float64]
    """Contraction intensity; NaN where not recorded."""
