"""Do the heart rate's figures go with the pH as in real labours? Table of rank correlations.

    python -m benchmarks.acidosis [SENSORS]

Needs the 60 recordings with cord pH in ../shared (or CTGKIT_SHARED), scipy and scikit-learn; says
so and ends well without them. Exit code 1 when a logistic regression on simulated data tells pH
7.15 or less with an AUC outside 0.65 to 0.85: neither noise nor a giveaway.
"""

import importlib.util
import json
import sys

import numpy as np

from benchmarks.realism import MINUTES, SHARED, scorer
from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor

FIGURES = ("fhr_median", "stv_ms", "ltv_mean", "fhr_sd", "fhr_p5d", "fhr_p95d", "frac_below15",
           "loss_frac", "xc_min")  # fmt: skip
ACIDOSIS_PH = 7.15
LIMITS = (0.65, 0.85)


def figures(c2st, heart, uterus):
    """Return the means over the last half hour, or None without signal."""
    heart, uterus = np.nan_to_num(heart), np.nan_to_num(uterus)
    windows = [slice(k, k + 2400) for k in range(0, len(heart) - 2399, 2400)]
    good = [w for w in windows if np.isfinite(c2st.clean_fhr(heart[w])).mean() >= 0.5][-3:]
    rows = [c2st.features(heart[w], uterus[w]) for w in good]
    return [np.nanmean([row[name] for row in rows]) for name in FIGURES] if rows else None


def auc(rows, ph):
    """Return the cross-validated AUC of a logistic regression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05))
    low = ph <= ACIDOSIS_PH
    found = []
    for seed in range(5):
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        p = cross_val_predict(model, rows, low, cv=folds, method="predict_proba")[:, 1]
        found.append(roc_auc_score(low, p))
    return float(np.mean(found))


def main():
    """Print the table."""
    if not (SHARED / "data" / "ctu_meta.json").exists():
        print(f"skipped: no recordings at {SHARED}")
        return
    if importlib.util.find_spec("sklearn") is None:
        print("skipped: scikit-learn is not installed")
        return
    from scipy.stats import spearmanr

    c2st = scorer()
    meta = json.loads((SHARED / "data" / "ctu_meta.json").read_text())
    recordings = c2st.load_dir(str(SHARED / "data" / "ctu"))
    pairs = [(figures(c2st, *one), meta[name[:4]]["pH"]) for name, one in recordings.items()]
    scenario = load_scenario("intrapartum-cohort")
    simulated = []
    for index in range(int(sys.argv[1]) if len(sys.argv) > 1 else 120):
        sensor = Sensor(scenario, seed=3, index=index)
        chunk = sensor.read(MINUTES * 240)
        states = [e for e in sensor.events() if e.kind == "fetal_state"]
        row = figures(c2st, chunk.fhr_bpm, chunk.uterus)
        simulated.append((row, states[-1].details["simulated_ph"]))
    sides = []
    for side in (pairs, simulated):
        known = [(row, ph) for row, ph in side if row is not None]
        sides.append((np.array([row for row, _ in known]), np.array([ph for _, ph in known])))
    percents = (5, 25, 50, 75, 95)
    for name, (_, ph) in zip(("real", "simulated"), sides, strict=True):
        print(f"pH {name}: {len(ph)}, percentiles {percents}: {np.percentile(ph, percents)}")
    print(f"{'rank correlation with pH':<26}{'real':>7}{'simulated':>11}")
    for j, name in enumerate(FIGURES):
        both = [spearmanr(rows[:, j], ph)[0] for rows, ph in sides]
        print(f"  {name:<24}{both[0]:7.2f}{both[1]:11.2f}")
    real, ours = (auc(rows, ph) for rows, ph in sides)
    print(f"AUC for pH <= {ACIDOSIS_PH}: real {real:.2f}, simulated {ours:.2f} ({LIMITS})")
    sys.exit(int(not LIMITS[0] <= ours <= LIMITS[1]))


if __name__ == "__main__":
    main()
