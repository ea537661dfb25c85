"""Read a PostgreSQL database beside running nodes: for the command line, without an event loop."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from ctgkit.dsn import Dsn
from ctgkit.errors import StoreError, WireError
from ctgkit.net.postgres import Waiting, read_only
from ctgkit.samples import Sample
from ctgkit.server.store.postgres import schema
from ctgkit.server.store.series import Series


def iso(column: str) -> str:
    """Return the SQL of a time in the spelling of the SQLite schema."""
    spelled = 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
    return f"to_char({column} AT TIME ZONE 'UTC', '{spelled}')"


_EXAMINATIONS: Final = f"""
    SELECT e.id, e.bed,
        CASE WHEN e.status = 2 THEN 'interrupted' WHEN e.end_time IS NULL THEN 'open'
            ELSE 'closed' END AS state,
        {iso("e.start_time")} AS start_time, {iso("e.end_time")} AS end_time
    FROM examinations e WHERE $1::bigint IS NULL OR e.id = $1 ORDER BY e.id
"""
_KEPT: Final = """
    SELECT c.examination_id, v.uuid, c.samples, c.with_signal, c.first_sec, c.last_sec
    FROM counts c JOIN sensors v ON v.id = c.sensor_id
    WHERE $1::bigint IS NULL OR c.examination_id = $1 ORDER BY v.uuid
"""
_PREDICTIONS_KEPT: Final = """
    SELECT examination_id, predictions FROM counted WHERE $1::bigint IS NULL OR examination_id = $1
"""
_COUNT: Final = """
    SELECT s.examination_id, v.uuid, count(*) AS samples, count(s.bpm) AS with_signal,
        min(s.sec_from_start) AS first_sec, max(s.sec_from_start) AS last_sec
    FROM samples s JOIN sensors v ON v.id = s.sensor_id
    WHERE s.examination_id = ANY ($1::bigint[]) GROUP BY s.examination_id, v.uuid ORDER BY v.uuid
"""
_COUNT_PREDICTIONS: Final = """
    SELECT examination_id, count(*) + coalesce(sum(length(repeated) / 8), 0)
    FROM predictions WHERE examination_id = ANY ($1::bigint[]) GROUP BY examination_id
"""
_SAMPLES: Final = f"""
    SELECT v.uuid, s.seq, s.sec_from_start, s.bpm, s.uterus, s.spasms,
        {iso("s.created_at")} AS created_at
    FROM samples s JOIN sensors v ON v.id = s.sensor_id
    WHERE s.examination_id = $1 ORDER BY s.created_at, s.sensor_id, s.stream_id, s.seq
"""
_US = "(extract(epoch FROM s.created_at) * 1000000)::bigint"
_PAGED = f"""
    SELECT v.uuid, s.seq, s.sec_from_start, s.bpm, s.uterus, s.spasms,
        {iso("s.created_at")} AS created_at, {_US} AS at_us
    FROM samples s JOIN sensors v ON v.id = s.sensor_id
    WHERE s.examination_id = $1 AND ($2 = '' OR v.uuid = $2)
"""
_ORDER = "ORDER BY s.created_at, s.sensor_id, s.stream_id, s.seq"
_PAGE: Final = f"{_PAGED} AND s.created_at > $3 {_ORDER} LIMIT $4"
_SAME: Final = f"{_PAGED} AND {_US} = $3 {_ORDER}"
_EPOCH, _LAST_US = datetime(1970, 1, 1, tzinfo=UTC), 250_000_000_000_000_000
_SAMPLES_OF: Final = f"""
    SELECT sec_from_start, bpm, uterus, spasms, {iso("created_at")}
    FROM samples WHERE examination_id = $1 AND sensor_id = $2 ORDER BY created_at, seq
"""
_PREDICTIONS: Final = """
    SELECT p.sensor_id, v.uuid, p.node, p.body, p.repeated
    FROM predictions p JOIN sensors v ON v.id = p.sensor_id
    WHERE p.examination_id = $1 ORDER BY p.created_at, p.node
"""


_NODES: Final = """
    SELECT n.id AS node, n.alive, n.generation, n.described,
        extract(epoch FROM clock_timestamp() - n.seen)::float8 AS silent_s,
        (SELECT count(*) FROM attendances a WHERE a.node = n.id AND a.present
            AND a.generation = n.generation) AS sensors
    FROM nodes n ORDER BY n.id
"""


_COUNTED_SINCE = 2
"""Schema from which on numbers of rows are kept."""


class PostgresReader:
    """A read-only view of one database at one moment. Made by :func:`open_reader`."""

    def __init__(self, db: Waiting, dsn: Dsn, version: int = schema.VERSION) -> None:
        self._db, self._dsn, self._version = db, dsn, version

    def examinations(self) -> list[dict[str, Any]]:
        """Return all examinations, oldest first, with the numbers of their rows."""
        return self._described(None)

    def examination(self, examination_id: int) -> dict[str, Any] | None:
        """Return one examination, with the numbers of its rows and ``by_sensor``; None: no such."""
        found = self._described(examination_id)
        return found[0] if found else None

    def nodes(self) -> list[dict[str, Any]]:
        """Return the nodes: alive or not, how long silent, how many sensors they have."""
        return [dict(row) for row in self._db.query(_NODES)]

    def samples(self, examination_id: int) -> Iterator[dict[str, Any]]:
        """Yield an examination's samples in the order in which they were stored."""
        for row in self._db.rows(_SAMPLES, examination_id):
            yield dict(row)

    def page(
        self, examination_id: int, sensor_id: str, after: int, limit: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Return some samples, of one sensor or all (""), and what the next page comes after.

        Rows that were stored in one microsecond, by several nodes, are not torn apart.
        """
        since = _EPOCH + timedelta(microseconds=min(after, _LAST_US))
        rows = self._db.query(_PAGE, examination_id, sensor_id, since, limit + 1)
        following = None
        if len(rows) > limit:
            kept = [row for row in rows if row["at_us"] < rows[-1]["at_us"]]
            if not kept:  # more than a page of them
                kept = self._db.query(_SAME, examination_id, sensor_id, rows[-1]["at_us"])
            rows, following = kept, kept[-1]["at_us"]
        page = [dict(row) for row in rows]
        for sample in page:
            del sample["at_us"]
        return page, following

    def predictions(self, examination_id: int) -> Iterator[str]:
        """Yield an examination's results: as they came, and those that repeat a stored one."""
        series: dict[tuple[int, int], Series] = {}
        for key, uuid, node, body, repeated in self._db.rows(_PREDICTIONS, examination_id):
            if len(repeated or b"") % 8:
                raise StoreError(str(self._dsn), "the repetitions of a stored result are damaged")
            # A row repeats the one before it of the same node.
            if (key, node) not in series:
                series[key, node] = Series(partial(self._samples_of, examination_id, key, uuid))
            try:
                yield from series[key, node].take(body, repeated)
            except WireError as error:
                raise StoreError(str(self._dsn), f"a stored result: {error}") from error

    def _samples_of(
        self, examination_id: int, key: int, sensor_id: str
    ) -> Iterator[tuple[Sample, str]]:
        for *values, at in self._db.rows(_SAMPLES_OF, examination_id, key):
            yield Sample(sensor_id, *values), at

    def _described(self, examination_id: int | None) -> list[dict[str, Any]]:
        examinations = self._db.query(_EXAMINATIONS, examination_id)
        numbers, predictions = list[Any](), dict[int, int]()
        if self._version >= _COUNTED_SINCE:
            numbers = self._db.query(_KEPT, examination_id)
            predictions = dict(self._db.query(_PREDICTIONS_KEPT, examination_id))
        rest = [row["id"] for row in examinations if row["id"] not in predictions]
        if rest:
            numbers += self._db.query(_COUNT, rest)
            predictions |= dict(self._db.query(_COUNT_PREDICTIONS, rest))
        by_sensor: dict[int, list[dict[str, Any]]] = {}
        for row in numbers:
            found = dict(row)
            by_sensor.setdefault(found.pop("examination_id"), []).append(found)
        return [
            dict(row)
            | _totals(by_sensor.get(row["id"], []), int(predictions.get(row["id"], 0)))
            | ({} if examination_id is None else {"by_sensor": by_sensor.get(row["id"], [])})
            for row in examinations
        ]


def _totals(sensors: list[dict[str, Any]], predictions: int) -> dict[str, Any]:
    return {
        "samples": sum(one["samples"] for one in sensors),
        "with_signal": sum(one["with_signal"] for one in sensors),
        "sensors": len(sensors),
        "predictions": predictions,
    }


@contextlib.contextmanager
def open_reader(dsn: Dsn) -> Iterator[PostgresReader]:
    """Open a database for reading, as it is at this moment.

    Raises
    ------
    Unreachable
        When there is no server.
    StoreError
        When it doesn't let us in, or the database isn't one of ours.
    """
    with read_only(dsn) as db:
        if not schema.is_ours(db.query(schema.FOUND)[0], dsn):
            reason = "has no CTGKit tables; `ctgkit store migrate` creates them"
            raise StoreError(str(dsn), reason)
        version = schema.demand_known(db.query(schema.SELECT_VERSION)[0][0], dsn)
        yield PostgresReader(db, dsn, version)
