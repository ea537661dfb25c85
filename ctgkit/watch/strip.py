"""Samples -> braille dots on CTG paper.

This module performs no I/O. A character cell is 2 dots wide and 4 high; a cell stands for 2 mm of
paper, so that a centimetre is five cells. Columns lie on whole multiples of a cell's duration:
the picture moves by whole cells and doesn't shimmer.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit.display import Scale, joined

CELLS_PER_CM = 5
BRAILLE = 0x2800
"""Code point of the braille pattern without dots."""

BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of the left and the right dot in each of the four rows (Unicode, Braille Patterns)."""
_FINEST_DOTS = 4
"""Horizontal grid lines are at least a cell apart."""

Dots = NDArray[np.uint8]
"""Braille patterns, of shape (n_rows, n_cells)."""


class Window(NamedTuple):
    """The stretch of data time that a strip shows."""

    first_cell: int
    """Number of the leftmost cell, counted from data time 0; negative before it."""
    n_cells: int
    cell_s: float
    """Duration of one cell, seconds."""

    @property
    def start_s(self) -> float:
        """Data time of the left edge, seconds."""
        return self.first_cell * self.cell_s

    @property
    def end_s(self) -> float:
        """Data time of the right edge, seconds."""
        return (self.first_cell + self.n_cells) * self.cell_s


def window_ending_at(t_s: float, n_cells: int, speed_cm_min: int) -> Window:
    """Return the window of *n_cells* cells whose last one holds *t_s*.

    >>> window_ending_at(61.0, 10, 1)
    Window(first_cell=-4, n_cells=10, cell_s=12.0)
    """
    cell_s = 60 / (speed_cm_min * CELLS_PER_CM)
    return Window(math.floor(t_s / cell_s) - n_cells + 1, n_cells, cell_s)


def dot_row(values: NDArray[np.float64], scale: Scale, n_rows: int) -> NDArray[np.float64]:
    """Return the row of dots, 0 on top, of each value; values off the scale stick to its edge."""
    n_dots = 4 * n_rows
    rows = np.floor((scale.hi - values) / (scale.hi - scale.lo) * (n_dots - 1) + 0.5)
    return np.clip(rows, 0, n_dots - 1)


def trace_dots(
    t_s: NDArray[np.float64],
    values: NDArray[np.float64],
    window: Window,
    scale: Scale,
    n_rows: int,
    max_step: float = math.inf,
) -> Dots:
    """Draw one channel: per column of dots the range of its samples, joined where they may be.

    Parameters
    ----------
    t_s : ndarray of shape (n_samples,)
        Data time, seconds, increasing; samples outside the window are left out.
    values : ndarray of shape (n_samples,)
        Heart rate or toco; NaN where there is no signal.
    window, scale, n_rows
        What the picture covers; a column of dots lasts at least as long as a gap.
    max_step : float
        Larger steps are not joined.

    Returns
    -------
    Dots
        0 where nothing is drawn.
    """
    n_columns = 2 * window.n_cells
    column_s = window.cell_s / 2
    columns = np.floor((t_s - window.start_s) / column_s).astype(np.int64)
    rows = dot_row(values, scale, n_rows)
    # A joined pair spans two columns at most (GAP_S <= column_s): they meet half-way.
    crossing = np.flatnonzero(joined(t_s, values, max_step) & (np.diff(columns) == 1))
    middle = (rows[crossing] + rows[crossing + 1]) / 2
    columns = np.concatenate([columns, columns[crossing], columns[crossing + 1]])
    rows = np.concatenate([rows, np.floor(middle), np.floor(middle)])
    drawn = (columns >= 0) & (columns < n_columns) & ~np.isnan(rows)
    columns, dots = columns[drawn], rows[drawn].astype(np.int16)
    top = np.full(n_columns, 4 * n_rows, dtype=np.int16)
    bottom = np.full(n_columns, -1, dtype=np.int16)
    np.minimum.at(top, columns, dots)
    np.maximum.at(bottom, columns, dots)
    y = np.arange(4 * n_rows, dtype=np.int16)[:, None]
    return _pack((y >= top) & (y <= bottom))


def _pack(dots: NDArray[np.bool_]) -> Dots:
    """Return patterns from dots of shape (4 n_rows, 2 n_cells)."""
    ones = dots.view(np.uint8)
    packed = np.zeros((len(dots) // 4, dots.shape[1] // 2), dtype=np.uint8)
    for down, pair in enumerate(BITS):
        for across, bit in enumerate(pair):
            packed |= ones[down::4, across::2] * np.uint8(bit)
    return packed


def line_step(scale: Scale, n_rows: int) -> float:
    """Return the finest distance of grid lines that a picture of *n_rows* cells can show."""
    per_dot = (scale.hi - scale.lo) / (4 * n_rows - 1)
    fitting = [step for step in scale.lines if step >= _FINEST_DOTS * per_dot]
    return fitting[0] if fitting else scale.lines[-1]


def lines_of(scale: Scale, step: float) -> NDArray[np.float64]:
    """Return the values on *scale* that are multiples of *step*."""
    first, last = math.ceil(scale.lo / step), math.floor(scale.hi / step)
    return np.array([n * step for n in range(first, last + 1)])


def grid_dots(window: Window, scale: Scale, n_rows: int) -> Dots:
    """Draw the paper: a line per centimetre, a stronger one per minute, and horizontal lines."""
    per_minute = round(60 / window.cell_s)
    return _grid(window.first_cell % per_minute, window.n_cells, per_minute, scale, n_rows)


@lru_cache(maxsize=64)
def _grid(phase: int, n_cells: int, per_minute: int, scale: Scale, n_rows: int) -> Dots:
    dots = np.zeros((4 * n_rows, 2 * n_cells), dtype=np.bool_)
    for y in dot_row(lines_of(scale, line_step(scale, n_rows)), scale, n_rows).astype(np.int64):
        dots[y, ::2] = True
    cells = np.arange(phase, phase + n_cells)
    for x in np.flatnonzero(cells % CELLS_PER_CM == 0):
        dots[:: 2 if cells[x] % per_minute == 0 else 4, 2 * x] = True
    grid = _pack(dots)
    grid.flags.writeable = False  # it is shared by all callers
    return grid
