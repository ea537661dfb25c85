"""A blind test: pairs of pictures, one of a real recording and one simulated.

    python -m benchmarks.blind make FOLDER KEY.json [SEED]
    python -m benchmarks.blind score ANSWERS.txt KEY.json

`make` draws 20 pairs of 20-minute strips and 20 of 2-minute zooms as PNG files, the same way for
both, into FOLDER, with a README that says what to answer; which is which goes to KEY.json, which
the judge must not see. Needs the recordings in ../shared (or CTGKIT_SHARED) and matplotlib; says
so and ends well without them. `score` prints the share of right answers with its 95 % interval.
"""

import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np

from benchmarks.fit_signal import SHARED, read
from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor

PAIRS = 20
KINDS = {"strip": (20, 0.6), "zoom": (2, 0.75)}
"""Name -> length in minutes, and the least share of heart rate that is shown."""
MINUTES = 70
README = """\
Each picture shows two stretches of cardiotocography, A and B: heart rate (50-210 bpm) above, toco
(0-127) below, drawn the same way. One is a recording of a hospital, the other is simulated. Say
which one is SIMULATED: one line per picture in answers.txt beside this file,

    strip01 A because ...
    zoom07 B because ...

Guess where you can't tell; in a word or two, what gave it away. strip*.png are of 20 minutes,
zoom*.png of 2 minutes. There are as many A as B by chance only.
"""


def pieces(records, kind, dice):
    """Return a stretch of each of PAIRS records in random order."""
    minutes, least = KINDS[kind]
    count = minutes * 240
    found = []
    for i in dice.permutation(len(records)):
        heart, toco = records[i]
        for start in dice.integers(0, max(len(heart) - count, 1), 30):
            piece = heart[start : start + count], toco[start : start + count]
            if len(piece[0]) == count and np.isfinite(piece[0]).mean() >= least:
                found.append(piece)
                break
        if len(found) == PAIRS:
            return found
    raise SystemExit("too few recordings")


def simulated(seed):
    """Return as many sessions of the cohort as are needed, shown as recordings are."""
    scenario = load_scenario("intrapartum-cohort")
    runs = (Sensor(scenario, seed, i).read(MINUTES * 240) for i in range(3 * PAIRS))
    return [
        (np.where(run.fhr_bpm <= 220, run.fhr_bpm, np.nan), np.nan_to_num(run.uterus))
        for run in runs
    ]


def draw(path, pair, minutes):
    """Draw two stretches one above the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16 if minutes > 5 else 11, 9), dpi=80, layout="constrained")
    axes = figure.subplots(4, 1, height_ratios=[3, 1.4, 3, 1.4])
    for name, (heart, toco), (top, low) in zip("AB", pair, (axes[:2], axes[2:]), strict=True):
        t_min = np.arange(len(heart)) / 240
        top.plot(t_min, heart, lw=0.8, color="black")
        low.plot(t_min, toco, lw=0.8, color="black")
        if minutes > 5:
            top.set_ylim(50, 210)
        else:
            middle = float(np.nanmedian(heart))
            top.set_ylim(middle - 45, middle + 45)
        low.set_ylim(-2, 128 if minutes > 5 else max(float(toco.max()) * 1.1, 40))
        top.set_title(name, loc="left", fontweight="bold")
        for axis in (top, low):
            axis.set_xlim(0, minutes)
            axis.grid(alpha=0.4)
    figure.savefig(path)


def make(folder, key_path, seed):
    """Draw all pairs; write README and key."""
    files = sorted((SHARED / "data" / "ctu").glob("*.csv.gz"))
    if not files or importlib.util.find_spec("matplotlib") is None:
        print(f"skipped: no recordings at {SHARED}, or no matplotlib")
        return
    dice = np.random.default_rng([seed, 15])
    real, ours = [read(path) for path in files], simulated(seed)
    folder.mkdir(parents=True, exist_ok=True)
    key = {}
    for kind, (minutes, _) in KINDS.items():
        pairs = zip(pieces(real, kind, dice), pieces(ours, kind, dice), strict=True)
        for number, pair in enumerate(pairs, 1):
            name, swap = f"{kind}{number:02d}", bool(dice.integers(2))
            draw(folder / f"{name}.png", pair[::-1] if swap else pair, minutes)
            key[name] = "A" if swap else "B"
    (folder / "README").write_text(README)
    key_path.write_text(json.dumps(key, indent=1) + "\n")


def score(answers, key):
    """Print how many were right, by kind."""
    given = dict(re.findall(r"^(strip\d+|zoom\d+)\W+([AB])\b", answers, re.MULTILINE))
    for kind in ("strip", "zoom", ""):
        names = [name for name in key if name.startswith(kind) and name in given]
        right = sum(given[name] == key[name] for name in names)
        n, share = max(len(names), 1), right / max(len(names), 1)
        middle = (share + 1.92 / n) / (1 + 3.84 / n)  # Wilson
        half = 1.96 * np.sqrt(share * (1 - share) / n + 0.96 / n**2) / (1 + 3.84 / n)
        print(
            f"{kind or 'all':<6}{right} of {len(names)} right: {share:.0%}"
            f" [{max(middle - half, 0):.0%}, {min(middle + half, 1):.0%}]"
        )


def main():
    """Make or score."""
    match sys.argv[1:]:
        case ["make", folder, key, *seed]:
            make(Path(folder), Path(key), int(seed[0]) if seed else 1)
        case ["score", answers, key]:
            score(Path(answers).read_text(), json.loads(Path(key).read_text()))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
