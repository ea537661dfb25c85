"""Which samples the ML service owes a result, and what share of them never gets one.

This module performs no I/O; times come in, monotonic, in seconds.
"""

import struct
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from ctgkit.samples import Sample
from ctgkit.wire.checked import CheckedResult

ANSWER_WITHIN_S = 2.0
"""A sample without a usable result after this is shown without one, seconds (PROTOCOL V-2.2).
Chosen: a healthy service answers in milliseconds, the original one needs up to 10 ms per sample."""
OWED_MAX = 65_536
"""Samples that may wait for their results: 14 min of 20 sensors at 4 Hz, some 15 MB."""
SHARE_OVER_S = 10.0
"""The share of unanswered samples is that of the last one to two of these, seconds."""

_pack = struct.Struct("f").pack
_Key = tuple[str, bytes]


class Answered(NamedTuple):
    """A valid result of the ML service."""

    head: CheckedResult
    body: str
    text: bytes
    """The same as it came."""
    in_time: bool
    """Whether it answers a sample that was owed one."""


class _Asked:
    """A sample that was handed over; None when it is answered, or given up."""

    __slots__ = ("at_s", "key", "sample")

    def __init__(self, sample: Sample, key: _Key, at_s: float) -> None:
        self.sample: Sample | None = sample
        self.key, self.at_s = key, at_s


def _key(sensor_id: str, second: float) -> _Key | None:
    """Return what a sample and its result have in common: services compute in single precision."""
    try:
        return sensor_id, _pack(second)
    except OverflowError:
        return None


class Owed:
    """The samples that were handed over and not answered yet, oldest first.

    Each sample counts, also when several have the same sensor and time, and whatever order the
    answers come in.
    """

    def __init__(self) -> None:
        self._asked: deque[_Asked] = deque()
        self._by_key: dict[_Key, _Asked | deque[_Asked]] = {}
        self._open = 0
        self._share = Share()

    def __len__(self) -> int:
        return self._open

    @property
    def since_s(self) -> float | None:
        """When the oldest one was handed over; None when nothing is owed."""
        self._skip()
        return self._asked[0].at_s if self._asked else None

    def share(self, at_s: float) -> float:
        """Return the share of samples that lately went unanswered, 0 to 1."""
        return self._share.value(at_s)

    def ask(self, sample: Sample, at_s: float) -> Sample | None:
        """Add a sample; return the oldest one when there are too many."""
        key = _key(sample.sensor_id, sample.sec_from_start)
        if key is None:
            return sample
        asked = _Asked(sample, key, at_s)
        self._asked.append(asked)
        self._open += 1
        self._share.asked(at_s)
        same = self._by_key.setdefault(key, asked)
        if same is not asked:
            if isinstance(same, _Asked):
                same = self._by_key[key] = deque((same,))
            same.append(asked)
        return next(self._give_up(-1.0), None) if len(self._asked) > OWED_MAX else None

    def miss(self, at_s: float) -> None:
        """Count a sample that is handed over although nobody waits for its answer."""
        self._share.asked(at_s)
        self._share.unanswered(at_s)

    def answer(self, sensor_id: str, second: float | None) -> float | None:
        """Take a result; return when its sample was handed over, None when it answers none."""
        key = None if second is None else _key(sensor_id, second)
        same = None if key is None else self._by_key.get(key)
        if same is None:
            return None
        asked = same if isinstance(same, _Asked) else same[0]
        self._settle(asked)
        self._skip()
        return asked.at_s

    def refuse(self) -> Sample | None:
        """Take an answer that names no sample: it is the oldest one's, as they come in order."""
        return next(self._give_up(float("inf")), None)

    def overdue(self, before_s: float) -> list[Sample]:
        """Take out the samples that were handed over by then: they are unanswered."""
        return list(self._give_up(before_s))

    def give_up(self) -> list[Sample]:
        """Take out all, as the service is gone, or silent."""
        return self.overdue(float("inf"))

    def begin_anew(self) -> None:
        """Measure the share from now on: the service is another one, or answers in time again."""
        self._share = Share()

    def _give_up(self, before_s: float) -> Iterator[Sample]:
        """Yield what was handed over by then; negative: the oldest, whenever that was."""
        self._skip()
        while self._asked and (before_s < 0 or self._asked[0].at_s <= before_s):
            sample = self._asked[0].sample
            assert sample is not None
            self._share.unanswered(self._asked[0].at_s)
            self._settle(self._asked[0])
            self._skip()
            yield sample

    def _settle(self, asked: _Asked) -> None:
        same = self._by_key[asked.key]
        if isinstance(same, _Asked) or len(same) == 1:
            del self._by_key[asked.key]
        else:
            same.popleft()  # they are answered, and given up, in order
        asked.sample = None
        self._open -= 1

    def _skip(self) -> None:
        """Drop what is settled from the front."""
        asked = self._asked
        while asked and asked[0].sample is None:
            asked.popleft()


class Share:
    """The share of samples without a result, over a window that moves in two halves."""

    def __init__(self) -> None:
        self._began_s = 0.0
        self._now, self._before = [0, 0], [0, 0]

    def _turn(self, at_s: float) -> None:
        if (past_s := at_s - self._began_s) >= SHARE_OVER_S:
            self._before = self._now if past_s < 2 * SHARE_OVER_S else [0, 0]
            self._now, self._began_s = [0, 0], at_s

    def asked(self, at_s: float) -> None:
        """Count a sample that was handed over."""
        if at_s - self._began_s >= SHARE_OVER_S:
            self._turn(at_s)
        self._now[0] += 1

    def unanswered(self, at_s: float) -> None:
        """Count one that got no result; handed over at *at_s*."""
        half = self._now if at_s >= self._began_s else self._before
        half[1] += 1

    def value(self, at_s: float) -> float:
        """Return the share, 0 to 1."""
        self._turn(at_s)
        asked = self._now[0] + self._before[0]
        return min(1.0, (self._now[1] + self._before[1]) / asked) if asked else 0.0
