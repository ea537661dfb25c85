"""Fit and judge the stub's hypoxia model on recordings with a cord pH.

    python -m benchmarks.fit_risk [--write]

Takes the recordings of ../shared/data (CTU-UHB: ctu_meta.json, ctu/NNNN.csv.gz), or of
$CTGKIT_SHARED/data; skips without them, or without scikit-learn. Prints the AUC by repeated
cross-validation, with a bootstrap interval over women, of the last probability, of the smoothed
one, and of the mean of the last 30 min, with and without the floors; then how many of each fifth
were acidotic, and the critical alerts of those that were not. ``--write`` replaces
ctgkit/analysis/risk_model.json.
"""

import json
import math
import os
import sys
from pathlib import Path

import numpy as np

from ctgkit.analysis import analyze
from ctgkit.analysis.risk import CLIPPED, floor, smoothed
from ctgkit.recording.files.csv import read_csv

try:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import RepeatedStratifiedKFold
except ImportError:
    print("skipped: needs scikit-learn")
    sys.exit()

ROOT = Path(__file__).parent.parent

FEATURES = ["deceleration_area_60min_bpm", "acceleration_area_bpm"]
"""What physiology supports and what survived cross-validation (docs/analysis.md)."""

FIT_PH, REGULARISATION = 7.20, 0.3
"""Fitted on pH < 7.20, the limit with most cases; with this strength of regularisation the scores
of women that were left out have a calibration slope of 1."""

JUDGED_PH, PREVALENCE = 7.15, 0.19
"""The probability is that of pH < 7.15, of which the whole database has 105 in 552."""

REPEATS, FOLDS, BOOTSTRAPS, LONG_S, HEALTHY_PH = 20, 5, 400, 1800, 7.25


def dataset(folder):
    """Return the pH, and of each recording the features, floors and alerts of each analysis."""
    meta = json.loads((folder / "ctu_meta.json").read_text())
    courses, ph = [], []
    for name, about in sorted(meta.items()):
        if about["pH"] is None:
            continue
        analyses = analyze(read_csv(folder / "ctu" / f"{name}.csv.gz")).analyses
        values = [a.features.values for a in analyses]
        courses.append(
            {
                "at_s": np.array([a.at_s for a in analyses]),
                "features": np.array([[v[f] for f in FEATURES] for v in values], float),
                "floor": np.array(
                    [floor(a.features.values, a.figo).probability for a in analyses]
                ),
                "critical": {(x.code, x.since_s) for a in analyses for x in a.alerts
                             if x.level == "critical"},
            }
        )  # fmt: skip
        ph.append(about["pH"])
    return courses, np.array(ph)


def scaled(rows, means, scales):
    return np.clip((rows - means) / scales, -CLIPPED, CLIPPED)


def fitted(courses, sick):
    """Return means, scales and coefficients: the mean of the last 30 min of each recording."""
    ends = np.array([c["features"][-1] for c in courses])
    means, scales = ends.mean(axis=0), ends.std(axis=0)
    rows = [
        scaled(c["features"][c["at_s"] > c["at_s"][-1] - LONG_S], means, scales).mean(axis=0)
        for c in courses
    ]
    model = LogisticRegression(C=REGULARISATION, class_weight="balanced").fit(rows, sick)
    return means, scales, model.coef_[0]


def judged(course, model):
    """Return the course's last, smoothed and mean probability, without and with floors."""
    means, scales, coefficients = model
    odds = scaled(course["features"], means, scales) @ coefficients
    alone = 1 / (1 + np.exp(-(odds + math.log(PREVALENCE / (1 - PREVALENCE)))))
    found = []
    for p in (alone, np.maximum(alone, course["floor"])):
        smooth = None
        for value in p:
            smooth = smoothed(smooth, float(value))
        late = course["at_s"] > course["at_s"][-1] - LONG_S
        found += [p[-1], smooth, p[late].mean()]
    return found


def cross_validated(courses, sick):
    """Return the mean out-of-fold probabilities of each recording, shape (n, 6)."""
    folds = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=0)
    total = np.zeros((len(courses), 6))
    for train, test in folds.split(sick, sick):
        model = fitted([courses[n] for n in train], sick[train])
        total[test] += [judged(courses[n], model) for n in test]
    return total / REPEATS


def interval(sick, score):
    """Return the AUC and its 95 % interval over women."""
    draw = np.random.default_rng(0)
    aucs = []
    for _ in range(BOOTSTRAPS):
        at = draw.integers(0, len(sick), len(sick))
        if 0 < sick[at].sum() < len(at):
            aucs.append(roc_auc_score(sick[at], score[at]))
    return roc_auc_score(sick, score), *np.percentile(aucs, (2.5, 97.5))


def main():
    folder = Path(os.environ.get("CTGKIT_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        print(f"skipped: no recordings in {folder}")
        return
    courses, ph = dataset(folder)
    score = cross_validated(courses, ph < FIT_PH)
    names = [f"{kind} {floors}" for floors in ("model", "floored")
             for kind in ("last", "smoothed", "mean of 30 min")]  # fmt: skip
    for limit in (7.05, 7.10, 7.15, 7.20):
        sick = ph < limit
        print(f"pH < {limit}: n={sick.sum()}/{len(ph)}")
        for name, column in zip(names, score.T, strict=True):
            auc, low, high = interval(sick, column)
            print(f"  {name}: AUC {auc:.2f} [{low:.2f}, {high:.2f}]")
    fifths = np.array_split(np.argsort(score[:, 1]), 5)
    print(f"fifths of the smoothed probability of the model, and share with pH < {JUDGED_PH}: "
          + ", ".join(f"{score[n, 1].mean():.2f}: {(ph[n] < JUDGED_PH).mean():.2f}"
                      for n in fifths))  # fmt: skip
    healthy = [c for c, value in zip(courses, ph, strict=True) if value >= HEALTHY_PH]
    hours = sum(c["at_s"][-1] for c in healthy) / 3600
    print(f"pH >= {HEALTHY_PH}: {sum(len(c['critical']) for c in healthy) / hours:.2f} "
          f"critical alerts an hour, in {hours:.1f} h of {len(healthy)} recordings")  # fmt: skip
    if "--write" not in sys.argv:
        return
    means, scales, coefficients = fitted(courses, ph < FIT_PH)
    written = {
        "provenance": f"logistic regression on {len(ph)} recordings of CTU-UHB (PhysioNet, doi "
        f"10.13026/C22013, development half), pH < {FIT_PH}: {(ph < FIT_PH).sum()}; "
        f"C={REGULARISATION}; set to a prevalence of {PREVALENCE} (pH < {JUDGED_PH}); "
        "by benchmarks/fit_risk.py",
        "features": FEATURES,
        "means": means.round(3).tolist(),
        "scales": scales.round(3).tolist(),
        "coefficients": coefficients.round(4).tolist(),
        "intercept": round(math.log(PREVALENCE / (1 - PREVALENCE)), 4),
    }
    target = ROOT / "ctgkit" / "analysis" / "risk_model.json"
    target.write_text(json.dumps(written, indent=2) + "\n")
    print(json.dumps(written, indent=2))


if __name__ == "__main__":
    main()
