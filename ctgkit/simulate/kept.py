"""What a sensor keeps of a rendered block: its samples, without their truth, in little memory.

Monitors show quarters, halves or tenths: as whole numbers of these a sample takes 6 bytes instead
of 24, and comes back as the same bits. This module performs no I/O.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ctgkit.simulate.signal.stream import Floats

UNITS = (4.0, 10.0)
"""How many of them make one."""
MOST = 32_767
NOTHING = -MOST - 1
"""Stands for NaN."""


class Kept:
    """Channels of a block.

    Parameters
    ----------
    channels : sequence of ndarray
        Equally long. If one isn't whole in any of the units all are kept as they are.
    """

    __slots__ = ("_counts", "_units", "_values")

    def __init__(self, channels: Sequence[Floats]) -> None:
        values = np.stack(channels)
        units = [_unit(channel) for channel in values]
        self._values: Floats | None = None
        if None in units:
            self._values = values
        else:
            self._units = np.array(units, np.float64)[:, np.newaxis]
            self._counts = _counts(values, self._units)

    def piece(self, start: int, stop: int) -> Floats:
        """Return the channels' samples from *start* to *stop*, an array of its own."""
        if self._values is not None:
            return self._values[:, start:stop].copy()
        counts = self._counts[:, start:stop]
        return _values(counts, self._units)


def _counts(values: Floats, units: Floats | float) -> NDArray[np.int16]:
    with np.errstate(over="ignore"):
        counts = np.clip(np.rint(values * units), -MOST, MOST)
    return np.where(np.isnan(values), NOTHING, counts).astype(np.int16)


def _values(counts: NDArray[np.int16], units: Floats | float) -> Floats:
    values: Floats = counts / units
    values[counts == NOTHING] = np.nan
    return values


def _unit(channel: Floats) -> float | None:
    """Return the unit in which a channel comes back bit for bit."""
    for unit in UNITS:
        if _values(_counts(channel, unit), unit).tobytes() == channel.tobytes():
            return unit
    return None
