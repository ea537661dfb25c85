"""Stored samples per second when sensors flood, over a bare websockets receive loop.

``--durability full``, no ML service. Both servers get the same bytes from the same client; the
clock stops at the last acknowledgement, so all that was sent is committed.
"""

import sqlite3
import statistics
import time
from contextlib import closing

from benchmarks.load import Role
from benchmarks.measure import Figure, alternate, cpu_s
from benchmarks.system import running

SENSORS = (1, 10, 100)
TARGETS = {10: (0.5, 0.65), 100: (0.5, 0.65)}
ORIGINAL_ROWS_PER_S = {1: 939, 10: 879, 100: 470}
"""The original Go backend, which commits each row with fsync (docs/performance.md)."""


def flood_once(url, pid, credentials, samples, first):
    """Return (samples per second, processor µs per sample of each thread of the server)."""
    with Role("flood", url=url, credentials=credentials, samples=samples, first=first) as client:
        before = cpu_s(pid)
        client.go()
        took_s = client.heard()
        after = cpu_s(pid)
    total = samples * len(credentials)
    threads = [1e6 * (s - before.get(name, 0.0)) / total for name, s in after.items()]
    return total / took_s, threads


def commit_each_row_per_s(directory, count):
    """Return how many rows per second this disk takes when each is a transaction with fsync."""
    path = directory / "rows.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE IF NOT EXISTS ctg (a, b, c, d)")
        started = time.perf_counter()
        for n in range(count):
            db.execute("INSERT INTO ctg VALUES (1, ?, 140.25, 10.0)", (n,))
        return count / (time.perf_counter() - started)


def flooded(options, sensors):
    """Return the figure for a number of sensors."""
    samples = (1_000 if options.quick else 150_000) // sensors
    with running(sensors, options.directory) as (system, backend, credentials):
        with Role("receive") as bare:

            def ours(number):
                first = 1_000 + number * samples
                return flood_once(backend.url, backend.pid, credentials, samples, first)

            def floor(number):
                return flood_once(bare.first, bare.pid, credentials, samples, 1_000)

            pairs = alternate(ours, floor, options.repeat)
        by_row = commit_each_row_per_s(system.directory, 20 if options.quick else 500)
        stored = system.stored(backend)
    assert stored == sensors * samples * options.repeat, "samples were lost"
    target, stretch = TARGETS.get(sensors, (None, None))
    rates = [rate for (rate, _), _ in pairs]
    loop_us = [sum(threads) for _, (_, threads) in pairs]
    return Figure(
        part="ingest",
        name=f"stored/s, {sensors} sensors ÷ bare receive loop",
        values=[rate / bare_rate for (rate, _), (bare_rate, _) in pairs],
        target=target,
        stretch=stretch,
        at_least=True,
        beside={
            "stored/s": statistics.median(rates),
            "bare/s": statistics.median(rate for _, (rate, _) in pairs),
            "CPU µs: event loop": statistics.median(t[0] for (_, t), _ in pairs),
            "other threads": statistics.median(sum(t[1:]) for (_, t), _ in pairs),
            "bare": statistics.median(loop_us),
            "× a commit per row here": statistics.median(rates) / by_row,
            "× the original's": statistics.median(rates) / ORIGINAL_ROWS_PER_S[sensors],
        },
    )


def measure(options):
    """Return a figure for each number of sensors."""
    return [flooded(options, sensors) for sensors in SENSORS]
