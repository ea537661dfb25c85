"""Processor time per sample stored of `ctgkit sensor`, over those of others at the same load.

For developers, not in the table: it needs a Locust or an Artillery of your own. ``python -m
benchmarks.rivals --locust PATH --artillery PATH``: ``bin/locust`` of a virtual environment with
locust and websocket-client, ``node_modules/.bin/artillery``. All load `ctgkit serve` with a sample
per sensor every 250 ms, one process each, on another core than the backend. Theirs send a constant;
ours renders a patient.
"""

import argparse
import asyncio
import functools
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


def theirs(command, env, url, sensors, seconds):
    """Measure another's load."""
    with subprocess.Popen(
        command, env=os.environ | env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as load:
        try:
            asyncio.run(until_reports(url, {"sensors": sensors}, "connected", CONNECTED_WITHIN_S))
            on_core(load.pid, LOAD_CORE)
            return measured(load.pid, url, sensors, seconds)
        finally:
            load.kill()


def locust(path, system, url, credentials, sensors, seconds, acks):
    """Measure Locust."""
    file = system.directory / "sensors.json"
    file.write_text(json.dumps(credentials))
    command = [
        path, "--headless", "--only-summary", "-u", str(sensors), "-r", str(sensors / 4),
        "-H", url.replace("http", "ws", 1), "-f", str(Path(__file__).with_name("locustfile.py")),
    ]  # fmt: skip
    env = {"CTG_SENSORS": str(file), "CTG_ACKS": str(int(acks))}
    return theirs(command, env, url, sensors, seconds)


def artillery(path, system, url, credentials, sensors, seconds, acks):
    """Measure Artillery, which takes whatever acknowledgements come without looking at them."""
    data = '"data":{"BPMChild":140.0,"uterus":10.0,"spasms":0.0}'
    numbered = '"seq":{{ $loopCount }},' if acks else ""
    # two braces together would end a template
    sample = '{"secFromStart":{{ $loopCount }},' + numbered + data + " }"
    directory = system.directory
    (directory / "sensors.csv").write_text("".join(f"{i},{t}\n" for i, t in credentials))
    (directory / "dial.js").write_text(
        "module.exports.dial = (ws, context, done) => {"
        " ws.target += `/ws/sensor?sensor_id=${context.vars.id}`;"
        " ws.options = {...ws.options, headers: {'X-Auth-Sensor-Token': context.vars.token}};"
        f" ws.subprotocols = {['ctgkit.v1'] if acks else []}; done(); }};\n"
    )
    payload = {"path": "sensors.csv", "fields": ["id", "token"], "order": "sequence"}
    flow = [
        {"connect": {"function": "dial"}},
        {"loop": [{"send": sample}, {"think": "250ms"}], "count": 100_000},
    ]
    script = {
        "config": {
            "target": url.replace("http", "ws", 1), "processor": "dial.js",
            "payload": [payload | {"skipHeader": False}],
            "phases": [{"duration": 4, "arrivalCount": sensors}],
        },
        "scenarios": [{"engine": "ws", "flow": flow}],
    }  # fmt: skip
    (directory / "load.json").write_text(json.dumps(script))
    env = {"WORKERS": "1", "ARTILLERY_DISABLE_TELEMETRY": "true"}
    command = [path, "run", "-q", str(directory / "load.json")]
    return theirs(command, env, url, sensors, seconds)


def main():
    """Measure and print a line per load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--locust")
    parser.add_argument("--artillery")
    parser.add_argument("--sensors", type=int, nargs="*", default=SENSORS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    print(machine())
    measure = {"ctgkit sensor": ours}
    for name, rival in (("Locust", locust), ("Artillery", artillery)):
        if path := getattr(arguments, name.lower()):
            measure[f"{name} with acks"] = functools.partial(rival, path, acks=True)
            measure[f"{name} without acks"] = functools.partial(rival, path, acks=False)
    for sensors in arguments.sensors:
        loads = {name: [] for name in measure}
        for _ in range(arguments.repeat):
            for name, figures in loads.items():
                with configured(sensors) as (system, credentials):
                    backend = asyncio.run(system.serve("-q").announced())
                    on_core(backend.pid, BACKEND_CORE)
                    common = (system, backend.url, credentials, sensors, arguments.seconds)
                    figures.append(measure[name](*common))
        for name, figures in loads.items():
            us, mb, per_s = (statistics.median(column) for column in zip(*figures, strict=True))
            spread = f"{min(f[0] for f in figures):.0f} to {max(f[0] for f in figures):.0f}"
            print(
                f"{sensors} sensors, {name}: {us:.0f} µs per sample stored ({spread}),"
                f" {mb:.0f} MB, {per_s:.0f} stored/s", flush=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
