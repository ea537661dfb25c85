"""PostgreSQL databases with the tables ``examinations`` and ``ctg``: a backend's (only read)."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from ctgkit.dsn import Dsn
from ctgkit.errors import RecordingError, StoreError
from ctgkit.net.postgres import Waiting, read_only
from ctgkit.recording import Recording
from ctgkit.recording.files.database import read_tables
from ctgkit.recording.files.options import ReadOptions, Report

_PAGE_ROWS = 20_000
_FOUND = "SELECT to_regclass('examinations') IS NOT NULL AND to_regclass('ctg') IS NOT NULL"


class _Postgres:
    """The tables on a server, as they are at one moment."""

    def __init__(self, db: Waiting) -> None:
        self._db = db

    def examinations(self) -> list[Any]:
        spelled = "to_char(start_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MSZ')"
        return self._db.query(f"SELECT id, {spelled} FROM examinations ORDER BY id")  # noqa: S608

    def sensors(self, number: int) -> list[Any]:
        sql = "SELECT uuid, count(*) FROM ctg WHERE examination_id = $1 GROUP BY uuid"
        return self._db.query(f"{sql} ORDER BY min(id)", number)

    def samples(self, number: int, uuid: Any) -> Iterator[list[Any]]:
        sql = "SELECT sec_from_start, bpm, uterus, spasms FROM ctg WHERE examination_id = $1"
        rows = self._db.rows(f"{sql} AND uuid = $2 ORDER BY id", number, uuid)
        while page := [tuple(row) for row in islice(rows, _PAGE_ROWS)]:
            yield page


def read(dsn: Dsn, options: ReadOptions, report: Report) -> Iterator[Recording]:
    """Yield each sensor's samples of each examination, in the order of both.

    Raises
    ------
    RecordingError
        When it has not these tables, or can't be read.
    Unreachable, ConfigError
        When there is no server, or no driver.
    """
    try:
        with read_only(dsn) as db:
            if not db.query(_FOUND)[0][0]:
                reason = "a database without the tables examinations and ctg"
                raise RecordingError(str(dsn), 0, reason)
            yield from read_tables(dsn, _Postgres(db), options, report)
    except StoreError as error:
        raise RecordingError(error.path, 0, error.reason) from error
