"""Where the backend's time goes while sensors flood it: by thread, and by module.

cProfile slows what it watches, and small functions most: read the shares of the event loop's
processor time as an order; the microseconds per thread are from a run without it.
"""

import asyncio
import pstats
import subprocess
import sys
from collections import Counter
from pathlib import Path

from benchmarks.ingest import flood_once
from benchmarks.system import configured

SENSORS, SAMPLES = 10, 10_000
PROFILED = """
import cProfile, sys, time
from ctgkit.cli import main
stats = sys.argv.pop(1)
profile = cProfile.Profile(time.thread_time)
try:
    profile.runcall(main)
finally:
    profile.dump_stats(stats)
"""


def module_of(path):
    """Return the module that a profiled function belongs to, short."""
    parts = Path(path).parts
    for package in ("websockets", "ctgkit", "asyncio", "msgspec"):
        if package in parts[:-1]:
            at = len(parts) - 1 - parts[::-1].index(package)
            return ".".join(parts[at:]).removesuffix(".py")
    return "C functions" if path == "~" else Path(path).stem


def where(directory=None):
    """Flood a backend, plain and profiled; return the text."""
    lines = []
    with configured(SENSORS, directory) as (system, credentials):
        backend = asyncio.run(system.serve("-q").announced())
        rate, threads = flood_once(backend.url, backend.pid, credentials, SAMPLES, 1_000)
        asyncio.run(backend.stopped(60))
        lines.append(f"{SENSORS} sensors flooding: {rate:,.0f} stored/s; CPU µs per sample:")
        lines.append(f"  event loop {threads[0]:.2f}, other threads {sum(threads[1:]):.2f}")
        stats = system.directory / "serve.prof"
        command = [
            sys.executable,
            "-m",
            "cProfile",
            "-o",
            str(stats),
            "-m",
            "ctgkit",
            "serve",
            "-q",
        ]
        profiled = subprocess.Popen(
            [*command, "--port", "0", "--ml", "none", "--store", f"sqlite:///{system.database}"],
            cwd=system.directory, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        url = profiled.stdout.readline().strip()
        flood_once(url, profiled.pid, credentials, SAMPLES, 10_000_000)
        profiled.terminate()
        profiled.communicate()
        measured = pstats.Stats(str(stats)).stats
    by_module, by_function = Counter(), Counter()
    for (path, _, name), (_, _, own_s, _, _) in measured.items():
        by_module[module_of(path)] += own_s
        by_function[f"{module_of(path)}: {name}"] += own_s
    total_s = by_module.total()
    for title, counts in (("module", by_module), ("function", by_function)):
        lines.append(f"event loop's thread by {title}, share of own time:")
        lines += [f"  {s / total_s:6.1%}  {name}" for name, s in counts.most_common(15)]
    return "\n".join(lines)
