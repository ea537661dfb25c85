"""``python -m benchmarks.soak``: run it, judge it, write JSON and a picture.

Real processes (`ctgkit serve`, `ml`, `sensor`), disturbed throughout: groups of sensors killed and
restarted, the ML link cut, the ML service hanging and (in the first minutes) killed, viewers that
vanish or never read, malformed and oversized frames.
Exit code 1 when anything was lost, doesn't add up, died, or grew.
"""

import argparse
import asyncio
import dataclasses
import json
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks.soak.disturbances import Disturbances, Link
from benchmarks.soak.flatness import flatness
from benchmarks.soak.picture import draw
from benchmarks.soak.system import Soak
from benchmarks.soak.vitals import sample_for_ever
from ctgkit.analysis.trace import WINDOW_S
from ctgkit.bench.machine import this_machine

BOUNDS = {
    "rss_mib": (0.05, 8.0),
    "wal_mib": (0.1, 64.0),
    "descriptors": (0.0, 4.0),
    "threads": (0.0, 1.0),
    "tasks asyncio": (0.05, 20.0),
    "queue_depth store": (0.0, 800.0),
    "queue_depth viewer": (0.0, 6_554.0),
    "queue_depth ml_outbox": (0.0, 6_554.0),
}
"""Measure -> what its line may gain over the judged stretch: a share of the median, or so much,
whichever is more. Chosen: what restarted sensors and Python's allocator make by themselves; a tenth
of the queues' bounds (docs/architecture.md)."""
SILENCE_MAX_S = 15.0
"""Longest pause of a viewer's stream. Chosen: far above the 2 s after which samples without a
result are shown, for busy machines."""
ML_KILLED_UNTIL = 1 / 15
"""Share of the run in which the ML service may be killed: the last one lives long enough to be
judged."""
ML_WARM_UP_S = WINDOW_S + 300.0
"""From when on the ML service is judged: its analyzers' windows fill until then."""
JUDGED_FROM = 1 / 3
"""Share of a series that may be warm-up; the rest must be flat."""
REPORT_EVERY_S = 60.0


async def soak(options, directory):
    """Run the soak; return the findings."""
    run = Soak(directory, options.sensors, options.seed)
    link, series, length_s = Link(), {}, 60 * options.minutes
    began, machine = datetime.now(UTC), this_machine()
    disturbances = Disturbances(run, link, length_s * ML_KILLED_UNTIL)
    try:
        async with link.serving():
            await run.start(link)
            async with asyncio.TaskGroup() as tasks:
                parts = [
                    tasks.create_task(part)
                    for part in (*disturbances.all(), sample_for_ever(run, options.every, series))
                ]
                await watch(run, series, disturbances, length_s)
                for part in parts:
                    part.cancel()
            counted = await run.end()
        accounts = run.audit(counted)
    finally:
        run.system.end()
    accounts.append(
        (
            f"a viewer is never without news for {SILENCE_MAX_S:g} s",
            disturbances.silence_s <= SILENCE_MAX_S,
            f"{disturbances.silence_s:.1f} s",
        )
    )
    told = sum(
        log.read_text(errors="replace").count("Traceback") for log in directory.glob("*.err")
    )
    accounts.append(("no traceback in any log", told == 0, f"{told}"))
    return {
        "began": began.isoformat(timespec="seconds"),
        "machine": msgspec.to_builtins(machine),
        "settings": {"sensors": options.sensors, "rate_hz": 4.0, "minutes": options.minutes,
                     "seed": options.seed, "durability": "full"},
        "disturbances": dict(disturbances.counts),
        "counted": {" ".join(k) if isinstance(k, tuple) else k: v for k, v in counted.items()},
        "accounts": accounts,
        "series": {" ".join(key): points for key, points in series.items()},
        "flatness": judge(series, run.ml_since_s),
    }  # fmt: skip


async def watch(run, series, disturbances, length_s):
    """Wait for the end, with a line now and then; raise when a process died by itself."""
    clock = asyncio.get_running_loop().time
    next_report_s = 0.0
    while (passed_s := clock() - run.began_s) < length_s:
        for name, process in run.observed().items():
            if name != "ml" and not process.running:
                raise RuntimeError(f"{name} died: {process.err[-2000:]}")
        if passed_s >= next_report_s:
            next_report_s += REPORT_EVERY_S
            latest = {
                name: f"{points[-1][1]:.0f} MiB"
                for (name, measure), points in series.items()
                if measure == "rss_mib"
            }
            print(f"{passed_s / 60:5.1f} min  {latest}  {dict(disturbances.counts)}",
                  file=sys.stderr, flush=True)  # fmt: skip
        await asyncio.sleep(0.5)


def judge(series, ml_since_s):
    """Return the flatness of every series; None where it is too short to say."""
    findings = {}
    for (process, measure), points in series.items():
        share, least = BOUNDS[measure]
        from_s = points[0][0] + JUDGED_FROM * (points[-1][0] - points[0][0])
        if process == "ml":
            from_s = max(from_s, ml_since_s + ML_WARM_UP_S)
        judged = [point for point in points if point[0] >= from_s]
        findings[f"{process} {measure}"] = flatness(judged, share=share, least=least)
    return findings


def report(findings):
    """Print the verdict; return whether all is well."""
    print("\naccounts")
    for what, holds, numbers in findings["accounts"]:
        print(f"  {'ok  ' if holds else 'FAIL'}  {what:<45} {numbers}")
    print("\nflatness                                median      max   growth  allowed")
    for name, found in findings["flatness"].items():
        if found is None:
            print(f"  --    {name:<30} too few points to judge")
            continue
        figures = (found.median, found.maximum, found.growth, found.allowed)
        shown = " ".join(f"{figure:>8.1f}" for figure in figures)
        print(f"  {'ok  ' if found.flat else 'FAIL'}  {name:<30} {shown}")
    settings = findings["settings"]
    print(f"\n{settings['sensors']} sensors, {settings['minutes']:g} min;"
          f" {findings['disturbances']}; {findings['machine']}")  # fmt: skip
    print("a test tool, not a medical device; all data simulated")
    return all(holds for _, holds, _ in findings["accounts"]) and all(
        found is None or found.flat for found in findings["flatness"].values()
    )


def main():
    """Run with the options of the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--sensors", type=int, default=500)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between samplings")
    parser.add_argument("--seed", type=int, default=0, help="of the disturbances")
    parser.add_argument("--directory", help="where the database goes: which disk")
    parser.add_argument("--out", type=Path, default=Path("soak"), help="OUT.json and OUT.png")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="ctgkit-soak-", dir=options.directory))
    print(f"logs and database: {directory}", file=sys.stderr)
    findings = asyncio.run(soak(options, directory))
    well = report(findings)
    draw(findings, options.out.with_suffix(".png"))
    findings["flatness"] = {
        name: found and dataclasses.asdict(found) | {"flat": found.flat}
        for name, found in findings["flatness"].items()
    }
    content = {"well": well, "simulated": True, **findings}
    options.out.with_suffix(".json").write_text(json.dumps(content))
    if well:
        shutil.rmtree(directory)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
