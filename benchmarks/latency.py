"""From a sensor's send to a viewer's receive: 20 sensors at 4 Hz, over a bare echo at that pace.

The backend stores with full durability and asks ``ctgkit ml``, its analyzer included; client and
servers are processes of their own.
"""

import statistics

from benchmarks.load import Role
from benchmarks.measure import Figure, alternate
from benchmarks.system import running

SENSORS, SECONDS = 20, 15.0
TARGETS = {"p50": (2.0, 1.0), "p99": (3.3, 2.0), "p99.9": (None, None)}


def pace_once(url, credentials, seconds, first, watch):
    """Return what the pacing client saw."""
    arguments = {"url": url, "credentials": credentials, "seconds": seconds}
    with Role("pace", **arguments, first=first, watch=watch) as client:
        client.go()
        return client.heard()


def measure(options):
    """Return the quantiles."""
    seconds = 1.0 if options.quick else SECONDS
    with (
        running(SENSORS, options.directory, ml="stub") as (_, backend, credentials),
        Role("echo") as echo,
    ):
        pairs = alternate(
            lambda n: pace_once(backend.url, credentials, seconds, 1_000_000 * (n + 1), "/ws"),
            lambda _: pace_once(echo.first, credentials, seconds, 1_000, "echo"),
            options.repeat,
        )
    assert not any(ours["lost"] for ours, _ in pairs), "results were lost"
    return [
        Figure(
            part="latency",
            name=f"sensor → viewer {name}, {SENSORS} × 4 Hz",
            unit="ms",
            values=[ours[name] for ours, _ in pairs],
            target=target,
            stretch=stretch,
            beside={"bare echo": statistics.median(floor[name] for _, floor in pairs)},
        )
        for name, (target, stretch) in TARGETS.items()
    ]
