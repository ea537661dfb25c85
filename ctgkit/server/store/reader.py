"""Read a database beside a running backend: for the command line, without an event loop.

And, for a backend's viewers, with one: the recent past, in pages.
"""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiosqlite

from ctgkit.errors import StoreError
from ctgkit.server.store import schema

PAGE_ROWS = 256
"""Rows of the past that are read at a time: a millisecond, 60 KB when they are shown."""
RATE_MAX_HZ = 10.0
"""Fastest supported sensor (8.33 Hz, rounded up): how far back rows are looked for."""
_NUMBER_MAX = 2**63 - 1

PastRow = tuple[float, float | None, float | None, float | None]
"""(sec_from_start, fhr_bpm, uterus, spasms)."""


class Reader:
    """A read-only view of one database. Made by :func:`open_reader`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def examinations(self) -> list[dict[str, Any]]:
        """Return all examinations, oldest first, with the numbers of their rows."""
        return [dict(row) for row in self._db.execute(schema.SELECT_EXAMINATIONS)]

    def samples(self, examination_id: int) -> Iterator[dict[str, Any]]:
        """Yield an examination's samples in the order in which they were stored."""
        for row in self._db.execute(schema.SELECT_SAMPLES, (examination_id,)):
            yield dict(row)

    def predictions(self, examination_id: int) -> Iterator[str]:
        """Yield an examination's results as they came."""
        for row in self._db.execute(schema.SELECT_PREDICTIONS, (examination_id,)):
            yield row["body"]

    def sensors(self, examination_id: int) -> list[dict[str, Any]]:
        """Return what each sensor contributed to an examination."""
        rows = self._db.execute(schema.SELECT_EXAMINATION_SENSORS, (examination_id,))
        return [dict(row) for row in rows]


async def recent_pages(
    db: aiosqlite.Connection, examination_id: int, sensor_key: int, past_s: float
) -> AsyncIterator[list[PastRow]]:
    """Yield a sensor's stored samples of the last *past_s* seconds of data time, oldest first.

    What is stored meanwhile isn't among them. Between two pages nothing is held.

    Yields
    ------
    list of (sec_from_start, fhr_bpm, uterus, spasms)
        At most :data:`PAGE_ROWS`, maybe none.
    """
    sensor = (examination_id, sensor_key)

    async def newest(offset: int) -> Any:
        rows = list(await db.execute_fetchall(schema.SELECT_NEWEST, (*sensor, offset)))
        return rows[0] if rows else None

    if (last := await newest(0)) is None:
        return
    since_s = last[0] - past_s
    first = await newest(int(past_s * RATE_MAX_HZ)) or (0.0, None, 0)
    passes = []
    if first[1] is None:  # rows without a number come before those with one
        end = last[2] if last[1] is None else _NUMBER_MAX
        passes.append((schema.SELECT_PAGE_WITHOUT_NUMBERS, first[2] - 1, end, 5))
    if last[1] is not None:
        after = -_NUMBER_MAX - 1 if first[1] is None else first[1] - 1
        passes.append((schema.SELECT_PAGE, after, last[1], 4))
    for sql, after, end, place in passes:
        while rows := list(await db.execute_fetchall(sql, (*sensor, after, end, PAGE_ROWS))):
            yield [(r[0], r[1], r[2], r[3]) for r in rows if r[0] >= since_s]
            after = rows[-1][place]


@contextlib.contextmanager
def open_reader(path: Path) -> Iterator[Reader]:
    """Open a database for reading.

    Raises
    ------
    StoreError
        When it is missing, or not a database of ours.
    """
    if not path.is_file():
        raise StoreError(str(path), "no such file")
    try:
        db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise StoreError(str(path), str(error)) from error
    with contextlib.closing(db):
        db.row_factory = sqlite3.Row
        try:
            application = db.execute("PRAGMA application_id").fetchone()[0]
            if application != schema.APPLICATION_ID:
                raise StoreError(str(path), "is not a database of CTGKit's")
            yield Reader(db)
        except sqlite3.Error as error:
            raise StoreError(str(path), str(error)) from error
