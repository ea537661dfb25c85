"""Reads what a backend stored: the tables ``ctg`` and ``examinations``, read-only.

These names and columns are the original system's; any backend that keeps them can be read.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ctgkit.check.messages import Reading
from ctgkit.errors import StoreError

BUSY_TIMEOUT_S = 5.0


class Database:
    """A backend's SQLite file.

    Raises
    ------
    StoreError
        When it is no such file, or lacks the tables.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.query(
            "SELECT examination_id, sec_from_start, uuid, bpm, uterus, spasms FROM ctg LIMIT 0"
        )
        self.query("SELECT id, start_time, end_time FROM examinations LIMIT 0")
        self._before = self.last_row()

    def query(self, sql: str, *values: object) -> list[Any]:
        """Return the rows of a query."""
        uri = f"file:{quote(str(self.path.absolute()))}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S)) as connection:
                return connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(str(self.path), str(error)) from error

    def last_row(self) -> int:
        """Return the largest row id of ``ctg``."""
        return int(self.query("SELECT coalesce(max(id), 0) FROM ctg")[0][0])

    def readings(self, after: int) -> list[Reading]:
        """Return the samples stored after row *after*."""
        rows = self.query(
            "SELECT uuid, sec_from_start, bpm, uterus, spasms FROM ctg WHERE id > ? ORDER BY id",
            after,
        )
        return [Reading(uuid.lower(), *values) for uuid, *values in rows]

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

    def examination(self, examination_id: int | None) -> tuple[str | None, str | None] | None:
        """Return an examination's start and end; None when there is no such examination."""
        rows = self.query(
            "SELECT start_time, end_time FROM examinations WHERE id = ?", examination_id
        )
        return rows[0] if rows else None
