"""One sensor's strip as lines: heart rate above, marks, toco below, time axis.

This module performs no I/O.
"""

from typing import NamedTuple

import numpy as np
from rich.segment import Segment

from ctgkit.display import (
    DECELERATION_LETTERS,
    EVENT_SIGNS,
    FHR_SCALES,
    MAX_STEP_BPM,
    NORMAL_BAND_BPM,
    TOCO_SCALE,
    Scale,
    clock,
)
from ctgkit.events import Event
from ctgkit.watch.ink import Line, Palette, cell_line
from ctgkit.watch.state import Sensor
from ctgkit.watch.strip import (
    BRAILLE,
    Dots,
    Window,
    dot_row,
    grid_dots,
    line_step,
    lines_of,
    trace_dots,
    window_ending_at,
)

LABEL_CELLS = 4
"""Room for the numbers on the left."""
_LABEL_EVERY_MIN = (1, 2, 5, 10, 20, 60)
_LABEL_ROOM_CELLS = 10
_SOLID_LINES = (0x09, 0x12, 0x24, 0xC0)
"""Braille patterns of a horizontal line in each of the four rows of dots."""


class Layout(NamedTuple):
    """How many rows each part of a strip gets."""

    fhr: int
    toco: int
    lanes: int
    """Rows for marks: 0 none, 1 accelerations and decelerations, 2 contractions as well."""
    axis: bool


def chart(
    sensor: Sensor,
    width: int,
    layout: Layout,
    *,
    fhr_scale: int,
    speed_cm_min: int,
    styles: Palette,
) -> list[Line]:
    """Draw a sensor's strip.

    Parameters
    ----------
    sensor : Sensor
        Its samples and events; the strip ends at its edge.
    width : int
        Cells, more than the labels take.
    layout : Layout
        Rows of the parts.
    fhr_scale : int
        Index in :data:`~ctgkit.display.FHR_SCALES`.
    speed_cm_min : int
        Paper speed.
    styles : Palette
        Of the theme.

    Returns
    -------
    list of Line
        As many as the layout has rows, each *width* cells.
    """
    window = window_ending_at(sensor.edge_s, width - LABEL_CELLS, speed_cm_min)
    t_s, fhr_bpm, toco = sensor.trace.between(window.start_s, window.end_s)
    if sensor.held_s is not None:  # the last cell may reach beyond the moment of the pause
        seen = t_s <= sensor.held_s
        t_s, fhr_bpm, toco = t_s[seen], fhr_bpm[seen], toco[seen]
    scale = FHR_SCALES[fhr_scale]
    dots = trace_dots(t_s, fhr_bpm, window, scale, layout.fhr, MAX_STEP_BPM)
    lines = _panel(dots, window, scale, "fhr", styles, limits=NORMAL_BAND_BPM)
    events = list(sensor.events.values())
    if layout.lanes > 0:
        marks = [e for e in events if e.kind != "contraction"]
        lines.append(_lane("A/D", marks, window, styles))
    if layout.lanes > 1:
        marks = [e for e in events if e.kind == "contraction"]
        lines.append(_lane("UC", marks, window, styles))
    dots = trace_dots(t_s, toco, window, TOCO_SCALE, layout.toco)
    lines += _panel(dots, window, TOCO_SCALE, "toco", styles)
    if layout.axis:
        lines.append(_axis(window, styles))
    return lines


def _panel(
    dots: Dots,
    window: Window,
    scale: Scale,
    ink: str,
    styles: Palette,
    limits: tuple[float, ...] = (),  # the upper one last
) -> list[Line]:
    """Lay a trace on paper; rows of the band between two limits are shaded."""
    n_rows = len(dots)
    codes = BRAILLE + np.where(dots, dots, grid_dots(window, scale, n_rows)).astype(np.uint32)
    inks = (dots != 0).astype(np.uint8)
    limit_dots = dot_row(np.array(limits), scale, n_rows).astype(int)
    for row, dot in zip(limit_dots // 4, limit_dots % 4, strict=True):
        codes[row, inks[row] == 0] = BRAILLE + _SOLID_LINES[dot]
        inks[row, inks[row] == 0] = 2
    names = ("grid", ink, "limit")
    plain = [styles[name] for name in names]
    on_band = [styles[f"{name}+band"] for name in names]
    labels = _labels(scale, n_rows, limits)
    lines = []
    for row in range(n_rows):
        banded = bool(limits) and limit_dots[1] <= 4 * row + 1.5 <= limit_dots[0]
        label = Segment(labels.get(row, " " * LABEL_CELLS), styles["faint"])
        cells = cell_line(codes[row], inks[row], on_band if banded else plain)
        lines.append([label, *cells])
    return lines


def _labels(scale: Scale, n_rows: int, limits: tuple[float, ...]) -> dict[int, str]:
    """Return the numbers beside the lines, by row; where two share a row, a limit wins."""
    values = np.append(lines_of(scale, max(line_step(scale, n_rows), scale.lines[1])), limits)
    rows = dot_row(values, scale, n_rows).astype(int) // 4
    return {int(row): f"{value:3.0f} " for row, value in zip(rows, values, strict=True)}


def _lane(label: str, events: list[Event], window: Window, styles: Palette) -> Line:
    """Draw events as brackets with a symbol at the peak, a letter for what kind it is."""
    codes = np.full(window.n_cells, ord(" "), dtype=np.uint32)
    inks = np.zeros(window.n_cells, dtype=np.uint8)
    names = ("ink", "acceleration", "deceleration", "contraction")
    for event in events:
        text, first = _bracket(event, window.cell_s)
        first -= window.first_cell
        for cell in range(max(first, 0), min(first + len(text), window.n_cells)):
            codes[cell] = ord(text[cell - first])
            inks[cell] = names.index(event.kind)
    drawn = cell_line(codes, inks, [styles[name] for name in names])
    return [Segment(f"{label:<{LABEL_CELLS}}", styles["faint"]), *drawn]


def _bracket(event: Event, cell_s: float) -> tuple[str, int]:
    """Return the picture of an event and the number of its first cell."""
    first, last = int(event.onset_s // cell_s), int(event.end_s // cell_s)
    last = min(last, first + round(3600 / cell_s))  # an hour: longer ones are a mistake
    peak_s = (event.onset_s + event.end_s) / 2 if event.peak_s is None else event.peak_s
    peak = min(max(int(peak_s // cell_s), first), last) - first
    line = "┄" if event.tier == "provisional" else "─"
    text = ["├", *line * (last - first - 1), "┤"] if last > first else [line]
    text[peak] = EVENT_SIGNS[event.kind]
    if event.kind == "deceleration":
        letter = DECELERATION_LETTERS.get(event.subtype.partition("_")[0])
        if letter and peak + 1 < len(text):
            text[peak + 1] = letter
    return "".join(text), first


def _axis(window: Window, styles: Palette) -> Line:
    """Draw hours and minutes of data time under their lines."""
    per_minute = round(60 / window.cell_s)
    every = next(n for n in _LABEL_EVERY_MIN if n * per_minute >= _LABEL_ROOM_CELLS)
    text = [" "] * window.n_cells
    cells = every * per_minute
    first = max(0, -(-window.first_cell // cells))
    for number in range(first, (window.first_cell + window.n_cells) // cells + 1):
        cell = number * cells - window.first_cell
        label = clock(60 * every * number)
        if cell + len(label) <= window.n_cells:
            text[cell : cell + len(label)] = label
    return [Segment(" " * LABEL_CELLS + "".join(text), styles["faint"])]
