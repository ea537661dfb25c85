"""The analyzer as a whole, sample by sample."""

import tracemalloc

import msgspec
import numpy as np
import pytest

from ctgkit.analysis import Analyzer, AnalyzerSettings
from ctgkit.analysis.features import Features, Minute, compute
from ctgkit.analysis.guideline import Verdict
from ctgkit.analysis.risk import MODEL, probability
from ctgkit.analysis.variability import Variability
from ctgkit.events import Event
from tests.analysis.signals import bump, contraction, feed, noise


def labour(minutes, rate_hz=4.0, late=True, start_s=0.0):
    """Return times, heart rate and tocogram with a late deceleration at each contraction."""
    t_s = np.arange(int(minutes * 60 * rate_hz)) / rate_hz
    fhr_bpm = 140 + np.interp(t_s, np.arange(minutes * 240) / 4, noise(minutes * 240, 2.5))
    toco = np.full(t_s.size, 10.0)
    for peak_s in np.arange(120, minutes * 60 - 60, 180):
        toco += contraction(t_s, peak_s)
        if late:
            fhr_bpm -= bump(t_s, peak_s - 10, 38, 5, 45, 28)
    return start_s + t_s, np.round(fhr_bpm * 4) / 4, toco


def told(analyses):
    return [(a.at_s, a.prediction, a.features.values, a.events) for a in analyses]


@pytest.mark.parametrize("rate_hz", [1.0, 4.0, 1 / 0.12])
def test_any_rate_gives_the_same_picture(rate_hz):
    analyzer = Analyzer()
    analyses = feed(analyzer, *labour(45, rate_hz))
    assert [a.at_s for a in analyses[:3]] == [300, 330, 360]
    last = analyses[-1]
    assert last.features.values["baseline_bpm"] == pytest.approx(140, abs=3)
    assert last.features.values["contractions_per_10min"] == pytest.approx(10 / 3, abs=0.4)
    assert last.features.values["late_share_30min"] > 0.8
    assert last.figo.level == "pathological"
    assert "late_decelerations" in [a.code for a in last.alerts]
    assert last.prediction.hypoxia_probability > 0.5


def test_a_quiet_trace_is_normal():
    last = feed(Analyzer(), *labour(40, late=False))[-1]
    assert last.figo.level == "normal"
    assert last.alerts == []
    assert last.prediction.hypoxia_risk == "low"
    assert last.prediction.confidence > 0.9


def test_the_result_depends_on_data_time_only():
    t_s, fhr_bpm, toco = labour(20)
    early = told(feed(Analyzer(), t_s, fhr_bpm, toco))
    late = told(feed(Analyzer(), t_s + 7200, fhr_bpm, toco))
    assert [(p, v) for _, p, v, _ in early] == [(p, v) for _, p, v, _ in late]
    assert [a + 7200 for a, _, _, _ in early] == [a for a, _, _, _ in late]


def test_final_events_never_change_and_ids_are_unique():
    analyzer, final = Analyzer(AnalyzerSettings(final_after_s=120)), {}
    t_s, fhr_bpm, toco = labour(40)
    for n in range(0, t_s.size, 40):
        part = slice(n, n + 40)
        feed(analyzer, t_s[part], fhr_bpm[part], toco[part])
        events = analyzer.events
        assert len({e.id for e in events}) == len(events)
        for event in events:
            assert final.get(event.id, event) == event
            if event.tier == "final":
                final[event.id] = event
    assert len(final) > 20


@pytest.mark.parametrize("disturb", [
    pytest.param(lambda t, f, u: (np.repeat(t, 2), np.repeat(f, 2), np.repeat(u, 2)), id="twice"),
    pytest.param(lambda t, f, u: (t[::3], f[::3], u[::3]), id="two of three missing"),
    pytest.param(
        lambda t, f, u: tuple(a[np.arange(a.size) ^ 1] for a in (t, f, u)), id="neighbours swapped"
    ),
])  # fmt: skip
def test_duplicate_missing_and_swapped_samples_are_taken_as_they_are(disturb):
    last = feed(Analyzer(), *disturb(*labour(30)))[-1]
    assert last.features.values["baseline_bpm"] == pytest.approx(140, abs=3)
    assert last.features.values["signal_loss_pct"] < 1
    assert last.features.values["decelerations_late_per_30min"] >= 7


def test_a_gap_is_lost_signal():
    t_s, fhr_bpm, toco = labour(20)
    kept = (t_s < 600) | (t_s >= 900)
    analyses = feed(Analyzer(), t_s[kept], fhr_bpm[kept], toco[kept])
    assert analyses[-1].features.values["signal_loss_pct"] == pytest.approx(50, abs=11)
    assert [a.at_s for a in analyses if 570 <= a.at_s < 960] == [570, 900, 930]


def test_a_lost_signal_takes_the_baseline_with_it():
    t_s, fhr_bpm, toco = labour(35)
    fhr_bpm[t_s > 1200] = 0
    analyses = {a.at_s: a for a in feed(Analyzer(), t_s, fhr_bpm, toco)}
    assert analyses[1200].features.values["baseline_bpm"] == pytest.approx(140, abs=3)
    assert analyses[2040].features.values["baseline_bpm"] is None
    assert analyses[2040].features.values["contractions_per_10min"] > 2.5
    assert [a.code for a in analyses[2040].alerts if a.level == "info"] == ["signal_loss"]


@pytest.mark.parametrize("back_to_s", [0.0, 4.75, 500.0])
def test_going_back_starts_a_new_examination(back_to_s):
    analyzer = Analyzer()
    feed(analyzer, *labour(10))
    assert analyzer.latest is not None
    t_s, fhr_bpm, toco = labour(1, start_s=back_to_s)
    feed(analyzer, t_s, fhr_bpm, toco)
    assert analyzer.latest is None
    assert analyzer.samples_seen == t_s.size


def test_a_leap_ahead_starts_a_new_examination_and_a_late_sample_does_not():
    analyzer = Analyzer()
    t_s, fhr_bpm, toco = labour(10)
    feed(analyzer, t_s, fhr_bpm, toco)
    feed(analyzer, t_s[-100:-99], fhr_bpm[:1], toco[:1])
    assert analyzer.latest is not None
    feed(analyzer, np.array([3e7]), fhr_bpm[:1], toco[:1])
    assert analyzer.latest is None


@pytest.mark.parametrize("rate", [0.0, 20.0, 300.0])
def test_a_sensor_without_a_heart_rate_says_nothing_and_breaks_nothing(rate):
    t_s = np.arange(15 * 240) / 4
    last = feed(Analyzer(), t_s, np.full(t_s.size, rate), np.full(t_s.size, np.nan))[-1]
    assert last.figo.level == "indeterminate"
    assert last.prediction.confidence == 0
    assert [a.code for a in last.alerts] == ["signal_loss"]


def test_a_signal_that_has_left_the_window_breaks_nothing():
    t_s = np.arange(22 * 240) / 4
    last = feed(Analyzer(), t_s, np.where(t_s < 25, 140.0, 0.0))[-1]
    assert last.features.values["baseline_bpm"] is None


def test_without_a_tocogram_no_contraction_and_no_timing_is_claimed():
    t_s, fhr_bpm, _ = labour(35)
    last = feed(Analyzer(), t_s, fhr_bpm, np.zeros(t_s.size))[-1]
    assert last.features.values["contractions_per_10min"] is None
    assert last.features.values["late_share_30min"] is None
    kinds = {e.subtype for e in last.events if e.kind == "deceleration"}
    assert kinds == {"unclassified"}


def test_the_original_profile_counts_samples_as_confidence():
    t_s, fhr_bpm, toco = labour(11)
    settings = AnalyzerSettings(profile="original", language="ru")
    analyses = feed(Analyzer(settings), t_s, fhr_bpm, toco)
    assert analyses[0].prediction.confidence == pytest.approx(0.1 + 0.9 * 1201 / 2400, abs=0.001)
    assert analyses[-1].prediction.confidence == 1.0
    assert all("а" <= text.lower()[0] <= "я" or text.startswith("FIGO")
               for text in analyses[-1].prediction.recommendations)  # fmt: skip


def test_an_acute_bradycardia_is_told_within_minutes():
    t_s, fhr_bpm, toco = labour(30, late=False)
    fhr_bpm = fhr_bpm - bump(t_s, 900, 40, 2000, 1, 70)
    analyses = feed(Analyzer(), t_s, fhr_bpm, toco)
    first = next(a.at_s for a in analyses if any(x.level == "critical" for x in a.alerts))
    assert 900 + 170 < first <= 900 + 240
    assert all(a.figo.level == "pathological" for a in analyses if a.at_s > 900 + 360)
    assert next(a.at_s for a in analyses if a.prediction.hypoxia_probability > 0.5) <= 900 + 390
    critical = next(a.at_s for a in analyses if a.prediction.hypoxia_risk == "critical")
    assert 900 + 240 < critical <= 900 + 360  # 4 of 5 min below 80


@pytest.mark.parametrize("floor_bpm", [84, 105])
def test_a_heart_rate_that_is_low_but_not_below_80_is_not_critical(floor_bpm):
    t_s, fhr_bpm, toco = labour(30, late=False)
    fhr_bpm = fhr_bpm - bump(t_s, 900, 40, 2000, 1, 140 - floor_bpm).clip(max=140 - floor_bpm)
    analyses = feed(Analyzer(), t_s, np.maximum(fhr_bpm, 80), toco)
    assert "critical" not in {a.prediction.hypoxia_risk for a in analyses}


def test_a_sensor_takes_less_than_a_megabyte():
    samples = labour(40)
    feed(Analyzer(), *samples)  # what is loaded and cached at first is no sensor's
    tracemalloc.start()
    analyzer = Analyzer()
    feed(analyzer, *samples)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert analyzer.samples_seen == 40 * 240
    assert size < 1_000_000


def test_a_lag_out_of_range_is_refused():
    with pytest.raises(ValueError, match="final_after_s"):
        Analyzer(AnalyzerSettings(final_after_s=601))


# --- features and risk --------------------------------------------------------------------------


def minutes(*bands, baseline_bpm=140.0):
    return [
        Minute(60.0 * n, baseline_bpm, 0.8, 1.0, Variability(band, 5.0, 30.0, 7.0))
        for n, band in enumerate(bands)
    ]


@pytest.mark.parametrize(("bands", "reduced", "increased"), [
    ([4.0] * 60, 60, 0), ([12.0] * 10 + [4.0] * 30, 28, 0), ([4.0] * 30 + [12.0] * 6, 0, 0),
    ([4.0] * 20 + [None] * 5 + [4.0] * 5, 30, 0), ([4.0] * 20 + [6.0] + [4.0] * 20, 41, 0),
    ([30.0] * 31, 0, 31),
])  # fmt: skip
def test_runs_of_abnormal_variability(bands, reduced, increased):
    values = compute(minutes(*bands), [], 60.0 * len(bands), 140.0).values
    assert (values["reduced_variability_min"], values["increased_variability_min"]) == (
        reduced,
        increased,
    )


def test_unknown_stays_unknown():
    values = compute([], [], 300.0, None).values
    assert values["baseline_bpm"] is None
    assert values["variability_bpm"] is None
    assert values["contractions_per_10min"] is None
    assert values["signal_quality"] == "poor"


def test_a_prolonged_deceleration_is_with_every_contraction_that_peaks_inside_it():
    contractions = [
        Event(kind="contraction", id=f"uc-{n}", onset_s=at, peak_s=at + 40, end_s=at + 80, size=30)
        for n, at in enumerate(range(100, 1700, 200))
    ]
    long = Event(kind="deceleration", id="dec-1", subtype="prolonged", onset_s=330, end_s=800,
                 size=40, linked_contraction="uc-1")  # fmt: skip
    minutes = [Minute(60.0 * n, 140.0, 1.0, 1.0, resting_tone=10.0) for n in range(30)]
    values = compute(minutes, [*contractions, long], 1800, 140.0).values
    assert values["late_or_prolonged_share_30min"] == pytest.approx(3 / 8, abs=0.01)
    assert values["variable_share_30min"] == 0
    short = msgspec.structs.replace(long, end_s=448)
    values = compute(minutes, [*contractions, short], 1800, 140.0).values
    assert values["late_or_prolonged_share_30min"] == pytest.approx(1 / 8, abs=0.01)
    after_peak = msgspec.structs.replace(long, onset_s=360, end_s=520, linked_contraction="")
    values = compute(minutes, [*contractions, after_peak], 1800, 140.0).values
    assert values["late_or_prolonged_share_30min"] == pytest.approx(1 / 8, abs=0.01)
    timing = {"onset_lag_s": 30.0, "nadir_lag_s": 20.0}
    for recovery_s, share in ((61.0, 1 / 8), (59.0, 0)):  # late by its return, for FIGO
        details = {"recovery_s": recovery_s, **timing}
        fast = msgspec.structs.replace(short, subtype="variable", details=details)
        values = compute(minutes, [*contractions, fast], 1800, 140.0).values
        assert values["late_or_prolonged_share_30min"] == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(("values", "level", "low", "high"), [
    ({}, "normal", 0, 0.3),
    ({}, "pathological", 0.5, 0.52),
    ({"signal_quality": "poor"}, "pathological", 0, 0.3),
    ({"deceleration_area_60min_bpm": 99.0}, "normal", 0.5, 0.9),
    ({"below_80_share_5min": 0.79}, "normal", 0.1, 0.3),
    ({"below_80_share_5min": 0.8}, "normal", 0.81, 0.81),
    ({"below_80_share_5min": None, "below_80_share_10min": 0.6}, "pathological", 0.81, 0.81),
])  # fmt: skip
def test_a_class_or_a_rate_below_80_bounds_the_risk_and_nothing_else(values, level, low, high):
    assert low <= probability(Features(values), Verdict("figo", level)) <= high


def test_what_the_model_calls_dangerous_raises_the_probability():
    average = dict(zip(MODEL.features, MODEL.means, strict=True))
    prior = MODEL.probability(average)
    assert prior == pytest.approx(0.19, abs=0.001)
    assert MODEL.probability({**average, "deceleration_area_60min_bpm": 12.0}) > prior
    assert MODEL.probability({**average, "acceleration_area_bpm": 4.0}) < prior
    assert MODEL.probability({}) == prior
    assert "CTU-UHB" in MODEL.provenance


def test_the_smoothed_probability_follows_the_momentary_one():
    analyses = feed(Analyzer(), *labour(60))
    now, smooth = (
        np.array([a.prediction.hypoxia_probability for a in analyses]),
        np.array([a.features.values["hypoxia_probability_smoothed"] for a in analyses]),
    )
    assert smooth[0] == now[0]
    assert np.abs(np.diff(smooth)).max() < np.abs(np.diff(now)).max() / 5
    assert now.min() <= smooth.min() < smooth.max() <= now.max()
    assert smooth[-1] > smooth[0]


def deep_decelerations(minutes=40, every_s=150):
    """Return a heart rate that is below 90 for most of the time, from the 10th minute on."""
    t_s = np.arange(minutes * 240) / 4
    fhr_bpm = 140 + noise(t_s.size, 2.5)
    for onset_s in range(600, minutes * 60 - 200, every_s):
        fhr_bpm -= bump(t_s, onset_s, 15, 85, 25, 60)
    return t_s, np.round(fhr_bpm * 4) / 4, np.full(t_s.size, 10.0)


def test_deep_repeated_decelerations_do_not_pull_the_baseline_down():
    t_s, fhr_bpm, toco = deep_decelerations()
    assert np.median(fhr_bpm[t_s > 900]) < 100  # more time at their floor than above
    analyzer = Analyzer(AnalyzerSettings(final_after_s=120))
    analyses = feed(analyzer, t_s, fhr_bpm, toco)
    levels = [m.baseline_bpm for m in analyzer.minutes if m.start_s >= 300]
    assert levels == pytest.approx([140] * len(levels), abs=10)
    kinds = [e.kind for e in analyzer.events if e.onset_s < 2300]
    assert kinds.count("deceleration") == len(range(600, 2200, 150))
    assert "acceleration" not in kinds
    assert analyses[-1].prediction.hypoxia_risk in ("high", "critical")


def test_a_baseline_that_nothing_supports_is_held_and_lowers_the_confidence():
    t_s, fhr_bpm, toco = deep_decelerations(25)
    fhr_bpm[t_s >= 1050] = 80 + noise(np.count_nonzero(t_s >= 1050), 2)  # it doesn't return
    before, during = None, None
    for analysis in feed(Analyzer(), t_s, fhr_bpm, toco):
        if analysis.at_s == 600:
            before = analysis
        if analysis.at_s == 1110:
            during = analysis
    assert during.features.values["baseline_bpm"] == pytest.approx(140, abs=12)
    assert during.prediction.confidence < before.prediction.confidence


def test_a_new_low_level_is_the_baseline_after_some_minutes():
    t_s, fhr_bpm, toco = labour(40, late=False)
    fhr_bpm = fhr_bpm - bump(t_s, 900, 40, 3000, 1, 60)
    analyzer = Analyzer()
    feed(analyzer, t_s, fhr_bpm, toco)
    late = [m.baseline_bpm for m in analyzer.minutes if m.start_s > 900 + 600]
    assert late == pytest.approx([80] * len(late), abs=6)


def test_an_indeterminate_class_says_why():
    t_s, fhr_bpm, toco = labour(30, late=False)
    fhr_bpm[(t_s > 900) & (t_s < 1795)] = 0
    reasons = {a.at_s: a.figo for a in feed(Analyzer(), t_s, fhr_bpm, toco)}
    assert reasons[300].reasons == ("5 min examined, a class needs 10",)
    lost = reasons[1770]
    assert lost.level == "indeterminate"
    assert "100.0 % of the signal of 10 min lost" in lost.reasons
    assert "variability unknown: fewer than 2 of 10 min to measure it in" in lost.reasons
    assert all(v.reasons for v in reasons.values() if v.level == "indeterminate")


def test_variability_is_measured_inside_decelerations_where_nothing_else_is_left():
    values = [a.features.values for a in feed(Analyzer(), *deep_decelerations(30, every_s=140))]
    inside = [v["variability_bpm"] for v in values if v["variability_from"] == "events"]
    assert inside
    assert all(5 < bpm <= 25 for bpm in inside)
    assert values[0]["variability_from"] == "baseline"


@pytest.mark.parametrize("late", [True, False])
def test_everything_said_can_be_encoded(late):
    """No NumPy scalar is left in a result: the wire would refuse it (the mother's pulse did)."""
    t_s, fhr_bpm, toco = labour(20, late=late)
    for start in range(600, 4000, 800):
        fhr_bpm[start : start + 300] -= 45  # sudden, and sudden back: perhaps the mother
    analyses = feed(Analyzer(), t_s, fhr_bpm, toco)
    assert any(a.features.values["maternal_pulse_min"] for a in analyses)
    for analysis in analyses:
        msgspec.json.encode(analysis)
