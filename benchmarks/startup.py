"""``ctgkit --help`` over a Python that does nothing."""

import statistics
import subprocess
import sys
import time

from benchmarks.measure import Figure, alternate

ROUNDS = 10


def seconds_of(*arguments):
    """Return how long a Python takes from start to end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def measure(options):
    """Return what it adds."""
    pairs = alternate(
        lambda _: seconds_of("-m", "ctgkit", "--help"),
        lambda _: seconds_of("-c", "pass"),
        1 if options.quick else ROUNDS * options.repeat,
    )
    return [
        Figure(
            part="startup",
            name="`ctgkit --help` over bare Python",
            unit="ms",
            values=[1e3 * (ours - bare) for ours, bare in pairs],
            target=100,
            stretch=60,
            beside={"bare Python ms": 1e3 * statistics.median(bare for _, bare in pairs)},
        )
    ]
