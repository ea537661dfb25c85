"""Measure on recordings what the simulated monitors are fitted to; prints numbers, keeps nothing.

    python -m benchmarks.fit_signal [FOLDER]

FOLDER holds recordings as in ../shared/data/ctu (or CTGKIT_SHARED). Monitors are told apart by
what they do: whole values; values repeated for some 3 s before a gap; for some 2.5 s before most
gaps; never. Percentiles over recordings are printed, per kind of monitor, and for the belt over
all of them.
"""

import gzip
import os
import sys
from itertools import pairwise
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


def beside_gaps(heart, gaps, held):
    """Return how much more the heart rate changes within a time of a gap than elsewhere."""
    before, after = {}, {}
    for (start, end), held_for in zip(gaps, held, strict=True):
        seen = start - int(4 * held_for) if held_for >= 1.5 else start
        for n in (4, 16, 40):
            if seen > n:
                before.setdefault(n, []).append(heart[seen - 1] - heart[seen - 1 - n])
            after.setdefault(n, []).append(heart[min(end + n, len(heart) - 1)] - heart[end])
    found = {}
    for name, changes in (("before", before), ("after", after)):
        for n in (4, 16, 40):
            usual = np.nanmedian(np.abs(heart[n:] - heart[:-n]))
            near = np.nanmedian(np.abs(changes[n])) if len(gaps) >= 8 else np.nan
            found[f"{n / 4:g} s {name} a gap, over others"] = near / max(usual, 0.25)
    return found


TEN_MIN = 2400


def pieces(toco):
    """Return the toco in rows of ten minutes."""
    return toco[: len(toco) // TEN_MIN * TEN_MIN].reshape(-1, TEN_MIN)


def fast(toco):
    """Return size above 0.4 Hz and level of pieces of 16 s that are neither at zero nor full."""
    rows = toco[: len(toco) // 64 * 64].reshape(-1, 64)
    rows = rows[(rows.min(axis=1) > 0) & (rows.max(axis=1) < 100)]
    power = np.abs(np.fft.rfft(rows * np.hanning(64), axis=1)) ** 2
    return np.sqrt(power[:, 7:23].sum(axis=1) / 64 / 12), rows.mean(axis=1)


def ripple(toco):
    """Return how much alike each 28 s is to itself a breath later, the breath's length, and rms.

    Pieces at zero, full or without a trace are left out.
    """
    rows = toco[: len(toco) // 112 * 112].reshape(-1, 112).astype(float)
    still = (rows <= 0) | (rows >= 100)
    powers = np.linalg.qr(np.linspace(-1, 1, 112)[:, None] ** np.arange(4))[0]
    waves = rows - (rows @ powers) @ powers.T
    size = waves.std(axis=1)
    waves = waves[(still.mean(axis=1) < 0.1) & (size > 0.35)]
    alike = [
        (waves[:, :-lag] * waves[:, lag:]).sum(axis=1)
        / np.sqrt((waves[:, :-lag] ** 2).sum(axis=1) * (waves[:, lag:] ** 2).sum(axis=1))
        for lag in range(4, 35)
    ]
    alike = np.array(alike).T
    tops = (alike[:, 1:-1] >= alike[:, :-2]) & (alike[:, 1:-1] > alike[:, 2:])
    alike = np.where(tops, alike[:, 1:-1], -1)
    return alike.max(axis=1), (alike.argmax(axis=1) + 5) / 4, waves.std(axis=1)


BELT_BANDS_HZ = (0.02, 0.035, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.1, 1.4, 1.7, 2.0)


def belt_spectrum(toco):
    """Return the power in bands of pieces of 64 s that are neither at zero nor full, dB per Hz."""
    rows = toco[: len(toco) // 256 * 256].reshape(-1, 256).astype(float)
    still = (rows <= 0) | (rows >= 100)
    rows = rows[still.mean(axis=1) < 0.1]
    if len(rows) < 10:
        return {}
    rows = (rows - rows.mean(axis=1, keepdims=True)) * np.hanning(256)
    power = np.abs(np.fft.rfft(rows, axis=1)) ** 2 / (2 * np.sum(np.hanning(256) ** 2))
    hz = np.fft.rfftfreq(256, 1 / 4)
    kind = "half" if np.mean(toco % 1 == 0.5) > 0.05 else "whole"
    return {
        f"in {kind} units, {a:g}-{b:g} Hz, dB": np.median(
            10 * np.log10(power[:, (hz >= a) & (hz < b)].mean(axis=1) + 1e-5)
        )
        for a, b in pairwise(BELT_BANDS_HZ)
    }


def belt(toco):
    """Return what is fitted of the belt, of one recording."""
    rows = pieces(toco)
    still = rows.std(axis=1) < 0.5
    edges = np.flatnonzero(np.concatenate([[True], np.diff(toco) != 0, [True]]))
    found = {
        "ten minutes without a trace, share": np.mean(still),
        "the last ones so": float(still[-1]),
        "longest constant, s": np.diff(edges).max() / 4,
        "constant at the end, s": (edges[-1] - edges[-2]) / 4,
        "constant at the start, s": (edges[1] - edges[0]) / 4,
        "at zero, share": np.mean(toco == 0),
        "p5 of ten minutes, units": np.median(np.percentile(rows, 5, axis=1)),
        "p95 of ten minutes, units": np.median(np.percentile(rows, 95, axis=1)),
    }
    found |= belt_spectrum(toco)
    alike, breath_s, rms = ripple(toco)
    if len(alike) > 30:
        clear = alike > 0.5
        found["28 s with a clear ripple, share"] = np.mean(clear)
        found["28 s with a very clear ripple, share"] = np.mean(alike > 0.7)
        if clear.sum() > 4:
            found["its breaths, s"] = np.median(breath_s[clear])
            found["its size, units rms"] = np.median(rms[clear])
    size, level = fast(toco)
    heard = size > 0
    if heard.sum() > 60:
        height = level[heard] - np.percentile(level[heard], 10) + 3
        slope = np.polyfit(np.log(np.maximum(height, 1)), np.log(size[heard]), 1)[0]
        found["fast part grows with height, power"] = slope
        found["fast part, units rms"] = np.median(size[heard])
    return found


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
        **beside_gaps(heart, gaps, held),
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
    kinds, belts = {}, []
    for path in files:
        heart, toco = read(path)
        belts.append(belt(toco))
        figures = measure(heart)
        if figures:
            kinds.setdefault(kind(figures), []).append(figures)
    for name, many in [*sorted(kinds.items()), ("belt", belts)]:
        print(f"{name}: {len(many)} recordings; mean; p25, p50, p75")
        for key in dict.fromkeys(key for figures in many for key in figures):
            values = [f[key] for f in many if np.isfinite(f.get(key, np.nan))]
            shown = (np.mean(values), *np.percentile(values, (25, 50, 75)))
            print(f"  {key:<36}" + "".join(f"{value:9.3f}" for value in shown))


if __name__ == "__main__":
    main()
