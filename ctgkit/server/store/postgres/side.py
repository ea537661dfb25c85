"""A PostgreSQL database as the source or the target of a copy. No node may run meanwhile."""

import contextlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ctgkit.dsn import Dsn
from ctgkit.errors import StoreError
from ctgkit.net.postgres import Waiting, read_only, read_write
from ctgkit.server.roster import Known
from ctgkit.server.store.copying import Examination, Result, Row, Sensor, Stream, interrupted
from ctgkit.server.store.postgres import schema
from ctgkit.server.store.postgres.reader import iso

SILENT_S = 60
"""Nodes that were silent for so long don't run, seconds."""
_TICK = timedelta(microseconds=1)
_EXAMINATIONS: Final = f"""
    SELECT e.id, e.bed, e.status, {iso("e.start_time")}, {iso("e.end_time")}, e.notes,
        CASE WHEN e.end_time IS NULL THEN (SELECT {iso("max(created_at)")} FROM samples s
            WHERE s.examination_id = e.id) END
    FROM examinations e ORDER BY e.id
"""
_STREAMS = "SELECT s.id, v.uuid, s.name FROM streams s JOIN sensors v ON v.id = s.sensor_id"
_SAMPLES: Final = f"""
    SELECT v.uuid, s.stream_id, s.seq, s.sec_from_start, s.bpm, s.uterus, s.spasms,
        {iso("s.created_at")}
    FROM samples s JOIN sensors v ON v.id = s.sensor_id WHERE s.examination_id = $1
    ORDER BY s.created_at, s.sensor_id, s.stream_id, s.seq
"""
_RESULTS: Final = f"""
    SELECT v.uuid, p.sec_from_start, p.status, p.body, {iso("p.created_at")}, p.repeated
    FROM predictions p JOIN sensors v ON v.id = p.sensor_id WHERE p.examination_id = $1
    ORDER BY p.sensor_id, p.node, p.created_at
"""
"""A row repeats the one before it of the same node: so these stay together."""
_ALIVE = f"""
    SELECT id, described FROM nodes
    WHERE alive AND seen > clock_timestamp() - interval '{SILENT_S} s' ORDER BY id
"""
_SENSORS = """
    INSERT INTO sensors (uuid, token_digest, bed, control)
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[]) ON CONFLICT DO NOTHING
"""
_STREAM = """
    INSERT INTO streams (id, sensor_id, name)
    SELECT x.id, v.id, x.name FROM unnest($1::int[], $2::text[], $3::text[]) AS x(id, uuid, name)
    JOIN sensors v ON v.uuid = x.uuid ON CONFLICT DO NOTHING
"""
_EXAMINATION = """
    INSERT INTO examinations (id, bed, status, start_time, end_time, notes)
    VALUES ($1, $2, $3, $4, $5, $6)
"""
_PARTS = """
    INSERT INTO parts SELECT s.sensor_id, coalesce(t.name IS NOT NULL, false), s.stream_id,
        s.examination_id, min(s.seq), max(s.seq)
    FROM samples s LEFT JOIN streams t ON t.id = s.stream_id
    WHERE s.examination_id = $1 AND s.seq IS NOT NULL
    GROUP BY s.sensor_id, t.name IS NOT NULL, s.stream_id, s.examination_id
"""
_PUT_SENSOR = """
    INSERT INTO sensors (uuid, token_digest, bed, control) VALUES ($1, $2, $3, $4)
    ON CONFLICT (uuid) DO UPDATE SET token_digest = excluded.token_digest, bed = excluded.bed,
        control = excluded.control
"""
_REMOVE_SENSOR = """
    UPDATE sensors SET token_digest = NULL, bed = NULL, control = NULL WHERE uuid = $1
"""
_FINISH = """
    SELECT setval('examinations_id_seq',
            (SELECT coalesce(max(id), 0) + 1 FROM examinations), false),
        setval('streams_id_seq', (SELECT coalesce(max(id), 0) + 1 FROM streams), false)
"""


class PostgresSide:
    """One database. Made by :func:`open_side`."""

    def __init__(self, db: Waiting, dsn: Dsn) -> None:
        self._db, self.where = db, str(dsn)

    def examinations(self) -> list[Examination]:
        """Return all, by ascending id; an open one as interrupted."""
        rows = self._db.query(_EXAMINATIONS)
        return [interrupted(Examination(*row[:-1]), row[-1]) for row in map(tuple, rows)]

    def sensors(self) -> list[Sensor]:
        """Return all sensors."""
        sql = "SELECT uuid, token_digest, bed, control FROM sensors ORDER BY id"
        return [Sensor(*row) for row in self._db.query(sql)]

    def streams(self) -> list[Stream]:
        """Return all streams."""
        return [Stream(*row) for row in self._db.query(_STREAMS)]

    def count(self) -> int:
        """Return how many samples there are."""
        return int(self._db.query("SELECT count(*) FROM samples")[0][0])

    def samples(self, examination_id: int) -> Iterator[Row]:
        """Yield the samples of an examination in the order in which they were stored."""
        with self._snapshot():
            yield from (Row(*row) for row in self._db.rows(_SAMPLES, examination_id))

    def results(self, examination_id: int) -> Iterator[Result]:
        """Yield its results, of a sensor in the order of the nodes that had it."""
        with self._snapshot():
            yield from (Result(*row) for row in self._db.rows(_RESULTS, examination_id))

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Rows are read by pages, which needs a transaction."""
        with self._db.transaction():
            yield

    # The same as a target

    def prepare(self, sensors: list[Sensor], streams: list[Stream]) -> None:
        """Know what rows refer to."""
        self._db.query(_SENSORS, *([row[n] for row in sensors] for n in range(4)))
        self._db.query(_STREAM, *([row[n] for row in streams] for n in range(3)))

    def put(
        self, examination: Examination, samples: Iterable[Row], results: Iterable[Result]
    ) -> None:
        """Add an examination in one transaction."""
        one, number = examination, examination.id
        keys = dict(map(tuple, self._db.query("SELECT uuid, id FROM sensors")))
        with self._db.transaction():
            times = (_time(one.start_time), one.end_time and _time(one.end_time))
            self._db.query(_EXAMINATION, number, one.bed, one.status, *times, one.notes)
            self._db.query("SELECT ctgkit_make_room($1)", number)
            # A microsecond apart, within their millisecond: they keep their order.
            at = _Clock()
            self._db.fill(
                "samples",
                ("examination_id", "sensor_id", "stream_id", "seq", "sec_from_start", "bpm",
                 "uterus", "spasms", "created_at"),
                ((number, keys[r.uuid], *r[1:7], at.of(r.created_at)) for r in samples),
            )  # fmt: skip
            self._db.fill(
                "predictions",
                ("examination_id", "sensor_id", "sec_from_start", "status", "body", "created_at",
                 "node", "repeated"),
                ((number, keys[r.uuid], *r[1:4], at.after(r.created_at), 0, r.repeated)
                 for r in results),
            )  # fmt: skip
            self._db.query(_PARTS, number)

    def finish(self) -> None:
        """Let new examinations and streams have new ids."""
        self._db.query(_FINISH)


class _Clock:
    """Makes times of rows out of milliseconds."""

    def __init__(self) -> None:
        self._text, self._at = "", datetime.min.replace(tzinfo=UTC)
        self._same = 0
        self._last: datetime | None = None

    def of(self, text: str) -> datetime:
        """Return a time in its millisecond, after the one before if that is in the same."""
        if text != self._text:
            self._text, self._at, self._same = text, _time(text), 0
        else:
            self._same = min(self._same + 1, 999)
        return self._at + self._same * _TICK

    def after(self, text: str) -> datetime:
        """Return a time after the one before, whatever it says."""
        at = _time(text)
        self._last = at if self._last is None else max(at, self._last + _TICK)
        return self._last


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


@contextlib.contextmanager
def open_side(dsn: Dsn, *, fill: bool) -> Iterator[PostgresSide]:
    """Open a database that no node uses.

    Raises
    ------
    Unreachable, ConfigError
        When there is no server, or no driver.
    StoreError
        When it isn't one of ours, or a node runs.
    """
    with read_write(dsn) if fill else read_only(dsn, snapshot=False) as db:
        _demand_schema(db, dsn)
        if running := db.query(_ALIVE):
            name, described = running[0]
            raise StoreError(str(dsn), f"node {name} is running ({described}): stop it first")
        if fill:
            db.query("SET synchronous_commit = on")
            if not db.query("SELECT pg_try_advisory_lock(17236, 3)")[0][0]:
                raise StoreError(str(dsn), "somebody else is copying to it")
        yield PostgresSide(db, dsn)


class _Remover:
    def __init__(self, db: Waiting) -> None:
        self._db = db

    def remove(self, examination_id: int) -> bool:
        rows = self._db.query("SELECT ctgkit_remove($1)", examination_id)
        return rows[0][0] is not None


@contextlib.contextmanager
def open_remover(dsn: Dsn) -> Iterator[_Remover]:
    """Open a database to remove examinations; nodes may run."""
    with read_write(dsn) as db:
        _demand_schema(db, dsn)
        yield _Remover(db)


class _Register:
    def __init__(self, db: Waiting) -> None:
        self._db = db

    def all(self) -> list[tuple[str, str | None, str | None, bool]]:
        sql = "SELECT uuid, bed, control, token_digest IS NOT NULL FROM sensors ORDER BY bed, uuid"
        return [(row[0], row[1], row[2], row[3]) for row in self._db.query(sql)]

    def put(self, one: Known) -> None:
        self._db.query(_PUT_SENSOR, *one)

    def remove(self, sensor_id: str) -> None:
        self._db.query(_REMOVE_SENSOR, sensor_id)


@contextlib.contextmanager
def open_register(dsn: Dsn) -> Iterator[_Register]:
    """Open a database's sensors; nodes may run."""
    with read_write(dsn) as db:
        yield _Register(db)


def _demand_schema(db: Waiting, dsn: Dsn) -> Any:
    found = db.query(schema.FOUND)[0]
    if not schema.is_ours(found, dsn):
        reason = "has no CTGKit tables; `ctgkit store migrate` creates them"
        raise StoreError(str(dsn), reason)
    return schema.demand_known(db.query(schema.SELECT_VERSION)[0][0], dsn)
