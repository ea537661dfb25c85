"""A whole recording: the library call and ``ctgkit analyze``."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from ctgkit.analysis import AnalyzerSettings, analyze
from ctgkit.cli.main import cli
from tests.analysis.test_analyzer import labour


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    path = tmp_path_factory.mktemp("recordings") / "labour.csv"
    t_s, fhr_bpm, toco = labour(20)
    fhr_bpm[1000:1100] = 0
    rows = "\n".join(f"{a},{b},{c:.2f}" for a, b, c in zip(t_s, fhr_bpm, toco, strict=True))
    path.write_text("sec,bpm,uterus\n" + rows + "\n")
    return path


def recording(minutes=20):
    t_s, fhr_bpm, toco = labour(minutes)
    return SimpleNamespace(sec_from_start=t_s, fhr_bpm=fhr_bpm, uterus=toco)


def test_a_report_covers_every_minute_and_settles_everything():
    report = analyze(recording())
    assert [m.start_s for m in report.minutes] == [60.0 * n for n in range(20)]
    assert all(e.tier == "final" for e in report.events)
    assert sum(e.kind == "contraction" for e in report.events) == 6
    late = [e for e in report.events if e.subtype == "late"]
    assert len(late) >= 5
    assert [a.at_s for a in report.analyses] == [*range(300, 1200, 30), 1200]


@pytest.mark.parametrize("lag_s", [0, 60, 300])
def test_any_lag_gives_all_minutes(lag_s):
    report = analyze(recording(), AnalyzerSettings(final_after_s=lag_s))
    assert len(report.minutes) == 20
    assert [m.baseline_bpm for m in report.minutes] == pytest.approx([140] * 20, abs=6)


def test_a_recording_of_seconds_is_no_error():
    report = analyze(
        SimpleNamespace(sec_from_start=np.array([0.0]), fhr_bpm=np.array([140.0]),
                        uterus=np.array([np.nan]))
    )  # fmt: skip
    assert report.events == []
    assert report.analyses[-1].figo.level == "indeterminate"
    with pytest.raises(ValueError, match="without samples"):
        analyze(SimpleNamespace(sec_from_start=[], fhr_bpm=[], uterus=[]))


@pytest.mark.parametrize(("lost_s", "loss_pct"), [(0, 0.0), (20, 50.0)])
def test_less_than_a_minute_is_described_as_it_is(tmp_path, lost_s, loss_pct):
    """Not as 0 min of which everything is lost."""
    path = tmp_path / "short.csv"
    rows = [f"{n / 4},{0 if n / 4 < lost_s else 140},10" for n in range(161)]
    path.write_text("sec,bpm,uterus\n" + "\n".join(rows) + "\n")
    done = CliRunner().invoke(cli, ["analyze", str(path)])
    assert f"short.csv: 40 s, {loss_pct:.0f} % of it lost" in done.stdout
    assert "Signal lost" not in done.stdout
    report = json.loads(CliRunner().invoke(cli, ["analyze", str(path), "--json"]).stdout)
    assert report["features"]["signal_loss_pct"] == loss_pct
    assert report["features"]["examined_min"] == 0.67


def test_a_long_recording_is_said_to_be_as_long_as_it_is(tmp_path):
    """Figures and class are of its end only, which isn't its length."""
    path = tmp_path / "long.csv"
    path.write_text("sec,bpm,uterus\n" + "".join(f"{n},140,10\n" for n in range(90 * 60)))
    done = CliRunner().invoke(cli, ["analyze", str(path)])
    assert "long.csv: 90 min, the last 65 judged, 0 % of the last 10 min lost" in done.stdout


def test_the_command_prints_what_event_score_reads(csv, tmp_path):
    out = tmp_path / "result.json"
    done = CliRunner().invoke(cli, ["analyze", str(csv), "--json", "--out", str(out)])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert json.loads(out.read_text()) == result
    assert len(result["baseline_per_minute"]) == 20
    assert {e["type"] for e in result["events"]} == {"deceleration", "contraction"}
    assert all(e["start_s"] < e["end_s"] for e in result["events"])
    assert "not a medical device" in result["note"]


@pytest.mark.parametrize(("guideline", "shown"), [
    ("figo", "figo: "), ("nichd", "nichd: II"), ("fischer", "deceleration_pattern: 0 points"),
    ("krebs", "movements_per_30min: ? points"),
])  # fmt: skip
def test_the_summary_gives_the_class_and_why(csv, guideline, shown):
    done = CliRunner().invoke(cli, ["analyze", str(csv), "--guideline", guideline])
    assert done.exit_code == 0, done.output
    assert shown in done.stdout
    assert "not a medical device" in done.stdout


def test_a_missing_file_is_named(tmp_path):
    done = CliRunner().invoke(cli, ["analyze", str(tmp_path / "none.csv")])
    assert done.exit_code != 0
    assert "none.csv" in done.output + str(done.exception)
