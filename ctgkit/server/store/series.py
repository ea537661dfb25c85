"""A sensor's results in full: those that are stored, and those that repeat them. Pure."""

import struct
from collections import deque
from collections.abc import Callable, Iterator

from ctgkit.samples import Sample
from ctgkit.server.repeats import times_of
from ctgkit.wire import repeat_result

WINDOW = 4_096
"""Samples that are looked through without reading on: results come in the order of the samples,
nearly. Chosen: a quarter of an hour at 4 Hz."""

Stored = tuple[Sample, str]
"""A sample, and when it was stored."""


class Series:
    """The results of one sensor in one examination, row after row.

    Parameters
    ----------
    samples : callable
        Returns the sensor's samples in the order in which they were stored, each time anew.
    """

    def __init__(self, samples: Callable[[], Iterator[Stored]]) -> None:
        self._samples = samples
        self._unread: Iterator[Stored] | None = None
        self._window: deque[bytes] = deque()
        self._seen: dict[bytes, deque[Stored]] = {}
        self._bounded = True

    def take(self, body: str, repeated: bytes | None) -> Iterator[str]:
        """Yield those that a stored one stands for, and that one."""
        for second in times_of(repeated or b""):
            found = self._find(second)
            if found is not None:  # else the sample itself isn't stored any more
                sample, at = found
                sample = Sample(
                    sample.sensor_id, second, sample.fhr_bpm, sample.uterus, sample.spasms
                )
                yield repeat_result(body, sample, at).decode()
        yield body

    def _find(self, second: float) -> Stored | None:
        """Return the next sample with a data time, which a service may have said with 32 bits."""
        if self._unread is None:
            self._unread = self._samples()
        key = _key(second)
        while key not in self._seen:
            one = next(self._unread, None)
            if one is not None:
                self._add(one)
            elif self._bounded:  # it is far back: from now on all are kept
                self._bounded, self._unread = False, self._samples()
                self._seen.clear()
            else:
                return None
        same = self._seen[key]
        return same.popleft() if len(same) > 1 else same[0]  # a service may answer twice

    def _add(self, one: Stored) -> None:
        key = _key(one[0].sec_from_start)
        self._seen.setdefault(key, deque()).append(one)
        if not self._bounded:
            return
        self._window.append(key)
        if len(self._window) > WINDOW:
            oldest = self._window.popleft()
            same = self._seen.get(oldest)
            if same is not None and len(same) <= 1:
                del self._seen[oldest]


def _key(second: float) -> bytes:
    try:
        return struct.pack("f", second)
    except OverflowError:
        return b""
