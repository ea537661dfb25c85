"""What the view knows: results and news of the connection go in, the state changes.

This module performs no I/O; wall time comes in as seconds of any monotonic clock.
"""

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import msgspec
import numpy as np

from ctgkit.display import (
    EVENT_SIGNS,
    MAX_EVENTS,
    MAX_SENSORS,
    PAPER_SPEEDS_CM_MIN,
    QUALITY_WINDOW_S,
    REORDER_S,
    STALE_AFTER_S,
)
from ctgkit.events import Event
from ctgkit.samples import (
    FHR_MAX_BPM,
    FHR_MIN_BPM,
    SEC_FROM_START_MAX_S,
    TOCO_MAX,
    TOCO_MIN,
    Prediction,
)
from ctgkit.watch.alarms import Alarms
from ctgkit.watch.trace import Trace
from ctgkit.wire import Result

MAX_ID_CHARS = 200
DRAWN_KINDS = tuple(EVENT_SIGNS)
"""A tuple: whatever a peer sends as a kind can be looked up in it, a list too."""
THEMES = ("auto", "light", "dark")
NOTICE_S = 8.0
"""News stand in the footer for this long, seconds. Chosen."""

LinkPhase = Literal["connecting", "loading", "live", "lost", "ended"]
"""``loading`` and ``ended`` are those of a recording."""


@dataclass(slots=True)
class Sensor:
    """One sensor on display."""

    sensor_id: str
    trace: Trace = field(default_factory=Trace)
    alarms: Alarms = field(default_factory=Alarms)
    events: dict[str, Event] = field(default_factory=dict)
    """Of the drawn kinds, by id."""
    fhr_bpm: float | None = None
    uterus: float | None = None
    spasms: float | None = None
    prediction: Prediction | None = None
    status: str = ""
    figo: str = ""
    received_s: float = -math.inf
    """Wall time of the newest result, seconds."""
    held_s: float | None = None
    """Data time at the right edge while paused or scrolled back, seconds."""
    resuming: bool = False
    """No result came yet since the connection was made."""
    timestamp: str = ""

    @property
    def name(self) -> str:
        """The start of the id, as people say it."""
        return self.sensor_id[:8]

    @property
    def edge_s(self) -> float:
        """Data time at the right edge of the strip, seconds."""
        if self.held_s is not None:
            return self.held_s
        return self.trace.last_s if len(self.trace) else 0.0

    def quality(self) -> tuple[float, float]:
        """Return the share of samples with a heart rate lately, and samples/s; NaN for unknown."""
        if not len(self.trace):
            return math.nan, math.nan
        start_s = self.trace.last_s - QUALITY_WINDOW_S
        t_s, fhr_bpm, _ = self.trace.between(start_s, math.inf)
        lasted_s = float(t_s[-1] - t_s[0])
        rate_hz = (len(t_s) - 1) / lasted_s if lasted_s > 0 else math.nan
        return float(np.isfinite(fhr_bpm).mean()), rate_hz

    @property
    def toco(self) -> float | None:
        """Current uterine activity: the tone, or what is sent in its place."""
        return self.spasms if self.uterus is None else self.uterus

    def is_silent(self, now_s: float) -> bool:
        """Tell whether nothing came lately."""
        return now_s - self.received_s > STALE_AFTER_S


@dataclass(slots=True)
class State:
    """Everything the view shows."""

    source: str
    """Where the results come from, for people."""
    only: tuple[str, ...] = ()
    """Beginnings of the ids to show; all when empty."""
    sensors: dict[str, Sensor] = field(default_factory=dict)
    focus: int = 0
    as_grid: bool = False
    paused: bool = False
    help: bool = False
    strip_cells: int = 0
    """Width of a strip on the screen, cells; the shell keeps it up to date."""
    playing: float | None = None
    """Recorded seconds per second; None for a backend."""
    speed_cm_min: int = PAPER_SPEEDS_CM_MIN[0]
    fhr_scale: int = 0
    theme: str = THEMES[0]
    link: LinkPhase = "connecting"
    link_reason: str = ""
    attempts: int = 0
    """Failed attempts since the last connection."""
    n_results: int = 0
    n_unreadable: int = 0
    n_late: int = 0
    n_beyond: int = 0
    """Results of sensors beyond :data:`ctgkit.display.MAX_SENSORS`."""
    last_error: str = ""
    notice: str = ""
    """One line of news for the footer: a file that was saved, a log message."""
    noticed_s: float = -math.inf
    """Wall time of that, seconds."""
    changes: int = 0
    """Grows with each change; equal numbers mean an equal picture."""

    @property
    def focused(self) -> Sensor | None:
        """The sensor in focus, if there is any."""
        sensors = list(self.sensors.values())
        return sensors[self.focus % len(sensors)] if sensors else None


def fold(state: State, result: Result, now_s: float) -> None:
    """Take in one result.

    Parameters
    ----------
    state : State
        Is changed.
    result : Result
        From any server; values outside their physical limits are shown as no signal.
    now_s : float
        Wall time, seconds.
    """
    if state.only and not result.sensor_id.lower().startswith(state.only):
        return
    state.changes += 1
    t_s = result.sec_from_start
    if not (0 <= t_s <= SEC_FROM_START_MAX_S and 0 < len(result.sensor_id) <= MAX_ID_CHARS):
        refuse(state, "a result without sensor id or with an impossible time")
        return
    sensor = state.sensors.get(result.sensor_id)
    if sensor is None:
        if len(state.sensors) >= MAX_SENSORS:
            state.n_beyond += 1
            return
        sensor = state.sensors[result.sensor_id] = Sensor(result.sensor_id)
    state.n_results += 1
    sensor.received_s = now_s
    if not _make_place(sensor, t_s, result.timestamp):
        state.n_late += 1
        return
    sensor.fhr_bpm = _possible(result.fhr_bpm, FHR_MIN_BPM, FHR_MAX_BPM)
    sensor.uterus = _possible(result.uterus, TOCO_MIN, TOCO_MAX)
    sensor.spasms = _possible(result.spasms, TOCO_MIN, TOCO_MAX)
    sensor.trace.append(t_s, sensor.fhr_bpm, sensor.toco)
    sensor.alarms.judge(t_s, sensor.fhr_bpm, critical=result.status == "critical")
    sensor.prediction, sensor.status = result.prediction, result.status
    sensor.timestamp = result.timestamp
    sensor.figo = _figo_class(result)
    for item in result.events or ():
        if item.get("kind") in DRAWN_KINDS and not _take_event(sensor, item):
            refuse(state, f"an event of unknown shape: {item.get('kind')}")


def _possible(value: float | None, lo: float, hi: float) -> float | None:
    """Return a value that lies within its physical limits; no signal otherwise."""
    return value if value is not None and lo <= value <= hi else None


def _make_place(sensor: Sensor, t_s: float, timestamp: str) -> bool:
    """Make the trace end before *t_s*; False when the sample comes too late for that.

    Data time that falls back means a new trace, except that the first result after a reconnect
    may repeat the past: the trace is cut there and filled again.
    """
    resuming, sensor.resuming = sensor.resuming, False
    if not len(sensor.trace) or t_s > sensor.trace.last_s:
        return True
    if resuming and not _is_later(timestamp, sensor.timestamp):
        sensor.trace.forget_from(t_s)
        return True
    if sensor.trace.last_s - t_s <= REORDER_S:
        return False
    sensor.trace = Trace()
    sensor.events.clear()
    sensor.alarms.restart()
    sensor.held_s = None
    return True


def _is_later(timestamp: str, than: str) -> bool:
    try:
        new, old = datetime.fromisoformat(timestamp), datetime.fromisoformat(than)
        return new.replace(tzinfo=None) > old.replace(tzinfo=None)
    except ValueError:
        return False


def _figo_class(result: Result) -> str:
    for source in (result.figo, result.features):
        for key in ("class", "figo_class"):
            if source and isinstance(value := source.get(key), str):
                return value
    return ""


def _take_event(sensor: Sensor, item: dict[str, Any]) -> bool:
    """Keep an event, in place of an older version of it; False when it can't be read."""
    try:
        event = msgspec.convert(item, Event)
    except msgspec.ValidationError:
        return False
    sensor.events[event.id or f"{event.kind} {event.onset_s:g}"] = event
    if len(sensor.events) > MAX_EVENTS:
        del sensor.events[next(iter(sensor.events))]
    return True


def refuse(state: State, reason: str) -> None:
    """Count a message that cannot be shown."""
    state.changes += 1
    state.n_unreadable += 1
    state.last_error = reason


def notify(state: State, text: str, now_s: float) -> None:
    """Put one line of news into the footer for a while."""
    state.changes += 1
    state.notice, state.noticed_s = text, now_s


def set_link(state: State, phase: LinkPhase, reason: str = "") -> None:
    """Note what became of the connection; the reason of a loss stands until the next one."""
    state.changes += 1
    state.link, state.link_reason = phase, reason or state.link_reason
    if phase == "live":
        state.attempts = 0
        for sensor in state.sensors.values():
            sensor.resuming = True
    elif phase == "ended":
        for sensor in state.sensors.values():
            sensor.received_s = math.inf  # whoever has finished isn't silent
    elif phase == "lost":
        state.attempts += 1
