"""Look back: a sensor's rows in pages, newest first, as the least and largest value of each bin.

A page is at most :data:`PAGE_ROWS` rows that follow one another in the index and in data time; each
begins where the one after it ended, so nothing is held or skipped between two pages, and whatever
is stored meanwhile comes after the first. The database does the counting; it is asked by whoever
drives the steps that are returned here: this module performs no I/O.
"""

import itertools
import re
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ctgkit.samples import (
    FHR_MAX_BPM,
    FHR_MIN_BPM,
    SEC_FROM_START_MAX_S,
    TOCO_MAX,
    TOCO_MIN,
)

if TYPE_CHECKING:
    import numpy as np  # a third of the backend's start: only those who look back pay for it
    from numpy.typing import NDArray

PAGE_ROWS = 3600
"""Rows of a page: a quarter of an hour at 4 Hz, some 5 ms of work."""
FALL_S = 2.0
"""Data time that falls back further than this begins a new trace, seconds (``ctgkit.display``)."""
_FIRST, _LAST = -(2**63), 2**63 - 1


class Place(NamedTuple):
    """The newest row of a page: a number of a stream, or a row without one."""

    stream: int
    numbered: bool
    at: int

    def __str__(self) -> str:
        return f"{self.stream}{'s' if self.numbered else 'i'}{self.at}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Return the place that ``str`` wrote; ValueError for anything else.

        >>> Place.parse("3s250")
        Place(stream=3, numbered=True, at=250)
        """
        found = re.fullmatch(r"(\d{1,18})([si])(\d{1,18})", text, re.ASCII)
        if found is None:
            raise ValueError(f"{text[:40]!r} is not a position")
        return cls(int(found[1]), found[2] == "s", int(found[3]))


class Page(NamedTuple):
    """Some of a sensor's rows."""

    place: Place
    """Its newest row."""
    earlier: Place | None
    """Where the page before it ends; None at the beginning."""
    bins: "NDArray[np.int64]"
    """Numbers of the bins in which there are samples, increasing; bin n begins at n * bin_s."""
    values: "NDArray[np.float64]"
    """Per bin: least and largest heart rate (beats/min), least and largest toco; NaN: no value."""


class Texts(NamedTuple):
    """The questions, in one database's SQL: rows with numbers (True), and rows without (False)."""

    last_stream: str
    before: Mapping[bool, str]
    bins: Mapping[bool, str]
    times: Mapping[bool, str]


def texts(table: str, plain_at: str, whole: str) -> Texts:
    """Return the questions.

    Parameters
    ----------
    table : str
        Has the rows.
    plain_at : str
        What orders those without a number.
    whole : str
        ``{}`` without its fraction.
    """
    of = f"FROM {table} WHERE examination_id = ? AND sensor_id = ? AND stream_id = ?"
    runs = {True: (of, "seq"), False: (f"{of} AND seq IS NULL", plain_at)}
    bin_of = whole.format("sec_from_start / ?")
    return Texts(
        last_stream=f"SELECT max(stream_id) FROM {table} WHERE examination_id = ?"
        " AND sensor_id = ? AND stream_id < ?",
        before={
            kind: f"SELECT {at} {of} AND {at} <= ? ORDER BY {at} DESC LIMIT 1 OFFSET ?"
            for kind, (of, at) in runs.items()
        },
        bins={
            kind: f"SELECT {bin_of}, min({_RATE}), max({_RATE}), min({_TONE}), max({_TONE}),"
            f" min({at}), max({at}) {of} AND {at} BETWEEN ? AND ? {_BETWEEN} GROUP BY 1 ORDER BY 1"
            for kind, (of, at) in runs.items()
        },
        times={
            kind: f"SELECT {at}, sec_from_start {of} AND {at} BETWEEN ? AND ? {_BETWEEN}"
            f" ORDER BY {at}"
            for kind, (of, at) in runs.items()
        },
    )


_RATE = f"CASE WHEN bpm BETWEEN {FHR_MIN_BPM} AND {FHR_MAX_BPM} THEN bpm END"
_TONE = (
    f"CASE WHEN uterus BETWEEN {TOCO_MIN} AND {TOCO_MAX} THEN uterus"
    f" WHEN spasms BETWEEN {TOCO_MIN} AND {TOCO_MAX} THEN spasms END"
)
"""Text sorts above every number: what isn't one is no value."""
_BETWEEN = f"AND sec_from_start BETWEEN 0 AND {SEC_FROM_START_MAX_S}"
T = TypeVar("T")
Steps = Generator[tuple[str, tuple[Any, ...]], list[Any], T]
"""Asks: SQL and its values; is told the rows; returns what it was all about."""


def taken(steps: Steps[T], ask: Callable[[str, tuple[Any, ...]], list[Any]]) -> T:
    """Return what comes of steps whose questions *ask* answers at once."""
    try:
        question = next(steps)
        while True:
            question = steps.send(ask(*question))
    except StopIteration as end:
        result: T = end.value
        return result


def newest_place(sql: Texts, examination_id: int, sensor: int) -> Steps[Place | None]:
    """Return where a sensor's rows end; None when there are none."""
    return (yield from _end_of_stream_below(sql, examination_id, sensor, _LAST))


def read_page(
    sql: Texts,
    examination_id: int,
    sensor: int,
    place: Place,
    bin_s: float,
    rows_max: int = PAGE_ROWS,
) -> Steps[Page]:
    """Return the page that ends at a place.

    Parameters
    ----------
    sql : Texts
        The questions.
    examination_id, sensor : int
        Whose rows, by their keys.
    place : Place
        Where it ends.
    bin_s : float
        Width of a bin, seconds of data time, > 0.
    rows_max : int
        Rows that it may have.
    """
    import numpy as np

    of = (examination_id, sensor, place.stream)
    first = yield from _before(sql, of, place, rows_max - 1)
    low = _FIRST if first is None else first
    rows = yield sql.bins[place.numbered], (bin_s, *of, low, place.at)
    if _falls(rows, bin_s):
        times = yield sql.times[place.numbered], (*of, low, place.at)
        low = max(
            (later[0] for before, later in itertools.pairwise(times)
             if later[1] < before[1] - FALL_S),
            default=low,
        )  # fmt: skip
        rows = yield sql.bins[place.numbered], (bin_s, *of, low, place.at)
    table = np.array([tuple(row)[:5] for row in rows], dtype=float).reshape(len(rows), 5)
    earlier = None if low == _FIRST else place._replace(at=low - 1)
    if earlier is None or (yield from _before(sql, of, earlier, 0)) is None:
        earlier = yield from _earlier_run(sql, of, place)
    return Page(place, earlier, table[:, 0].astype(np.int64), table[:, 1:])


def _falls(rows: list[Any], bin_s: float) -> bool:
    """Return whether data time falls back somewhere among a page's bins."""
    if len(rows) < 2:
        return False
    import numpy as np

    bins, first, last = (np.array([row[n] for row in rows]) for n in (0, 5, 6))
    lowest_from = np.minimum.accumulate(first[::-1])[::-1]
    beyond = np.searchsorted(bins, bins + FALL_S / bin_s + 1, side="right")
    inside = beyond < len(bins)
    return bool(np.any(lowest_from[beyond[inside]] < last[inside]))


def _before(sql: Texts, of: tuple[int, int, int], place: Place, rows: int) -> Steps[int | None]:
    """Return what lies *rows* rows before a place; None when there aren't so many."""
    found = yield sql.before[place.numbered], (*of, place.at, rows)
    return found[0][0] if found else None


def _earlier_run(sql: Texts, of: tuple[int, int, int], place: Place) -> Steps[Place | None]:
    """Return the end of the rows before a run: of a stream, those without a number come first."""
    if place.numbered and (found := (yield from _end_of(sql, of, numbered=False))):
        return found
    return (yield from _end_of_stream_below(sql, *of))


def _end_of_stream_below(
    sql: Texts, examination_id: int, sensor: int, stream: int
) -> Steps[Place | None]:
    ((below,),) = yield sql.last_stream, (examination_id, sensor, stream)
    if not isinstance(below, int):
        return None
    of = (examination_id, sensor, below)
    numbered = yield from _end_of(sql, of, numbered=True)
    return numbered or (yield from _end_of(sql, of, numbered=False))


def _end_of(sql: Texts, of: tuple[int, int, int], *, numbered: bool) -> Steps[Place | None]:
    last = yield from _before(sql, of, Place(of[2], numbered, _LAST), 0)
    return None if last is None else Place(of[2], numbered, last)
