"""Fit and judge the stub's hypoxia model on recordings with a cord pH.

    python -m benchmarks.fit_risk [--write]

Takes the recordings of ../shared/data (CTU-UHB: ctu_meta.json, ctu/NNNN.csv.gz), or of
$CTGKIT_SHARED/data; skips without them, or without scikit-learn. Prints the AUC by repeated
stratified cross-validation, with a bootstrap interval over women; ``--write`` replaces
ctgkit/analysis/risk_model.json.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

from ctgkit.analysis import analyze
from ctgkit.recording.files.csv import read_csv

try:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import RepeatedStratifiedKFold
except ImportError:
    print("skipped: needs scikit-learn")
    sys.exit()

ROOT = Path(__file__).parent.parent

FEATURES = [
    "baseline_min_bpm",
    "baseline_max_bpm",
    "acceleration_area_bpm",
    "deceleration_area_bpm",
]
"""The four inputs of DeepCTG 1.0 (analysis.md 6), chosen before any fit."""

FIT_PH, REGULARISATION, PREVALENCE = 7.15, 0.05, 0.1
"""Fitted on pH < 7.15, the limit with enough cases; shrunk hard, because there are few; calibrated
to a prevalence of 10 % so that an average recording is far below the first threshold."""

REPEATS, FOLDS, BOOTSTRAPS = 20, 5, 2000


def dataset(folder):
    """Return features of shape (n, 4) at the end of each recording, and the pH."""
    meta = json.loads((folder / "ctu_meta.json").read_text())
    rows, ph = [], []
    for name, about in sorted(meta.items()):
        if about["pH"] is None:
            continue
        report = analyze(read_csv(folder / "ctu" / f"{name}.csv.gz"))
        values = report.analyses[-1].features.values
        rows.append([np.nan if values[f] is None else values[f] for f in FEATURES])
        ph.append(about["pH"])
    table = np.array(rows, float)
    return np.where(np.isfinite(table), table, np.nanmean(table, axis=0)), np.array(ph)


def scaled(train, other):
    """Return *other* in standard deviations of *train*, at most 3."""
    return np.clip((other - train.mean(axis=0)) / train.std(axis=0), -3, 3)


def cross_validated(table, sick):
    """Return the mean out-of-fold score of each recording."""
    folds = RepeatedStratifiedKFold(
        n_splits=min(FOLDS, int(sick.sum())), n_repeats=REPEATS, random_state=0
    )
    total = np.zeros(len(sick))
    for train, test in folds.split(table, sick):
        model = LogisticRegression(C=REGULARISATION, class_weight="balanced")
        model.fit(scaled(table[train], table[train]), sick[train])
        total[test] += model.decision_function(scaled(table[train], table[test]))
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
    table, ph = dataset(folder)
    for limit in (7.05, 7.10, 7.15, 7.20):
        sick = ph < limit
        if sick.sum() < 2:
            continue
        auc, low, high = interval(sick, cross_validated(table, sick))
        print(f"pH < {limit}: n={sick.sum()}/{len(ph)} AUC {auc:.2f} [{low:.2f}, {high:.2f}]")
    if "--write" not in sys.argv:
        return
    sick = ph < FIT_PH
    model = LogisticRegression(C=REGULARISATION, class_weight="balanced")
    model.fit(scaled(table, table), sick)
    fitted = {
        "provenance": f"logistic regression on {len(ph)} recordings of CTU-UHB (PhysioNet, doi "
        f"10.13026/C22013, development half), pH < {FIT_PH}: {sick.sum()}; last 30 min; "
        f"C={REGULARISATION}; prevalence {PREVALENCE}; by benchmarks/fit_risk.py",
        "features": FEATURES,
        "means": table.mean(axis=0).round(3).tolist(),
        "scales": table.std(axis=0).round(3).tolist(),
        "coefficients": model.coef_[0].round(4).tolist(),
        "intercept": round(float(np.log(PREVALENCE / (1 - PREVALENCE))), 4),
    }
    target = ROOT / "ctgkit" / "analysis" / "risk_model.json"
    target.write_text(json.dumps(fitted, indent=2) + "\n")
    print(json.dumps(fitted, indent=2))


if __name__ == "__main__":
    main()
