"""SQLite databases with the tables ``examinations`` and ``ctg`` (only read, never touched).

That is what a backend of the original system keeps, and what ours does.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

import numpy as np

from ctgkit.dsn import Dsn
from ctgkit.errors import RecordingError, excerpt
from ctgkit.packed import is_packed, with_blocks
from ctgkit.recording import Recording
from ctgkit.recording.files.options import ReadOptions, Report

MAGIC: Final = b"SQLite format 3\0"
REORDER_S = 5.0
"""How far times may fall back within one start of a sensor, seconds."""
_PAGE_ROWS = 100_000
_PACKED_SENSORS = """
    SELECT uuid, sum(n) FROM (
        SELECT uuid, count(*) AS n, min(id) AS first FROM ctg WHERE examination_id = :number
        GROUP BY uuid
        UNION ALL SELECT s.uuid, p.rows, p.first_id FROM packed p JOIN sensors s
        ON s.id = p.sensor_id WHERE p.examination_id = :number)
    GROUP BY uuid ORDER BY min(first)
"""
_GO_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?\s*(Z|[+-]\d\d:?\d\d)?(?:\s.*)?"
)


def connect(path: Path) -> sqlite3.Connection:
    """Open a database so that nothing on disk changes: no lock file, no recovery.

    Raises
    ------
    sqlite3.Error
        When it can't be opened.
    """
    wal = path.with_name(path.name + "-wal")
    alone = "&immutable=1" if not (wal.exists() and wal.stat().st_size) else ""
    return sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro{alone}", uri=True)


class Tables(Protocol):
    """The two tables, wherever they are."""

    def examinations(self) -> list[Any]:
        """Return id and start of each."""

    def sensors(self, number: int) -> list[Any]:
        """Return id and number of rows of each sensor of an examination, in order of appearance."""

    def samples(self, number: int, uuid: Any) -> Iterator[list[Any]]:
        """Yield a sensor's data times and values, in the order in which they came, in pages."""


class _Sqlite:
    """The tables in a file; rows that `ctgkit` packed are among them."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._is_packed = is_packed(database)

    def examinations(self) -> list[Any]:
        sql = "SELECT id, start_time FROM examinations ORDER BY id"
        return self._database.execute(sql).fetchall()

    def sensors(self, number: int) -> list[Any]:
        sql = "SELECT uuid, count(*) FROM ctg WHERE examination_id = ? GROUP BY uuid"
        if not self._is_packed:
            return self._database.execute(f"{sql} ORDER BY min(id)", (number,)).fetchall()
        return self._database.execute(_PACKED_SENSORS, {"number": number}).fetchall()

    def samples(self, number: int, uuid: Any) -> Iterator[list[Any]]:
        sql = "sec_from_start, bpm, uterus, spasms FROM ctg WHERE examination_id = ? AND uuid IS ?"
        if not self._is_packed:
            cursor = self._database.execute(f"SELECT {sql} ORDER BY id", (number, uuid))
            while rows := cursor.fetchmany(_PAGE_ROWS):
                yield rows
            return
        cursor = self._database.execute(f"SELECT id, {sql} ORDER BY id", (number, uuid))
        key = self._database.execute("SELECT id FROM sensors WHERE uuid = ?", (uuid,)).fetchone()
        both = with_blocks(cursor, number, key[0] if key else -1)
        while page := [row[1:] for row in islice(both, _PAGE_ROWS)]:
            yield page


def read(path: Path, options: ReadOptions, report: Report) -> Iterator[Recording]:
    """Yield each sensor's samples of each examination, in the order of both.

    Raises
    ------
    RecordingError
        When it has not these tables, or a value that can't be one.
    """
    try:
        with closing(connect(path)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            if not {"examinations", "ctg"} <= tables:
                reason = "a database without the tables examinations and ctg"
                raise RecordingError(str(path), 0, reason)
            yield from read_tables(path, _Sqlite(database), options, report)
    except sqlite3.Error as error:
        raise RecordingError(str(path), 0, f"database: {excerpt(str(error))}") from error


def read_tables(
    path: Path | Dsn, tables: Tables, options: ReadOptions, report: Report
) -> Iterator[Recording]:
    """Do the same with tables that were found."""
    exams = tables.examinations()
    wanted = [exam for exam in exams if options.exam in (0, exam[0])]
    if not wanted:
        held = ", ".join(str(number) for number, _ in exams[:20]) or "none"
        raise RecordingError(str(path), 0, f"no examination {options.exam}; it has {held}")
    report.take("samples", "table ctg")
    found = 0
    for number, start in wanted:
        for uuid, n_rows in tables.sensors(number):
            if n_rows > options.max_samples:
                reason = f"{n_rows} samples of one sensor: --max-mb raises the limit"
                raise RecordingError(str(path), 0, reason)
            for one in _sensor(path, tables, number, uuid, report):
                found += 1
                started = iso_of(start) if one.sec_from_start[0] < REORDER_S else ""
                yield _with_labels(one, number, uuid, started)
    report.note(
        f"{len(wanted)} examinations" if len(wanted) != 1 else f"examination {wanted[0][0]}"
    )
    if not found:
        raise RecordingError(str(path), 0, "no samples")


def _sensor(
    path: Path | Dsn, tables: Tables, number: int, uuid: Any, report: Report
) -> Iterator[Recording]:
    """Yield one sensor's samples of an examination; more than once where it started anew."""
    parts = []
    for rows in tables.samples(number, uuid):
        try:
            parts.append(np.array(rows, dtype=np.float64))  # None becomes NaN
        except (TypeError, ValueError) as error:
            reason = f"examination {number}, sensor {excerpt(str(uuid))}: {excerpt(str(error))}"
            raise RecordingError(str(path), 0, reason) from error
    table = np.concatenate(parts)
    known = np.isfinite(table[:, 0]) & (table[:, 0] >= 0)
    if not known.all():
        report.warn(f"{(~known).sum()} rows without a time are left out")
        table = table[known]
    if not len(table):
        return
    highest = np.maximum.accumulate(table[:, 0])
    falls = np.flatnonzero(table[1:, 0] < highest[:-1] - REORDER_S) + 1
    starts = [0]
    for fall in falls.tolist():
        if table[fall, 0] < table[starts[-1] : fall, 0].max() - REORDER_S:
            starts.append(fall)
    if len(starts) > 1:
        report.note(
            f"examination {number}: sensor {excerpt(str(uuid))} started {len(starts)} times, each a"
            " recording"
        )
    for begin, end in zip(starts, [*starts[1:], len(table)], strict=True):
        part = table[begin:end]
        _, first = np.unique(part[:, 0], return_index=True)
        if repeated := len(part) - len(first):
            report.note(f"{repeated} rows repeat a time: the first of each is read")
        sec, fhr_bpm, uterus, spasms = part[first].T.copy()
        fhr_bpm[fhr_bpm == 0] = np.nan
        yield Recording(sec_from_start=sec, fhr_bpm=fhr_bpm, uterus=uterus, spasms=spasms)


def _with_labels(one: Recording, number: int, uuid: Any, started: str) -> Recording:
    from dataclasses import replace

    comments = (f"examination {number}",)
    return replace(one, sensor_id=str(uuid or ""), started=started, comments=comments)


def iso_of(stored: Any) -> str:
    """Return a stored time in ISO 8601: backends write them in several spellings.

    >>> iso_of("2026-01-02 03:04:05.678 +0000 UTC m=+0.1")
    '2026-01-02T03:04:05.678Z'
    """
    found = _GO_TIME.fullmatch(str(stored or "").strip())
    if not found:
        return ""
    day, clock, fraction, zone = found.groups()
    zone = "Z" if zone in ("Z", "+0000", "+00:00") else zone or ""
    if len(zone) == 5:
        zone = f"{zone[:3]}:{zone[3:]}"
    return f"{day}T{clock}{(fraction or '')[:4]}{zone}"
