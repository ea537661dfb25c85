"""What the live page reads of the database: the past in columns, marks, notes, examinations.

Everything runs in a thread of its own, a page of rows at a time, each in a short transaction, so
neither the writer nor the log that it fills waits for a viewer.
"""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ctgkit.blocks import RESULT_COLUMNS
from ctgkit.dsn import Dsn
from ctgkit.errors import StoreError
from ctgkit.packed import unpacked, with_blocks
from ctgkit.server.store import lookback, queries, schema
from ctgkit.server.store.lookback import Page, Place

CACHE_KIB = 32 << 10
"""Of sensors that send together, rows lie together: the pages of one are those of the others."""
RESULTS_AT_ONCE = 5_000
"""Results that are looked through for events at a time, some 10 ms."""
EVENTS_MAX_CHARS = 65_536
"""Results that are longer are not looked through."""
RESULTS_MAX_BYTES = 4 << 20
"""What is read of them at a time, about."""
EXAMINATIONS_MAX = 100
"""Examinations that are listed at a time."""
UNPACKED_MAX_ROWS = 2_000_000
"""Rows of packed examinations that stay unpacked in a temporary file, some 200 MB, and one sensor's
more: so much is looked back at without waiting again."""
SENSORS_MAX = 200
"""Sensors of one examination that are named."""
NOTES_MAX_CHARS = 64 << 10
"""All notes of one examination together."""

T = TypeVar("T")
_TEXTS, _UNPACKED = (
    lookback.texts(table, "id", "CAST({} AS INTEGER)") for table in ("ctg", "temp.unpacked")
)


class Archive(Protocol):
    """What the live page asks of a database.

    Each raises StoreError when the database cannot be read, or holds what we can't have written.
    """

    @property
    def place(self) -> Path | Dsn:
        """Which database."""

    async def page(
        self,
        examination_id: int,
        sensor_id: str,
        bin_s: float,
        place: Place | None,
        rows_max: int = lookback.PAGE_ROWS,
    ) -> Page | None:
        """Return a page of a sensor's rows, the newest one without a place; None: there is none."""

    async def sensors_of(self, examination_id: int) -> list[str]:
        """Return which sensors have rows in an examination, :data:`SENSORS_MAX` of them at most."""

    async def bodies_with_events(
        self, examination_id: int, before: int | None
    ) -> tuple[list[str], int | None]:
        """Return results that have events, the newest first, and where to go on (None: the end)."""

    async def examinations(self, search: str, before: int | None) -> list[dict[str, Any]]:
        """Return some examinations, the newest first.

        Parameters
        ----------
        search : str
            Part of the bed, of a sensor's id, of the notes, or the beginning of the start's time;
            any case. An examination's number finds that one.
        before : int or None
            Only those with a smaller number.
        """

    async def notes(self, examination_id: int) -> list[dict[str, Any]]:
        """Return an examination's notes that are ours; others' text in that column isn't."""

    async def add_note(self, examination_id: int, note: dict[str, Any]) -> bool:
        """Add a note, a line of JSON; return whether there was an examination with room for it."""


class SqliteArchive:
    """One database, read beside its writer."""

    def __init__(self, path: Path) -> None:
        self.place = path
        self._db = sqlite3.connect(path, timeout=1.0, check_same_thread=False)
        self._db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._db.create_function("folded", 1, lambda text: str(text).casefold())
        self._unpacked: dict[tuple[int, int], int] = {}
        """Examination and sensor -> number of its rows."""
        self._executor = ThreadPoolExecutor(1, "archive")

    async def close(self) -> None:
        """Let what was begun end, then close."""
        await self._run(sqlite3.Connection.close)
        self._executor.shutdown()

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some work in the thread.

        Raises
        ------
        StoreError
            When the database cannot be read, or holds what we can't have written.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work, self._db)
        except (sqlite3.Error, OverflowError, TypeError, ValueError) as error:
            raise StoreError(str(self.place), str(error)) from error

    async def page(
        self,
        examination_id: int,
        sensor_id: str,
        bin_s: float,
        place: Place | None,
        rows_max: int = lookback.PAGE_ROWS,
    ) -> Page | None:
        """Return a page of a sensor's rows, the newest one without a place; None: there is none."""

        def read(db: sqlite3.Connection) -> Page | None:
            key = db.execute(schema.SELECT_SENSOR_KEY, (sensor_id,)).fetchone()
            if key is None:
                return None

            def ask(sql: str, values: tuple[Any, ...]) -> list[Any]:
                return db.execute(sql, values).fetchall()

            texts = _UNPACKED if self._unpack(db, examination_id, key[0]) else _TEXTS
            of = (texts, examination_id, key[0])
            end = place or lookback.taken(lookback.newest_place(*of), ask)
            return end and lookback.taken(lookback.read_page(*of, end, bin_s, rows_max), ask)

        return await self._run(read)

    def _unpack(self, db: sqlite3.Connection, examination_id: int, key: int) -> bool:
        """Unpack a sensor's rows, to look for pages in them; return whether some are in blocks."""
        one = (examination_id, key)
        if db.execute(queries.SELECT_HAS_BLOCKS, one).fetchone() is None:
            return False
        if one not in self._unpacked:
            if sum(self._unpacked.values()) > UNPACKED_MAX_ROWS:
                self._unpacked.clear()
                db.execute(queries.DROP_UNPACKED)
            for sql in queries.CREATE_UNPACKED:
                db.execute(sql)
            with db:
                plain = db.execute(queries.SELECT_TO_UNPACK, one)
                rows = with_blocks(plain, *one)
                self._unpacked[one] = db.executemany(queries.INSERT_UNPACKED, rows).rowcount
        return True

    async def sensors_of(self, examination_id: int) -> list[str]:
        """Return which sensors have rows in an examination, :data:`SENSORS_MAX` of them at most."""

        def read(db: sqlite3.Connection) -> list[str]:
            found: list[str] = []
            keys = {key for (key,) in db.execute(schema.SELECT_PACKED_SENSORS, (examination_id,))}
            key = -1
            while len(keys) < SENSORS_MAX and (
                row := db.execute(schema.SELECT_NEXT_SENSOR, (examination_id, key)).fetchone()
            ):
                key = row[1]
                keys.add(key)
            for key in sorted(keys)[:SENSORS_MAX]:
                named = db.execute(queries.SELECT_SENSOR_NAME, (key,)).fetchone()
                if named and isinstance(named[0], str):
                    found.append(named[0])
            return found

        return await self._run(read)

    async def bodies_with_events(
        self, examination_id: int, before: int | None
    ) -> tuple[list[str], int | None]:
        """Return results that have events, the newest first, and where to go on (None: the end)."""

        def read(db: sqlite3.Connection) -> tuple[list[str], int | None]:
            end = 2**63 - 1 if before is None else before
            last = db.execute(
                queries.SELECT_RESULT_BEFORE, (examination_id, end, RESULTS_AT_ONCE - 1)
            ).fetchone()
            low = -(2**63) if last is None else last[0]
            bodies: list[str] = []
            size = 0
            for number, body in db.execute(queries.SELECT_WITH_EVENTS, (examination_id, low, end)):
                if size > RESULTS_MAX_BYTES:
                    return bodies, number
                if isinstance(body, str):
                    bodies.append(body)
                    size += len(body)
            if last is not None:
                return bodies, low - 1
            # What is in blocks is older. One at a time: none is large.
            block = db.execute(queries.SELECT_BLOCK_OF_RESULTS, (examination_id, end)).fetchone()
            if block is None:
                return bodies, None
            rows = list(unpacked(db, block[0], RESULT_COLUMNS, ("id", "body")))
            for number, body in reversed(rows):
                if number <= end and len(body) <= EVENTS_MAX_CHARS and '"events"' in body:
                    bodies.append(body)
            return bodies, block[1] - 1

        return await self._run(read)

    async def examinations(self, search: str, before: int | None) -> list[dict[str, Any]]:
        """Return some examinations, the newest first."""

        def read(db: sqlite3.Connection) -> list[dict[str, Any]]:
            end = 2**63 - 1 if before is None else before - 1
            wanted = {"before": end, "search": search.casefold(), "limit": EXAMINATIONS_MAX}
            cursor = db.execute(queries.SEARCH_EXAMINATIONS, wanted)
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
            return [row for row in rows if not any(isinstance(v, bytes) for v in row.values())]

        return await self._run(read)

    async def notes(self, examination_id: int) -> list[dict[str, Any]]:
        """Return an examination's notes that are ours; others' text in that column isn't."""

        def read(db: sqlite3.Connection) -> list[dict[str, Any]]:
            found = db.execute(queries.SELECT_NOTES, (examination_id,)).fetchone()
            return notes_of(found[0] if found else None)

        return await self._run(read)

    async def add_note(self, examination_id: int, note: dict[str, Any]) -> bool:
        """Add a note, a line of JSON; return whether there was an examination with room for it."""
        line = json.dumps(note, ensure_ascii=False) + "\n"

        def write(db: sqlite3.Connection) -> bool:
            wanted = {"id": examination_id, "line": line, "room": NOTES_MAX_CHARS - len(line)}
            with db:
                return db.execute(queries.ADD_NOTE, wanted).rowcount == 1

        return await self._run(write)


def notes_of(text: object) -> list[dict[str, Any]]:
    """Return the notes that stand in an examination's column, each on a line."""
    lines = text.splitlines() if isinstance(text, str) else ()
    return [note for line in lines if (note := _note_of(line))]


def _note_of(line: str) -> dict[str, Any] | None:
    """Return a note as it is shown; None for a line that is none."""
    try:
        said = json.loads(line)
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    sensor, sec, text = said.get("sensor"), said.get("sec"), said.get("text")
    if not (isinstance(sensor, str) and isinstance(text, str) and isinstance(sec, int | float)):
        return None
    return {"sensor": sensor, "sec": float(sec), "text": text, "at": str(said.get("at", ""))}
