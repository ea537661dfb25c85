"""What an analyzer said about one recording: a report, or results one by one.

This module performs no I/O.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

from ctgkit.analysis.texts import ALERTS
from ctgkit.errors import WireError, excerpt
from ctgkit.events import Tier
from ctgkit.recording.origin import Origin, by_header
from ctgkit.samples import (
    PREDICTION_EVERY_S,
    PREDICTION_WINDOW_S,
    RISK_HIGH_ABOVE,
    Prediction,
    status_of,
)
from ctgkit.score.alarms import ANY, Alarm, intervals
from ctgkit.score.calls import Moment
from ctgkit.score.matching import OVERLAP_S, overlap_s
from ctgkit.score.truth import Span
from ctgkit.wire import Result, decode_result

MINUTE_S = 60.0
RESTART_S = 60.0
"""A result this much earlier than the latest one belongs to another examination, seconds."""

ALARMING_STATUS = ("warning", "critical")


FINAL: Final[Tier] = "final"
"""An event of this tier stays, told again or not."""


class Found(msgspec.Struct, frozen=True):
    """One event that was found, as results and reports write it."""

    kind: str
    onset_s: float
    end_s: float
    id: str = ""
    subtype: str = ""
    tier: str = FINAL
    named_at_s: float | None = None
    """Data time of the first result that told it, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All that was said; None is what was never said anything about."""

    events: tuple[Found, ...] | None = None
    baseline: tuple[Span, ...] | None = None
    alarms: tuple[Alarm, ...] | None = None
    alarms_by_code: bool = False
    """Whether the alarms say what they are about."""
    moments: tuple[Moment, ...] | None = None
    """Probability and status, every 30 s."""
    risk: tuple[tuple[float, float], ...] | None = None
    """Data time, seconds, and hypoxia probability."""
    unreadable: int = 0
    """Results and events that are left out: unreadable, or of another examination."""
    origin: Origin = Origin()
    """Of which recording they are, as far as they say it."""


class _Course(msgspec.Struct):
    at_s: float
    hypoxia_probability: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    alerts: list[str] | None = None


class _Report(msgspec.Struct):
    events: list[dict[str, Any]] | None = None
    baseline_per_minute: list[float | None] | None = None
    course: list[_Course] | None = None
    origin: Any = None


_decoder = msgspec.json.Decoder(_Report)


def _found(raw: Mapping[str, Any]) -> Found:
    """Return an event, under the names of a result or else of a report.

    Raises
    ------
    msgspec.ValidationError
        When a member is missing or of the wrong type.
    """
    spelt = {"kind": raw.get("type"), "onset_s": raw.get("start_s")}
    return msgspec.convert({**spelt, **raw}, Found)


def read_result(frame: bytes | str) -> Result:
    """Decode a result that can be scored.

    Raises
    ------
    WireError
        When it can't be read, or the probability is none.
    """
    result = decode_result(frame)
    if result.prediction is not None and not 0 <= result.prediction.hypoxia_probability <= 1:
        raise WireError(
            "range", "prediction.hypoxia_probability",
            f"{result.prediction.hypoxia_probability:g} is outside 0 to 1", excerpt(frame),
        )  # fmt: skip
    return result


def from_report(text: bytes) -> Results:
    """Return what a report says: ``ctgkit analyze --json``, or anything of that shape.

    Raises
    ------
    msgspec.DecodeError, UnicodeDecodeError
        When it isn't JSON, or a member is missing, of the wrong type or outside its range.
    """
    report = _decoder.decode(text)
    if report == _Report(origin=report.origin):
        raise msgspec.ValidationError(f"has none of {', '.join(_Report.__struct_fields__[:-1])}")
    events = None if report.events is None else tuple(map(_found, report.events))
    baseline, alarms, by_code = None, None, False
    if report.baseline_per_minute is not None:
        minutes = enumerate(report.baseline_per_minute)
        baseline = tuple(
            Span(MINUTE_S * n, MINUTE_S * (n + 1), bpm) for n, bpm in minutes if bpm is not None
        )
    course = sorted(report.course or (), key=lambda c: c.at_s)
    if course:
        by_code = all(c.alerts is not None and ALERTS.keys() >= set(c.alerts) for c in course)
        told = (
            (c.at_s, c.alerts or () if by_code else _any(_dangerous(c) or bool(c.alerts)))
            for c in course
        )
        alarms = tuple(intervals(told, course[-1].at_s))
    moments = tuple(
        Moment(c.at_s, c.hypoxia_probability, status_of(c.hypoxia_probability)) for c in course
    )
    known = ((c.at_s, c.hypoxia_probability) for c in course)
    risk = tuple((at_s, p) for at_s, p in known if p is not None)
    return Results(
        events=events,
        baseline=baseline,
        alarms=alarms,
        alarms_by_code=by_code,
        moments=moments or None,
        risk=risk or None,
        origin=by_header(report.origin if isinstance(report.origin, dict) else {}),
    )


def _dangerous(course: _Course) -> bool:
    return status_of(course.hypoxia_probability) in ALARMING_STATUS


def _any(alarming: bool) -> tuple[str, ...]:
    return (ANY,) if alarming else ()


class Listener:
    """Takes the results of one sensor as they come, and keeps what will be scored.

    A result may repeat what the one before said. An event counts as it was told last; one that
    was not yet final and is no longer told has been withdrawn.
    """

    def __init__(self) -> None:
        self._events: dict[tuple[str, str], Found] | None = None
        self._baseline: list[Span] = []
        self._course: list[tuple[float, tuple[str, ...]]] = []
        self._risk: list[tuple[float, float]] = []
        self._code_course: list[tuple[float, tuple[str, ...]]] = []
        self._moments: list[Moment] = []
        self._told: tuple[Prediction | None, str] = (None, "ok")
        self._last_s = 0.0
        self._unreadable = 0

    def take(self, result: Result) -> None:
        """Take a result; what belongs to another examination is left out, and counted."""
        if result.sec_from_start < self._last_s - RESTART_S:
            self._unreadable += 1
            return
        if result.prediction is None and result.status == "error":
            return  # the backend's word in the service's place (PROTOCOL V-2.2)
        self._last_s = max(self._last_s, result.sec_from_start)
        self._take_moment(result)
        if result.prediction is not None:
            self._take_risk(result.prediction.hypoxia_probability)
        if (result.prediction, result.status) != self._told:
            self._told = (result.prediction, result.status)
            self._note(self._course, _any(_alarming(result.prediction, result.status)))
        if isinstance(result.alert_details, list):
            self._note(self._code_course, tuple(map(_code, result.alert_details)))
        if result.features is not None:
            self._take_baseline(result.features.get("baseline_bpm"))
        if result.events is not None:
            self._take_events(result.events)

    def results(self) -> Results:
        """Return what was said so far; before any prediction nothing is known about alarms."""
        by_code = bool(self._code_course) and all(
            ALERTS.keys() >= set(codes) for _, codes in self._code_course
        )
        course = self._code_course if by_code else self._course
        return Results(
            events=None if self._events is None else tuple(self._events.values()),
            baseline=tuple(self._baseline) or None,
            alarms=tuple(intervals(course, self._last_s)) if course else None,
            alarms_by_code=by_code,
            moments=tuple(self._moments) or None,
            risk=tuple(self._risk) or None,
            unreadable=self._unreadable,
        )

    def _note(self, course: list[tuple[float, tuple[str, ...]]], codes: tuple[str, ...]) -> None:
        if not course or course[-1][1] != codes:
            course.append((self._last_s, codes))

    def _take_moment(self, result: Result) -> None:
        """Keep one every 30 s, from the first on that judges; any that calls for somebody."""
        p = None if result.prediction is None else result.prediction.hypoxia_probability
        moment = Moment(self._last_s, p, result.status)
        if p is None and not moment.alarming and not self._moments:
            return
        last = self._moments[-1] if self._moments else None
        if (
            last is None
            or moment.at_s >= last.at_s + PREDICTION_EVERY_S
            or moment.alarming != last.alarming
        ):
            self._moments.append(moment)

    def _take_risk(self, probability: float) -> None:
        if not self._risk or self._last_s >= self._risk[-1][0] + PREDICTION_EVERY_S:
            self._risk.append((self._last_s, probability))

    def _take_baseline(self, bpm: Any) -> None:
        if not isinstance(bpm, int | float):
            return
        if not self._baseline or self._last_s >= self._baseline[-1].to_s + PREDICTION_EVERY_S:
            from_s = max(0.0, self._last_s - PREDICTION_WINDOW_S)
            self._baseline.append(Span(from_s, self._last_s, float(bpm)))

    def _take_events(self, raw: Iterable[Mapping[str, Any]]) -> None:
        before = self._events or {}
        now: dict[tuple[str, str], Found] = {}
        for found in self._readable(raw):
            key = (found.kind, found.id or self._name(found, before))
            if key in now:  # what was one is two
                key = (found.kind, _by_time(found))
            known = before.get(key)
            named_at_s = self._last_s if known is None else known.named_at_s
            now[key] = msgspec.structs.replace(found, id=key[1], named_at_s=named_at_s)
        kept = {key: e for key, e in before.items() if e.tier == FINAL}
        self._events = kept | now

    def _readable(self, raw: Iterable[Mapping[str, Any]]) -> Iterator[Found]:
        for one in raw:
            try:
                yield _found(one)
            except msgspec.ValidationError:
                self._unreadable += 1

    def _name(self, found: Found, known: Mapping[tuple[str, str], Found]) -> str:
        """Return the id of an event that was told without: that of the one it overlaps most."""
        same = [e for e in known.values() if e.kind == found.kind]
        nearest = max(same, key=lambda e: overlap_s(e, found), default=None)
        if nearest is not None and overlap_s(nearest, found) > OVERLAP_S:
            return nearest.id
        return _by_time(found)


def _by_time(found: Found) -> str:
    return f"at {found.onset_s:g} s"


def _code(detail: Any) -> str:
    return str(detail.get("code")) if isinstance(detail, dict) else ""


def _alarming(prediction: Prediction | None, status: str) -> bool:
    if status in ALARMING_STATUS:
        return True
    return prediction is not None and (
        bool(prediction.alerts) or prediction.hypoxia_probability > RISK_HIGH_ABOVE
    )
