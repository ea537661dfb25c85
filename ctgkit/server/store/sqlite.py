"""SQLite behind the writer: open, migrate and own a file, write groups, read beside them."""

import asyncio
import contextlib
import functools
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from ctgkit.errors import ConfigError, StoreError
from ctgkit.samples import Sample
from ctgkit.server.numbering import Attendance, Numbers, Outcome
from ctgkit.server.settings import Durability
from ctgkit.server.store import schema
from ctgkit.server.store.owner import owned
from ctgkit.server.store.writer import Again, Group, Question, Reading, Recovered, Store, Written

log = logging.getLogger(__name__)

ROWS_PER_STATEMENT = (512, 64, 8, 1)
"""Rows that one statement inserts, as many as are there. For each statement the writer's thread
gives up the interpreter and has to win it back from the event loop, up to 5 ms later."""
WAL_MAX_PAGES = 4_000
"""Pages in the log (16 MB) beyond which the writer has to wait, some ms, until it can begin anew:
under steady load it never finds everything checkpointed by itself, and the log would grow."""
RESTART_TIMEOUT_S = 0.1
"""Longest such wait, seconds, when somebody else reads the database."""
LOG_WARN_FACTOR = 4
"""A log that many times over its usual size is mentioned: somebody reads for long."""
COUNT_MAX_ROWS = 50_000
"""Rows counted in one go for `exam list`, some 20 ms. Chosen."""

EXAMINATION_ID_MAX = 2**62
"""Beyond it an id can't be one of ours; SQLite's own end is 2**63."""

T = TypeVar("T")


class _Thread:
    """A connection in a thread of its own: a whole group is one trip there and back.

    aiosqlite, which serves the reads, makes a trip for every statement.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=1.0, check_same_thread=False)
        self._executor = ThreadPoolExecutor(1, "store")

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, self._db)

    async def close(self) -> None:
        """Let work that was begun end, then close."""
        await self.run(sqlite3.Connection.close)
        self._executor.shutdown()


class SqliteEngine:
    """One SQLite file. Made by :func:`open_store`."""

    def __init__(
        self,
        path: Path,
        thread: _Thread,
        reader: aiosqlite.Connection,
        keys: Mapping[str, int],
        recovered: Recovered,
    ) -> None:
        self._path, self._thread, self._reader = path, thread, reader
        self._keys, self.recovered = keys, recovered
        self._maintained = -1
        self._log_is_long = False

    async def write(self, group: Group) -> Written:
        """Write a group in one transaction."""
        with self._errors(reading=False):
            return await self._thread.run(lambda db: _Transaction(db, self._keys, group).write())

    async def recent(self, examination_id: int, sensor_id: str, limit: int) -> list[Reading]:
        """Return a sensor's last *limit* stored samples, oldest first."""
        with self._errors(reading=True):
            arguments = (examination_id, self._keys[sensor_id], limit)
            rows = await self._reader.execute_fetchall(schema.SELECT_RECENT, arguments)
        return [(r[0], r[1], r[2], r[3]) for r in rows if _is_reading(r)][::-1]

    async def maintain(self, stored: int) -> None:
        """Count what is new, and move committed pages from the log, away from the writer."""
        if stored == self._maintained and not self._log_is_long:
            return
        with self._errors(reading=True):
            await self._count()
            _, pages, done = await _one(self._reader, "PRAGMA wal_checkpoint(PASSIVE)")
            if pages > WAL_MAX_PAGES and done > pages // 2:  # else somebody reads long
                how = "TRUNCATE" if pages > LOG_WARN_FACTOR * WAL_MAX_PAGES else "RESTART"
                await _one(self._reader, f"PRAGMA wal_checkpoint({how})")
            too_long = done < pages and pages > LOG_WARN_FACTOR * WAL_MAX_PAGES
            if too_long and not self._log_is_long:
                log.warning(
                    "somebody reads the database for long: its log has %d MB", pages * 4096 >> 20
                )
            self._log_is_long = too_long
        self._maintained = stored

    async def _count(self) -> None:
        """Add the rows that are not counted yet to the stored counts."""
        while True:
            counted = tuple(await _one(self._reader, schema.SELECT_COUNTED))
            last = tuple(await _one(self._reader, schema.SELECT_LAST_ROWS))
            upto = tuple(min(n + COUNT_MAX_ROWS, m) for n, m in zip(counted, last, strict=True))
            if upto == counted:
                return
            rows = await self._reader.execute_fetchall(
                schema.COUNT_ROWS,
                {
                    "samples": counted[0],
                    "samples_to": upto[0],
                    "predictions": counted[1],
                    "predictions_to": upto[1],
                },
            )
            await self._thread.run(functools.partial(_add_counts, rows=rows, upto=upto))

    @contextlib.contextmanager
    def _errors(self, *, reading: bool) -> Iterator[None]:
        """Turn what the driver raises into what the writer knows."""
        try:
            yield
        except sqlite3.Error as error:
            if reading or isinstance(error, sqlite3.OperationalError):  # locked, full: may pass
                raise Again(str(error)) from error
            raise StoreError(str(self._path), str(error)) from error  # corrupt: it won't
        except (TypeError, ValueError, OverflowError) as error:  # values that SQLite can't hold
            raise StoreError(str(self._path), str(error)) from error


def _is_reading(row: Sequence[object]) -> bool:
    """Return whether a row holds numbers where numbers belong; anybody may have written to it."""
    return isinstance(row[0], float) and all(v is None or isinstance(v, float) for v in row[1:4])


class _Transaction:
    """One group on its way into the database, in the writer's thread."""

    def __init__(self, db: sqlite3.Connection, keys: Mapping[str, int], group: Group) -> None:
        self._db, self._keys, self._group = db, keys, group
        self._streams: dict[Attendance, int] = {}
        """Keys found or made here; they hold once this is committed."""

    def write(self) -> Written:
        db, group = self._db, self._group
        with db:
            db.execute("BEGIN IMMEDIATE")
            db.executemany(schema.INSERT_EXAMINATION, group.opened)
            stored = self._store_new()
            outcomes = [self._answer(question) for question in group.questions]
            _insert(
                db,
                schema.insert_predictions,
                [(exam, self._keys[sensor], *rest) for exam, sensor, *rest in group.predictions],
            )
            for examination_id, interrupted in group.closed:
                db.execute(schema.CLOSE_PARTS, (examination_id,))
                end = schema.INTERRUPT_EXAMINATION if interrupted else schema.CLOSE_EXAMINATION
                db.execute(end, (examination_id,))
            learned = self._learn()
        for source, key in self._streams.items():
            source.stream_key = key
        return Written(stored + outcomes.count("new"), outcomes, learned)

    def _store_new(self) -> int:
        """Store the samples that are certainly new; return how many were."""
        samples = self._group.samples
        if not samples:
            return 0
        keys = {
            source: (self._keys[source.sensor_id], self._key(source) if numbered else 0)
            for source, numbered in {(source, sample.seq is not None) for source, sample in samples}
        }
        rows = [(source.examination_id, *keys[source], *_columns(s)) for source, s in samples]
        self._db.execute("SAVEPOINT certain")
        stored = _insert(self._db, schema.insert_samples, rows)
        if stored < len(rows):
            # The answer to an earlier attempt's commit was lost, or somebody else wrote here.
            self._db.execute("ROLLBACK TO certain")
            stored = 0
            for source, sample in samples:
                outcome: Outcome = "new"
                if sample.seq is None:
                    self._insert(source, 0, sample)
                else:
                    outcome = self._judge(source, sample, sample.seq)
                if outcome == "conflict":
                    raise sqlite3.IntegrityError(
                        f"another program stored number {sample.seq} of sensor {sample.sensor_id}"
                    )
                stored += outcome == "new"
        return stored

    def _answer(self, question: Question) -> Outcome:
        seq = question.sample.seq
        assert seq is not None
        return self._judge(question.source, question.sample, seq)

    def _judge(self, source: Attendance, sample: Sample, seq: int) -> Outcome:
        """Look a number up in all examinations; store the sample if it isn't there (S-6.5)."""
        named, own = source.stream is not None, self._key(source)
        values = (sample.sec_from_start, sample.fhr_bpm, sample.uterus, sample.spasms)
        where = {"sensor": self._keys[source.sensor_id], "stream": own, "seq": seq}
        found = self._db.execute(_SAMPLES_NUMBERED[named], where).fetchall()
        if any(row[1:] == values for row in found):
            return "again"
        if any(row[0] == own for row in found):
            return "conflict"
        self._insert(source, own, sample)
        return "new"

    def _insert(self, source: Attendance, stream_key: int, sample: Sample) -> None:
        row = (source.examination_id, self._keys[source.sensor_id], stream_key, *_columns(sample))
        self._db.execute(schema.insert_samples(1), row)

    def _key(self, source: Attendance) -> int:
        """Return the key of a connection's stream: its own, unless it names one that is there."""
        key = source.stream_key or self._streams.get(source)
        if key is None:
            sensor, name = self._keys[source.sensor_id], source.stream
            found = name and self._db.execute(schema.SELECT_STREAM, (sensor, name)).fetchone()
            made = found or [self._db.execute(schema.INSERT_STREAM, (sensor, name)).lastrowid]
            key = self._streams[source] = int(made[0])
            part = (sensor, name is not None, key, source.examination_id)
            self._db.execute(schema.INSERT_PART, part)
        return key

    def _learn(self) -> list[tuple[Numbers, int]]:
        """Return the largest number of each stream that was asked about for the first time."""
        learned: dict[Numbers, int] = {}
        for source in {q.source: None for q in self._group.questions}:
            if not source.numbers.known and source.numbers not in learned:
                where = {"sensor": self._keys[source.sensor_id], "stream": self._key(source)}
                sql = _LARGEST_NUMBER[source.stream is not None]
                largest = self._db.execute(sql, where).fetchone()[0]
                learned[source.numbers] = -1 if largest is None else largest
        return list(learned.items())


_SAMPLES_NUMBERED = [schema.select_samples_numbered(named) for named in (False, True)]
_LARGEST_NUMBER = [schema.select_largest_number(named) for named in (False, True)]


def _columns(
    sample: Sample,
) -> tuple[int | None, float, str, float | None, float | None, float | None]:
    return (
        sample.seq, sample.sec_from_start, sample.sensor_id,
        sample.fhr_bpm, sample.uterus, sample.spasms,
    )  # fmt: skip


def _insert(
    db: sqlite3.Connection, sql: Callable[[int], str], rows: Sequence[tuple[Any, ...]]
) -> int:
    """Insert rows, many per statement; return how many were new."""
    at = stored = 0
    for size in ROWS_PER_STATEMENT:
        end = len(rows) - (len(rows) - at) % size
        if end > at:
            groups = (tuple(chain.from_iterable(rows[n : n + size])) for n in range(at, end, size))
            stored += db.executemany(sql(size), groups).rowcount
            at = end
    return stored


def _add_counts(db: sqlite3.Connection, rows: Iterable[sqlite3.Row], upto: tuple[int, ...]) -> None:
    with db:
        db.executemany(schema.ADD_COUNTS, [tuple(row) for row in rows])
        db.execute(schema.SET_COUNTED, upto)


async def _one(db: aiosqlite.Connection, sql: str) -> sqlite3.Row:
    """Return the only row."""
    (row,) = await db.execute_fetchall(sql)
    return row


@contextlib.asynccontextmanager
async def open_store(
    path: Path, durability: Durability, sensors: Mapping[str, bytes | None]
) -> AsyncIterator[Store]:
    """Open, own, migrate and read a database; close it at the end.

    Parameters
    ----------
    path : Path
        Made when missing; its directory must exist.
    durability : {"normal", "full"}
        Whether a committed sample survives a power cut (full) or only a crash of ours (normal).
    sensors : mapping of str to bytes or None
        The configured sensors, and the digests of their tokens where these are known: they are
        stored. Tokens are not.

    Raises
    ------
    StoreError
        When it is not a database of ours, is newer than this program, is in use by another one,
        holds what we can't have written, or cannot be written.
    ConfigError
        When the digest of a sensor's token is neither given nor stored.
    """
    path = _real(path)
    async with contextlib.AsyncExitStack() as stack:
        try:
            _demand_file(path)
            stack.enter_context(owned(path))
            _touch(path)
            thread = _Thread(path)
            stack.push_async_callback(thread.close)
            await thread.run(lambda db: _prepare(db, path, durability))
            keys, recovered = await thread.run(lambda db: _recover(db, path, sensors))
            for sensor_id in sensors.keys() - recovered.token_digests.keys():
                raise ConfigError(f"sensor {sensor_id}", f"no token, nor its digest in {path}")
            reader = await stack.enter_async_context(
                aiosqlite.connect(path, timeout=RESTART_TIMEOUT_S)
            )
        except (sqlite3.Error, OSError, OverflowError) as error:
            raise StoreError(str(path), str(error)) from error
        yield Store(SqliteEngine(path, thread, reader, keys, recovered))


def _real(path: Path) -> Path:
    """Return the file's whole name, which SQLite takes for nothing else (``:memory:``)."""
    return path.absolute()


def _demand_file(path: Path) -> None:
    """Refuse what keeps nothing, or isn't a file."""
    if path.exists() and not path.is_file():
        raise StoreError(str(path), "is not a file")
    if not path.parent.is_dir():
        raise StoreError(str(path), "unable to open: there is no such directory")


def _touch(path: Path) -> None:
    """Make a missing file for its owner only: it will hold what was measured."""
    if not path.exists():
        path.touch(mode=0o600)  # SQLite gives its log the same mode


def _prepare(db: sqlite3.Connection, path: Path, durability: Durability) -> None:
    version, application, tables = [
        db.execute(sql).fetchone()[0]
        for sql in (
            "PRAGMA user_version",
            "PRAGMA application_id",
            "SELECT count(*) FROM sqlite_master",
        )
    ]
    if tables and application != schema.APPLICATION_ID:
        raise StoreError(str(path), "is a database, but not one of CTGKit's; nothing was changed")
    if version > len(schema.MIGRATIONS):
        raise StoreError(str(path), f"was written by a newer CTGKit (schema {version})")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    if 0 < version < len(schema.MIGRATIONS):
        log.info("bringing %s from schema %d to %d", path, version, len(schema.MIGRATIONS))
    for number, statements in enumerate(schema.MIGRATIONS[version:], version + 1):
        with db:
            db.execute("BEGIN IMMEDIATE")
            for sql in statements:
                db.execute(sql)
            db.execute(f"PRAGMA user_version = {number}")
            db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    for sql in schema.EXPECTED_COLUMNS:
        db.execute(sql)


def _recover(
    db: sqlite3.Connection, path: Path, sensors: Mapping[str, bytes | None]
) -> tuple[dict[str, int], Recovered]:
    """Return the sensors' keys, and what the database says at start."""
    with db:
        db.executemany(schema.INSERT_SENSOR, sensors.items())
    known = db.execute(schema.SELECT_SENSORS).fetchall()
    for uuid, _, digest in known:
        if not isinstance(uuid, str) or (digest and not isinstance(digest, bytes)):
            raise StoreError(str(path), f"table sensors holds rubbish ({uuid!r:.60})")
    opened = []
    for id_, bed in db.execute(schema.SELECT_OPEN).fetchall():
        age_s = db.execute(schema.SELECT_OPEN_AGE, (id_,)).fetchone()[0]
        if not isinstance(bed, str):
            raise StoreError(str(path), f"examination {id_} has a bed that is no text")
        opened.append((id_, bed, float("inf") if age_s is None else age_s))  # None: no time at all
    last = db.execute(schema.SELECT_LAST_EXAMINATION).fetchone()[0]
    if not isinstance(last, int) or last >= EXAMINATION_ID_MAX:
        raise StoreError(str(path), f"has an examination {last}: there is no number after it")
    return {uuid: key for uuid, key, _ in known}, Recovered(
        token_digests={uuid: digest for uuid, _, digest in known if digest},
        last_examination_id=last,
        open_examinations=tuple(opened),
    )
