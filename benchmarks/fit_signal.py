"""Measure on recordings what the simulated monitors are fitted to; prints numbers, keeps nothing.

    python -m benchmarks.fit_signal [FOLDER]

FOLDER holds recordings as in ../shared/data/ctu (or CTGKIT_SHARED). Monitors are told apart by
what they do: whole values; values repeated for some 3 s before a gap; for some 2.5 s before most
gaps; never. Percentiles over recordings are printed, per kind of monitor.
"""

import gzip
import os
import sys
from pathlib import Path

import numpy as np

SHARED = Path(os.environ.get("CTGKIT_SHARED", Path(__file__).parents[2] / "shared"))
AWAY = 32  # samples between what is measured and a gap


def read(path):
    """Return heart rate (NaN where lost) and toco."""
    with gzip.open(path, "rt") as file:
        columns = np.loadtxt(file, delimiter=",", skiprows=1)
    heart = np.where((columns[:, 1] >= 50) & (columns[:, 1] <= 220), columns[:, 1], np.nan)
    return heart, np.nan_to_num(columns[:, 2])


def stretches(mask):
    """Return (start, end) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return list(zip(edges[::2], edges[1::2], strict=True))


def held_s(heart, gaps):
    """Return how long the value before each gap had been repeated, give or take its last digit."""
    lengths = []
    for start, _ in gaps:
        n = 1
        while start > n and abs(heart[start - 1 - n] - heart[start - 1]) <= 0.25:
            n += 1
        lengths.append(n / 4)
    return np.array(lengths)


def measure(heart):
    """Return what is fitted, of one recording."""
    lost = np.isnan(heart)
    gaps = [(a, b) for a, b in stretches(lost) if a > 30 and b < len(heart) - 1]
    held = held_s(heart, gaps)
    near = np.convolve(lost, np.ones(2 * AWAY + 1), "same") > 0
    runs, steps, quarters = [], [], []
    for a, b in stretches(~near):
        if b - a < 40:
            continue
        piece = heart[a:b]
        edges = np.flatnonzero(np.concatenate([[True], np.diff(piece) != 0, [True]]))
        runs.append(np.diff(edges)[1:-1])
        steps.append(np.diff(piece[edges[:-1]]))
        quarters.append(np.diff(piece))
    if not runs:
        return None
    runs, steps, quarters = (np.concatenate(x) for x in (runs, steps, quarters))
    size = np.abs(steps)
    lengths = np.array([(b - a) / 4 for a, b in gaps]) if gaps else np.zeros(1)
    jumps = np.array([abs(heart[b] - heart[a - 1]) for a, b in gaps]) if gaps else np.zeros(1)
    return {
        "whole": np.mean(heart[~lost] % 1 == 0),
        "gaps": len(gaps),
        "held before a gap, share": np.mean(held >= 1.5) if len(gaps) else 0,
        "held, s": np.median(held[held >= 1.5]) if (held >= 1.5).any() else 0,
        "gap, s": np.median(lengths),
        "change over a gap, bpm": np.median(jumps),
        "runs of 2": np.mean(runs == 2),
        "runs of 4": np.mean(runs == 4),
        "runs of 9 and more": np.mean(runs >= 9),
        "step, median bpm": np.median(size),
        "step, p99 bpm": np.percentile(size, 99),
        "successive steps, correlation": np.corrcoef(steps[:-1], steps[1:])[0, 1],
        "skew of 250 ms steps": np.mean((quarters - quarters.mean()) ** 3) / quarters.std() ** 3,
        "falls over 8 bpm, per 10,000": np.mean(quarters < -8) * 1e4,
        "rises over 8 bpm, per 10,000": np.mean(quarters > 8) * 1e4,
    }


def kind(figures):
    """Return which kind of monitor a recording comes from."""
    if figures["whole"] > 0.99:
        return "whole values"
    if figures["held before a gap, share"] < 0.6 or figures["gaps"] < 8:
        return "no hold"
    return "long hold" if figures["held, s"] >= 2.9 else "short hold"


def main():
    """Print the table."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED / "data" / "ctu"
    files = sorted(folder.glob("*.csv.gz"))
    if not files:
        print(f"skipped: no recordings at {folder}")
        return
    kinds = {}
    for path in files:
        figures = measure(read(path)[0])
        if figures:
            kinds.setdefault(kind(figures), []).append(figures)
    for name, many in sorted(kinds.items()):
        print(f"{name}: {len(many)} recordings; p25, p50, p75")
        for key in many[0]:
            low, middle, high = np.percentile([f[key] for f in many], (25, 50, 75))
            print(f"  {key:<32}{low:9.3f}{middle:9.3f}{high:9.3f}")


if __name__ == "__main__":
    main()
