"""The writer over PostgreSQL against the same writer over SQLite: processor time of a row.

A server of its own (fsync on, as it would be), over a unix socket; durability full. The node's time
is this process's, the server's that of all its processes.
"""

import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Figure, alternate
from benchmarks.store import DIGEST, SENSOR, through_store
from ctgkit.config import SensorEntry
from ctgkit.dsn import Dsn
from ctgkit.samples import Sample
from ctgkit.server.settings import BackendSettings

GROUP = 1_000
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def server_seconds(pid):
    """Return the processor time of a server's processes, and of those that ended, seconds."""
    total = 0.0
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for process in (str(pid), *children):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            # utime, stime; of the postmaster also its children's that are gone
            total += sum(int(fields[n]) for n in ((11, 12, 13, 14) if process == str(pid) else
                                                  (11, 12)))  # fmt: skip
    return total * _TICK_S


async def through_postgres(cluster, count, group):
    """Return the node's and the server's processor µs of a row."""
    from ctgkit.server.store.postgres.opening import open_postgres

    dsn = Dsn(await cluster.database())
    settings = BackendSettings(sensors=(SensorEntry(id=SENSOR, token="t"),), database=dsn, node="n")
    async with open_postgres(dsn, settings, {SENSOR: DIGEST}, {SENSOR: "bed"}) as (store, registry):
        tasks = [asyncio.ensure_future(part) for part in (store.run(), registry.run())]
        source = await registry.claim(SENSOR, "s", numbered=True)
        waiting = [Sample(SENSOR, n / 4, 140.25, 10.0, 0.0, n) for n in range(count + group)]
        for sample in waiting[count:]:  # plans are made, files are open
            store.add_sample(source, sample)
        await store.written()
        pid = cluster.pid
        started_s, server_s = time.process_time(), server_seconds(pid)
        for at in range(0, count, group):
            for sample in waiting[at : at + group]:
                store.add_sample(source, sample)
            await store.written()
        node_s, server_s = time.process_time() - started_s, server_seconds(pid) - server_s
        store.stop()
        await tasks[0]
        tasks[1].cancel()
        await asyncio.wait(tasks)
        await registry.stop()
    assert store.stored == count + group
    return 1e6 * node_s / count, 1e6 * server_s / count


def measure(options):
    """Return the figures, or none where PostgreSQL is missing."""
    from tests.postgres import binaries, clusters

    if binaries() is None:
        return []
    count = GROUP * (5 if options.quick else 100)
    with (
        clusters() as make,
        tempfile.TemporaryDirectory(prefix="ctgkit-bench-", dir=options.directory) as path,
    ):
        cluster = make()
        cluster.settings["fsync"] = "on"
        cluster.start()
        pairs = alternate(
            lambda n: asyncio.run(through_postgres(cluster, count, GROUP)),
            lambda n: asyncio.run(through_store(Path(path) / f"ours{n}.db", count, GROUP)),
            options.repeat,
        )
    beside = {
        "node µs": statistics.median(node for (node, _), _ in pairs),
        "server µs": statistics.median(server for (_, server), _ in pairs),
        "SQLite µs": statistics.median(sqlite for _, sqlite in pairs),
    }
    return [
        Figure(
            part="postgres",
            name=f"CPU per row, {GROUP:,} per commit, {what} ÷ SQLite writer",
            values=[sum(ours[:n]) / sqlite for ours, sqlite in pairs],
            beside=beside,
        )
        for what, n in (("node and server", 2), ("node alone", 1))
    ]
