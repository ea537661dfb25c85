"""Can a classifier tell our cohort from real recordings? 0.5: no; 1: at once.

    python -m benchmarks.realism [--sharp] [SEED …]

Needs the recordings and the scorers in ../shared (or CTGKIT_SHARED), numpy, scipy and
scikit-learn; says so and ends well without them. With --sharp the judge is gradient boosting on
283 features, minutes per seed. Exit code 1 when a limit is exceeded.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor

SHARED = Path(os.environ.get("CTGKIT_SHARED", Path(__file__).parents[2] / "shared"))
SESSIONS, MINUTES = 60, 70
LIMITS = {"all": 0.75, "no_device_details": 0.70}
"""Random-forest AUC; another real hospital scores 0.91."""
SHARP_LIMITS = {
    "all": 0.93, "gaps": 0.72, "fhr hold/steps (<1 s)": 0.85, "uc fine (<5 s)": 0.80,
    "fhr variability (1-120 s)": 0.75, "events + shape + coupling": 0.72,
}  # fmt: skip
"""Gradient boosting; another real hospital scores 0.96, real against real 0.55."""


def scorer():
    """Return the shared scorer as a module."""
    spec = importlib.util.spec_from_file_location("c2st", SHARED / "tools" / "c2st.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_cohort(folder, seed):
    """Write the sessions as the scorer reads them."""
    scenario = load_scenario("intrapartum-cohort")
    for i in range(SESSIONS):
        chunk = Sensor(scenario, seed=seed, index=i).read(MINUTES * 240)
        np.savez(Path(folder) / f"{i:02d}.npz", bpm=chunk.fhr_bpm, uterus=chunk.uterus)


def scores(folder, *, sharp):
    """Return the AUC by group of features, and the interval of all."""
    real = SHARED / "data" / "ctu"
    if sharp:
        command = [sys.executable, str(SHARED / "tools" / "c2st_rich.py"), str(real), folder]
        done = subprocess.run(command, capture_output=True, check=True)
        result = json.loads(done.stdout)
        only = {name: family["only"] for name, family in result["families"].items()}
        return {"all": result["auc"], **only, **result["sets"]}, result["ci"]
    c2st = scorer()
    result = c2st.c2st(c2st.load_dir(str(real)), c2st.load_dir(folder))
    return {"all": result["auc_rf"], **result["group_auc_rf"]}, result["auc_rf_ci95"]


def main():
    """Score each seed and print a table."""
    if not (SHARED / "tools" / "c2st.py").exists():
        print(f"skipped: no recordings at {SHARED}")
        return
    if importlib.util.find_spec("sklearn") is None:
        print("skipped: scikit-learn is not installed")
        return
    sharp = "--sharp" in sys.argv
    limits = SHARP_LIMITS if sharp else LIMITS
    exceeded = False
    for seed in [int(s) for s in sys.argv[1:] if s != "--sharp"] or [1]:
        with tempfile.TemporaryDirectory() as folder:
            write_cohort(folder, seed)
            groups, interval = scores(folder, sharp=sharp)
        print(f"seed {seed}: 95 % interval of all {interval}")
        for group, auc in groups.items():
            limit = limits.get(group)
            bad = limit is not None and auc > limit
            exceeded |= bad
            print(f"  {group:<28}{auc:.3f}  {f'<= {limit}' if limit else '':<8}{'TOO HIGH' * bad}")
    sys.exit(1 if exceeded else 0)


if __name__ == "__main__":
    main()
