"""Which sensor is connected, and which examination its samples belong to.

This module performs no I/O: what happens comes in as method calls with a monotonic time in
seconds, what has to be done goes out as a list of actions, in order. Everything that opens or
closes an examination is here (PROTOCOL S-5).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ctgkit.server.numbering import Admission, Attendance, Numbers


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
    lost: dict[str, float] = field(default_factory=dict)
    """Sensor that was lost -> until when it is waited for."""
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
    handover_s : float
        The same after a sensor that was lost, rather than left, when that is longer.
    """

    def __init__(
        self,
        beds: Mapping[str, str],
        grace_s: float,
        last_examination_id: int = 0,
        handover_s: float = 0.0,
    ) -> None:
        self._bed_of = beds
        self._grace_s, self._handover_s = grace_s, handover_s
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
            grace_s = max(self._grace_s, self._handover_s)  # whatever ended that run
            if age_s < grace_s:
                expires_at_s = at_s + grace_s - max(age_s, 0.0)
                bed = self._open[name] = _Bed(examination_id, set(), expires_at_s, resumed=True)
                if self._handover_s:
                    bed.lost[""] = expires_at_s  # whoever it was
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
        attendance = Attendance(sensor_id, bed.examination_id, stream, numbers, bed=name)
        bed.attendances.add(attendance)
        bed.lost.pop(sensor_id, None)
        bed.expires_at_s, bed.resumed = None, False
        if (older := self._attending.get(sensor_id)) is not None:
            bed.attendances.discard(older)
            older.displaced = True
            actions.append(Displace(older))
        self._attending[sensor_id] = attendance
        return attendance, actions

    def disconnect(
        self, attendance: Attendance, at_s: float, *, lost: bool = False
    ) -> list[Action]:
        """End a connection; the last one of a bed ends the examination, after its grace.

        *lost* says that the sensor didn't leave by itself (PROTOCOL S-5.3).
        """
        if self._attending.get(attendance.sensor_id) is attendance:
            del self._attending[attendance.sensor_id]
        name = attendance.bed
        bed = self._open.get(name)
        if bed is None or attendance not in bed.attendances:
            return []  # it was displaced
        bed.attendances.discard(attendance)
        if lost and self._handover_s:
            bed.lost[attendance.sensor_id] = at_s + self._handover_s
        if bed.attendances:
            return []
        bed.expires_at_s = max(at_s + self._grace_s, *bed.lost.values(), at_s)
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
        """Say what to do with a sample; see :meth:`Attendance.admit`."""
        return attendance.admit(seq)
