"""The analyzer against experts, on recordings that the project may look at but not copy."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ctgkit.analysis import AnalyzerSettings, analyze
from ctgkit.recording.files.csv import read_csv

SHARED = Path(os.environ.get("CTGKIT_SHARED", Path(__file__).parents[3] / "shared"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="no recordings"),
]


@pytest.mark.parametrize(
    ("lag_s", "deceleration", "acceleration"), [(0, 0.76, 0.70), (120, 0.79, 0.75)]
)
def test_events_and_baseline_agree_with_experts(tmp_path, lag_s, deceleration, acceleration):
    folder = SHARED / "data" / "fhrma"
    for path in folder.glob("*.csv.gz"):
        report = analyze(read_csv(path), AnalyzerSettings(final_after_s=lag_s))
        name = path.name.removesuffix(".csv.gz")
        (tmp_path / f"{name}.json").write_text(json.dumps(report.as_dict()))
    done = subprocess.run(
        [sys.executable, SHARED / "tools" / "event_score.py", folder, tmp_path, "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    score = json.loads(done.stdout)
    assert score["deceleration"]["f1"] >= deceleration
    assert score["acceleration"]["f1"] >= acceleration
    assert score["baseline_abs_gap_bpm"]["median"] <= (1.3 if lag_s else 1.75)
    assert score["baseline_abs_gap_bpm"]["p95"] <= (14 if lag_s else 18)


def test_every_real_recording_is_analysed_to_its_end():
    for path in sorted((SHARED / "data" / "ctu").glob("*.csv.gz")):
        recording = read_csv(path)
        report = analyze(recording)
        last_s = float(recording.sec_from_start[-1])
        assert len(report.minutes) == int((last_s + 10) // 60), path.name
        assert all(0 <= a.prediction.hypoxia_probability <= 1 for a in report.analyses)
        assert all(0 <= e.onset_s < e.end_s <= last_s + 10 for e in report.events)
