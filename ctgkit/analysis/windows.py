"""Means and maxima over moving windows. Pure: arrays in, arrays out."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_ZERO = np.zeros(1)


def moving_max(values: Floats, width: int) -> Floats:
    """Return the maximum of each *width* neighbours, an array that is shorter by width - 1.

    Maxima over 2, 4, 8 … neighbours come from two of the step before.
    """
    reached = 1
    while 2 * reached <= width:
        values = np.maximum(values[:-reached], values[reached:])
        reached *= 2
    rest = width - reached
    return np.maximum(values[:-rest], values[rest:]) if rest else values


def moving_mean(values: Floats, reach: int) -> Floats:
    """Return the mean over *reach* values to either side, fewer at the ends."""
    low, high, count = _reaches(values.size, reach)
    total = np.concatenate((_ZERO, values.cumsum()))
    mean: Floats = (total[high] - total[low]) / count
    return mean


@lru_cache(maxsize=512)
def _reaches(size: int, reach: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    at = np.arange(size)
    low, high = np.maximum(at - reach, 0), np.minimum(at + reach + 1, size)
    return low, high, high - low
