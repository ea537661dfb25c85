"""A SQLite file as the source or the target of a copy. Nobody else may use it meanwhile."""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ctgkit.errors import StoreError, excerpt
from ctgkit.server.roster import Known
from ctgkit.server.store import queries, schema
from ctgkit.server.store.copying import Examination, Result, Row, Sensor, Stream, interrupted
from ctgkit.server.store.owner import owned
from ctgkit.server.store.removal import beside
from ctgkit.server.store.sqlite import prepare

T = TypeVar("T")
_NUMBER = (int, float, type(None))
_ROW_TYPES = (str, int, (int, type(None)), (int, float), _NUMBER, _NUMBER, _NUMBER, str)
_RESULT_TYPES = (str, _NUMBER, (str, type(None)), str, str, (bytes, type(None)))


class SqliteSide:
    """One file. Made by :func:`open_side`."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db, self.where = db, str(path)

    def examinations(self) -> list[Examination]:
        """Return all, by ascending id; an open one as interrupted."""
        rows = self._db.execute(queries.COPY_EXAMINATIONS).fetchall()
        return [interrupted(Examination(*row[:-1]), row[-1]) for row in map(self._checked, rows)]

    def _checked(self, row: Any) -> Any:
        if not isinstance(row[0], int) or not all(isinstance(v, str) for v in (row[1], row[3])):
            raise StoreError(self.where, f"examination {excerpt(repr(row[0]))} has invalid data")
        return row

    def sensors(self) -> list[Sensor]:
        """Return all sensors."""
        return [Sensor(*row) for row in self._db.execute(queries.COPY_SENSORS)]

    def streams(self) -> list[Stream]:
        """Return all streams."""
        return [Stream(*row) for row in self._db.execute(queries.COPY_STREAMS)]

    def count(self) -> int:
        """Return how many samples there are."""
        return int(self._db.execute("SELECT count(*) FROM ctg").fetchone()[0])

    def samples(self, examination_id: int) -> Iterator[Row]:
        """Yield the samples of an examination in the order in which they were stored."""
        for row in self._db.execute(queries.COPY_SAMPLES, (examination_id,)):
            self._demand(row, _ROW_TYPES, examination_id)
            # Integers that somebody wrote there are the same numbers.
            sec, *values = (None if value is None else float(value) for value in row[3:7])
            yield Row(row[0], row[1], row[2], sec or 0.0, values[0], values[1], values[2], row[7])

    def results(self, examination_id: int) -> Iterator[Result]:
        """Yield its results."""
        for row in self._db.execute(queries.COPY_RESULTS, (examination_id,)):
            self._demand(row, _RESULT_TYPES, examination_id)
            yield Result(*row)

    def _demand(self, row: Any, types: tuple[Any, ...], number: int) -> None:
        for value, kind in zip(row, types, strict=True):
            if not isinstance(value, kind):
                reason = f"examination {number} has invalid data ({excerpt(repr(value))})"
                raise StoreError(self.where, reason)

    # The same as a target

    def prepare(self, sensors: list[Sensor], streams: list[Stream]) -> None:
        """Know what rows refer to."""
        with self._db:
            self._db.executemany(queries.COPY_SENSOR, sensors)
            keys = self._keys()
            self._db.executemany(
                queries.COPY_STREAM, [(s.id, keys[s.uuid], s.name) for s in streams]
            )

    def _keys(self) -> dict[str, int]:
        return dict(self._db.execute("SELECT uuid, id FROM sensors").fetchall())

    def put(
        self, examination: Examination, samples: Iterable[Row], results: Iterable[Result]
    ) -> None:
        """Add an examination in one transaction."""
        keys, number = self._keys(), examination.id
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(
                queries.COPY_EXAMINATION,
                (
                    number, examination.bed, examination.status, examination.start_time,
                    examination.end_time, examination.notes,
                ),
            )  # fmt: skip
            self._db.executemany(
                queries.COPY_SAMPLE, ((number, keys[row.uuid], *row) for row in samples)
            )
            self._db.executemany(
                queries.COPY_RESULT, ((number, keys[row.uuid], *row[1:]) for row in results)
            )
            self._db.execute(queries.COPY_PARTS, (number,))

    def finish(self) -> None:
        """Do nothing: ids go on after the largest."""


@contextlib.contextmanager
def open_side(path: Path, *, fill: bool) -> Iterator[SqliteSide]:
    """Own a file for as long as the context lasts.

    Raises
    ------
    StoreError
        When it isn't one of ours, is in use, or cannot be read or written.
    """
    path = path.absolute()
    if not fill and not path.is_file():
        raise StoreError(str(path), "cannot open: no such file")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(owned(path))
            if fill and not path.exists():
                path.touch(mode=0o600)
            db = stack.enter_context(contextlib.closing(sqlite3.connect(path, timeout=1.0)))
            prepare(db, path, "full")
        except (sqlite3.Error, OSError, OverflowError) as error:
            raise StoreError(str(path), str(error)) from error
        try:
            yield SqliteSide(db, path)
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (sqlite3.Error, OverflowError) as error:
            raise StoreError(str(path), str(error)) from error


def migrated(path: Path) -> tuple[int, int]:
    """Make a file, or bring it up to date; return its schema's version before and after."""
    before = 0
    if path.is_file():
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as db:
            before = db.execute("PRAGMA user_version").fetchone()[0]
    with open_side(path, fill=True):
        return before, len(schema.MIGRATIONS)


class _Register:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def all(self) -> list[tuple[str, str | None, str | None, bool]]:
        rows = self._db.execute(schema.ALL_SENSORS).fetchall()
        return [(str(row[0]), row[1], row[2], bool(row[3])) for row in rows]

    def put(self, one: Known) -> None:
        with self._db:
            self._db.execute(schema.PUT_SENSOR, one)

    def remove(self, sensor_id: str) -> None:
        with self._db:
            self._db.execute(schema.REMOVE_SENSOR, (sensor_id,))


@contextlib.contextmanager
def open_register(path: Path) -> Iterator[_Register]:
    """Open a database's sensors; a backend may run. A missing file is made.

    Raises
    ------
    StoreError
        When it isn't one of ours, or cannot be written.
    """
    path = path.absolute()
    try:
        with open_side(path, fill=True):  # brings it up to date, unless a backend did
            pass
    except StoreError:
        if not path.is_file():
            raise
    with beside(path) as db:
        yield _Register(db)
