"""Read a database beside a running backend: for the command line, without an event loop."""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ctgkit.errors import StoreError, WireError, excerpt
from ctgkit.packed import RESULTS, is_packed, with_blocks
from ctgkit.samples import Sample
from ctgkit.server.store import schema
from ctgkit.server.store.series import Series

UNCOUNTED_MAX_ROWS = 200_000
"""Rows that are counted on the spot, some 0.1 s. With more (a database that this version's
`ctgkit serve` never opened) what can't be found by an index is unknown in a list. Chosen."""
_NUMBER = (int, float, type(None))
_SAMPLE_TYPES: Mapping[str, tuple[type, ...]] = {
    "uuid": (str,),
    "seq": (int, type(None)),
    "sec_from_start": (int, float),
    "bpm": _NUMBER,
    "uterus": _NUMBER,
    "spasms": _NUMBER,
    "created_at": (str,),
}


@dataclass(slots=True)
class _Count:
    """What one sensor has in one examination; None: unknown."""

    samples: int
    with_signal: int | None
    first_sec: float | None
    last_sec: float | None
    predictions: int | None

    def add(self, other: "_Count") -> None:
        self.samples += other.samples
        self.with_signal = _sum((self.with_signal, other.with_signal))
        self.predictions = _sum((self.predictions, other.predictions))
        firsts = [s for s in (self.first_sec, other.first_sec) if s is not None]
        lasts = [s for s in (self.last_sec, other.last_sec) if s is not None]
        self.first_sec, self.last_sec = min(firsts, default=None), max(lasts, default=None)


_Counts = dict[int, dict[int, _Count]]
"""Examination -> sensor's key -> what it has."""


class Reader:
    """A read-only view of one database. Made by :func:`open_reader`."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db, self._path = db, path
        version = db.execute("PRAGMA user_version").fetchone()[0]
        self._has_counts = version >= schema.COUNTS_SINCE
        self._has_repeats = version >= schema.REPEATS_SINCE
        self._has_packed = is_packed(db)
        self._counted = self._pair(schema.SELECT_COUNTED) if self._has_counts else (0, 0)
        self._last = self._pair(schema.SELECT_LAST_ROWS)

    def examinations(self) -> list[dict[str, Any]]:
        """Return all examinations, oldest first, with the numbers of their rows.

        ``with_signal`` and ``predictions`` are None where only reading every row could tell.
        """
        counts = self._counts()
        return [
            self._described(row, counts.get(row["id"], {}))
            for row in self._db.execute(schema.SELECT_EXAMINATIONS + " ORDER BY e.id")
        ]

    def examination(self, examination_id: int) -> dict[str, Any] | None:
        """Return one examination, with the numbers of its rows and ``by_sensor``; None: no such."""
        found = self._db.execute(
            schema.SELECT_EXAMINATIONS + " WHERE e.id = ?", (examination_id,)
        ).fetchone()
        if found is None:
            return None
        count_of = self._counts_of(examination_id)
        row = self._described(found, count_of)
        names = dict(self._db.execute("SELECT id, uuid FROM sensors").fetchall())
        row["by_sensor"] = sorted(
            (
                {
                    "uuid": str(names.get(key, f"sensor {key}")),
                    "samples": count.samples,
                    "with_signal": count.with_signal,
                    "first_sec": count.first_sec,
                    "last_sec": count.last_sec,
                }
                for key, count in count_of.items()
                if count.samples
            ),
            key=lambda sensor: str(sensor["uuid"]),
        )
        return row

    def samples(self, examination_id: int) -> Iterator[dict[str, Any]]:
        """Yield an examination's samples in the order in which they were stored."""
        plain = self._db.execute(schema.SELECT_SAMPLES, (examination_id,))
        names = [column[0] for column in plain.description][1:]
        for _, *values in with_blocks(plain, examination_id):
            yield self._checked(dict(zip(names, values, strict=True)))

    def page(
        self, examination_id: int, sensor_id: str, after: int, limit: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Return some samples, of one sensor or all, and where the next ones begin.

        Parameters
        ----------
        examination_id : int
            Whose.
        sensor_id : str
            Empty for all.
        after : int
            0, or what the page before said.
        limit : int
            How many at most.

        Returns
        -------
        samples : list of dict
            In the order in which they were stored.
        following : int or None
            What to give as *after*; None at the end.
        """
        first = self._db.execute(schema.SELECT_FIRST_ROW, (examination_id,)).fetchone()[0] or 1
        place = (max(after, first - 1), examination_id, examination_id, sensor_id, sensor_id)
        plain = self._db.execute(schema.SELECT_SAMPLES_PAGE, (*place, limit + 1))
        _, *names = (column[0] for column in plain.description)
        found = self._db.execute(schema.SELECT_SENSOR_KEY, (sensor_id,)).fetchone()
        key = (found[0] if found else -1) if sensor_id else None
        rows = list(islice(with_blocks(plain, examination_id, key, after), limit + 1))
        page = [dict(zip(names, values, strict=True)) for _, *values in rows[:limit]]
        following = rows[limit - 1][0] if len(rows) > limit else None
        return [self._checked(sample) for sample in page], following

    def _checked(self, sample: dict[str, Any]) -> dict[str, Any]:
        for name, types in _SAMPLE_TYPES.items():
            if not isinstance(sample[name], types):
                found = excerpt(repr(sample[name]))
                raise StoreError(str(self._path), f"{name} of a stored sample is {found}")
        return sample

    def predictions(self, examination_id: int) -> Iterator[str]:
        """Yield an examination's results: as they came, and those that repeat a stored one.

        Each sensor's are in order.
        """
        names = dict(self._db.execute("SELECT id, uuid FROM sensors").fetchall())
        series: dict[int, Series] = {}
        sql = self._sql(schema.SELECT_PREDICTIONS)
        plain = self._db.execute(sql, (examination_id,))
        for _, key, body, repeated in with_blocks(plain, examination_id, RESULTS):
            if not isinstance(body, str):
                raise StoreError(str(self._path), "the body of a stored result is not text")
            if not isinstance(repeated, bytes | None) or len(repeated or b"") % 8:
                raise StoreError(str(self._path), "the repetitions of a stored result are damaged")
            if key not in series:
                read = partial(self._samples_of, examination_id, key, str(names.get(key, "")))
                series[key] = Series(read)
            try:
                yield from series[key].take(body, repeated)
            except WireError as error:
                raise StoreError(str(self._path), f"a stored result: {error}") from error

    def _samples_of(
        self, examination_id: int, key: int, sensor_id: str
    ) -> Iterator[tuple[Sample, str]]:
        """Yield a sensor's samples as they were stored, each with when that was."""
        plain = self._db.execute(schema.SELECT_SAMPLES_OF, (examination_id, key))
        for _, *values, at in with_blocks(plain, examination_id, key):
            if not all(isinstance(v, _NUMBER) for v in values) or values[0] is None:
                raise StoreError(str(self._path), f"a sample of sensor {sensor_id} is not a number")
            yield Sample(sensor_id, *values), str(at)

    def _sql(self, sql: str) -> str:
        """Return a query of results as this database's version takes it."""
        return sql if self._has_repeats else schema.before_repeats(sql)

    def _described(self, row: sqlite3.Row, counts: Mapping[int, _Count]) -> dict[str, Any]:
        found = dict(row)
        for name, value in found.items():
            if isinstance(value, bytes):
                raise StoreError(str(self._path), f"{name} of an examination is not text")
        return found | {
            "samples": sum(c.samples for c in counts.values()),
            "with_signal": _sum(c.with_signal for c in counts.values()),
            "sensors": sum(c.samples > 0 for c in counts.values()),
            "predictions": _sum(c.predictions for c in counts.values()),
        }

    @property
    def _is_counted(self) -> bool:
        """Whether few rows are left to be counted."""
        uncounted = sum(self._last) - sum(self._counted)
        return uncounted <= UNCOUNTED_MAX_ROWS

    def _counts(self) -> _Counts:
        """Return the counts of all examinations."""
        counts: _Counts = {}
        if self._is_counted:
            if self._has_counts:
                self._add(counts, self._db.execute("SELECT * FROM counts"))
            self._add(counts, self._db.execute(self._sql(schema.COUNT_ROWS), self._uncounted()))
            return counts
        packed: set[int] = set()
        if self._has_packed:
            self._add(counts, self._db.execute(schema.COUNTS_OF_PACKED))
            packed.update(counts)
        unknown = None if self._last[1] > UNCOUNTED_MAX_ROWS and not self._has_counts else 0
        for row in self._parts():
            if row[0] in packed:
                continue
            samples = self._db.execute(schema.COUNT_PART, row).fetchone()[0]
            self._add(counts, [(*row, samples, None, None, None, unknown)])
        if unknown == 0:
            results = self._db.execute(self._sql(schema.COUNT_PREDICTIONS))
            self._add(counts, (row for row in results if row[0] not in packed))
        return counts

    def _parts(self) -> Iterator[tuple[int, int]]:
        """Yield each examination with each of its sensors, by the index alone."""
        at = self._db.execute(schema.SELECT_NEXT_EXAMINATION, (-1,)).fetchone()
        while at is not None:
            yield tuple(at)
            later = self._db.execute(schema.SELECT_NEXT_SENSOR, tuple(at)).fetchone()
            at = later or self._db.execute(schema.SELECT_NEXT_EXAMINATION, (at[0],)).fetchone()

    def _counts_of(self, examination_id: int) -> Mapping[int, _Count]:
        """Return the counts of one examination."""
        if self._is_counted:
            return self._counts().get(examination_id, {})
        counts: _Counts = {}
        if self._has_packed:
            self._add(counts, self._db.execute(schema.COUNTS_OF_PACKED))
            if examination_id in counts:
                return counts[examination_id]
        self._add(counts, self._db.execute(schema.COUNT_SAMPLES_OF, (examination_id,)))
        if self._has_counts or self._last[1] <= UNCOUNTED_MAX_ROWS:
            sql = self._sql(schema.COUNT_PREDICTIONS_OF)
            self._add(counts, self._db.execute(sql, (examination_id,)))
        else:
            for count in counts.get(examination_id, {}).values():
                count.predictions = None
        return counts.get(examination_id, {})

    def _pair(self, sql: str) -> tuple[int, int]:
        row = self._db.execute(sql).fetchone()
        if row is None or not all(isinstance(number, int) for number in row):
            raise StoreError(str(self._path), "its counts are damaged")
        return row[0], row[1]

    def _uncounted(self) -> dict[str, int]:
        (samples, predictions), (samples_to, predictions_to) = self._counted, self._last
        return {
            "samples": samples,
            "samples_to": samples_to,
            "predictions": predictions,
            "predictions_to": predictions_to,
        }

    def _add(self, counts: _Counts, rows: Iterable[Sequence[Any]]) -> None:
        for examination_id, key, *values in rows:
            if not all(isinstance(value, _NUMBER) for value in values):
                raise StoreError(str(self._path), f"examination {examination_id} has invalid data")
            count = _Count(*values)
            by_sensor = counts.setdefault(examination_id, {})
            if key in by_sensor:
                by_sensor[key].add(count)
            else:
                by_sensor[key] = count


def _sum(numbers: Iterable[int | None]) -> int | None:
    """Return the sum, or None when one is unknown."""
    total = 0
    for number in numbers:
        if number is None:
            return None
        total += number
    return total


@contextlib.contextmanager
def open_reader(path: Path) -> Iterator[Reader]:
    """Open a database for reading; also on a medium that can only be read.

    Raises
    ------
    StoreError
        When it is missing, or not a database of ours, or cannot be read.
    """
    path = path.absolute()
    if not path.is_file():
        raise StoreError(str(path), "is no file" if path.exists() else "no such file")
    try:
        with contextlib.closing(_connect(path)) as db:
            db.row_factory = sqlite3.Row
            application = db.execute("PRAGMA application_id").fetchone()[0]
            if application != schema.APPLICATION_ID:
                raise StoreError(str(path), "is not a CTGKit database")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > len(schema.MIGRATIONS):  # what it moved elsewhere would be missing
                raise StoreError(str(path), f"was written by a newer CTGKit (schema {version})")
            yield Reader(db, path)
    except (sqlite3.Error, OverflowError) as error:
        raise StoreError(str(path), str(error)) from error


def _connect(path: Path) -> sqlite3.Connection:
    """Open read-only; as an image that nobody writes where SQLite cannot make its side files."""
    address = f"file:{quote(str(path))}?mode=ro"
    db = sqlite3.connect(address, uri=True)
    try:
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return db
    except sqlite3.OperationalError as error:
        db.close()
        # CANTOPEN or READONLY: a log has to be made or read, and its folder can't be written
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise
        side = path.with_name(path.name + "-wal")
        if side.exists() and side.stat().st_size:
            raise StoreError(
                str(path),
                f"its last rows are in {side.name}, which can be read only where the folder may"
                " be written: copy both files there",
            ) from error
        return sqlite3.connect(f"{address}&immutable=1", uri=True)
