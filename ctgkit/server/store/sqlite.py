"""SQLite: open and migrate, one group-committing writer, a second connection that reads.

The writer takes whatever is queued, writes it in one transaction, and only then acknowledges.
Its queue is bounded: :meth:`Store.room` makes producers wait (TCP then holds the sensors back).
A full disk or a locked database keeps the group queued; it is retried, and ``degraded`` is set.
"""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import aiosqlite

from ctgkit.errors import ConfigError, StoreError
from ctgkit.server.settings import Durability
from ctgkit.server.store import schema

log = logging.getLogger(__name__)

QUEUE_MAX_ROWS = 8_000
"""Rows waiting to be written before producers have to wait, so also about the longest
transaction: some 80 ms of writing, 2 MB of memory."""
ROWS_PER_STATEMENT = 100
"""Rows that one statement inserts. For each statement the writer's thread gives up the
interpreter and has to win it back from the event loop."""
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
    acks: dict[AckFunction, int] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it is committed, or given up."""

    def __len__(self) -> int:
        return len(self.statements) + len(self.samples) + len(self.predictions)


class Store:
    """The database of one backend. Made by :func:`open_store`."""

    def __init__(
        self,
        path: Path,
        writer: aiosqlite.Connection,
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
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closing = self._hurried = self._gave_up = False
        self._dirty = False

    # Producers: none of these waits; those that may be many call `room()` first.

    def add_sample(self, row: SampleRow) -> None:
        """Queue one sample."""
        self._queue.samples.append(row)
        self._queued()

    def add_prediction(self, row: PredictionRow) -> None:
        """Queue one result."""
        self._queue.predictions.append(row)
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
        if len(self._queue) >= QUEUE_MAX_ROWS:
            self._room.clear()

    @property
    def depth(self) -> int:
        """Rows waiting."""
        return len(self._queue)

    async def room(self) -> None:
        """Wait until the queue is below its bound."""
        await self._room.wait()

    @property
    def pending(self) -> asyncio.Event:
        """What is set when the group that is queued now is committed, or given up."""
        return self._queue.over

    async def written(self) -> None:
        """Wait until what is queued now is committed, or given up."""
        pending = self.pending
        self._wake.set()
        await pending.wait()

    async def settled(self) -> None:
        """Wait until what is queued now is committed, :data:`SETTLE_S` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self.written()

    # The writer

    async def run(self) -> None:
        """Write groups until :meth:`stop`, then what is left."""
        while not (self._closing and not len(self._queue) and not self._queue.acks):
            await self._wake.wait()
            self._wake.clear()
            group, self._queue = self._queue, _Group()
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

    def hurry(self) -> None:
        """From now on give up what cannot be written within seconds, and all that follows."""
        self._hurried = True

    def stop(self) -> None:
        """Let :meth:`run` return when everything is written."""
        self.hurry()
        self._closing = True
        self._wake.set()

    async def _commit_with_retries(self, group: _Group) -> bool:
        pause_s = RETRY_S[0]
        while True:
            started = time.perf_counter()
            try:
                stored = await self._commit(group)
            except sqlite3.OperationalError as error:  # locked, full: it may pass
                self.commit_failures += 1
                if not self.degraded:
                    log.error("cannot write, retrying: %s", error)
                self.degraded = str(error)
                if self._hurried and pause_s >= RETRY_S[1]:
                    return False
                with contextlib.suppress(sqlite3.OperationalError):
                    await self._writer.rollback()
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

    async def _commit(self, group: _Group) -> int:
        """Write one group; return how many samples were new."""
        for sql, arguments in group.statements:
            await self._writer.execute(sql, arguments)
        stored = await self._insert(schema.insert_samples, group.samples)
        await self._insert(schema.insert_predictions, group.predictions)
        await self._writer.commit()
        return stored

    async def _insert(self, sql: Callable[[int], str], rows: Sequence[tuple[Any, ...]]) -> int:
        """Insert rows, many per statement; return how many were new."""
        many = len(rows) - len(rows) % ROWS_PER_STATEMENT
        stored = 0
        if many:
            groups = [
                tuple(chain.from_iterable(rows[at : at + ROWS_PER_STATEMENT]))
                for at in range(0, many, ROWS_PER_STATEMENT)
            ]
            stored += (await self._writer.executemany(sql(ROWS_PER_STATEMENT), groups)).rowcount
        if many < len(rows):
            stored += (await self._writer.executemany(sql(1), rows[many:])).rowcount
        return stored

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

    async def recent(
        self, examination_id: int, sensor_key: int, limit: int
    ) -> list[tuple[float, float | None, float | None, float | None]]:
        """Return a sensor's last *limit* stored samples, oldest first.

        Returns
        -------
        list of (sec_from_start, fhr_bpm, uterus, spasms)
        """
        rows = await self._reader.execute_fetchall(
            schema.SELECT_RECENT, (examination_id, sensor_key, limit)
        )
        return [(r[0], r[1], r[2], r[3]) for r in rows][::-1]


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
            _probe(path)
            writer = await stack.enter_async_context(aiosqlite.connect(path, timeout=1.0))
            await _prepare(writer, path, durability)
            recovered = await _recover(writer, sensors)
            for sensor_id in sensors.keys() - recovered.token_digests.keys():
                raise ConfigError(f"sensor {sensor_id}", f"no token, nor its digest in {path}")
            reader = await stack.enter_async_context(
                aiosqlite.connect(path, timeout=RESTART_TIMEOUT_S)
            )
        except (sqlite3.DatabaseError, OSError) as error:
            raise StoreError(str(path), str(error)) from error
        yield Store(path, writer, reader, recovered)


def _probe(path: Path) -> None:
    """Make a missing file for its owner only (it will hold what was measured), and open it once.

    A file that can't be opened fails here: aiosqlite's thread would outlive the event loop.
    """
    if not path.exists():
        path.touch(mode=0o600)  # SQLite gives its log the same mode
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA schema_version")


async def _prepare(db: aiosqlite.Connection, path: Path, durability: Durability) -> None:
    version, application = [
        (await _one(db, f"PRAGMA {name}"))[0] for name in ("user_version", "application_id")
    ]
    tables = (await _one(db, "SELECT count(*) FROM sqlite_master"))[0]
    if tables and application != schema.APPLICATION_ID:
        raise StoreError(str(path), "is a database, but not one of CTGKit's; nothing was changed")
    if version > len(schema.MIGRATIONS):
        raise StoreError(str(path), f"was written by a newer CTGKit (schema {version})")
    await db.execute("PRAGMA journal_mode = WAL")
    await db.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
    await db.execute("PRAGMA wal_autocheckpoint = 0")
    for number, statements in enumerate(schema.MIGRATIONS[version:], version + 1):
        await db.execute("BEGIN IMMEDIATE")
        for sql in statements:
            await db.execute(sql)
        await db.execute(f"PRAGMA user_version = {number}")
        await db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        await db.commit()


async def _recover(db: aiosqlite.Connection, sensors: Mapping[str, bytes | None]) -> Recovered:
    await db.executemany(schema.INSERT_SENSOR, sensors.items())
    await db.commit()
    known = list(await db.execute_fetchall(schema.SELECT_SENSORS))
    last = (await _one(db, schema.SELECT_LAST_EXAMINATION))[0]
    opened = [
        (row[0], row[1], (await _one(db, schema.SELECT_OPEN_AGE, row[0]))[0])
        for row in await db.execute_fetchall(schema.SELECT_OPEN)
    ]
    tails = {
        row[0]: (row[1], row[2], row[3])
        for row in await db.execute_fetchall(schema.SELECT_LAST_SEQS)
    }
    return Recovered(
        sensor_keys={row[0]: row[1] for row in known},
        token_digests={row[0]: row[2] for row in known if row[2]},
        last_examination_id=last,
        open_examinations=tuple(opened),
        tails=tails,
    )


async def _one(db: aiosqlite.Connection, sql: str, *arguments: int) -> sqlite3.Row:
    rows = list(await db.execute_fetchall(sql, arguments))
    return rows[0]
