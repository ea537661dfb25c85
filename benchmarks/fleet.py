"""Processor time per sample that `ctgkit sensor` sends, over writing pre-framed bytes.

Both send at 4 Hz per sensor to the same server, which acknowledges each sample; the share that is
measured begins when all are connected and running. The signal's synthesis is ours, so it counts.
"""

import asyncio
import statistics
import time

from benchmarks.load import RATE_HZ, Role
from benchmarks.measure import Figure, alternate, cpu_s
from benchmarks.system import configured

SENSORS, SECONDS = (100, 1_000), 10.0
SETTLE_S, SETTLE_PER_SENSOR_S = 3.0, 0.025
"""From the start to the steady state: connecting, and the first block of each signal."""


def us_per_sample(pid, sensors, seconds):
    """Return what a process that sends at 4 Hz spends on a sample."""
    before_s = sum(cpu_s(pid).values())
    started = time.perf_counter()
    time.sleep(seconds)
    samples = (time.perf_counter() - started) * RATE_HZ * sensors
    return 1e6 * (sum(cpu_s(pid).values()) - before_s) / samples


def fleet_us(system, url, sensors, seconds, settle_s):
    """Return the cost of a sample of ours, and the 99th percentile of its lag, ms."""
    target = url.replace("http", "ws", 1) + "/ws/sensor"
    arguments = ("--sensors", sensors, "--url", target, "--ramp", settle_s / 2, "--json")
    fleet = system.start("sensor", "-q", *arguments)
    time.sleep(settle_s)
    cost_us = us_per_sample(fleet.pid, sensors, seconds)
    asyncio.run(fleet.stopped())
    return cost_us, fleet.lines()[-1]["lag_ms"]["p99"]


def framed_us(url, credentials, seconds):
    """Return the cost of a sample that is framed already."""
    load = {"url": url, "credentials": credentials, "seconds": seconds + 2}
    with Role("pace", **load, first=1_000, watch="") as one:
        one.go()
        time.sleep(1)
        return us_per_sample(one.pid, len(credentials), seconds)


def cost(options, sensors):
    """Return the figure for a number of sensors."""
    seconds = 1.0 if options.quick else SECONDS
    settle_s = SETTLE_S + SETTLE_PER_SENSOR_S * sensors
    with (
        configured(sensors, options.directory) as (system, credentials),
        Role("acknowledge") as acks,
    ):
        pairs = alternate(
            lambda _: fleet_us(system, acks.first, sensors, seconds, settle_s),
            lambda _: framed_us(acks.first, credentials, seconds),
            options.repeat,
        )
    return Figure(
        part="fleet",
        name=f"CPU per sample, {sensors} sensors ÷ pre-framed bytes",
        values=[ours / framed for (ours, _), framed in pairs],
        target=1.6,
        stretch=1.3,
        beside={
            "µs": statistics.median(ours for (ours, _), _ in pairs),
            "pre-framed": statistics.median(framed for _, framed in pairs),
            "lag p99 ms": statistics.median(lag_ms for (_, lag_ms), _ in pairs),
        },
    )


def measure(options):
    """Return a figure for each number of sensors."""
    return [cost(options, sensors) for sensors in (SENSORS[:1] if options.quick else SENSORS)]
