"""What the live page asks for under ``/api/page/``: parameters in, bytes out. Pure."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ctgkit.display import FHR_SCALES, MAX_EVENTS, PAPER_SPEEDS_CM_MIN
from ctgkit.errors import excerpt
from ctgkit.net.query import BadQuery, Query, first, number, whole
from ctgkit.samples import SEC_FROM_START_MAX_S
from ctgkit.server.store.lookback import Page, Place
from ctgkit.wire import MEMBERS

PAGE_PATH = "/api/page/"
SECONDS_MAX = 14_400.0
"""Longest past of all sensors, seconds: as for other viewers."""
BIN_MIN_S, BIN_MAX_S = 0.125, 3600.0
"""Narrowest and widest bin. Chosen: the fastest sensor's samples, an hour."""
NOTE_MAX_CHARS = 400
PAPER_MAX_S = 86_400.0
"""Longest stretch that is printed at a time, seconds."""
SEARCH_MAX_CHARS = 100
NO_VALUE = 65_535
"""Stands for a bin whose samples have no value; one without samples is left out."""
STEPS_PER_UNIT = 100
"""Values are sent as hundredths above :data:`LOWEST`."""
LOWEST = -100.0
MEMBER_MAX_CHARS = 100
"""Of what others say of an event."""
_DRAWN = ("kind", "subtype", "onset_s", "end_s", "peak_s", "tier", "id")
"""What the page needs of an event."""


@dataclass(frozen=True, slots=True)
class PastQuery:
    """Some of the past: of all open examinations, or of one sensor in one."""

    seconds: float
    bin_s: float
    examination: int | None
    sensor: str | None
    before: Place | None

    @classmethod
    def of(cls, query: Query) -> "PastQuery":
        """Read it from a query; BadQuery when it is none."""
        examination, sensor = whole(query, "examination"), first(query, "sensor")
        if (examination is None) != (not sensor):
            raise BadQuery("examination and sensor belong together")
        place = first(query, "before")
        try:
            before = Place.parse(place) if place else None
        except ValueError as error:
            raise BadQuery(f"before: {error}") from None
        if before and examination is None:
            raise BadQuery("before needs examination and sensor")
        return cls(
            seconds=number(query, "seconds", 3600.0, 0.0, SECONDS_MAX),
            bin_s=number(query, "bin", 1.0, BIN_MIN_S, BIN_MAX_S),
            examination=examination,
            sensor=sensor.lower() or None,
            before=before,
        )


@dataclass(frozen=True, slots=True)
class NoteQuery:
    """A note to add."""

    examination: int
    sensor: str
    sec: float
    text: str

    @classmethod
    def of(cls, query: Query) -> "NoteQuery":
        """Read it from a query; BadQuery when it is none."""
        examination, sensor = whole(query, "examination"), first(query, "sensor").lower()
        text = " ".join(first(query, "text").split())
        if examination is None or not sensor:
            raise BadQuery("examination and sensor are needed")
        if not text or len(text) > NOTE_MAX_CHARS or not text.isprintable():
            raise BadQuery(f"a note is 1 to {NOTE_MAX_CHARS} printable characters")
        return cls(
            examination, sensor, number(query, "sec", math.nan, 0.0, SEC_FROM_START_MAX_S), text
        )


@dataclass(frozen=True, slots=True)
class PaperQuery:
    """A stretch of one sensor's examination, to be printed."""

    examination: int
    sensor: str
    from_s: float
    to_s: float
    speed_cm_min: int
    scale: int
    """Which of the heart rate's."""

    @classmethod
    def of(cls, query: Query) -> "PaperQuery":
        """Read it from a query; BadQuery when it is none."""
        examination, sensor = whole(query, "examination"), first(query, "sensor").lower()
        if examination is None or not re.fullmatch(r"[0-9a-f-]{1,60}", sensor, re.ASCII):
            raise BadQuery("examination and sensor are needed")
        from_s = number(query, "from", math.nan, 0.0, SEC_FROM_START_MAX_S)
        to_s = number(query, "to", math.nan, from_s, from_s + PAPER_MAX_S)
        speed = whole(query, "speed") or PAPER_SPEEDS_CM_MIN[0]
        if speed not in PAPER_SPEEDS_CM_MIN:
            raise BadQuery(f"speed is one of {', '.join(map(str, PAPER_SPEEDS_CM_MIN))} cm/min")
        scale = whole(query, "range", 0, len(FHR_SCALES) - 1) or 0
        return cls(examination, sensor, from_s, to_s, speed, scale)


@dataclass(frozen=True, slots=True)
class Order:
    """What one sensor shall do."""

    verb: str
    """start, stop, inject or change."""
    sensor: str
    parameters: Mapping[str, str]
    """For the sensor: ``scenario``, ``seed``; ``event``, ``size``, ``duration_s``; or ``knob``,
    ``to``, ``ramp_s``."""

    @classmethod
    def of(cls, verb: str, query: Query) -> "Order":
        """Read it from a query; BadQuery when it is none."""
        found = {name: first(query, name) for name in _ORDERS[verb] if first(query, name)}
        for name, text in found.items():
            if name in ("size", "duration_s", "to", "ramp_s"):
                number(query, name, 0.0, -1e6 if name == "to" else 0.0, 1e6)
            elif name == "seed":
                whole(query, name)
            elif not re.fullmatch(r"[a-z0-9_.-]{1,60}", text, re.ASCII | re.IGNORECASE):
                raise BadQuery(f"{name}={excerpt(text)!r} is not a valid name")
        for name in _NEEDED.get(verb, ()):
            if name not in found:
                raise BadQuery(f"{name} is missing")
        return cls(verb, first(query, "sensor").lower(), found)

    def __str__(self) -> str:
        return ", ".join([self.verb, *(f"{name} {text}" for name, text in self.parameters.items())])


_ORDERS = {
    "start": ("scenario", "seed"),
    "stop": (),
    "inject": ("event", "size", "duration_s"),
    "change": ("knob", "to", "ramp_s"),
}
_NEEDED = {"inject": ("event",), "change": ("knob", "to")}


def packed(parts: Sequence[tuple[Mapping[str, Any], Sequence[Page]]]) -> bytes:
    """Return pages as the page of the browser reads them.

    A line of JSON, ``{"sensors": [...]}``, padded with spaces to an even length: each of *parts*
    with its pages, oldest first, as ``[place, runs]`` where a run is ``[first bin, number of
    bins]``. Then, for each page, four arrays of little-endian uint16, one number per bin: least and
    largest heart rate, least and largest toco.
    """
    import numpy as np

    head, body = [], []
    for about, pages in parts:
        described = []
        for page in reversed(pages):
            described.append([str(page.place), _runs(page)])
            steps = np.rint((page.values - LOWEST) * STEPS_PER_UNIT)
            numbers = np.where(np.isnan(steps), NO_VALUE, steps).astype("<u2")
            body.append(np.ascontiguousarray(numbers.T).tobytes())
        head.append({**about, "pages": described})
    line = json.dumps({"sensors": head}, ensure_ascii=False, separators=(",", ":")).encode()
    return line + b" " * ((len(line) + 1) % 2) + b"\n" + b"".join(body)


def _runs(page: Page) -> list[list[int]]:
    if not len(page.bins):
        return []
    import numpy as np

    starts = np.flatnonzero(np.diff(page.bins, prepend=page.bins[0] - 2) != 1)
    lengths = np.diff(starts, append=len(page.bins))
    return [[int(b), int(n)] for b, n in zip(page.bins[starts], lengths, strict=True)]


def events_of(bodies: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return sensor -> the events that its results report, of each the last word.

    *bodies* are results, the newest first; what is none is left out.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for body in bodies:
        try:
            said = json.loads(body)
            sensor_id, events = said[MEMBERS["id"]].lower(), said["events"]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        kept = found.setdefault(sensor_id, {})
        for event in events if isinstance(events, list) else ():
            if isinstance(event, dict) and len(kept) < MAX_EVENTS:
                name = event.get("id") or f"{event.get('kind')} {event.get('onset_s')}"
                kept.setdefault(
                    str(name)[:MEMBER_MAX_CHARS],
                    {k: _plain(event[k]) for k in _DRAWN if k in event},
                )
    return {sensor_id: list(events.values()) for sensor_id, events in found.items()}


def _plain(value: object) -> object:
    """Return a number, or the beginning of a text; None for anything else."""
    if isinstance(value, str):
        return value[:MEMBER_MAX_CHARS]
    is_number = isinstance(value, int | float) and abs(value) < 2**63  # False for NaN
    return value if is_number else None
