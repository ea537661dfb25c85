"""Whether the answers in two recordings of the same samples agree.

What a backend answered is paired by sensor and data time (results), or by sensor and order
(rejections), and compared member by member. Nothing is held but what still waits for its
counterpart, within a bound. This module performs no I/O.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec

from ctgkit.errors import WireError, excerpt
from ctgkit.recording.format import Line
from ctgkit.wire import SENSOR_ID_PARAMETER, Reject, decode_reply, decode_result_head

PENDING_MAX = 20_000
"""Answers that wait for their counterpart: at 20 sensors and 4 Hz those of 4 minutes. One that
waits longer has none."""
PENDING_MAX_BYTES = 64 << 20
"""The same in bytes."""
ALWAYS_IGNORED = ("timestamp",)
_any_decoder = msgspec.json.Decoder()


class Answer(NamedTuple):
    """What a backend said about one sample, or about one message that it refused."""

    sensor_id: str
    key: str
    """Its sample as people name it: ``12.5 s``, or ``rejection 3``."""
    frame: bytes
    """The JSON object that was sent."""
    written_id: str = ""
    """The sensor's id as it stands in the object, which may be played by another sensor."""
    is_fallback: bool = False
    """Whether the backend answered in the ML service's place (PROTOCOL V-2.2)."""


class Difference(NamedTuple):
    """One member that differs."""

    sensor_id: str
    key: str
    member: str
    expected: str
    actual: str

    def __str__(self) -> str:
        return f"{self.sensor_id} at {self.key}: {self.member}: {self.expected} -> {self.actual}"


@dataclass(slots=True)
class Verdict:
    """What a comparison found."""

    compared: int = 0
    different: int = 0
    """Samples of which any member differs."""
    missing: int = 0
    """Expected answers that did not come."""
    unexpected: int = 0
    """Answers that were not expected."""
    by_member: Counter[str] = field(default_factory=Counter)

    @property
    def ok(self) -> bool:
        """Whether anything was compared and nothing differs."""
        return bool(self.compared) and not (self.different or self.missing or self.unexpected)


def answers(lines: Iterable[Line], renamed: Mapping[str, str] | None = None) -> Iterator[Answer]:
    """Yield the answers in a recording: a viewer's results, and rejections of ``ctgkit.v1``.

    Parameters
    ----------
    lines : iterable of Line
        The recording; of several viewers that watch at once the first counts.
    renamed : mapping or None
        Sensor in the recording -> its name for the comparison.
    """
    renamed = renamed or {}
    viewer: str | None = None
    sensors: dict[str, str] = {}
    rejections: Counter[str] = Counter()
    for line in lines:
        kind = line.link[:1]
        if line.what == "open" and kind == "s":
            query = parse_qs(urlsplit(str(line.about.get("path", ""))).query)
            sensor_id = query.get(SENSOR_ID_PARAMETER, [""])[0].lower()
            sensors[line.link] = renamed.get(sensor_id, sensor_id)
        elif line.what == "open" and kind == "v":
            viewer = viewer or line.link
        elif line.what == "close" and line.link == viewer:
            viewer = None
        elif line.what == "<" and line.link == viewer:
            if (answer := _result(line.frame, renamed)) is not None:
                yield answer
        elif line.what == "<" and line.link in sensors:
            sensor_id = sensors[line.link]
            if (reason := _rejection(line.frame)) is not None:
                rejections[sensor_id] += 1
                key = f"rejection {rejections[sensor_id]}"
                yield Answer(sensor_id, key, msgspec.json.encode({"rejected": reason}))


def _result(frame: bytes, renamed: Mapping[str, str]) -> Answer | None:
    try:
        head = decode_result_head(frame)
    except WireError:
        return None  # a viewer cannot read it either
    sensor_id = head.sensor_id.lower()
    return Answer(
        renamed.get(sensor_id, sensor_id),
        f"{head.sec_from_start or 0.0:.10g} s",
        frame,
        head.sensor_id,
        is_fallback=head.prediction is None and head.status == "error",
    )


def _rejection(frame: bytes) -> str | None:
    try:
        reply = decode_reply(frame)
    except WireError:
        return None
    return reply.error if isinstance(reply, Reject) else None


def settled(stream: Iterable[Answer]) -> Iterator[Answer]:
    """Yield each sample's last word: an ML service's answer that came late replaces the backend's.

    The order is that of the first words; answers wait here for :data:`PENDING_MAX` others.
    """
    waiting: dict[tuple[str, str], Answer] = {}
    for answer in stream:
        key = (answer.sensor_id, answer.key)
        earlier = waiting.get(key)
        if earlier is None:
            waiting[key] = answer
        elif earlier.is_fallback:
            waiting[key] = answer  # a dictionary keeps its place
        elif not answer.is_fallback:  # the sensor began anew
            yield waiting.pop(key)
            waiting[key] = answer
        if len(waiting) > PENDING_MAX:
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()


def compare(
    expected: Iterable[Answer],
    actual: Iterable[Answer],
    verdict: Verdict,
    *,
    tolerance: float = 0.0,
    tolerances: Mapping[str, float] | None = None,
    ignored: Sequence[str] = (),
) -> Iterator[Difference]:
    """Pair answers and yield what differs, as it is found.

    Parameters
    ----------
    expected, actual : iterable of Answer
        In about the same order.
    verdict : Verdict
        Where to count.
    tolerance : float
        Numbers differ when they are further apart than this, absolutely and relative to the
        expected one; the unit is the member's.
    tolerances : mapping of str to float
        Name of a member, at any depth -> its own tolerance.
    ignored : sequence of str
        Names of members that don't count, at any depth. The timestamp never does.

    Notes
    -----
    Where the ML service did not answer while it was recorded, only the samples are compared.
    """
    rules = _Rules(tolerance, tolerances or {}, frozenset((*ALWAYS_IGNORED, *ignored)))
    pending: tuple[_Pending, _Pending] = (_Pending(), _Pending())
    streams = [settled(expected), settled(actual)]
    open_sides = [0, 1]
    while open_sides:
        for side in tuple(open_sides):
            answer = next(streams[side], None)
            if answer is None:
                open_sides.remove(side)
                continue
            other = pending[1 - side].pop(answer)
            if other is None:
                for lost in pending[side].put(answer):
                    yield _unpaired(lost, side, verdict)
                continue
            pair = (answer, other) if side == 0 else (other, answer)
            yield from _differences(*pair, verdict, rules)
    for side in (0, 1):
        for lost in pending[side].all():
            yield _unpaired(lost, side, verdict)


class _Pending:
    """Answers that wait for their counterpart, oldest first."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, str], deque[Answer]] = {}
        self._size = self._bytes = 0

    def put(self, answer: Answer) -> Iterator[Answer]:
        """Add one; yield those that have waited too long."""
        self._by_key.setdefault((answer.sensor_id, answer.key), deque()).append(answer)
        self._size += 1
        self._bytes += len(answer.frame)
        while self._size > PENDING_MAX or self._bytes > PENDING_MAX_BYTES:
            oldest = next(iter(self._by_key.values()))[0]
            popped = self.pop(oldest)
            assert popped is not None
            yield popped

    def pop(self, like: Answer) -> Answer | None:
        key = (like.sensor_id, like.key)
        same = self._by_key.get(key)
        if same is None:
            return None
        self._size -= 1
        found = same.popleft()
        self._bytes -= len(found.frame)
        if not same:
            del self._by_key[key]
        return found

    def all(self) -> Iterator[Answer]:
        for same in self._by_key.values():
            yield from same


def _unpaired(answer: Answer, side: int, verdict: Verdict) -> Difference:
    said = excerpt(answer.frame)
    if side == 0:
        verdict.missing += 1
        return Difference(answer.sensor_id, answer.key, "answer", said, "none")
    verdict.unexpected += 1
    return Difference(answer.sensor_id, answer.key, "answer", "none", said)


class _Rules(NamedTuple):
    """What counts as a difference."""

    tolerance: float
    tolerances: Mapping[str, float]
    ignored: frozenset[str]

    def below(self, name: str) -> "_Rules":
        """Return the rules for a member and what is in it."""
        own = self.tolerances.get(name)
        return self if own is None else self._replace(tolerance=own)


def _differences(
    expected: Answer, actual: Answer, verdict: Verdict, rules: _Rules
) -> Iterator[Difference]:
    verdict.compared += 1
    if expected.is_fallback:
        left, right = (decode_result_head(answer.frame).data for answer in (expected, actual))
    else:
        left, right = (_any_decoder.decode(answer.frame) for answer in (expected, actual))
    found = [
        (member, was, now)
        for member, was, now in _walk("", left, right, rules)
        if not (expected.written_id and (was, now) == (expected.written_id, actual.written_id))
    ]
    verdict.different += bool(found)
    for member, was, now in found:
        verdict.by_member[member] += 1
        yield Difference(expected.sensor_id, expected.key, member, _shown(was), _shown(now))


_ABSENT = object()


def _walk(at: str, expected: Any, actual: Any, rules: _Rules) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        for name in [*expected, *(n for n in actual if n not in expected)]:
            if name not in rules.ignored:
                path = f"{at}.{name}" if at else name
                was, now = expected.get(name, _ABSENT), actual.get(name, _ABSENT)
                yield from _walk(path, was, now, rules.below(name))
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for n, (was, now) in enumerate(zip(expected, actual, strict=True)):
            yield from _walk(f"{at}[{n}]", was, now, rules)
    elif not _same(expected, actual, rules.tolerance):
        yield at, expected, actual


def _same(expected: Any, actual: Any, tolerance: float) -> bool:
    numbers = (int, float)
    if type(expected) in numbers and type(actual) in numbers:
        return math.isclose(expected, actual, rel_tol=tolerance, abs_tol=tolerance)
    return type(expected) is type(actual) and bool(expected == actual)


def _shown(value: Any) -> str:
    return "absent" if value is _ABSENT else excerpt(msgspec.json.encode(value))
