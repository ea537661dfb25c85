"""The original system's database as `ctgkit exam` shows one: read only, never touched."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ctgkit.errors import StoreError, excerpt
from ctgkit.recording.files.database import MAGIC, connect, iso_of

_EXAMINATIONS = """
SELECT e.id, e.start_time, e.end_time,
  (SELECT count(*) FROM ctg c WHERE c.examination_id = e.id) AS samples,
  (SELECT count(*) FROM ctg c WHERE c.examination_id = e.id AND c.bpm > 0) AS with_signal,
  (SELECT count(DISTINCT c.uuid) FROM ctg c WHERE c.examination_id = e.id) AS sensors
FROM examinations e
"""
_SENSORS = """
SELECT uuid, count(*) AS samples, sum(bpm > 0) AS with_signal,
  min(sec_from_start) AS first_sec, max(sec_from_start) AS last_sec
FROM ctg WHERE examination_id = ? GROUP BY uuid ORDER BY uuid
"""
_SAMPLES = """
SELECT uuid, sec_from_start, bpm, uterus, spasms, {created_at} AS created_at
FROM ctg WHERE examination_id = ? ORDER BY id
"""


def is_original(path: Path) -> bool:
    """Tell whether a file is a database with the original's tables, and not one of ours."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return False
        with closing(connect(path)) as db:
            names = {name for _, name, *_ in db.execute("PRAGMA table_info(ctg)")}
            ours = db.execute("PRAGMA application_id").fetchone()[0]
    except (OSError, sqlite3.Error):
        return False
    return not ours and {"examination_id", "sec_from_start", "uuid", "bpm"} <= names


class OriginalReader:
    """A read-only view of one database; see :class:`ctgkit.server.store.reader.Reader`."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db, self._path = db, path
        names = {name for _, name, *_ in db.execute("PRAGMA table_info(ctg)")}
        self._created = "created_at" if "created_at" in names else "NULL"

    def examinations(self) -> list[dict[str, Any]]:
        """Return all examinations, oldest first, with the numbers of their rows."""
        rows = self._db.execute(_EXAMINATIONS + " ORDER BY e.id")
        return [self._described(dict(row)) for row in rows]

    def examination(self, examination_id: int) -> dict[str, Any] | None:
        """Return one examination with ``by_sensor``; None: no such."""
        found = self._db.execute(_EXAMINATIONS + " WHERE e.id = ?", (examination_id,)).fetchone()
        if found is None:
            return None
        return self._described(dict(found)) | {"by_sensor": self.sensors(examination_id)}

    def sensors(self, examination_id: int) -> list[dict[str, Any]]:
        """Return what each sensor contributed to an examination."""
        return [dict(row) for row in self._db.execute(_SENSORS, (examination_id,))]

    def samples(self, examination_id: int) -> Iterator[dict[str, Any]]:
        """Yield an examination's samples in the order in which they were stored."""
        sql = _SAMPLES.format(created_at=self._created)
        for row in self._db.execute(sql, (examination_id,)):
            sample = dict(row) | {"seq": None}
            numbers = (sample[name] for name in ("sec_from_start", "bpm", "uterus", "spasms"))
            if not all(isinstance(value, int | float | None) for value in numbers):
                reason = f"a sample of examination {examination_id} is not a number"
                raise StoreError(str(self._path), reason)
            sample["bpm"] = sample["bpm"] or None  # 0 is no signal
            yield sample

    def predictions(self, _examination_id: int) -> Iterator[str]:
        """Yield nothing: the original stores no results."""
        yield from ()

    def _described(self, row: dict[str, Any]) -> dict[str, Any]:
        for name in ("start_time", "end_time"):
            said = row[name]
            row[name] = iso_of(said) or (excerpt(str(said)) if said else None)
        state = "closed" if row["end_time"] else "open"
        return row | {"bed": None, "state": state, "predictions": 0}


@contextmanager
def open_original(path: Path) -> Iterator[OriginalReader]:
    """Open a database of the original system for reading.

    Raises
    ------
    StoreError
        When it cannot be read.
    """
    try:
        with closing(connect(path)) as db:
            db.row_factory = sqlite3.Row
            yield OriginalReader(db, path)
    except (sqlite3.Error, OverflowError) as error:
        raise StoreError(str(path), excerpt(str(error))) from error
