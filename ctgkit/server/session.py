"""Which sensor is connected, and which examination its samples belong to.

This module performs no I/O: what happens comes in as method calls with a monotonic time in
seconds, what has to be done goes out as a list of actions, in order. Everything that opens or
closes an examination is here (PROTOCOL S-5).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ctgkit.samples import Sample
from ctgkit.server.numbering import Attendance, Numbers

Admission = Literal["new", "question", "stale"]


@dataclass(frozen=True, slots=True)
class OpenExamination:
    """Create an examination."""

    examination_id: int
    bed: str


@dataclass(frozen=True, slots=True)
class CloseExamination:
    """End an examination: now, or at its last sample when a crash interrupted it."""

    examination_id: int
    bed: str
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Displace:
    """Close the older connection of a sensor that came back."""

    attendance: Attendance


Action = OpenExamination | CloseExamination | Displace


@dataclass(slots=True)
class _Bed:
    examination_id: int
    attendances: set[Attendance]
    expires_at_s: float | None = None
    """When the grace period ends, monotonic; None while a sensor is connected."""
    resumed: bool = False
    """Left open by an earlier run of the server, and no sensor has come back yet."""


class Session:
    """The examinations of one backend.

    Parameters
    ----------
    beds : mapping of str to str
        Sensor id -> bed; sensors of one bed share an examination.
    grace_s : float
        How long an examination stays open without a sensor, seconds; 0 closes it at once.
    last_examination_id : int
        Largest id in use.
    """

    def __init__(
        self,
        beds: Mapping[str, str],
        grace_s: float,
        last_examination_id: int = 0,
    ) -> None:
        self._bed_of = beds
        self._grace_s = grace_s
        self._last_examination_id = last_examination_id
        self._numbers: dict[tuple[str, bool], tuple[str | None, Numbers]] = {}
        """(Sensor, whether it names its stream) -> its last stream of this kind."""
        self._open: dict[str, _Bed] = {}
        self._attending: dict[str, Attendance] = {}

    @property
    def connected(self) -> Mapping[str, Attendance]:
        """The connected sensors, by id."""
        return self._attending

    def open_examinations(self) -> dict[int, str]:
        """Return id -> bed of the open examinations."""
        return {bed.examination_id: name for name, bed in self._open.items()}

    def recover(self, opened: Iterable[tuple[int, str, float]], at_s: float) -> list[Action]:
        """Take over the examinations that an earlier run left open.

        Parameters
        ----------
        opened : iterable of (examination_id, bed, age_s)
            Ascending ids; ``age_s`` is the age of the last sample, seconds.
        at_s : float
            Now, monotonic seconds.
        """
        actions: list[Action] = []
        for examination_id, name, age_s in opened:
            if (older := self._open.pop(name, None)) is not None:
                actions.append(CloseExamination(older.examination_id, name, interrupted=True))
            if age_s < self._grace_s:
                expires_at_s = at_s + self._grace_s - max(age_s, 0.0)
                self._open[name] = _Bed(examination_id, set(), expires_at_s, resumed=True)
            else:
                actions.append(CloseExamination(examination_id, name, interrupted=True))
        return actions

    def connect(
        self, sensor_id: str, at_s: float, stream: str | None = None
    ) -> tuple[Attendance, list[Action]]:
        """Let a sensor in; its earlier connection, if any, is displaced.

        *stream* is what it calls its stream of numbers (PROTOCOL S-6.7), if it says.
        """
        name = self._bed_of[sensor_id]
        actions = self.expire(at_s)
        bed = self._open.get(name)
        if bed is None:
            self._last_examination_id += 1
            bed = self._open[name] = _Bed(self._last_examination_id, set())
            actions.append(OpenExamination(bed.examination_id, name))
        kind = (sensor_id, stream is not None)
        known, numbers = self._numbers.get(kind, (None, None))
        if numbers is None or known != stream:
            numbers = Numbers()
            self._numbers[kind] = stream, numbers
        attendance = Attendance(sensor_id, bed.examination_id, stream, numbers)
        bed.attendances.add(attendance)
        bed.expires_at_s, bed.resumed = None, False
        if (older := self._attending.get(sensor_id)) is not None:
            bed.attendances.discard(older)
            older.displaced = True
            actions.append(Displace(older))
        self._attending[sensor_id] = attendance
        return attendance, actions

    def disconnect(self, attendance: Attendance, at_s: float) -> list[Action]:
        """End a connection; the last one of a bed ends the examination, after its grace."""
        if self._attending.get(attendance.sensor_id) is attendance:
            del self._attending[attendance.sensor_id]
        name = self._bed_of[attendance.sensor_id]
        bed = self._open.get(name)
        if bed is None or attendance not in bed.attendances:
            return []  # it was displaced
        bed.attendances.discard(attendance)
        if bed.attendances:
            return []
        bed.expires_at_s = at_s + self._grace_s
        return self.expire(at_s)

    def expire(self, at_s: float) -> list[Action]:
        """Close the examinations whose grace period is over."""
        over = [
            (name, bed)
            for name, bed in self._open.items()
            if bed.expires_at_s is not None and bed.expires_at_s <= at_s
        ]
        for name, _ in over:
            del self._open[name]
        return [CloseExamination(b.examination_id, name, b.resumed) for name, b in over]

    def admit(self, attendance: Attendance, seq: int | None) -> Admission:
        """Say what to do with a sample.

        Returns
        -------
        {"new", "question", "stale"}
            ``new``: store and forward it. ``question``: the store has to look whether it is there
            (PROTOCOL S-6.5). ``stale``: nothing more is taken from a connection that was replaced.
        """
        if attendance.displaced:
            return "stale"
        return "new" if seq is None or attendance.numbers.is_new(seq) else "question"

    def admit_all(self, attendance: Attendance, samples: Sequence[Sample]) -> bool:
        """Return whether all of several samples are ``new``; if not, none was taken note of.

        Those without numbers are, unless one that came before them waits.
        """
        if attendance.displaced:
            return False
        if samples[0].seq is not None:
            return attendance.numbers.are_new(samples)
        return not attendance.numbers.waiting and all(s.seq is None for s in samples)
