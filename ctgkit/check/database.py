"""Reads what a backend stored: the tables ``ctg`` and ``examinations``, read-only.

These names and columns are the original system's (PROTOCOL, section D); any backend that keeps
them can be read. A database with a rollback journal is read without locks, from a copy of the
file between two commits: a reader's lock makes a backend without busy timeout fail, and it is
not the checker's business to provoke that beside what it judges.
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ctgkit.check.messages import Reading
from ctgkit.dsn import Dsn
from ctgkit.errors import StoreError

BUSY_TIMEOUT_S = 10.0
"""How long to wait for another's lock, seconds."""
COPY_MAX_BYTES = 32 << 20
"""Larger databases are read under a lock, as copies of them would take too long."""
COPY_TRIES, COPY_PAUSE_S = 40, 0.005
COLUMNS = {
    "ctg": ("id", "examination_id", "sec_from_start", "uuid", "bpm", "uterus", "spasms"),
    "examinations": ("id", "start_time", "end_time"),
}
_WAL = 2
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")


class Database:
    """A backend's SQLite file.

    Raises
    ------
    StoreError
        When it is no such file, or lacks tables or columns.
    """

    path: Path

    def __init__(self, where: Path | Dsn) -> None:
        if isinstance(where, Path):
            self.path = where
        if missing := list(self._missing()):
            raise StoreError(str(where), "PROTOCOL section D asks for " + ", ".join(missing))
        self._before = self.last_row()

    def _missing(self) -> Iterator[str]:
        for table, columns in COLUMNS.items():
            found = {row[1] for row in self.query(f"PRAGMA table_info({table})")}
            if not found:
                yield f"the table or view {table}"
            elif absent := [c for c in columns if c not in found]:
                yield f"{table}.{', '.join(absent)}"

    def query(self, sql: str, *values: object) -> list[Any]:
        """Return the rows of a query.

        Raises
        ------
        StoreError
            When it can't be read, after waiting for others' locks.
        """
        deadline_s = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                with self._connected() as connection:
                    return connection.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                busy = getattr(error, "sqlite_errorcode", 0) & 0xFF in (
                    sqlite3.SQLITE_BUSY,
                    sqlite3.SQLITE_LOCKED,
                    sqlite3.SQLITE_CANTOPEN,
                )
                if not busy or not self.path.exists() or time.monotonic() > deadline_s:
                    raise StoreError(str(self.path), str(error)) from error
                time.sleep(COPY_PAUSE_S)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        if copy := self._copy():
            with closing(sqlite3.connect(":memory:")) as connection:
                connection.deserialize(copy)
                yield connection
            return
        uri = f"file:{quote(str(self.path.absolute()))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=1.0)) as connection:
            yield connection

    def _copy(self) -> bytes:
        """Return the file between two commits, read without a lock; empty when that can't be."""
        for _ in range(COPY_TRIES):
            try:
                if self.path.stat().st_size > COPY_MAX_BYTES:
                    return b""
                before = self._commits()
                text = self.path.read_bytes()
            except OSError:
                return b""
            if len(text) < 100 or text[18] == _WAL:  # readers of a log hold nobody up
                return b""
            if before is not None and before == self._commits():
                return text
            time.sleep(COPY_PAUSE_S)
        return b""

    def _commits(self) -> tuple[int, bytes] | None:
        """Return what every commit changes; None while one is being made."""
        journal = self.path.with_name(self.path.name + "-journal")
        try:
            if journal.read_bytes()[:8] == _JOURNAL_MAGIC:
                return None
        except FileNotFoundError:
            pass
        with self.path.open("rb") as file:
            return self.path.stat().st_mtime_ns, file.read(100)[24:28]

    @property
    def locks(self) -> bool:
        """Whether who writes locks the whole file, and for a moment longer than is visible."""
        try:
            with self.path.open("rb") as file:
                return file.read(100)[18:19] != bytes((_WAL,))
        except OSError:
            return False

    def last_row(self) -> int:
        """Return the largest row id of ``ctg``."""
        return int(self.query("SELECT coalesce(max(id), 0) FROM ctg")[0][0])

    def readings(self, after: int) -> list[Reading]:
        """Return the samples stored after row *after*."""
        rows = self.query(
            "SELECT uuid, sec_from_start, bpm, uterus, spasms FROM ctg WHERE id > ? ORDER BY id",
            after,
        )
        return [Reading(str(uuid).lower(), *values) for uuid, *values in rows]

    def count(self, after: int, sensor_id: str) -> int:
        """Return how many samples of a sensor were stored after row *after*."""
        sql = "SELECT count(*) FROM ctg WHERE id > ? AND lower(uuid) = ?"
        return int(self.query(sql, after, sensor_id)[0][0])

    def examination_of(self, sec: float, sensor_ids: Sequence[str]) -> int | None:
        """Return the examination of the newest sample at a moment, None when none is stored.

        What was there before this object doesn't count: an earlier run sent the same moments.
        """
        places = ",".join("?" * len(sensor_ids))
        rows = self.query(
            f"SELECT examination_id FROM ctg WHERE lower(uuid) IN ({places})"
            " AND sec_from_start = ? AND id > ? ORDER BY id DESC LIMIT 1",
            *sensor_ids,
            sec,
            self._before,
        )
        return rows[0][0] if rows else None

    def examinations_of(self, sec: float, sensor_id: str) -> list[int]:
        """Return the examinations of all samples of a sensor at a moment, oldest first."""
        rows = self.query(
            "SELECT examination_id FROM ctg WHERE lower(uuid) = ? AND sec_from_start = ?"
            " AND id > ? ORDER BY id",
            sensor_id,
            sec,
            self._before,
        )
        return [row[0] for row in rows]

    def row_at(self, sec: float) -> dict[str, Any]:
        """Return the newest row of ``ctg`` at a moment, by column."""
        columns = COLUMNS["ctg"]
        rows = self.query(
            f"SELECT {', '.join(columns)} FROM ctg WHERE sec_from_start = ? ORDER BY id DESC", sec
        )
        return dict(zip(columns, rows[0], strict=True)) if rows else dict.fromkeys(columns)

    def examination(self, examination_id: int | None) -> tuple[str | None, str | None] | None:
        """Return an examination's start and end; None when no such examination."""
        rows = self.query(
            "SELECT start_time, end_time FROM examinations WHERE id = ?", examination_id
        )
        return rows[0] if rows else None

    def open_examinations(self) -> list[int]:
        """Return the ids of examinations that have begun and not ended."""
        rows = self.query("SELECT id FROM examinations WHERE end_time IS NULL ORDER BY id")
        return [row[0] for row in rows]
