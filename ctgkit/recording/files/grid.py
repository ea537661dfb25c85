"""Uneven times to a fixed rate, for the formats that know nothing else.

This module performs no I/O.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit.recording import Recording
from ctgkit.samples import RATE_HZ

CELLS_MAX = 20_000_000
"""Longest grid: two months at 4 Hz. Chosen: 640 MB; a longer gap belongs into another format."""
_EXACT_S = 1e-6
"""Samples this close to the grid are on it, seconds: far below any monitor's clock."""
_USUAL_PERIODS_S = (0.25, 1.0, 0.12, 0.5, 0.1, 0.125, 0.2, 0.04, 2.0)
"""Periods that jittering times are taken for when they are within 2 % (PROTOCOL S-4.6)."""


class Grid(NamedTuple):
    """A recording at a fixed rate; arrays of shape (n_cells,)."""

    period_s: float
    first_s: float
    fhr_bpm: NDArray[np.float64]
    uterus: NDArray[np.float64]
    spasms: NDArray[np.float64]
    present: NDArray[np.bool_]
    """Whether there was a sample at all."""
    notes: list[str]
    """What was lost."""


def on_grid(recording: Recording) -> Grid:
    """Return a recording on the grid that fits it; cells without a sample are NaN.

    Raises
    ------
    ValueError
        When a gap makes it absurdly long.
    """
    sec = recording.sec_from_start
    period_s, cells, away_s = _fitting(sec)
    if cells[-1] >= CELLS_MAX:
        raise ValueError(f"a gap makes it {cells[-1]:.0f} samples long at a fixed rate")
    notes = []
    if away_s.max() > _EXACT_S:
        usual = [p for p in _USUAL_PERIODS_S if abs(p / period_s - 1) < 0.02]
        period_s = usual[0] if usual else period_s
        cells = np.round((sec - sec[0]) / period_s)
        away_s = np.abs(sec - sec[0] - cells * period_s)
        notes.append(
            f"uneven times: samples moved by up to {away_s.max():.3g} s to"
            f" {1 / period_s:.6g} per second"
        )
    places = cells.astype(np.intp)
    shared = len(places) - len(np.unique(places))
    if shared:
        notes.append(f"{shared} samples dropped because a later one falls on the same grid point")
    n = int(places[-1]) + 1
    present = np.zeros(n, dtype=bool)
    present[places] = True
    channels: list[NDArray[np.float64]] = []
    for values in (recording.fhr_bpm, recording.uterus, recording.spasms):
        channel = np.full(n, np.nan)
        channel[places] = values
        channels.append(channel)
    fhr_bpm, uterus, spasms = channels
    return Grid(period_s, float(sec[0]), fhr_bpm, uterus, spasms, present, notes)


def _fitting(
    sec: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return a period, each sample's cell on its grid and how far it is from there, seconds.

    The usual distance between samples is the period; where so many are missing that it isn't,
    the shortest distance is, if every sample then lies on the grid.
    """
    steps_s = np.diff(sec) if len(sec) > 1 else np.array([1 / RATE_HZ])
    usual_s = float(np.percentile(steps_s, 50, method="lower"))
    shortest_s = max(float(steps_s.min()), min(_USUAL_PERIODS_S))
    fits = [_placed(sec, period_s) for period_s in (usual_s, shortest_s)]
    return next((fit for fit in fits if fit[2].max() <= _EXACT_S), fits[0])


def _placed(
    sec: NDArray[np.float64], period_s: float
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the period made exact by the whole length, the cells and the distances to them."""
    cells = np.round((sec - sec[0]) / period_s)
    if cells[-1]:
        period_s = _rounded((sec[-1] - sec[0]) / cells[-1])
    return period_s, cells, np.abs(sec - sec[0] - cells * period_s)


def _rounded(period_s: float) -> float:
    """Return a period without the noise of binary fractions: 0.25, not 0.2500000001."""
    for digits in range(2, 9):
        if abs(round(period_s, digits) / period_s - 1) < 1e-9:
            return round(period_s, digits)
    return period_s
