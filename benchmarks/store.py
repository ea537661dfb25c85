"""The store's writer against bare ``executemany`` into the same schema, in groups as large.

Everything in one process, durability full; no sockets. The floor inserts and commits in a loop.
Processor time of all threads: small groups wait for one another on purpose (COMMIT_EVERY_S).
"""

import asyncio
import shutil
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

from benchmarks.measure import Figure, alternate
from ctgkit import wire
from ctgkit.mlstub.service import MlService
from ctgkit.samples import Sample
from ctgkit.server.numbering import Attendance
from ctgkit.server.repeats import Repeats, ResultRow
from ctgkit.server.store import schema
from ctgkit.server.store.sqlite import open_store
from ctgkit.server.store.sqlite_side import pack_file
from ctgkit.server.store.writer import QUEUE_MAX_ROWS
from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor

SENSOR = "0c7f4a34-0000-4000-8000-00000000000a"
DIGEST = bytes(32)
SCENARIO = "intrapartum-cohort"
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


def an_hour(path, seconds):
    """Store what four sensors measure, with results, and end their examination; return how many."""

    async def fill():
        sensors = {SENSOR[:-1] + str(n): DIGEST for n in range(4)}
        chunks = [Sensor(load_scenario(SCENARIO), seed=n).read(4 * seconds) for n in range(4)]
        service, followed, repeats = MlService(), {}, Repeats(keep_all=False)
        async with open_store(path, "normal", sensors) as store, asyncio.TaskGroup() as tasks:
            tasks.create_task(store.run())
            store.open_examination(1, "default")
            sources = [Attendance(sensor, 1) for sensor in sensors]
            columns = [
                zip(*(channel.tolist() for channel in chunk), strict=True) for chunk in chunks
            ]
            for seq, ticks in enumerate(zip(*columns, strict=True)):
                for source, (second, *values) in zip(sources, ticks, strict=True):
                    known = (value if value == value else None for value in values)
                    sample = Sample(source.sensor_id, second, *known, seq)
                    text = service._reply(wire.encode_sample(sample), followed)
                    row = ResultRow(1, source.sensor_id, second, "ok", text.decode())
                    store.add_sample(source, sample)
                    for stored in repeats.take(row, text, second, answers=True):
                        store.add_prediction(*stored)
                await store.written()
            for stored in repeats.end(1):
                store.add_prediction(*stored)
            store.close_examination(1, interrupted=False)
            await store.written()
            store.stop()
        return store.stored

    return asyncio.run(fill())


def packed(options):
    """Return how many bytes a sample with its results has on disk before and after."""
    with tempfile.TemporaryDirectory(prefix="ctgkit-bench-", dir=options.directory) as folder:
        path = Path(folder) / "hour.db"
        samples = an_hour(path, 300 if options.quick else 3_600)
        started_s = time.process_time()
        before, after = pack_file(path, lambda amount: None)
        spent_s = time.process_time() - started_s
    return Figure(
        part="store",
        name="bytes of disk per sample with its results, packed",
        unit="bytes",
        values=[after / samples],
        target=60.0,
        stretch=20.0,
        beside={"as rows": before / samples, "µs": 1e6 * spent_s / samples},
    )


def beside_packing(options):
    """Return how long rows take while another examination is packed ÷ while none is."""
    count = QUEUE_MAX_ROWS * (2 if options.quick else 250)
    with tempfile.TemporaryDirectory(prefix="ctgkit-bench-", dir=options.directory) as folder:
        source = Path(folder) / "over.db"
        asyncio.run(through_store(source, 8 * QUEUE_MAX_ROWS, QUEUE_MAX_ROWS))
        with closing(sqlite3.connect(source)) as db, db:
            db.execute("UPDATE examinations SET end_time = start_time")

        def seconds(name, pack_days):
            path = Path(folder) / name
            shutil.copy(source, path)
            return asyncio.run(flooded(path, count, pack_days))

        pairs = alternate(
            lambda n: seconds(f"packing{n}.db", 1e-9), lambda n: seconds(f"calm{n}.db", 0.0),
            options.repeat,
        )  # fmt: skip
    return Figure(
        part="store",
        name="time of a flood of rows while packing ÷ without",
        values=[packing / calm for packing, calm in pairs],
        beside={"rows/s": count / statistics.median(packing for packing, _ in pairs)},
    )


async def flooded(path, count, pack_days):
    """Return the seconds that rows took, chores beside them."""
    async with (
        open_store(path, "full", {SENSOR: DIGEST}, pack_days=pack_days) as store,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(store.run())
        chores = tasks.create_task(store.maintain_forever())
        store.open_examination(2, "default")
        source = Attendance(SENSOR, 2, "second")
        started_s = time.perf_counter()
        for at in range(0, count, 1_000):
            await store.room()
            for n in range(at, at + 1_000):
                store.add_sample(source, Sample(SENSOR, n / 4, 140.25, 10.0, 0.0, n))
        await store.written()
        spent_s = time.perf_counter() - started_s
        chores.cancel()
        store.stop()
    return spent_s


def measure(options):
    """Return a figure for small and for large groups, for the disk, and for packing."""
    groups = [written(options, group) for group in GROUPS]
    return [*groups, packed(options), beside_packing(options)]
