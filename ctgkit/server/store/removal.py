"""Remove examinations that are over, a piece at a time: others write meanwhile."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ctgkit.dsn import Dsn
from ctgkit.errors import StoreError
from ctgkit.server.store import queries, schema

ROWS_AT_ONCE = 2_000
"""Rows that one transaction removes from SQLite, some 10 ms: so long a backend has to wait."""
BUSY_TIMEOUT_S = 10.0
"""How long to wait for the lock that a backend holds while it writes, seconds."""


class Remover(Protocol):
    """A database that examinations are removed from. Made by :func:`open_remover`."""

    def remove(self, examination_id: int) -> bool:
        """Remove one that is over; return whether it was there."""


def remove_some(db: sqlite3.Connection, examination_id: int) -> bool:
    """Remove some rows of an examination that is over; return whether nothing of it is left."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        left = ROWS_AT_ONCE
        for sql in (queries.REMOVE_SAMPLES, queries.REMOVE_PREDICTIONS, queries.REMOVE_PACKED):
            if left:
                left -= db.execute(sql, (examination_id, left)).rowcount
        if left:
            for sql in queries.REMOVE_EXAMINATION:
                db.execute(sql, (examination_id,))
        return left > 0


def remove_old(db: sqlite3.Connection, keep_days: float) -> bool:
    """Remove some rows of the first examination that is too old; return whether there was one."""
    found = db.execute(queries.SELECT_OLD, (keep_days,)).fetchone()
    if found is None:
        return False
    remove_some(db, found[0])
    return True


class _Sqlite:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def remove(self, examination_id: int) -> bool:
        if self._db.execute(queries.SELECT_OVER, (examination_id,)).fetchone() is None:
            return False
        while not remove_some(self._db, examination_id):
            pass
        return True


@contextlib.contextmanager
def open_remover(where: Path | Dsn) -> Iterator[Remover]:
    """Open a database to remove from it; a backend may use it meanwhile.

    Raises
    ------
    StoreError
        When it isn't one of ours of this version, or cannot be written.
    """
    if isinstance(where, Dsn):
        from ctgkit.server.store.postgres.side import open_remover as open_postgres

        with open_postgres(where) as remover:
            yield remover
        return
    with beside(where) as db:
        yield _Sqlite(db)


@contextlib.contextmanager
def beside(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file of this version for writing, beside a backend that may run.

    Raises
    ------
    StoreError
        When it isn't one, or what is done with it fails.
    """
    try:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S)) as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            ours = db.execute("PRAGMA application_id").fetchone()[0] == schema.APPLICATION_ID
            if not ours or version != len(schema.MIGRATIONS):
                reason = "is not a database of this version; `ctgkit store migrate` makes it one"
                raise StoreError(str(path), reason if ours else "is not a CTGKit database")
            yield db
    except sqlite3.Error as error:
        raise StoreError(str(path), str(error)) from error
