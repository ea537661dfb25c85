"""SQLite behind the writer: open, migrate and own a file, write groups, read beside them."""

import asyncio
import contextlib
import functools
import logging
import os
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from ctgkit.errors import ConfigError, StoreError
from ctgkit.server.roster import Known
from ctgkit.server.settings import Durability
from ctgkit.server.store import schema
from ctgkit.server.store.archive import SqliteArchive
from ctgkit.server.store.engine import Again, Group, Reading, Recovered, Written
from ctgkit.server.store.owner import owned
from ctgkit.server.store.packing import Packer
from ctgkit.server.store.past import recent_pages
from ctgkit.server.store.removal import remove_old
from ctgkit.server.store.transaction import Transaction
from ctgkit.server.store.writer import Store

log = logging.getLogger(__name__)

WAL_MAX_PAGES = 4_000
"""Pages in the log (16 MB) beyond which the writer has to wait, some ms, until it can begin anew:
under steady load it never finds everything checkpointed by itself, and the log would grow."""
RESTART_TIMEOUT_S = 0.1
"""Longest such wait, seconds, when somebody else reads the database."""
LOG_CUT_FACTOR, LOG_WARN_FACTOR = 2, 4
"""A log that many times over its usual size is cut when its readers have left, and mentioned while
they haven't."""
CACHE_KIB = 8_192
"""Pages that the writer keeps: a full group changes some 500, which are SQLite's usual 2 MB."""
REMOVED_AT_ONCE = 10
"""Pieces of old examinations that are removed one after another, each second: 20,000 rows."""
PACKED_AT_ONCE = 10
"""Blocks of examinations that are over that are made one after another, each second: 4,800 samples,
a tenth of a second of the writer's thread."""
COUNT_MAX_ROWS = 50_000
"""Rows counted at a time for `exam list`, some 20 ms. Chosen: what a second brings at most."""

EXAMINATION_ID_MAX = 2**62
"""Beyond it an id can't be one of ours; SQLite's own end is 2**63."""

GIVES_WAY_NICE = 5
"""By how much the writer's thread and the one that checkpoints give way to the loop where they
share a core: 5,000 sensors' slowest percent waited for time slices of theirs, 0.1 to 0.2 s. Equal
for both: with 10 for checkpoints the log grew beside a writer that never pauses."""

T = TypeVar("T")


class _Thread:
    """A connection in a thread of its own: a whole group is one trip there and back.

    aiosqlite, which serves the reads, makes a trip for every statement.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=1.0, check_same_thread=False)
        self._executor = ThreadPoolExecutor(1, "store", _give_way)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, self._db)

    async def close(self) -> None:
        """Let work that was begun end, then close."""
        await self.run(sqlite3.Connection.close)
        self._executor.shutdown()


class _Beside(sqlite3.Connection):
    """A connection whose thread, which opens it, gives way to the others."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        _give_way()
        super().__init__(*arguments, **more)


def _give_way() -> None:
    """Lower the priority of this thread; elsewhere than on Linux it would be the process's."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            os.setpriority(
                os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + GIVES_WAY_NICE
            )


class SqliteEngine:
    """One SQLite file. Made by :func:`open_store`."""

    def __init__(
        self,
        path: Path,
        thread: _Thread,
        reader: aiosqlite.Connection,
        keys: dict[str, int],
        recovered: Recovered,
        keep_days: float = 0.0,
        pack_days: float = 0.0,
    ) -> None:
        self._keep_days = keep_days
        self._packer = Packer(pack_days) if pack_days else None
        self._path, self._thread, self._reader = path, thread, reader
        self._keys, self.recovered = keys, recovered
        self._maintained = -1
        self._log_is_long = self._is_behind = False

    async def write(self, group: Group) -> Written:
        """Write a group in one transaction."""
        with self._errors(reading=False):
            return await self._thread.run(lambda db: Transaction(db, self._keys, group).write())

    async def recent(
        self, examination_id: int, sensor_id: str, past_s: float
    ) -> AsyncIterator[list[Reading]]:
        """Yield a sensor's stored samples of the last *past_s* seconds, oldest first, in pages."""
        key = self._keys[sensor_id]
        with self._errors(reading=True):
            async for rows in recent_pages(self._reader, examination_id, key, past_s):
                yield [(r[0], r[1], r[2], r[3]) for r in rows if _is_reading(r)]

    async def known(self) -> list[Known]:
        """Return the sensors that live in the database; learn the keys of new ones."""
        with self._errors(reading=True):
            rows = await self._reader.execute_fetchall(schema.KNOWN_SENSORS)
        known = []
        for uuid, key, digest, bed, control in rows:
            texts = isinstance(uuid, str) and isinstance(bed, str)
            if texts and isinstance(digest, bytes) and isinstance(control, str | None):
                self._keys.setdefault(uuid, key)
                known.append(Known(uuid, digest, bed, control))
        return known

    async def last_result(self, examination_id: int, sensor_id: str) -> str | None:
        """Return the last result of a sensor that is stored, as it came."""
        where = (examination_id, self._keys[sensor_id])
        with self._errors(reading=True):
            rows = list(await self._reader.execute_fetchall(schema.SELECT_LAST_RESULT, where))
        return rows[0][0] if rows and isinstance(rows[0][0], str) else None

    async def maintain(self, stored: int) -> None:
        """Count what is new, and move committed pages from the log, away from the writer."""
        if self._keep_days:
            with self._errors(reading=True):
                await self._remove_old()
        if self._packer is not None:
            with self._errors(reading=True):
                await self._pack(self._packer)
        if stored == self._maintained and not self._is_behind:
            return
        with self._errors(reading=True):
            uncounted = await self._count()
            held = await self._checkpoint()
        self._is_behind = uncounted or held
        self._maintained = stored

    async def _remove_old(self) -> None:
        """Remove what is older than it is kept; between two pieces groups are written."""
        for _ in range(REMOVED_AT_ONCE):
            if not await self._thread.run(lambda db: remove_old(db, self._keep_days)):
                return
            self._is_behind = True

    async def _pack(self, packer: Packer) -> None:
        """Pack what is old enough; between two blocks groups are written."""
        for _ in range(PACKED_AT_ONCE):
            if not await self._thread.run(packer.step):
                return
            self._is_behind = True

    async def _checkpoint(self) -> bool:
        """Move what can be moved; return whether a reader holds the rest."""
        _, pages, done = await _one(self._reader, "PRAGMA wal_checkpoint(PASSIVE)")
        if pages > WAL_MAX_PAGES and done > pages // 2:  # else somebody reads long
            how = "TRUNCATE" if pages > LOG_CUT_FACTOR * WAL_MAX_PAGES else "RESTART"
            await _one(self._reader, f"PRAGMA wal_checkpoint({how})")
        too_long = done < pages and pages > LOG_WARN_FACTOR * WAL_MAX_PAGES
        if too_long and not self._log_is_long:
            log.warning("a long read keeps the write-ahead log from shrinking: %d MB", pages >> 8)
        self._log_is_long = too_long
        return bool(done < pages)

    async def _count(self) -> bool:
        """Add rows that are not counted yet to the stored counts; return whether some are left."""
        counted = tuple(await _one(self._reader, schema.SELECT_COUNTED))
        last = tuple(await _one(self._reader, schema.SELECT_LAST_ROWS))
        upto = tuple(min(n + COUNT_MAX_ROWS, m) for n, m in zip(counted, last, strict=True))
        if upto != counted:
            spans = {"samples": counted[0], "samples_to": upto[0]}
            spans |= {"predictions": counted[1], "predictions_to": upto[1]}
            rows = await self._reader.execute_fetchall(schema.COUNT_ROWS, spans)
            await self._thread.run(functools.partial(_add_counts, rows=rows, upto=upto))
        return upto != last

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
    path: Path,
    durability: Durability,
    sensors: Mapping[str, bytes | None],
    keep_days: float = 0.0,
    pack_days: float = 0.0,
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
    keep_days : float
        Examinations that ended longer ago are removed; 0 keeps all.
    pack_days : float
        Of examinations that ended longer ago the rows become blocks; 0: never.

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
            await thread.run(lambda db: prepare(db, path, durability))
            keys, recovered = await thread.run(lambda db: _recover(db, path, sensors))
            for sensor_id in sensors.keys() - recovered.token_digests.keys():
                raise ConfigError(f"sensor {sensor_id}", f"no token, nor its digest in {path}")
            reader = await stack.enter_async_context(
                aiosqlite.connect(path, timeout=RESTART_TIMEOUT_S, factory=_Beside)
            )
            archive = SqliteArchive(path)
            stack.push_async_callback(archive.close)
        except (sqlite3.Error, OSError, OverflowError) as error:
            raise StoreError(str(path), str(error)) from error
        engine = SqliteEngine(path, thread, reader, keys, recovered, keep_days, pack_days)
        yield Store(engine, archive)


def _real(path: Path) -> Path:
    """Return the file's whole name, which SQLite takes for nothing else (``:memory:``)."""
    return path.absolute()


def _demand_file(path: Path) -> None:
    """Refuse what keeps nothing, or isn't a file."""
    if path.exists() and not path.is_file():
        raise StoreError(str(path), "is not a file")
    if not path.parent.is_dir():
        raise StoreError(str(path), "cannot open: no such directory")


def _touch(path: Path) -> None:
    """Make a missing file for its owner only: it will hold what was measured."""
    if not path.exists():
        path.touch(mode=0o600)  # SQLite gives its log the same mode


def prepare(db: sqlite3.Connection, path: Path, durability: Durability) -> None:
    """Make or migrate the tables of a file that is owned."""
    version, application, tables = [
        db.execute(sql).fetchone()[0]
        for sql in (
            "PRAGMA user_version",
            "PRAGMA application_id",
            "SELECT count(*) FROM sqlite_master",
        )
    ]
    if tables and application != schema.APPLICATION_ID:
        raise StoreError(str(path), "is not a CTGKit database; nothing was changed")
    if version > len(schema.MIGRATIONS):
        raise StoreError(str(path), f"was written by a newer CTGKit (schema {version})")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
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
            raise StoreError(str(path), f"table sensors: invalid value ({uuid!r:.60})")
    opened = []
    for id_, bed in db.execute(schema.SELECT_OPEN).fetchall():
        age_s = db.execute(schema.SELECT_OPEN_AGE, (id_,)).fetchone()[0]
        if not isinstance(bed, str):
            raise StoreError(str(path), f"examination {id_} has a bed that is not text")
        opened.append((id_, bed, float("inf") if age_s is None else age_s))  # None: no time at all
    last = db.execute(schema.SELECT_LAST_EXAMINATION).fetchone()[0]
    if not isinstance(last, int) or last >= EXAMINATION_ID_MAX:
        raise StoreError(str(path), f"has examination {last}, the largest possible number")
    return {uuid: key for uuid, key, _ in known}, Recovered(
        token_digests={uuid: digest for uuid, _, digest in known if digest},
        last_examination_id=last,
        open_examinations=tuple(opened),
    )
