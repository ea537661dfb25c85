"""Processor time per sample stored of `ctgkit sensor`, over that of Locust at the same load.

For developers, not in the table: it needs a Locust of your own. ``python -m benchmarks.rivals
--locust PATH``, where PATH is ``bin/locust`` of a virtual environment with locust and
websocket-client. Both load `ctgkit serve` with a sample per sensor every 250 ms, one process each,
on another core than the backend. Locust's monitor sends a constant; ours renders a patient.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import time
from pathlib import Path

from benchmarks.measure import cpu_s, machine, resident_kib
from benchmarks.system import configured
from tests.flow.processes import metric, until_reports

SENSORS, SECONDS = (200, 800), 10.0
SETTLE_S, CONNECTED_WITHIN_S = 3.0, 120.0
LOAD_CORE, BACKEND_CORE = 0, 1


def stored(url):
    """Return how many samples a backend has taken, less those that wait to be written."""
    return asyncio.run(metric(url, "ctgkit_samples_accepted_total"))


async def steady(url, sensors):
    """Wait until all sensors are connected, and a little longer."""
    await until_reports(url, {"sensors": sensors}, "all are connected", CONNECTED_WITHIN_S)
    await asyncio.sleep(SETTLE_S)


def measured(pid, url, sensors, seconds):
    """Return a load's processor µs per sample stored, its MB, and samples stored per second."""
    asyncio.run(steady(url, sensors))
    before, before_s, started = stored(url), sum(cpu_s(pid).values()), time.perf_counter()
    time.sleep(seconds)
    count, spent_s = stored(url) - before, sum(cpu_s(pid).values()) - before_s
    took_s = time.perf_counter() - started
    return 1e6 * spent_s / count, resident_kib(pid) / 1024, count / took_s


def on_core(pid, core):
    """Keep all threads of a process on one core."""
    subprocess.run(
        ["taskset", "-a", "-c", "-p", str(core), str(pid)], capture_output=True, check=True
    )


def ours(system, url, _credentials, sensors, seconds):
    """Measure `ctgkit sensor`."""
    target = url.replace("http", "ws", 1) + "/ws/sensor"
    fleet = system.start("sensor", "-q", "--sensors", sensors, "--url", target, "--ramp", 4)
    on_core(fleet.pid, LOAD_CORE)
    figures = measured(fleet.pid, url, sensors, seconds)
    asyncio.run(fleet.stopped())
    return figures


def theirs(locust, system, url, credentials, sensors, seconds, acks):
    """Measure Locust."""
    path = system.directory / "sensors.json"
    path.write_text(json.dumps(credentials))
    command = [
        locust, "--headless", "--only-summary", "-u", str(sensors), "-r", str(sensors / 4),
        "-H", url.replace("http", "ws", 1), "-f", str(Path(__file__).with_name("locustfile.py")),
    ]  # fmt: skip
    env = os.environ | {"CTG_SENSORS": str(path), "CTG_ACKS": str(int(acks))}
    with subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as load:
        try:
            on_core(load.pid, LOAD_CORE)
            return measured(load.pid, url, sensors, seconds)
        finally:
            load.kill()


def main():
    """Measure and print a line per load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--locust", required=True)
    parser.add_argument("--sensors", type=int, nargs="*", default=SENSORS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    print(machine())
    for sensors in arguments.sensors:
        loads = {"ctgkit sensor": [], "Locust with acks": [], "Locust without acks": []}
        for _ in range(arguments.repeat):
            for name, figures in loads.items():
                with configured(sensors) as (system, credentials):
                    backend = asyncio.run(system.serve("-q").announced())
                    on_core(backend.pid, BACKEND_CORE)
                    common = (system, backend.url, credentials, sensors, arguments.seconds)
                    figures.append(
                        ours(*common) if name.startswith("ctgkit")
                        else theirs(arguments.locust, *common, acks="with acks" in name)
                    )  # fmt: skip
        for name, figures in loads.items():
            us, mb, per_s = (statistics.median(column) for column in zip(*figures, strict=True))
            spread = f"{min(f[0] for f in figures):.0f} to {max(f[0] for f in figures):.0f}"
            print(
                f"{sensors} sensors, {name}: {us:.0f} µs per sample stored ({spread}),"
                f" {mb:.0f} MB, {per_s:.0f} stored/s", flush=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
