"""Resident memory that a sensor's connection adds to the backend, and what stays under load."""

from benchmarks.load import Role
from benchmarks.measure import Figure, resident_kib
from benchmarks.system import running

SENSORS, SECONDS = 1_000, 30.0


def grown(options):
    """Return KiB per connection, idle and after pacing, and bytes per sample sent."""
    sensors, seconds = (50, 0.5) if options.quick else (SENSORS, SECONDS)
    with running(sensors, options.directory) as (_, backend, credentials):
        warm = {"url": backend.url, "credentials": credentials[:10], "watch": ""}
        with Role("pace", **warm, seconds=1, first=1_000) as load:  # what is loaded at first use
            load.go()
            load.heard()
        before = resident_kib(backend.pid)
        everybody = warm | {"credentials": credentials}
        with Role("pace", **everybody, seconds=seconds, first=1_000_000) as load:
            idle = resident_kib(backend.pid)
            load.go()
            sent = load.heard()["sent"]
            after = resident_kib(backend.pid)
    return (idle - before) / sensors, (after - before) / sensors, 1024 * (after - idle) / sent


def measure(options):
    """Return memory per connection and over time."""
    idle, busy, per_sample = zip(*(grown(options) for _ in range(options.repeat)), strict=True)
    return [
        Figure(
            part="memory",
            name="per sensor connection, idle",
            unit="KiB",
            values=idle,
            target=25,
            stretch=18,
        ),
        Figure(part="memory", name="per sensor connection, after pacing", unit="KiB", values=busy),
        Figure(part="memory", name="growth per sample sent", unit="bytes", values=per_sample),
    ]
