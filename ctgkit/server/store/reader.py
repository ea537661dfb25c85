"""Read a database beside a running backend: for the command line, without an event loop."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ctgkit.errors import StoreError
from ctgkit.server.store import schema


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
