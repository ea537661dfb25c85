"""The whole screen from the state. This module performs no I/O."""

import math
from dataclasses import dataclass

from rich.segment import Segment

from ctgkit.display import DISCLAIMER, clock
from ctgkit.errors import excerpt
from ctgkit.watch.chart import LABEL_CELLS, Layout, chart
from ctgkit.watch.ink import Line, Palette, Part, line, palette
from ctgkit.watch.state import NOTICE_S, Sensor, State
from ctgkit.watch.values import alarm_text, large_values, number, small_values, verdict

MIN_WIDTH, MIN_HEIGHT = 30, 9
_LARGE_FROM_WIDTH, _LARGE_FROM_HEIGHT = 64, 17
"""From this size the current values are large."""
_TILE_MIN_WIDTH, _TILE_MIN_HEIGHT = 38, 7
_TOCO_SHARE = 1 / 3
"""Of the rows of a strip: toco paper is 4 cm high, heart rate paper 8 cm."""

_KEYS = (
    ("space", "pause, go on"),
    ("← →", "scroll 1 cm; PgUp PgDn 10 cm"),
    ("home end", "the oldest sample, now"),
    ("tab 1-9", "next sensor, that sensor"),
    ("g", "all sensors, one sensor"),
    ("a", "acknowledge alarms"),
    ("p", "paper speed 1, 2, 3 cm/min"),
    ("r", "FHR 50-210, 30-240"),
    ("+ -", "a recording twice as fast, half as fast"),
    ("t", "theme auto, light, dark"),
    ("s q", "save as SVG, quit"),
)
_LINK_SIGNS = {
    "live": ("●", "ok"),
    "connecting": ("◌", "warning"),
    "loading": ("◌", "warning"),
    "ended": ("■", "ink+bold"),
}
_LINK_WORDS = {"ended": "end of the recording", "loading": "loading"}


def strip_cells(state: State, width: int) -> int:
    """Return the cells of a strip on a screen of this size, without its labels."""
    if state.as_grid and len(state.sensors) > 1:
        columns = _columns(len(state.sensors), width)
        width = (width - columns + 1) // columns
    return max(0, width - LABEL_CELLS)


def _columns(sensors: int, width: int) -> int:
    return min(max(1, width // _TILE_MIN_WIDTH), math.ceil(math.sqrt(sensors)))


def render(
    state: State, width: int, height: int, now_s: float, styles: Palette | None = None
) -> list[Line]:
    """Return the screen: exactly *height* lines of *width* cells, each a list of rich segments.

    Parameters
    ----------
    state : State
        Is not changed.
    width, height : int
        Cells of the terminal.
    now_s : float
        Wall time, seconds, of the clock that :func:`~ctgkit.watch.state.fold` got.
    styles : Palette or None
        Of another theme than the state's.
    """
    return _View(state, width, styles or palette(state.theme), now_s).lines(height)


@dataclass(frozen=True, slots=True)
class _View:
    state: State
    width: int
    styles: Palette
    now_s: float

    def line(self, *parts: Part, right: tuple[Part, ...] = (), fill: str = "ink") -> Line:
        return line(parts, self.width, self.styles, right, fill)

    def lines(self, height: int) -> list[Line]:
        if self.width < MIN_WIDTH or height < MIN_HEIGHT:
            small = f"{self.width}x{height}: at least {MIN_WIDTH}x{MIN_HEIGHT} please"
            return [self.line((small, "ink"))] + [self.line()] * (height - 1)
        body = self.body(height - 2)[: height - 2]
        body += [self.line()] * (height - 2 - len(body))
        return [self.header(), *body, self.footer()]

    def body(self, height: int) -> list[Line]:
        sensor = self.state.focused
        if self.state.help:
            return [self.line((f" {keys:10}", "ink+bold"), (what, "ink")) for keys, what in _KEYS]
        if sensor is None:
            return [self.line(), self.line((self.waiting(), "ink"))]
        if self.state.as_grid and len(self.state.sensors) > 1:
            return self.tiles(height)
        return self.focus(sensor, height)

    def waiting(self) -> str:
        if self.state.link == "live":
            which = "such sensor" if self.state.only else "sensor"
            return f" Connected; no {which} has sent anything yet."
        if self.state.link == "loading":
            return f" Reading {excerpt(self.state.source)} ({self.state.link_reason}) …"
        if self.state.link == "ended":
            return " The recording is over; it holds nothing to show."
        return " No backend there yet; trying until you press q."

    def header(self) -> Line:
        state, sensor = self.state, self.state.focused
        sign, ink = _LINK_SIGNS.get(state.link, ("✕", "critical+bold"))
        word: str = _LINK_WORDS.get(state.link, state.link)
        if state.attempts:  # between two attempts the reason stays
            sign, ink = "✕", "critical+bold"
            word = f"reconnecting ({state.attempts}): {state.link_reason}"
        right: list[Part] = [(" ‖ PAUSED ", "warning+alarm")] if state.paused else []
        if sensor is not None:
            count = f"  {state.focus % len(state.sensors) + 1}/{len(state.sensors)} "
            right += [(count, "faint"), (excerpt(sensor.name), "ink+bold")]
            right.append((f"  {clock(sensor.edge_s, seconds=True)} ", "ink"))
        room = self.width - sum(len(text) for text, _ in right) - 1
        left = f" {sign} {word}"
        source = f"  {state.source}  {state.speed_cm_min} cm/min"
        if state.playing is not None and state.link == "live":
            source += "  played at once" if math.isinf(state.playing) else f"  {state.playing:g}x"
        tail = source if len(left) + len(source) < room else ""
        return self.line((left[:room], ink), (tail, "faint"), right=tuple(right))

    def footer(self) -> Line:
        warning = (f" {DISCLAIMER} ", "faint")
        if self.now_s - self.state.noticed_s < NOTICE_S:
            return self.line((f" {excerpt(self.state.notice)}", "ink+bold"), right=(warning,))
        keys = " ? help"
        for more in ("q quit", "space pause", "← → scroll", "a acknowledge", "g all", "tab next"):
            if len(keys) + 2 + len(more) + len(warning[0]) < self.width:
                keys += f"  {more}"
        return self.line((keys, "faint"), right=(warning,))

    def focus(self, sensor: Sensor, height: int) -> list[Line]:
        if self.width >= _LARGE_FROM_WIDTH and height + 2 >= _LARGE_FROM_HEIGHT:
            lines = large_values(sensor, self.width, self.styles, self.now_s)
        else:
            lines = [self.line(*small_values(sensor, self.now_s))]
        lines.append(self.news(sensor))
        lanes = 2 if height >= 20 else 1 if height >= 14 else 0
        return lines + self.chart(sensor, self.width, height - len(lines), lanes, axis=True)

    def news(self, sensor: Sensor) -> Line:
        """Return the row for alarms; else the analyzer's alerts; else what went wrong."""
        state = self.state
        if alarms := alarm_text(sensor):
            new = bool(sensor.alarms.open)
            hint = (("  a acknowledges ", "critical+alarm"),) if new else ()
            loud = "critical+alarm" if new else "critical"
            return self.line((f" {alarms}", loud), right=hint, fill=loud)
        if sensor.prediction and sensor.prediction.alerts:
            alerts = " · ".join(sensor.prediction.alerts[:5])
            return self.line((f" ▲ {excerpt(alerts)}", "warning+bold"))
        if state.n_unreadable:
            error = f" {state.n_unreadable} unreadable, last: {excerpt(state.last_error)}"
            return self.line((error, "faint"))
        if state.n_beyond:
            return self.line((f" only the first {len(state.sensors)} sensors are shown", "faint"))
        return self.line((" no alarms", "faint"))

    def chart(
        self, sensor: Sensor, width: int, height: int, lanes: int, *, axis: bool
    ) -> list[Line]:
        rows = height - lanes - axis
        toco = max(2, round(rows * _TOCO_SHARE))
        return chart(
            sensor,
            width,
            Layout(rows - toco, toco, lanes, axis),
            fhr_scale=self.state.fhr_scale,
            speed_cm_min=self.state.speed_cm_min,
            styles=self.styles,
        )

    def tiles(self, height: int) -> list[Line]:
        """Draw as many sensors as fit, in pages; the page with the focus is shown."""
        sensors = list(self.state.sensors.values())
        columns = _columns(len(sensors), self.width)
        rows = min(max(1, height // _TILE_MIN_HEIGHT), math.ceil(len(sensors) / columns))
        first = self.state.focus % len(sensors) // (columns * rows) * columns * rows
        size = (self.width - columns + 1) // columns, height // rows
        lines: list[Line] = []
        for start in range(first, min(first + columns * rows, len(sensors)), columns):
            numbers = range(start, min(start + columns, len(sensors)))
            tiles = [self.tile(sensors[n], n, *size) for n in numbers]
            used = len(tiles) * (size[0] + 1)
            for parts in zip(*tiles, strict=True):
                row = [s for part in parts for s in (*part, Segment(" ", self.styles["ink"]))]
                row += [Segment(" " * (self.width - used), self.styles["ink"])]
                lines.append(row if used <= self.width else row[:-2])
        return lines

    def tile(self, sensor: Sensor, index: int, width: int, height: int) -> list[Line]:
        focused = index == self.state.focus % len(self.state.sensors)
        loud = "critical+alarm" if sensor.alarms.open else "ink+bold"
        parts: list[Part] = [
            (f"{'▶' if focused else ' '}{index + 1} {excerpt(sensor.name)} ", loud),
            (f" {number(sensor.fhr_bpm)}", "fhr+bold"),
            (f" {number(sensor.toco)}  ", "toco"),
        ]
        if alarms := alarm_text(sensor):
            parts.append((alarms, "critical+bold"))
        else:
            parts += verdict(sensor, self.now_s, short=True)
        head = line(parts, width, self.styles)
        return [head, *self.chart(sensor, width, height - 1, 0, axis=height >= 12)]
