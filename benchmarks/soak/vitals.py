"""What a process holds: memory, file descriptors, threads; and what the backend counts."""

import asyncio
import os
import re
import sys
from pathlib import Path

from tests.flow.processes import ask

_LINE = re.compile(r'^(ctgkit_\w+?)(?:\{\w+="([^"]*)"\})? (\S+)$')


def vitals(pid):
    """Return {measure: value} of a process; empty when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    except (FileNotFoundError, ProcessLookupError):
        return {}
    fields = dict(line.split(":", 1) for line in status.splitlines())
    if "VmRSS" not in fields:  # a zombie
        return {}
    return {
        "rss_mib": int(fields["VmRSS"].split()[0]) / 1024,
        "descriptors": descriptors,
        "threads": int(fields["Threads"]),
    }


def wal_mib(database):
    """Return the size of a database's write-ahead log."""
    return Path(f"{database}-wal").stat().st_size / 2**20


async def metrics(url):
    """Return {name or (name, label): value} of a backend's /metrics."""
    text = (await ask(url, "/metrics")).body.decode()
    found = (match.groups() for line in text.splitlines() if (match := _LINE.match(line)))
    return {(name, label) if label else name: float(value) for name, label, value in found}


async def sample_for_ever(system, every_s, series):
    """Append to *series* [(process, measure)] a point (seconds, value) every so often.

    Descriptors are counted without the backend's connections: those come and go on purpose.
    """
    clock = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(every_s)
        try:
            counted = await metrics(system.backend.url)
        except OSError as error:  # watch() notices when it is dead rather than busy
            print(f"no metrics this time: {error!r}", file=sys.stderr, flush=True)
            continue
        connections = sum(v for (name, *_), v in _labelled(counted) if name == "ctgkit_connections")
        at_s = clock() - system.began_s
        for name, process in system.observed().items():
            for measure, value in vitals(process.pid).items():
                held = value - connections if (name, measure) == SPARE else value
                series.setdefault((name, measure), []).append((at_s, held))
        series.setdefault(("serve", "wal_mib"), []).append((at_s, wal_mib(system.system.database)))
        for (name, label), value in _labelled(counted):
            if name in ("ctgkit_queue_depth", "ctgkit_tasks"):
                measure = name.removeprefix("ctgkit_") + f" {label}"
                series.setdefault(("serve", measure), []).append((at_s, value))


SPARE = ("serve", "descriptors")


def _labelled(counted):
    return [(key, value) for key, value in counted.items() if isinstance(key, tuple)]
