"""A SQLite file as the source or the target of a copy. Nobody else may use it meanwhile."""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ctgkit.errors import StoreError, excerpt
from ctgkit.packed import RESULTS, with_blocks
from ctgkit.server.roster import Known
from ctgkit.server.store import queries, schema
from ctgkit.server.store.copying import (
    Advance,
    Examination,
    Result,
    Row,
    Sensor,
    Stream,
    interrupted,
)
from ctgkit.server.store.owner import owned
from ctgkit.server.store.packing import Packer
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
        return int(self._db.execute(queries.COPY_COUNT).fetchone()[0])

    def samples(self, examination_id: int) -> Iterator[Row]:
        """Yield the samples of an examination in the order in which they were stored."""
        plain, names = self._db.execute(queries.COPY_SAMPLES, (examination_id,)), self._names()
        for _, key, *said in with_blocks(plain, examination_id):
            row: Any = (names.get(key), *said)
            self._demand(row, _ROW_TYPES, examination_id)
            # Integers that somebody wrote there are the same numbers.
            sec, *values = (None if value is None else float(value) for value in row[3:7])
            yield Row(row[0], row[1], row[2], sec or 0.0, values[0], values[1], values[2], row[7])

    def results(self, examination_id: int) -> Iterator[Result]:
        """Yield its results."""
        plain, names = self._db.execute(queries.COPY_RESULTS, (examination_id,)), self._names()
        for _, key, *values in with_blocks(plain, examination_id, RESULTS):
            row = (names.get(key), *values)
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

    def _names(self) -> dict[int, str]:
        return dict(self._db.execute("SELECT id, uuid FROM sensors").fetchall())

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
    with open_file(path) as db:
        yield SqliteSide(db, path)


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[sqlite3.Connection]:
    """Own a file, make it when it is missing, bring it up to date; its log is cut at the end.

    Raises
    ------
    StoreError
        When it isn't one of ours, is in use, or cannot be read or written.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(owned(path))
            if not path.exists():
                path.touch(mode=0o600)
            db = stack.enter_context(contextlib.closing(sqlite3.connect(path, timeout=1.0)))
            prepare(db, path, "full")
        except (sqlite3.Error, OSError, OverflowError) as error:
            raise StoreError(str(path), str(error)) from error
        try:
            yield db
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


def pack_file(path: Path, advance: Advance) -> tuple[int, int]:
    """Pack all that is over in a file that no backend uses; give the space back to the system.

    Parameters
    ----------
    path : Path
        The file.
    advance : callable
        Hears how many samples were packed.

    Returns
    -------
    before, after : int
        Its size in bytes.

    Raises
    ------
    StoreError
        When it isn't one of ours, is in use, or cannot be read or written.
    """
    path = path.absolute()
    if not path.is_file():
        raise StoreError(str(path), "cannot open: no such file")
    with open_file(path) as db:
        before = path.stat().st_size
        db.execute("PRAGMA wal_autocheckpoint = 1000")
        _count_all(db)
        packer = Packer(0.0)
        while packer.step(db):
            advance(packer.samples)
            packer.samples = 0
        advance(packer.samples)
        db.execute("VACUUM")
    return before, path.stat().st_size


def _count_all(db: sqlite3.Connection) -> None:
    """Count what a backend would have counted by and by: only that is packed."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        counted = db.execute(schema.SELECT_COUNTED).fetchone()
        last = db.execute(schema.SELECT_LAST_ROWS).fetchone()
        spans = {"samples": counted[0], "samples_to": last[0]}
        spans |= {"predictions": counted[1], "predictions_to": last[1]}
        db.executemany(schema.ADD_COUNTS, db.execute(schema.COUNT_ROWS, spans).fetchall())
        db.execute(schema.SET_COUNTED, last)


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
