"""The curve: cost of a sample, latency and loss from 10 to 10,000 sensors at 4 Hz.

Decode → store (full durability) → ML service that answers at once → one viewer. The floor is a
bare websockets receive loop under the same load. Sensors speak the specification's protocol; what
acknowledging each sample adds, a write to each sensor's own socket, is shown for one size.
`--out DIR` keeps scale.csv and scale.png.
The load, the viewer and the ML service share one core, what is measured has the other one. They
cost little: bytes framed before the start, a system call each; requests answered as they were read;
a viewer that notes when which bytes came, and reads them afterwards.
"""

import csv
import os
import statistics

from benchmarks.load import RATE_HZ, Role
from benchmarks.measure import Figure, alternate, cpu_s
from benchmarks.rivals import BACKEND_CORE, LOAD_CORE, on_core
from benchmarks.system import running

SENSORS, SECONDS = (10, 100, 500, 1_000, 2_000, 5_000, 10_000), 8.0
COMPARED, LARGEST = 2_000, 5_000
"""What is held against a target: of the cost, and of the latency."""
FIRST_EVERY = 1_000_000


def paced_once(url, pid, credentials, seconds, first, watch, acks=False):
    """Return what the load saw, and the server's processor µs per sample."""
    arguments = {"url": url, "credentials": credentials, "seconds": seconds}
    with Role("pace", **arguments, first=first, watch=watch, acks=acks) as load:
        apart(load.pid, LOAD_CORE)
        before = cpu_s(pid)
        load.go()
        seen = load.heard()
        spent_s = [s - before.get(thread, 0.0) for thread, s in cpu_s(pid).items()]
    seen["us"] = 1e6 * sum(spent_s) / seen["sent"]
    seen["loop_us"] = 1e6 * spent_s[0] / seen["sent"]
    return seen


def apart(pid, core):
    """Keep a process on its core, where there are two."""
    if (os.cpu_count() or 1) > 1:
        on_core(pid, core)


def point(options, sensors, acks=False):
    """Return [(ours, floor), …] for a number of sensors, each as :func:`paced_once` says."""
    seconds = 0.5 if options.quick else SECONDS
    with Role("answer") as ml, Role("receive") as bare:
        apart(ml.pid, LOAD_CORE)
        apart(bare.pid, BACKEND_CORE)
        ml_url = ml.first.replace("http", "ws", 1)
        with running(sensors, options.directory, ml_url) as (system, backend, credentials):
            apart(backend.pid, BACKEND_CORE)
            pairs = alternate(
                lambda n: paced_once(
                    backend.url,
                    backend.pid,
                    credentials,
                    seconds,
                    FIRST_EVERY * (n + 1),
                    "/ws",
                    acks,
                ),
                lambda _: paced_once(bare.first, bare.pid, credentials, seconds, 1_000, ""),
                options.repeat,
            )
            stored = system.stored(backend)
    assert stored == int(seconds * RATE_HZ) * sensors * options.repeat, "samples were lost"
    return pairs


def draw(table, path):
    """Plot cost and latency over the number of sensors."""
    try:
        from matplotlib.figure import Figure as Picture
    except ImportError:
        return
    picture = Picture(figsize=(8, 3.2), layout="constrained")
    cost, delay = picture.subplots(1, 2)
    sensors = [row["sensors"] for row in table]
    for name, label in (("us", "serve"), ("bare_us", "bare receive loop")):
        cost.plot(sensors, [row[name] for row in table], "o-", label=label)
    for name in ("p50", "p99"):
        delay.plot(sensors, [row[name] for row in table], "o-", label=name)
    for axes, unit in ((cost, "CPU µs per sample"), (delay, "sensor → viewer, ms")):
        axes.set(xscale="log", yscale="log", xlabel="sensors at 4 Hz", ylabel=unit)
        axes.legend()
    picture.savefig(path, dpi=120)


def measure(options):
    """Return cost and latency of each size, and how the cost compares and grows."""
    sizes = (10, 50) if options.quick else SENSORS
    points = {sensors: point(options, sensors) for sensors in sizes}
    table = [
        {
            "sensors": sensors,
            "us": statistics.median(ours["us"] for ours, _ in pairs),
            "loop_us": statistics.median(ours["loop_us"] for ours, _ in pairs),
            "bare_us": statistics.median(floor["us"] for _, floor in pairs),
            **{
                name: statistics.median(ours[name] for ours, _ in pairs)
                for name in ("p50", "p99", "p99.9", "lost")
            },
        }
        for sensors, pairs in points.items()
    ]
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        with (options.out / "scale.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, table[0])
            writer.writeheader()
            writer.writerows(table)
        draw(table, options.out / "scale.png")
    figures = [
        Figure(
            part="scale",
            name=f"CPU per sample, {sensors} × 4 Hz ÷ bare receive loop",
            values=[ours["us"] / floor["us"] for ours, floor in points[sensors]],
            target=1.8 if sensors == COMPARED else None,
            stretch=1.3 if sensors == COMPARED else None,
            beside={key: value for key, value in row.items() if key != "sensors"},
        )
        for sensors, row in zip(sizes, table, strict=True)
    ]
    compared, largest = (n if n in points else sizes[-1] for n in (COMPARED, LARGEST))
    acked = point(options, compared, acks=True)
    figures.append(
        Figure(
            part="scale",
            name=f"the same for {compared}, each sample acknowledged",
            values=[ours["us"] / floor["us"] for ours, floor in acked],
        )
    )
    figures.append(
        Figure(
            part="scale",
            name=f"sensor → viewer p99, {largest} × 4 Hz",
            unit="ms",
            values=[ours["p99"] for ours, _ in points[largest]],
            target=25,
            stretch=10,
            beside={"lost": max(ours["lost"] for ours, _ in points[largest])},
        )
    )
    middle = next((row for row in table if row["sensors"] == 500), table[0])
    figures.append(
        Figure(
            part="scale",
            name=f"CPU per sample, {sizes[-1]} sensors ÷ {middle['sensors']} sensors",
            values=[table[-1]["us"] / middle["us"]],
            target=1.1,
            floor="flat is 1",
        )
    )
    return figures
