"""Where the backend's time goes while sensors flood it: by thread, by module, by function.

A timer of processor time notes what the event loop's thread is at, a thousand times per second of
the process's; that costs next to nothing, unlike a tracing profiler.
"""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from benchmarks.ingest import flood_once
from benchmarks.system import configured

SENSORS, SAMPLES = 10, 20_000
SHOWN = 15
PROFILED = """
import collections, json, signal, sys
from ctgkit.cli.main import main
counts, path = collections.Counter(), sys.argv.pop(1)
def note(_, frame):
    counts[frame.f_code.co_filename + ":" + frame.f_code.co_qualname] += 1
signal.signal(signal.SIGPROF, note)
signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
try:
    main()
finally:
    signal.setitimer(signal.ITIMER_PROF, 0)
    json.dump(counts, open(path, "w"))
"""


def module_of(path):
    """Return the dotted name of a file of a package, or its own name."""
    parts = Path(path).with_suffix("").parts
    for package in ("websockets", "ctgkit", "asyncio"):
        if package in parts[:-1]:
            return ".".join(parts[len(parts) - 1 - parts[::-1].index(package) :])
    return parts[-1]


def where(directory=None):
    """Flood a backend, plain and profiled; return the text."""
    with configured(SENSORS, directory) as (system, credentials):
        backend = asyncio.run(system.serve("-q").announced())
        rate, threads = flood_once(backend.url, backend.pid, credentials, SAMPLES, 1_000)
        asyncio.run(backend.stopped(60))
        counted = system.directory / "profile.json"
        command = [sys.executable, "-c", PROFILED, str(counted), "serve", "-q", "--port", "0"]
        with subprocess.Popen(
            [*command, "--ml", "none", "--store", f"sqlite:///{system.database}"],
            cwd=system.directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        ) as profiled:  # fmt: skip
            try:
                url = profiled.stdout.readline().strip()
                flood_once(url, profiled.pid, credentials, SAMPLES, 10_000_000)
            finally:
                profiled.terminate()
        by_function = Counter(json.loads(counted.read_text()))
    by_module = Counter()
    for function, count in by_function.items():
        by_module[module_of(function.partition(":")[0])] += count
    lines = [
        f"{SENSORS} sensors flooding: {rate:,.0f} stored/s; CPU µs per sample:",
        f"  event loop {threads[0]:.2f}, other threads {sum(threads[1:]):.2f}",
        "event loop by module:",
        *(f"  {n / by_module.total():6.1%}  {m}" for m, n in by_module.most_common(SHOWN)),
        "event loop by function:",
    ]
    for function, count in by_function.most_common(SHOWN):
        path, _, name = function.partition(":")
        lines.append(f"  {count / by_module.total():6.1%}  {module_of(path)}: {name}")
    return "\n".join(lines)
