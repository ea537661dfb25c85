"""Do the heart rate's figures go with the pH as in real labours? Table of rank correlations.

    python -m benchmarks.acidosis [SENSORS [SEED ...]]

Needs the 60 recordings with cord pH in ../shared (or CTGKIT_SHARED), scipy and scikit-learn; says
so and ends well without them. Exit code 1 when, over all seeds, a logistic regression on simulated
data tells pH 7.15 or less with an AUC outside 0.65 to 0.85 (neither noise nor a giveaway), or a
correlation is outside the 95 % interval of the real one.
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
RESAMPLES = 2000


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


def correlations(rows, ph):
    """Return the rank correlation of each figure with pH."""
    from scipy.stats import spearmanr

    return np.array([spearmanr(column, ph, nan_policy="omit")[0] for column in rows.T])


def intervals(rows, ph):
    """Return the 95 % interval of each correlation: bootstrap over recordings."""
    draw = np.random.default_rng(0)
    picks = (draw.integers(0, len(ph), len(ph)) for _ in range(RESAMPLES))
    return np.percentile([correlations(rows[i], ph[i]) for i in picks], (2.5, 97.5), axis=0)


def simulated(c2st, sensors, seed):
    """Return figures and simulated pH of patients of the cohort."""
    scenario = load_scenario("intrapartum-cohort")
    pairs = []
    for index in range(sensors):
        sensor = Sensor(scenario, seed=seed, index=index)
        chunk = sensor.read(MINUTES * 240)
        states = [e for e in sensor.events() if e.kind == "fetal_state"]
        row = figures(c2st, chunk.fhr_bpm, chunk.uterus)
        pairs.append((row, states[-1].details["simulated_ph"]))
    return pairs


def arrays(pairs):
    """Return figures and pH of those with signal."""
    known = [(row, ph) for row, ph in pairs if row is not None]
    return np.array([row for row, _ in known]), np.array([ph for _, ph in known])


def main():
    """Print the table."""
    if not (SHARED / "data" / "ctu_meta.json").exists():
        print(f"skipped: no recordings at {SHARED}")
        return
    if any(importlib.util.find_spec(name) is None for name in ("sklearn", "scipy")):
        print("skipped: scikit-learn or scipy is not installed")
        return
    numbers = [int(word) for word in sys.argv[1:]] or [120]
    sensors, seeds = numbers[0], numbers[1:] or [3]
    c2st = scorer()
    meta = json.loads((SHARED / "data" / "ctu_meta.json").read_text())
    recordings = c2st.load_dir(str(SHARED / "data" / "ctu"))
    rows, ph = arrays(
        (figures(c2st, *one), meta[name[:4]]["pH"]) for name, one in recordings.items()
    )
    parts = [simulated(c2st, sensors, seed) for seed in seeds]
    our_rows, our_ph = arrays(pair for part in parts for pair in part)
    percents = (5, 25, 50, 75, 95)
    for name, levels in (("real", ph), ("simulated", our_ph)):
        print(
            f"pH {name}: {len(levels)}, percentiles {percents}: {np.percentile(levels, percents)}"
        )
    print(f"{'rank correlation with pH':<26}{'real':>7}{'95 % interval':>18}{'simulated':>11}")
    low, high = intervals(rows, ph)
    ours = correlations(our_rows, our_ph)
    for name, *column in zip(FIGURES, correlations(rows, ph), low, high, ours, strict=True):
        real, least, most, own = column
        print(f"  {name:<24}{real:7.2f}{least:10.2f} to{most:5.2f}{own:11.2f}")
    each = [auc(*arrays(part)) for part in parts]
    found = auc(our_rows, our_ph)
    print(
        f"AUC for pH <= {ACIDOSIS_PH}: real {auc(rows, ph):.2f}, simulated {found:.2f} ({LIMITS}),"
        f" by seed {', '.join(f'{one:.2f}' for one in each)}"
    )
    inside = (low <= ours) & (ours <= high)
    sys.exit(int(not (LIMITS[0] <= found <= LIMITS[1] and inside.all())))


if __name__ == "__main__":
    main()
