"""When each sample of a level is due, and what became of those in the measured window.

All latencies count from the time at which a sample was *due*: a generator or a backend that stalls
delays every sample behind it, and each of them says so (no coordinated omission).

This module performs no I/O and reads no clock: times are seconds since the level's start.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Every sensor sends at the same rate, each in its own phase.

    The samples of all sensors are numbered in the order in which they fall due: number *k* is of
    sensor ``k % sensors``, because the phases are sorted and below one period.
    """

    phases_s: Sequence[float]
    """When each sensor begins; ascending, in [0, 1 / rate_hz)."""
    rate_hz: float
    warm_up: int
    """Samples per sensor before the window."""
    measured: int
    """Samples per sensor in the window."""
    first_index: int
    """Index of each sensor's first sample; its data time is index / rate_hz."""

    @property
    def sensors(self) -> int:
        """How many there are."""
        return len(self.phases_s)

    @property
    def total(self) -> int:
        """Samples of the whole level."""
        return self.sensors * (self.warm_up + self.measured)

    @property
    def next_index(self) -> int:
        """The index after the last one."""
        return self.first_index + self.warm_up + self.measured

    def due_s(self, number: int) -> float:
        """Return when sample *number* is due."""
        turn, sensor = divmod(number, self.sensors)
        return self.phases_s[sensor] + turn / self.rate_hz


class Ledger:
    """What was seen again of the samples in the window, and after how long."""

    def __init__(self, schedule: Schedule) -> None:
        self.latencies_s = array("d")
        self._schedule = schedule
        self._first = schedule.sensors * schedule.warm_up
        self._seen = bytearray(schedule.total - self._first)

    @property
    def due(self) -> int:
        """Samples of the window."""
        return len(self._seen)

    @property
    def missing(self) -> int:
        """Samples not seen so far."""
        return len(self._seen) - len(self.latencies_s)

    def saw(self, sensor: int, sec_from_start: float, now_s: float) -> None:
        """Note that a sample has arrived; repetitions and those outside the window don't count.

        Parameters
        ----------
        sensor : int
            From 0.
        sec_from_start : float
            Its data time, in 64 bits or what 32 bits make of it.
        now_s : float
            Since the level's start.
        """
        schedule = self._schedule
        index = round(sec_from_start * schedule.rate_hz)
        number = (index - schedule.first_index) * schedule.sensors + sensor
        place = number - self._first
        if 0 <= place < len(self._seen) and not self._seen[place]:
            self._seen[place] = 1
            self.latencies_s.append(now_s - schedule.due_s(number))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value that *share* of the ascending, non-empty *ordered* keep within.

    >>> quantile(range(1, 101), 0.99), quantile([3.0], 0.5)
    (99, 3.0)
    """
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def milliseconds(ordered_s: Sequence[float], share: float) -> float | None:
    """Return a quantile of ascending seconds in milliseconds, None when there are none."""
    return round(1e3 * quantile(ordered_s, share), 3) if ordered_s else None
