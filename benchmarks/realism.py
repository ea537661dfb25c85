"""Can a classifier tell our cohort from real recordings? 0.5: no; 1: at once.

    python -m benchmarks.realism [SEED …]

Needs the recordings and the scorer in ../shared (or CTGKIT_SHARED), numpy, scipy and
scikit-learn; says so and ends well without them. Exit code 1 when a limit is exceeded.
"""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor

SHARED = Path(os.environ.get("CTGKIT_SHARED", Path(__file__).parents[2] / "shared"))
SESSIONS, MINUTES = 60, 70
LIMITS = {
    "all": 0.87, "no_device_details": 0.79, "fhr_level": 0.65, "fhr_var": 0.70, "loss": 0.72,
    "uc_shape": 0.75, "coupling": 0.65,
}  # fmt: skip
"""Random-forest AUC; 0.87 is what another real hospital scores."""


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


def main():
    """Score each seed and print a table."""
    if not (SHARED / "tools" / "c2st.py").exists():
        print(f"skipped: no recordings at {SHARED}")
        return
    if importlib.util.find_spec("sklearn") is None:
        print("skipped: scikit-learn is not installed")
        return
    c2st = scorer()
    real = c2st.load_dir(str(SHARED / "data" / "ctu"))
    exceeded = False
    for seed in [int(s) for s in sys.argv[1:]] or [1]:
        with tempfile.TemporaryDirectory() as folder:
            write_cohort(folder, seed)
            result = c2st.c2st(real, c2st.load_dir(folder))
        scores = {"all": result["auc_rf"], **result["group_auc_rf"]}
        print(f"seed {seed}: 95 % interval of all {result['auc_rf_ci95']}")
        for group, auc in scores.items():
            limit = LIMITS.get(group)
            bad = limit is not None and auc > limit
            exceeded |= bad
            print(f"  {group:<28}{auc:.3f}  {f'<= {limit}' if limit else '':<8}{'TOO HIGH' * bad}")
    sys.exit(1 if exceeded else 0)


if __name__ == "__main__":
    main()
