"""Train an event segmenter on simulated truth and test it on what experts marked.

    python -m benchmarks.train_on_synthetic [SENSORS]

A small event segmenter (boosted trees on each second's surroundings) is trained on our truth
alone and tested on the 11 recordings with expert zones, against the same one trained on these by
leaving one recording out at a time. Needs ../shared (or CTGKIT_SHARED) and scikit-learn; says so
and ends well without them. Exit code 1 when the ratio of F1 is below 0.9.
"""

import gzip
import importlib.util
import json
import os
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor

SHARED = Path(os.environ.get("CTGKIT_SHARED", Path(__file__).parents[2] / "shared"))
KINDS = ("acceleration", "deceleration")
SCENARIOS = ("intrapartum-cohort", "active-labour", "normal-reactive", "variable-typical",
             "late-decels-mild")  # fmt: skip
REACH_S = 60
RATIO = 0.9


def per_second(heart):
    """Return a 1 Hz heart rate without gaps, and where there was signal."""
    seconds = heart[: len(heart) // 4 * 4].reshape(-1, 4)
    known = np.isfinite(seconds).any(axis=1)
    mean = np.full(len(seconds), np.nan)
    mean[known] = np.nanmean(seconds[known], axis=1)
    i = np.arange(len(mean))
    return np.interp(i, i[known], mean[known]), known


def features(heart):
    """Return a row per second: the course around it over its baseline, in bpm."""
    rate, known = per_second(heart)
    padded = np.pad(rate, 300, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 601)
    level = np.percentile(windows[:, ::10], 50, axis=1)
    smooth = np.convolve(np.pad(rate, 2, mode="edge"), np.ones(5) / 5, "valid")
    around = np.pad(smooth, REACH_S, mode="edge")
    offsets = np.arange(0, 2 * REACH_S + 1, 6)
    course = np.stack([around[k : k + len(rate)] for k in offsets], axis=1) - level[:, None]
    near = np.lib.stride_tricks.sliding_window_view(np.pad(smooth, 60, mode="edge"), 121)
    spread = np.percentile(near[:, ::5], (10, 50, 90), axis=1).T - level[:, None]
    return np.column_stack([course, spread, known])


def labels(events, count):
    """Return 0, or 1 + the index of the kind, per second."""
    marks = np.zeros(count, int)
    for kind, start_s, end_s in events:
        marks[max(0, int(start_s)) : int(np.ceil(end_s))] = 1 + KINDS.index(kind)
    return marks


def segments(marks, shortest_s=10):
    """Return (kind, start, end) of each run."""
    edges = np.flatnonzero(np.diff(np.concatenate([[-1], marks, [-1]])))
    return [
        (KINDS[marks[a] - 1], a, b) for a, b in pairwise(edges) if marks[a] and b - a >= shortest_s
    ]


def tally(found, true):
    """Return per kind (true, found, hits)."""
    result = {}
    for kind in KINDS:
        ours = [e for e in found if e[0] == kind]
        theirs = [e for e in true if e[0] == kind]
        hits = 0
        for _, a, b in theirs:
            match = next((e for e in ours if e[1] < b and e[2] > a), None)
            if match:
                ours = [e for e in ours if e is not match]
                hits += 1
        result[kind] = (len(theirs), hits + len(ours), hits)
    return result


def expert_recordings():
    """Return (features, labels, events, from, to) of each recording with expert zones."""
    result = []
    for path in sorted((SHARED / "data" / "fhrma").glob("*.expert.json")):
        zones = json.loads(path.read_text())["expert_events"]
        events = [(z["type"], z["start_s"], z["end_s"]) for z in zones if z["type"] in KINDS]
        with gzip.open(str(path).replace(".expert.json", ".csv.gz"), "rt") as file:
            bpm = np.loadtxt(file, delimiter=",", skiprows=1)[:, 1]
        rows = features(np.where(bpm > 0, bpm, np.nan))
        first, last = min(e[1] for e in events) - 30, max(e[2] for e in events) + 30
        result.append((rows, labels(events, len(rows)), events, first, last))
    return result


def simulated(sensors):
    """Return features and labels of simulated sensors."""
    rows, marks = [], []
    for name in SCENARIOS:
        scenario = load_scenario(name)
        for index in range(sensors):
            sensor = Sensor(scenario, seed=11, index=index)
            heart = sensor.read(3600 * 4).fhr_bpm
            events = [
                (e.kind, e.onset_s, e.end_s)
                for e in sensor.events()
                if e.kind in KINDS and e.meets_clinical
            ]
            rows.append(features(heart)[::3])
            marks.append(labels(events, len(heart) // 4)[::3])
    return np.concatenate(rows), np.concatenate(marks)


def fit(rows, marks):
    """Return a fitted segmenter."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=120, learning_rate=0.08, max_leaf_nodes=15, random_state=0
    )
    return model.fit(rows, marks)


def f1(counts):
    """Return F1 by kind, and of both together."""
    both = {k: np.sum([c[k] for c in counts], axis=0) for k in KINDS}
    both["both"] = np.sum(list(both.values()), axis=0)
    return {k: 2 * hits / max(true + found, 1) for k, (true, found, hits) in both.items()}


def judge(model, recording):
    """Return the tally of one recording, between its first and last expert event."""
    rows, _, events, first, last = recording
    probability = model.predict_proba(rows)
    smooth = np.stack([np.convolve(p, np.ones(9) / 9, "same") for p in probability.T], axis=1)
    found = [e for e in segments(model.classes_[smooth.argmax(axis=1)]) if first < e[1] < last]
    return tally(found, events)


def main():
    """Print F1 of both."""
    if not (SHARED / "data" / "fhrma").exists() or importlib.util.find_spec("sklearn") is None:
        print(f"skipped: needs {SHARED} and scikit-learn")
        return
    real = expert_recordings()
    sensors = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    ours = fit(*simulated(sensors))
    synthetic = f1([judge(ours, one) for one in real])
    counts = []
    for out, one in enumerate(real):
        rest = [r for i, r in enumerate(real) if i != out]
        model = fit(np.concatenate([r[0] for r in rest]), np.concatenate([r[1] for r in rest]))
        counts.append(judge(model, one))
    theirs = f1(counts)
    for kind in (*KINDS, "both"):
        print(f"{kind:<14} simulated {synthetic[kind]:.3f}  real {theirs[kind]:.3f}")
    ratio = synthetic["both"] / theirs["both"]
    print(f"ratio of F1 {ratio:.2f} (>= {RATIO})")
    sys.exit(int(ratio < RATIO))


if __name__ == "__main__":
    main()
