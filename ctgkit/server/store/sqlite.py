"""SQLite: open and migrate, one group-committing writer, a second connection that reads.

The writer takes whatever is queued, writes it in one transaction, and only then acknowledges.
Its queue is bounded: :meth:`Store.room` makes producers wait (TCP then holds the sensors back).
A full disk or a locked database keeps the group queued; it is retried, and ``degraded`` is set.
"""

import asyncio
import contextlib
import logging
import math
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from ctgkit.errors import ConfigError, StoreError
from ctgkit.server.settings import Durability
from ctgkit.server.store import schema
from ctgkit.server.store.reader import PastRow, recent_pages

log = logging.getLogger(__name__)

QUEUE_MAX_ROWS = 8_000
"""Rows waiting to be written before producers have to wait, so also about the longest
transaction: some 80 ms of writing, 2 MB of memory."""
QUEUE_MAX_BYTES = 8 << 20
"""The same in bytes of results, whose size is the ML service's choice: 25,000 usual ones."""
ROWS_PER_STATEMENT = (512, 64, 8, 1)
"""Rows that one statement inserts, as many as are there. For each statement the writer's thread
gives up the interpreter and has to win it back from the event loop, up to 5 ms later."""
COMMIT_EVERY_S = 0.02
"""From one commit to the next at least, seconds: what comes meanwhile shares its cost. The first
after a pause is at once, and so is one for which somebody holds back: acknowledgements don't."""
RETRY_S = (0.05, 1.0)
"""First and longest pause after a failed commit, seconds; doubling."""
SETTLE_S = 1.0
"""How long a reader waits for what is queued; with a full disk it does without, seconds."""
CHECKPOINT_EVERY_S = 1.0
"""Pause between checkpoints on the second connection, seconds; done by the writer they would
make its slowest commits four times slower (performance.md, trap 5)."""
WAL_MAX_PAGES = 4_000
"""Pages in the log (16 MB) beyond which the writer has to wait, some ms, until it can begin anew:
under steady load it never finds everything checkpointed by itself, and the log would grow."""
RESTART_TIMEOUT_S = 0.1
"""Longest such wait, seconds, when somebody else reads the database."""

SampleRow = tuple[
    int, int, int | None, float, str, float | None, float | None, float | None
]  # as schema.insert_samples
PredictionRow = tuple[int, int, float | None, str | None, str]  # as schema.insert_predictions
AckFunction = Callable[[int], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What the database says at start."""

    sensor_keys: dict[str, int]
    token_digests: dict[str, bytes]
    """Of each sensor whose token was ever configured with this database."""
    last_examination_id: int
    open_examinations: tuple[tuple[int, str, float], ...]
    """Id, bed, and age of the last sample in seconds."""
    tails: dict[str, tuple[int, int, int]]
    """Sensor id -> its last examination, the last sequence number in it, and the last before."""


@dataclass(slots=True)
class _Group:
    """What one transaction writes, and what it acknowledges afterwards."""

    statements: list[tuple[str, tuple[int | str, ...]]] = field(default_factory=list)
    samples: list[SampleRow] = field(default_factory=list)
    predictions: list[PredictionRow] = field(default_factory=list)
    prediction_bytes: int = 0
    acks: dict[AckFunction, int] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it is committed, or given up."""

    def __len__(self) -> int:
        return len(self.statements) + len(self.samples) + len(self.predictions)


class _Writer:
    """A connection in a thread of its own: a whole group is one trip there and back.

    aiosqlite, which serves the reads, makes a trip for every statement.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=1.0, check_same_thread=False)
        self._thread = ThreadPoolExecutor(1, "store")

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._db)

    async def close(self) -> None:
        """Let work that was begun end, then close."""
        await self.run(sqlite3.Connection.close)
        self._thread.shutdown()


class Store:
    """The database of one backend. Made by :func:`open_store`."""

    def __init__(
        self,
        path: Path,
        writer: _Writer,
        reader: aiosqlite.Connection,
        recovered: Recovered,
    ) -> None:
        self._path, self._writer, self._reader = str(path), writer, reader
        self.recovered = recovered
        self.on_commit: Callable[[float, int], None] = lambda seconds, rows: None
        """Called after each commit with its duration, seconds, and its number of rows."""
        self.stored = self.duplicates = self.commit_failures = 0
        self.degraded = ""
        """Why the last commit failed; empty while all is well."""
        self._queue = _Group()
        self._wake, self._urgent = asyncio.Event(), asyncio.Event()
        self.full = False
        """Whether producers have to await :meth:`room`."""
        self._room = asyncio.Event()
        self._closing = self._hurried = self._gave_up = False
        self._dirty = False

    # Producers: none of these waits; those that may be many call `room()` first.

    def add_sample(self, row: SampleRow) -> None:
        """Queue one sample."""
        samples = self._queue.samples
        samples.append(row)
        self._wake.set()
        if len(samples) >= QUEUE_MAX_ROWS:
            self.full = True

    def add_prediction(self, row: PredictionRow) -> None:
        """Queue one result."""
        self._queue.predictions.append(row)
        self._queue.prediction_bytes += len(row[-1])
        self._queued()

    def acknowledge(self, ack: AckFunction, seq: int) -> None:
        """Call ``ack(seq)`` once everything queued so far is committed; the largest *seq* wins."""
        self._queue.acks[ack] = max(seq, self._queue.acks.get(ack, seq))
        self._wake.set()

    def open_examination(self, examination_id: int, bed: str) -> None:
        """Queue the creation of an examination."""
        self._queue.statements.append((schema.INSERT_EXAMINATION, (examination_id, bed)))
        self._queued()

    def close_examination(self, examination_id: int, *, interrupted: bool) -> None:
        """Queue the end of an examination: now, or at its last sample if it was interrupted."""
        sql = schema.INTERRUPT_EXAMINATION if interrupted else schema.CLOSE_EXAMINATION
        self._queue.statements.append((sql, (examination_id,)))
        self._queued()

    def _queued(self) -> None:
        self._wake.set()
        queue = self._queue
        if len(queue) >= QUEUE_MAX_ROWS or queue.prediction_bytes >= QUEUE_MAX_BYTES:
            self.full = True

    @property
    def queued_bytes(self) -> int:
        """Bytes of results waiting."""
        return self._queue.prediction_bytes

    @property
    def depth(self) -> int:
        """Rows waiting."""
        return len(self._queue)

    async def room(self) -> None:
        """Wait until the queue is below its bound."""
        if self.full:
            self._urgent.set()
            self._room.clear()
            await self._room.wait()

    @property
    def pending(self) -> asyncio.Event:
        """What is set when the group that is queued now is committed, or given up."""
        return self._queue.over

    async def written(self) -> None:
        """Wait until what is queued now is committed, or given up."""
        pending = self.pending
        self._wake.set()
        self._urgent.set()
        await pending.wait()

    async def settled(self) -> None:
        """Wait until what is queued now is committed, :data:`SETTLE_S` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self.written()

    # The writer

    async def run(self) -> None:
        """Write groups until :meth:`stop`, then what is left."""
        next_s = -math.inf
        while not (self._closing and not len(self._queue) and not self._queue.acks):
            await self._wake.wait()
            await self._gather(next_s - time.monotonic())
            next_s = time.monotonic() + COMMIT_EVERY_S
            self._wake.clear()
            group, self._queue = self._queue, _Group()
            self.full = False
            self._room.set()
            if self._gave_up or (len(group) and not await self._commit_with_retries(group)):
                # Acks are cumulative, and a later number stored says that the earlier ones are:
                # after a group that is lost to us nothing may be written or acknowledged.
                self._gave_up = True
                if len(group):
                    log.error("gave up at shutdown: %d rows not written", len(group))
            else:
                for ack, seq in group.acks.items():
                    ack(seq)
            group.over.set()

    async def _gather(self, pause_s: float) -> None:
        """Let a group grow for *pause_s*, unless somebody waits for it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, pause_s)):
                await self._urgent.wait()
        self._urgent.clear()

    def hurry(self) -> None:
        """From now on give up what cannot be written within seconds, and all that follows."""
        self._hurried = True

    def stop(self) -> None:
        """Let :meth:`run` return when everything is written."""
        self.hurry()
        self._closing = True
        self._wake.set()
        self._urgent.set()

    async def _commit_with_retries(self, group: _Group) -> bool:
        pause_s = RETRY_S[0]
        while True:
            started = time.perf_counter()
            try:
                stored = await self._writer.run(lambda db: _write(db, group))
            except sqlite3.OperationalError as error:  # locked, full: it may pass
                self.commit_failures += 1
                if not self.degraded:
                    log.error("cannot write, retrying: %s", error)
                self.degraded = str(error)
                if self._hurried and pause_s >= RETRY_S[1]:
                    return False
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_S[1])
            except sqlite3.DatabaseError as error:  # corrupt: it won't
                raise StoreError(self._path, str(error)) from error
            else:
                break
        if self.degraded:
            log.info("writing again")
            self.degraded = ""
        self.stored += stored
        self.duplicates += len(group.samples) - stored
        self._dirty = True
        self.on_commit(time.perf_counter() - started, len(group))
        return True

    # The second connection

    async def checkpoint_forever(self) -> None:
        """Move committed pages from the log into the database, away from the writer."""
        while True:
            await asyncio.sleep(CHECKPOINT_EVERY_S)
            if self._dirty:
                self._dirty = False
                try:
                    _, pages, done = await _one(self._reader, "PRAGMA wal_checkpoint(PASSIVE)")
                    if pages > WAL_MAX_PAGES and done > pages // 2:  # else somebody reads long
                        await _one(self._reader, "PRAGMA wal_checkpoint(RESTART)")
                except sqlite3.OperationalError as error:
                    log.warning("checkpoint failed: %s", error)

    def recent(
        self, examination_id: int, sensor_key: int, past_s: float
    ) -> AsyncIterator[list[PastRow]]:
        """Yield a sensor's stored samples of the last *past_s* seconds of data time, in pages."""
        return recent_pages(self._reader, examination_id, sensor_key, past_s)


def _write(db: sqlite3.Connection, group: _Group) -> int:
    """Write one group in one transaction; return how many samples were new."""
    with db:
        for sql, arguments in group.statements:
            db.execute(sql, arguments)
        stored = _insert(db, schema.insert_samples, group.samples)
        _insert(db, schema.insert_predictions, group.predictions)
    return stored


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


async def _one(db: aiosqlite.Connection, sql: str) -> sqlite3.Row:
    """Return the only row."""
    (row,) = await db.execute_fetchall(sql)
    return row


@contextlib.asynccontextmanager
async def open_store(
    path: Path, durability: Durability, sensors: Mapping[str, bytes | None]
) -> AsyncIterator[Store]:
    """Open, migrate and read a database; close it at the end.

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
        When it is not a database of ours, is newer than this program, or cannot be written.
    ConfigError
        When the digest of a sensor's token is neither given nor stored.
    """
    async with contextlib.AsyncExitStack() as stack:
        try:
            _touch(path)
            writer = _Writer(path)
            stack.push_async_callback(writer.close)
            await writer.run(lambda db: _prepare(db, path, durability))
            recovered = await writer.run(lambda db: _recover(db, sensors))
            for sensor_id in sensors.keys() - recovered.token_digests.keys():
                raise ConfigError(f"sensor {sensor_id}", f"no token, nor its digest in {path}")
            reader = await stack.enter_async_context(
                aiosqlite.connect(path, timeout=RESTART_TIMEOUT_S)
            )
        except (sqlite3.DatabaseError, OSError) as error:
            raise StoreError(str(path), str(error)) from error
        yield Store(path, writer, reader, recovered)


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
    for number, statements in enumerate(schema.MIGRATIONS[version:], version + 1):
        db.execute("BEGIN IMMEDIATE")
        for sql in statements:
            db.execute(sql)
        db.execute(f"PRAGMA user_version = {number}")
        db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        db.commit()


def _recover(db: sqlite3.Connection, sensors: Mapping[str, bytes | None]) -> Recovered:
    with db:
        db.executemany(schema.INSERT_SENSOR, sensors.items())
    known = db.execute(schema.SELECT_SENSORS).fetchall()
    opened = [
        (id_, bed, db.execute(schema.SELECT_OPEN_AGE, (id_,)).fetchone()[0])
        for id_, bed in db.execute(schema.SELECT_OPEN).fetchall()
    ]
    return Recovered(
        sensor_keys={uuid: key for uuid, key, _ in known},
        token_digests={uuid: digest for uuid, _, digest in known if digest},
        last_examination_id=db.execute(schema.SELECT_LAST_EXAMINATION).fetchone()[0],
        open_examinations=tuple(opened),
        tails={row[0]: (row[1], row[2], row[3]) for row in db.execute(schema.SELECT_LAST_SEQS)},
    )
