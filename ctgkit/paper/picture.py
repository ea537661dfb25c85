"""Sheets onto matplotlib figures: one axes in centimetres over the whole figure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from ctgkit.display import (
    COLOURS,
    DECELERATION_LETTERS,
    EVENT_LABELS,
    EVENT_SIGNS,
    GRID_CM,
    MAX_STEP_BPM,
    NORMAL_BAND_BPM,
    clock,
    joined,
)
from ctgkit.events import Event
from ctgkit.paper.sheet import LEFT_CM, Panel, Sheet
from ctgkit.paper.subject import Subject

CM_PER_INCH = 2.54
FINE_PT, HEAVY_PT, LIMIT_PT, TRACE_PT = 0.3, 0.7, 0.9, 0.8
MINUTE_PT, BASELINE_PT = 1.3, 1.3
BAR_CM, BESIDE_CM = 5, 18.0
TEXT_PT, SMALL_PT = 8.0, 7.0
_LABEL_ROOM_CM = 2.0
_LETTER_ROOM_CM = 0.7
_TICK_CM = 0.12
_INK = {name: colour.light for name, colour in COLOURS.items()}


def draw(
    sheets: Sequence[Sheet],
    subject: Subject,
    header: Sequence[str],
    warning: str,
    *,
    baseline: bool = False,
) -> Figure:
    """Draw one page.

    Parameters
    ----------
    sheets : sequence of Sheet
        The strips on it, from above.
    subject : Subject
        Samples and events; those outside a strip are left out.
    header : sequence of str
        Lines above the strips, the last one next to them.
    warning : str
        One line below.
    baseline : bool
        Whether to draw the baseline, and each event's distance from it.
    """
    top, last = sheets[0], sheets[-1]
    figure = Figure(figsize=(top.width_cm / CM_PER_INCH, top.height_cm / CM_PER_INCH))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, top.width_cm), ylim=(0, top.height_cm))
    axes.set_axis_off()
    for sheet in sheets:
        _strip(axes, sheet, subject, baseline=baseline)
    for number, text in enumerate(reversed(header)):
        weight = "bold" if number == len(header) - 1 else "normal"
        y_cm = top.fhr.top_cm + 0.35 + 0.45 * number
        _text(axes, LEFT_CM, y_cm, text, ha="left", weight=weight)
    _text(axes, LEFT_CM, last.toco.bottom_cm - 0.95, warning, ha="left")
    _scale_bar(axes, last)
    return figure


def _scale_bar(axes: Axes, sheet: Sheet) -> None:
    """Draw a length that a ruler can check on the print."""
    right, width_cm = sheet.right_cm, sheet.right_cm - LEFT_CM
    length_cm = BAR_CM if width_cm >= 3 * BAR_CM else 1
    # beside the warning, or below it where there is no room
    y = sheet.toco.bottom_cm - (0.95 if width_cm >= BESIDE_CM else 1.35)
    left = right - length_cm
    ends = [[(x, y - _TICK_CM), (x, y + _TICK_CM)] for x in (left, right)]
    _lines(axes, [[(left, y), (right, y)], *ends], "ink", HEAVY_PT, "scale")
    time = f"{length_cm / sheet.speed_cm_min:.3g} min"
    _text(axes, left - 0.15, y, f"{length_cm} cm, {time}", ha="right", size=SMALL_PT)


def _strip(axes: Axes, sheet: Sheet, subject: Subject, *, baseline: bool) -> None:
    """Draw one strip."""
    _paper(axes, sheet)
    samples = subject.recording
    toco = samples.spasms if np.isnan(samples.uterus).all() else samples.uterus
    t_s = samples.sec_from_start
    _trace(axes, sheet, sheet.fhr, t_s, samples.fhr_bpm, MAX_STEP_BPM, "fhr")
    _trace(axes, sheet, sheet.toco, t_s, toco, np.inf, "toco")
    if baseline:
        _baseline(axes, sheet, subject)
    for event in sorted(subject.findings.events.values(), key=lambda e: e.onset_s):
        if event.end_s > sheet.start_s and event.onset_s < sheet.end_s:
            _mark(axes, sheet, event)
    _texts(axes, sheet)


def _paper(axes: Axes, sheet: Sheet) -> None:
    """Draw the normal band, the grid and the limits; each kind of line has an id in the SVG."""
    low_cm, high_cm = (sheet.fhr.y_cm(limit) for limit in NORMAL_BAND_BPM)
    left, right = LEFT_CM, sheet.right_cm
    for panel in (sheet.fhr, sheet.toco):
        size = (right - left, panel.top_cm - panel.bottom_cm)
        axes.add_patch(Rectangle((left, panel.bottom_cm), *size, color=_INK["paper"], lw=0))
    axes.add_patch(
        Rectangle((left, low_cm), right - left, high_cm - low_cm, color=_INK["band"], lw=0)
    )
    minutes = sheet.times_s(60)
    fine = [t for t in sheet.times_s(60 * GRID_CM / sheet.speed_cm_min) if t not in set(minutes)]
    for panel in (sheet.fhr, sheet.toco):
        for name, times, width in (("fine", fine, FINE_PT), ("minutes", minutes, MINUTE_PT)):
            ends = (panel.bottom_cm, panel.top_cm)
            segments = [[(sheet.x_cm(t), y) for y in ends] for t in times]
            _lines(axes, segments, "grid", width, name)
        scale = panel.scale
        steps = np.arange(np.ceil(scale.lo / scale.lines[0]), scale.hi / scale.lines[0] + 0.5)
        for value in steps * scale.lines[0]:
            width = FINE_PT if value % scale.lines[1] else HEAVY_PT
            y = panel.y_cm(value)
            _lines(axes, [[(left, y), (right, y)]], "grid", width, "values")
    _lines(axes, [[(left, y), (right, y)] for y in (low_cm, high_cm)], "limit", LIMIT_PT, "limits")


def _lines(axes: Axes, segments: Sequence[Any], ink: str, width_pt: float, name: str) -> None:
    lines = LineCollection(segments, colors=_INK[ink], linewidths=width_pt)
    lines.set_gid(name)
    axes.add_collection(lines, autolim=False)


def _trace(
    axes: Axes,
    sheet: Sheet,
    panel: Panel,
    t_s: NDArray[np.float64],
    values: NDArray[np.float64],
    max_step: float,
    ink: str,
) -> None:
    """Draw one channel; lines break at gaps, values off the scale stick to its edge."""
    seen = (t_s >= sheet.start_s) & (t_s <= sheet.end_s)
    t_s, values = t_s[seen], values[seen]
    breaks = np.flatnonzero(~joined(t_s, values, max_step)) + 1
    x = LEFT_CM + (t_s - sheet.start_s) / 60 * sheet.speed_cm_min
    y = panel.y_cm(0) + np.clip(values, panel.scale.lo, panel.scale.hi) / panel.scale.per_cm
    strokes = [s for s in np.split(np.column_stack((x, y)), breaks) if np.isfinite(s).all()]
    _lines(axes, [s for s in strokes if len(s) > 1], ink, TRACE_PT, ink)
    lone = np.array([s[0] for s in strokes if len(s) == 1]).reshape(-1, 2)
    axes.plot(lone[:, 0], lone[:, 1], "o", color=_INK[ink], ms=TRACE_PT, mew=0)


def _baseline(axes: Axes, sheet: Sheet, subject: Subject) -> None:
    """Draw the baseline, dashed where it is held, and the area that each event has from it."""
    spans = [s for s in subject.findings.baseline if s.to_s > sheet.start_s - 60]
    spans = [s for s in spans if s.from_s < sheet.end_s + 60]
    if not spans:
        return
    t_s = np.array([(s.from_s + s.to_s) / 2 for s in spans])
    bpm = np.array([s.bpm for s in spans])
    y_cm = sheet.fhr.y_cm(0) + np.clip(bpm, *_ends(sheet.fhr)) / sheet.fhr.scale.per_cm
    x_cm = LEFT_CM + (t_s - sheet.start_s) / 60 * sheet.speed_cm_min
    for a, b in zip(range(len(spans)), range(1, len(spans)), strict=False):
        if spans[b].from_s - spans[a].to_s < 60:
            style = "--" if spans[a].held or spans[b].held else "-"
            (line,) = axes.plot(
                x_cm[a : b + 1], y_cm[a : b + 1], style, color=_INK["faint"], lw=BASELINE_PT
            )
            line.set_gid("baseline")
            line.set_clip_path(_window(axes, sheet))
    samples = subject.recording
    for event in subject.findings.events.values():
        inside = (samples.sec_from_start >= max(event.onset_s, sheet.start_s)) & (
            samples.sec_from_start <= min(event.end_s, sheet.end_s)
        )
        if event.kind not in ("acceleration", "deceleration") or not inside.any():
            continue
        at_s, heart = samples.sec_from_start[inside], samples.fhr_bpm[inside]
        level = np.interp(at_s, t_s, bpm)
        x = LEFT_CM + (at_s - sheet.start_s) / 60 * sheet.speed_cm_min
        y0, y1 = (
            sheet.fhr.y_cm(0) + np.clip(values, *_ends(sheet.fhr)) / sheet.fhr.scale.per_cm
            for values in (level, heart)
        )
        area = axes.fill_between(x, y0, y1, color=_INK[event.kind], alpha=0.2, lw=0)
        area.set_gid(f"area {event.id}")


def _ends(panel: Panel) -> tuple[float, float]:
    return panel.scale.lo, panel.scale.hi


def _window(axes: Axes, sheet: Sheet) -> Rectangle:
    """Return the area of the heart rate, which nothing of the baseline leaves."""
    size = (sheet.right_cm - LEFT_CM, sheet.fhr.top_cm - sheet.fhr.bottom_cm)
    return Rectangle((LEFT_CM, sheet.fhr.bottom_cm), *size, transform=axes.transData)


def _mark(axes: Axes, sheet: Sheet, event: Event) -> None:
    """Draw an event's bracket in its lane, with a sign at its peak."""
    y = sheet.lane_cm(event.kind)
    x0 = sheet.x_cm(max(event.onset_s, sheet.start_s))
    x1 = sheet.x_cm(min(event.end_s, sheet.end_s))
    ends = [[(x, y - _TICK_CM), (x, y + _TICK_CM)] for x in (x0, x1)]
    _lines(axes, [[(x0, y), (x1, y)], *ends], event.kind, HEAVY_PT, event.kind)
    peak_s = (event.onset_s + event.end_s) / 2 if event.peak_s is None else event.peak_s
    if not sheet.start_s <= peak_s <= sheet.end_s:
        return
    letter = DECELERATION_LETTERS.get(event.subtype.partition("_")[0], "")
    lettered = event.kind == "deceleration" and x1 - x0 >= _LETTER_ROOM_CM
    sign = EVENT_SIGNS[event.kind] + (letter if lettered else "")
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.4}
    _text(axes, sheet.x_cm(peak_s), y, sign, ink=event.kind, size=SMALL_PT, bbox=box)


def _texts(axes: Axes, sheet: Sheet) -> None:
    """Write the numbers of the axes and the names of the lanes."""
    for panel, limits in ((sheet.fhr, NORMAL_BAND_BPM), (sheet.toco, ())):
        scale = panel.scale
        step = scale.lines[1]
        plain = np.arange(np.ceil(scale.lo / step), scale.hi / step + 1e-9) * step
        far = [v for v in plain if all(abs(v - limit) >= scale.lines[0] for limit in limits)]
        for value in (*far, *limits):
            ink = "ink" if value in limits else "faint"
            y = np.clip(panel.y_cm(value), panel.bottom_cm + _TICK_CM, panel.top_cm - _TICK_CM)
            _text(axes, LEFT_CM - 0.1, y, f"{value:g}", ha="right", ink=ink)
    middle = (sheet.fhr.top_cm + sheet.fhr.bottom_cm) / 2
    _text(axes, 0.4, middle, "FHR  beats/min", rotation=90)
    _text(axes, 0.4, (sheet.toco.top_cm + sheet.toco.bottom_cm) / 2, "toco", rotation=90)
    for kind, label in EVENT_LABELS.items():
        _text(axes, LEFT_CM - 0.1, sheet.lane_cm(kind), label, ha="right", size=SMALL_PT)
    every_s = next(60 * n for n in (1, 2, 5) if n * sheet.speed_cm_min >= _LABEL_ROOM_CM)
    for t_s in sheet.times_s(every_s):
        _text(axes, sheet.x_cm(t_s), sheet.toco.bottom_cm - 0.35, clock(t_s))


def _text(
    axes: Axes,
    x_cm: float,
    y_cm: float,
    text: str,
    *,
    ha: str = "center",
    ink: str = "ink",
    size: float = TEXT_PT,
    **more: Any,
) -> None:
    style: dict[str, Any] = {"ha": ha, "va": "center", "color": _INK[ink], "fontsize": size} | more
    axes.text(x_cm, y_cm, text, parse_math=False, **style)
