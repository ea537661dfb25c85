"""Did anything become much slower? Five ratios of processor time in a minute and a half.

``python -m benchmarks.guard`` prints them; ``--keep FILE`` writes them with the commit, and
``--against FILE`` (by default the kept one) exits with 1 when a ratio is more than a quarter above
the kept median in each of three alternated repetitions, and is so again when measured once more:
what is slower stays slower, noise doesn't. Processor time over that of a floor in the same run:
other work on the machine moves both.
"""

import argparse
import functools
import json
import resource
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from benchmarks import analysis
from benchmarks.fleet import framed_us, us_per_sample
from benchmarks.ingest import flood_once
from benchmarks.load import Role
from benchmarks.measure import Options, alternate, cpu_s, machine
from benchmarks.system import configured, running

KEPT = Path(__file__).with_name("kept.json")
WORSE = 1.25
"""How much more than the kept ratio is too much."""
REPEAT = 3
FLOODING, FLOOD_SAMPLES = 10, 4_000
PACED, PACED_SECONDS = 600, 2.0
"""Enough to keep a core half busy: of a hundred, a sample of the floor takes 130 to 240 µs in an
otherwise idle machine, whose caches are cold and whose clock is low; of these 61 to 77."""
PLAYING = 40
"""Few: each costs 5 ms before it begins, which must be over."""
SETTLE_S = 4.0


def flood():
    """Return processor time per sample stored of a flooded backend, over a bare receive loop."""
    with running(FLOODING) as (_, backend, credentials), Role("receive") as bare:

        def us(url, pid, first):
            return sum(flood_once(url, pid, credentials, FLOOD_SAMPLES, first)[1])

        pairs = alternate(
            lambda n: us(backend.url, backend.pid, 1_000 + n * FLOOD_SAMPLES),
            lambda _: us(bare.first, bare.pid, 1_000),
            REPEAT,
        )
    return [ours / floor for ours, floor in pairs]


def paced():
    """Return the same at 4 Hz, where samples come alone; both acknowledge each."""

    def us(url, pid, credentials, first):
        load = {"url": url, "credentials": credentials, "seconds": PACED_SECONDS, "first": first}
        with Role("pace", **load, watch="") as one:
            before_s = sum(cpu_s(pid).values())
            one.go()
            sent = one.heard()["sent"]
            time.sleep(0.1)  # the last are stored
            return 1e6 * (sum(cpu_s(pid).values()) - before_s) / sent

    with running(PACED) as (_, backend, credentials), Role("acknowledge") as bare:
        pairs = alternate(
            lambda n: us(backend.url, backend.pid, credentials, 1_000 + 1_000 * n),
            lambda _: us(bare.first, bare.pid, credentials, 1_000),
            REPEAT,
        )
    return [ours / floor for ours, floor in pairs]


@contextmanager
def playing(system, url, sensors):
    """Yield the process id of sensors that play."""
    target = url.replace("http", "ws", 1) + "/ws/sensor"
    fleet = system.start("sensor", "-q", "--sensors", sensors, "--url", target, "--ramp", 1)
    time.sleep(SETTLE_S)
    yield fleet.pid
    fleet.kill()


def fleet():
    """Return processor time per sample of `ctgkit sensor`, over writing framed bytes."""
    with configured(PLAYING) as (system, credentials), Role("acknowledge") as acks:

        def ours(_):
            with playing(system, acks.first, PLAYING) as pid:
                return us_per_sample(pid, PLAYING, PACED_SECONDS)

        pairs = alternate(ours, lambda _: framed_us(acks.first, credentials, PACED_SECONDS), REPEAT)
    return [mine / framed for mine, framed in pairs]


def start_up():
    """Return processor time of `ctgkit --help`, over a Python that does nothing."""

    def spent_s(*command):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)  # os.times counts in 10 ms
        for _ in range(5):
            subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    pairs = alternate(
        lambda _: spent_s("-m", "ctgkit", "--help"), lambda _: spent_s("-c", "pass"), REPEAT
    )
    return [ours / floor for ours, floor in pairs]


def analysed():
    """Return processor time per analysed sample, over decoding it."""
    (figure,) = analysis.measure(Options(repeat=REPEAT))
    return list(figure.values)


PARTS = {part.__name__: part for part in (flood, paced, fleet, start_up, analysed)}


def worse(figures, kept):
    """Return what is worse than what was kept, whichever repetition one looks at, in words."""
    return {
        name: f"{min(values):.2f} to {max(values):.2f}, kept {statistics.median(kept[name]):.2f}"
        for name, values in figures.items()
        if name in kept and min(values) > WORSE * statistics.median(kept[name])
    }


def measured(names, say=print):
    """Measure some of the parts."""
    figures = {}
    for name in names:
        started = time.perf_counter()
        figures[name] = values = PARTS[name]()
        took_s = time.perf_counter() - started
        spread = f"{min(values):.2f} to {max(values):.2f}"
        say(f"{name:9} {statistics.median(values):6.2f} ({spread}), {took_s:.0f} s")
    return figures


def slower(figures, kept, measure):
    """Return what is worse, and again when it is measured once more."""
    suspected = worse(figures, kept)
    return worse(measure(suspected), kept) if suspected else {}


def main(arguments=None):
    """Measure, print, keep, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, metavar="FILE", nargs="?", const=KEPT)
    parser.add_argument("--against", type=Path, metavar="FILE", default=KEPT)
    parser.add_argument("--part", choices=PARTS, action="append", help="only this one, or several")
    chosen = parser.parse_args(arguments)
    say = functools.partial(print, flush=True)
    figures = measured(chosen.part or PARTS, say)
    if chosen.keep:
        kept = {"machine": machine(), "figures": figures}
        chosen.keep.write_text(json.dumps(kept, indent=1) + "\n")
    elif chosen.against.exists():
        kept = json.loads(chosen.against.read_text())["figures"]
        found = slower(figures, kept, lambda names: measured(names, say))
        for name, how in found.items():
            say(f"slower by more than a quarter: {name}: {how}")
        return int(bool(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
