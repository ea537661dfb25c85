"""What stands where on CTG paper, in centimetres. This module performs no I/O.

The origin is the lower left corner of the sheet.
"""

import math
from typing import NamedTuple

from ctgkit.display import EVENT_LABELS, TOCO_SCALE, Scale

A4_CM = (29.7, 21.0)
ROWS_CM_MIN = 1
"""At this speed an A4 page stands upright and holds two rows: 36 minutes instead of 27."""
ROWS_MARGIN_CM = 1.2
"""Above and below several rows: what most printers can."""
ROW_GAP_CM = 0.9
"""Between two rows: the times of the upper one, and air."""
LEFT_CM, RIGHT_CM = 1.5, 1.2
TOP_CM, BOTTOM_CM = 1.7, 1.6
"""Margins: they hold the header above, the times and the warning below."""
LANE_CM = 0.4
LANES = tuple(EVENT_LABELS)
MAX_STRIP_CM = 400.0
"""Longest strip in one picture, cm: 6.6 h at 1 cm/min. Chosen."""
MAX_PIXELS = 30_000
"""Widest PNG: some 500 MB of memory at the finest resolution. Chosen."""


class Panel(NamedTuple):
    """A scale on paper."""

    scale: Scale
    bottom_cm: float

    @property
    def top_cm(self) -> float:
        """Upper edge."""
        return self.y_cm(self.scale.hi)

    def y_cm(self, value: float) -> float:
        """Return the height of a value."""
        return self.bottom_cm + (value - self.scale.lo) / self.scale.per_cm


class Sheet(NamedTuple):
    """One strip on a page, and the stretch of data time on it."""

    width_cm: float
    height_cm: float
    start_s: float
    end_s: float
    speed_cm_min: int
    fhr: Panel
    toco: Panel
    page: int = 0
    """Pages count from 0; a page may hold several strips."""

    def x_cm(self, t_s: float) -> float:
        """Return the place of a moment."""
        return LEFT_CM + (t_s - self.start_s) / 60 * self.speed_cm_min

    @property
    def right_cm(self) -> float:
        """End of the paper."""
        return self.x_cm(self.end_s)

    def lane_cm(self, kind: str) -> float:
        """Return the middle of the lane of a kind of event."""
        return self.fhr.bottom_cm - (LANES.index(kind) + 0.5) * LANE_CM

    def times_s(self, step_s: float) -> list[float]:
        """Return the multiples of a step on this sheet.

        >>> from ctgkit.display import FHR_SCALES
        >>> cut(0, 100, 3, FHR_SCALES[0], paged=False)[0].times_s(60)
        [0, 60, 120]
        """
        first = math.ceil(self.start_s / step_s)
        return [n * step_s for n in range(first, math.floor(self.end_s / step_s) + 1)]


def cut(
    first_s: float, last_s: float, speed_cm_min: int, fhr_scale: Scale, *, paged: bool
) -> list[Sheet]:
    """Cut a stretch of data time into sheets of whole minutes.

    Parameters
    ----------
    first_s, last_s : float
        Data time, seconds, 0 <= first_s <= last_s.
    speed_cm_min : int
        Paper speed, cm/min.
    fhr_scale : Scale
        Heart rate axis.
    paged : bool
        True for A4 pages, as many as needed: in landscape with one strip each, or at
        :data:`ROWS_CM_MIN` upright with as many as fit; False for one strip.

    Returns
    -------
    list of Sheet
        At least one; the last A4 page may be partly empty.
    """
    start_s = 60.0 * math.floor(first_s / 60)
    minutes = max(1, math.ceil((last_s - start_s) / 60))
    height_cm = TOP_CM + _strip_height_cm(fhr_scale) + BOTTOM_CM
    if not paged:
        width_cm = LEFT_CM + minutes * speed_cm_min + RIGHT_CM
        return [_sheet(width_cm, height_cm, start_s, minutes, speed_cm_min, fhr_scale)]
    wide_cm, high_cm = A4_CM if speed_cm_min != ROWS_CM_MIN else A4_CM[::-1]
    step_cm = _strip_height_cm(fhr_scale) + ROW_GAP_CM
    rows = int((high_cm - 2 * ROWS_MARGIN_CM + ROW_GAP_CM) / step_cm)
    top_cm = ROWS_MARGIN_CM if rows > 1 else TOP_CM
    per_row = int((wide_cm - LEFT_CM - RIGHT_CM) / speed_cm_min)
    sheets = []
    for number, first in enumerate(range(0, minutes, per_row)):
        begin_s = start_s + 60.0 * first
        edge_cm = high_cm - top_cm - step_cm * (number % rows)
        made = _sheet(wide_cm, high_cm, begin_s, per_row, speed_cm_min, fhr_scale, edge_cm)
        sheets.append(made._replace(page=number // rows))
    return sheets


def _strip_height_cm(fhr_scale: Scale) -> float:
    heights = [(s.hi - s.lo) / s.per_cm for s in (fhr_scale, TOCO_SCALE)]
    return sum(heights) + LANE_CM * len(LANES)


def _sheet(
    width_cm: float,
    height_cm: float,
    start_s: float,
    minutes: int,
    speed_cm_min: int,
    fhr_scale: Scale,
    top_cm: float | None = None,
) -> Sheet:
    top_cm = height_cm - TOP_CM if top_cm is None else top_cm
    fhr = Panel(fhr_scale, top_cm - (fhr_scale.hi - fhr_scale.lo) / fhr_scale.per_cm)
    toco_height_cm = (TOCO_SCALE.hi - TOCO_SCALE.lo) / TOCO_SCALE.per_cm
    toco = Panel(TOCO_SCALE, fhr.bottom_cm - LANE_CM * len(LANES) - toco_height_cm)
    end_s = start_s + 60.0 * minutes
    return Sheet(width_cm, height_cm, start_s, end_s, speed_cm_min, fhr, toco)
