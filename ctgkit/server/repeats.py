"""Which results are rows of their own, and which only repeat the one stored before (M-4.3). Pure.

An ML service answers each sample and predicts every 30 s: nearly all of its results repeat the one
before, with another sample in them. Of those the first and the last are rows, byte for byte as they
came; the last has the data times of those between, which :func:`ctgkit.wire.repeat_result` makes
again from the samples. So a row needs no other one to be understood, whichever node wrote it.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from ctgkit.wire import without_sample

RUN_MAX = 240
"""Repetitions before one of them is a row again. Chosen: a minute at 4 Hz, 2 KB of data times."""
RUN_MAX_S = 30.0
"""How long repetitions may be in memory only, seconds: what a crash loses, and an export of a
running examination lacks."""
HELD_MAX_CHARS = 4_096
"""Longest result that may wait to be the row at the end of a run; longer ones always are rows."""


class ResultRow(NamedTuple):
    """A result that is stored as it came."""

    examination_id: int
    sensor_id: str
    sec_from_start: float | None
    status: str | None
    body: str
    repeated: bytes | None = None
    """Data times of the results before it that say the same and are no rows: little-endian 64-bit
    numbers."""


def times_of(repeated: bytes) -> tuple[float, ...]:
    """Return the data times of :attr:`ResultRow.repeated`.

    >>> times_of(_packed([0.25, 0.5]))
    (0.25, 0.5)
    """
    return struct.unpack(f"<{len(repeated) // 8}d", repeated)


def _packed(seconds: list[float]) -> bytes | None:
    return struct.pack(f"<{len(seconds)}d", *seconds) if seconds else None


class _Run:
    """A sensor's last row, and the repetitions of it that are not stored yet."""

    __slots__ = ("began_s", "examination_id", "held", "said", "seconds")

    def __init__(self, examination_id: int, said: bytes) -> None:
        self.examination_id, self.said = examination_id, said
        self.seconds: list[float] = []
        self.held: ResultRow | None = None
        """The latest one; it becomes a row when the run ends without another."""
        self.began_s = 0.0


class Repeats:
    """Decides for all sensors of a backend.

    Parameters
    ----------
    keep_all : bool
        Make every result a row.
    """

    def __init__(self, *, keep_all: bool) -> None:
        self._keep_all = keep_all
        self._runs: dict[str, _Run] = {}
        self._begun: dict[str, _Run] = {}
        """Those with repetitions that are not stored, the oldest first."""

    def take(self, row: ResultRow, text: bytes, at_s: float, *, answers: bool) -> list[ResultRow]:
        """Take a result; return the rows that have to be stored now.

        Parameters
        ----------
        row : ResultRow
            The result.
        text : bytes
            The same as it came.
        at_s : float
            Now, monotonic, seconds.
        answers : bool
            Whether it answers a sample that was sent: only then can it be made again from one.
        """
        if self._keep_all:
            return [row]
        if not answers or row.sec_from_start is None or len(row.body) > HELD_MAX_CHARS:
            said = b""
        else:
            said = without_sample(text)
        run = self._runs.get(row.sensor_id)
        if run is None or run.examination_id != row.examination_id:
            self._runs[row.sensor_id] = _Run(row.examination_id, said)
            return [*self._ended(row.sensor_id, run), row]
        if said and said == run.said:
            return self._repeated(run, row, at_s)
        ended = self._ended(row.sensor_id, run)
        run.said = said
        return [*ended, row]

    def _repeated(self, run: _Run, row: ResultRow, at_s: float) -> list[ResultRow]:
        if run.held is None:
            run.began_s = at_s
            self._begun[row.sensor_id] = run
        elif run.held.sec_from_start is not None:
            run.seconds.append(run.held.sec_from_start)
        run.held = row
        return self._ended(row.sensor_id, run) if len(run.seconds) >= RUN_MAX - 1 else []

    def _ended(self, sensor_id: str, run: _Run | None) -> list[ResultRow]:
        """Make a row of the last repetition, which has the times of the others."""
        self._begun.pop(sensor_id, None)
        if run is None or run.held is None:
            return []
        row = run.held._replace(repeated=_packed(run.seconds))
        run.held, run.seconds = None, []
        return [row]

    def due(self, at_s: float) -> Iterator[ResultRow]:
        """Yield the rows of runs that began :data:`RUN_MAX_S` ago."""
        while self._begun:
            sensor_id, run = next(iter(self._begun.items()))
            if run.began_s > at_s - RUN_MAX_S:
                return
            yield from self._ended(sensor_id, run)

    def end(self, examination_id: int | None = None) -> Iterator[ResultRow]:
        """Yield the rows of an examination that ends, or of all."""
        for sensor_id, run in list(self._begun.items()):
            if examination_id in (None, run.examination_id):
                yield from self._ended(sensor_id, run)
