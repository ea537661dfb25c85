"""The store's writer against bare ``executemany`` into the same schema, in groups as large.

Everything in one process, durability full; no sockets. The floor inserts and commits in a loop.
Processor time of all threads: small groups wait for one another on purpose (COMMIT_EVERY_S).
"""

import asyncio
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

from benchmarks.measure import Figure, alternate
from ctgkit.samples import Sample
from ctgkit.server.numbering import Attendance
from ctgkit.server.store import schema
from ctgkit.server.store.sqlite import open_store
from ctgkit.server.store.writer import QUEUE_MAX_ROWS

SENSOR = "0c7f4a34-0000-4000-8000-00000000000a"
DIGEST = bytes(32)
GROUPS = (100, QUEUE_MAX_ROWS)


def sample_rows(count, key):
    """Return rows of one sensor."""
    now = "2026-01-01T00:00:00.000Z"
    return [(now, 1, key, 1, SENSOR, n / 4, 140.25, 10.0, 0.0, n) for n in range(count)]


async def through_store(path, count, group):
    """Return the processor µs of a row through :class:`Store`."""
    async with open_store(path, "full", {SENSOR: DIGEST}) as store, asyncio.TaskGroup() as tasks:
        tasks.create_task(store.run())
        store.open_examination(1, "default")
        await store.settled()
        source = Attendance(SENSOR, 1)
        waiting = [Sample(SENSOR, n / 4, 140.25, 10.0, 0.0, n) for n in range(count)]
        started_s = time.process_time()
        for at in range(0, count, group):
            for sample in waiting[at : at + group]:
                store.add_sample(source, sample)
            await store.settled()
        spent_s = time.process_time() - started_s
        store.stop()
    assert store.stored == count
    return 1e6 * spent_s / count


def executemany(path, count, group):
    """Return the processor µs of a row in bare SQLite."""
    with closing(sqlite3.connect(path)) as db:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 0"):
            db.execute(f"PRAGMA {pragma}")
        for statements in schema.MIGRATIONS:
            for sql in statements:
                db.execute(sql)
        db.execute(schema.INSERT_EXAMINATION, (1, "default"))
        db.execute(schema.INSERT_SENSOR, (SENSOR, DIGEST))
        db.commit()
        waiting = sample_rows(count, 1)
        started_s = time.process_time()
        for at in range(0, count, group):
            db.executemany(schema.insert_samples(1), waiting[at : at + group])
            db.commit()
        return 1e6 * (time.process_time() - started_s) / count


def written(options, group):
    """Return the figure for groups of a size."""
    count = group * (2 if options.quick else 20 if group > 1_000 else 100)
    with tempfile.TemporaryDirectory(prefix="ctgkit-bench-", dir=options.directory) as path:
        pairs = alternate(
            lambda n: asyncio.run(through_store(Path(path) / f"ours{n}.db", count, group)),
            lambda n: executemany(Path(path) / f"bare{n}.db", count, group),
            options.repeat,
        )
    return Figure(
        part="store",
        name=f"CPU per row, {group} per commit ÷ bare executemany",
        values=[ours / bare for ours, bare in pairs],
        beside={
            "µs": statistics.median(ours for ours, _ in pairs),
            "bare": statistics.median(bare for _, bare in pairs),
        },
    )


def measure(options):
    """Return a figure for small and for large groups."""
    return [written(options, group) for group in GROUPS]
