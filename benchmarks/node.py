"""Stored samples per second when sensors flood, over a plain Node.js backend, each on one core.

For developers, not in the table: ``python -m benchmarks.node --modules DIR``, where DIR holds the
``node_modules`` with ws and better-sqlite3 (``npm install ws better-sqlite3``). The load has the
other core. Without Node.js or the modules it says so and ends with 2.
"""

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.ingest import flood_once
from benchmarks.measure import alternate, machine
from benchmarks.rivals import BACKEND_CORE, LOAD_CORE, on_core
from benchmarks.system import running

SENSORS, SAMPLES = (1, 10, 100), 100_000
SCRIPT = Path(__file__).with_name("node_backend.js")


@contextmanager
def node(modules, database, ids):
    """Yield the URL and the process id of the Node.js backend."""
    where = {**os.environ, "NODE_PATH": str(modules / "node_modules")}
    command = ["node", str(SCRIPT), str(database), ",".join(ids)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=where) as process:
        try:
            yield json.loads(process.stdout.readline()), process.pid
        finally:
            process.kill()


def rows(database):
    """Return how many samples a database holds."""
    with closing(sqlite3.connect(database)) as db:
        return db.execute("SELECT count(*) FROM ctg").fetchone()[0]


def compared(modules, sensors, repeat):
    """Return [((rows/s, µs of each thread) of ours, of Node's), …]."""
    samples = SAMPLES // sensors
    with running(sensors) as (system, backend, credentials):
        database = system.directory / "node.db"
        with node(modules, database, [sensor_id for sensor_id, _ in credentials]) as (url, pid):
            on_core(backend.pid, BACKEND_CORE)
            on_core(pid, BACKEND_CORE)

            def one(url, pid, number):
                time.sleep(0.3)  # the other one's chores are over
                return flood_once(url, pid, credentials, samples, 1_000 + number * samples)

            pairs = alternate(
                lambda n: one(backend.url, backend.pid, n), lambda n: one(url, pid, n), repeat
            )
        assert rows(database) == system.stored(backend) == sensors * samples * repeat
    return pairs


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modules", type=Path, required=True, metavar="DIR")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    if not shutil.which("node") or not (arguments.modules / "node_modules/better-sqlite3").exists():
        print("skipped: no Node.js, or no better-sqlite3 in", arguments.modules, file=sys.stderr)
        return 2
    os.sched_setaffinity(0, {LOAD_CORE})
    for sensors in SENSORS:
        pairs = compared(arguments.modules, sensors, arguments.repeat)
        ratios = [ours / theirs for (ours, _), (theirs, _) in pairs]
        sides = [
            f"{statistics.median(rate for rate, _ in side):,.0f} rows/s "
            f"{statistics.median(sum(threads) for _, threads in side):.1f} µs"
            for side in zip(*pairs, strict=True)
        ]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{sensors:4} sensors: {spread}; ours {sides[0]}, Node.js {sides[1]}", flush=True)
    print(json.dumps(machine()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
