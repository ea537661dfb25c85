"""What a report rests on."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from ctgkit.analysis import analyze
from ctgkit.analysis.burden import burden
from ctgkit.analysis.explain import as_text, explanation
from ctgkit.analysis.features import Minute
from ctgkit.cli.main import cli
from ctgkit.events import Event
from tests.analysis.test_analyzer import labour


@pytest.fixture(scope="module")
def report():
    t_s, fhr_bpm, toco = labour(45)
    return analyze(SimpleNamespace(sec_from_start=t_s, fhr_bpm=fhr_bpm, uterus=toco))


def test_every_alert_class_and_event_is_explained_by_what_is_there(report):
    found = explanation(report)
    json.dumps(found)
    ids = {e.id for e in report.events}
    assert set(found["events"]) == ids
    assert all(found["events"].values())
    assert found["class"]["level"] == "pathological"
    assert found["class"]["evidence"]
    assert {a["code"] for a in found["alerts"]} == {"late_decelerations"}
    for item in (*found["class"]["evidence"], *(e for a in found["alerts"] for e in a["evidence"])):
        assert item["events"]
        assert set(item["events"]) <= ids


def test_an_alert_is_told_with_the_time_for_which_it_held(report):
    (late,) = (a for a in explanation(report)["alerts"] if a["code"] == "late_decelerations")
    assert late["level"] == "critical"  # a warning at first
    assert late["since_s"] <= 1800
    assert late["held_s"] == report.analyses[-1].at_s


def test_the_terms_of_the_risk_add_up(report):
    risk = explanation(report)["risk"]
    odds = np.log(0.19 / 0.81) + sum(term["log_odds"] for term in risk["terms"])
    alone = 1 / (1 + np.exp(-odds))
    assert risk["probability"] == pytest.approx(max(alone, risk["at_least"]), abs=0.002)


def test_the_text_names_the_events_behind_the_class(report):
    text = "\n".join(as_text(report))
    assert "FIGO-P6 late or prolonged decelerations" in text
    assert "late deceleration" in text
    assert "above a baseline of" in text or "below a baseline of" in text
    assert "least 350" in text


def test_the_command_explains(tmp_path):
    t_s, fhr_bpm, toco = labour(12)
    rows = zip(t_s.tolist(), fhr_bpm.tolist(), toco.tolist(), strict=True)
    path = tmp_path / "labour.csv"
    path.write_text("sec,bpm,uterus\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
    plain = CliRunner().invoke(cli, ["analyze", str(path)])
    text = CliRunner().invoke(cli, ["analyze", str(path), "--explain"])
    shown = CliRunner().invoke(cli, ["analyze", str(path), "--json", "--explain"])
    assert shown.exit_code == 0, shown.output
    as_json = json.loads(shown.stdout)
    assert "Events\n" in text.stdout
    assert "Events\n" not in plain.stdout
    assert set(as_json["explanation"]) == {"class", "alerts", "risk", "baseline", "events"}
    assert len(as_json["baseline_held_per_minute"]) == len(as_json["baseline_per_minute"])


def fall(onset_s, lasts_s=60, area=1200):
    return Event(kind="deceleration", onset_s=onset_s, end_s=onset_s + lasts_s, size=30.0,
                 details={"area_bpm_s": area})  # fmt: skip


def minutes(*levels):
    return [Minute(60.0 * n, level, 1.0, 1.0) for n, level in enumerate(levels)]


def test_the_burden_of_an_hour():
    rows = minutes(*[130.0] * 30, *[145.0] * 30)
    falls = [fall(600), fall(2400), fall(3000)]
    values = burden(rows, falls, 3600.0, 3600.0)
    assert values["deceleration_area_60min_bpm"] == pytest.approx(1.0)
    assert values["deceleration_share_60min"] == pytest.approx(0.05)
    assert values["deceleration_growth_bpm"] == pytest.approx((2400 - 1200) / 1800, abs=1e-3)
    assert values["baseline_trend_bpm"] == 15.0


def test_a_short_examination_is_no_hour_of_burden():
    values = burden(minutes(*[130.0] * 5), [fall(100)], 300.0, 300.0)
    assert values["deceleration_area_60min_bpm"] == pytest.approx(2.0)
    assert values["deceleration_growth_bpm"] is None
    assert values["baseline_trend_bpm"] is None
