"""Every clause of every table, just inside and just outside."""

from dataclasses import replace

import pytest

from ctgkit.analysis import alerts, texts
from ctgkit.analysis.choices import GUIDELINE_NAMES
from ctgkit.analysis.features import Features
from ctgkit.analysis.guideline import INDETERMINATE, Guideline, Scale
from ctgkit.analysis.tables import FIGO, FISCHER, GUIDELINES, KREBS, NICHD, SAVELYEVA

NORMAL = {
    "examined_min": 60.0, "signal_quality": "good", "baseline_bpm": 140.0,
    "baseline_rounded_bpm": 140.0, "variability_bpm": 12.0, "oscillations_per_min": 8.0,
    "acceleration_pattern": "sporadic", "deceleration_pattern": "none",
    "accelerations_per_30min": 6.0, "decelerations_not_early_per_30min": 0.0,
}  # fmt: skip
CLAUSES = [
    pytest.param(guideline, clause, id=clause.code)
    for guideline in GUIDELINES.values()
    if isinstance(guideline, Guideline)
    for clause in guideline.clauses
]
STEP = 0.001


def features(**values):
    return Features({**NORMAL, **values})


def satisfied(condition, by=STEP):
    """Return a value that satisfies a condition by so much; negative: fails it by so much."""
    sign = 1 if condition.op.startswith(">") else -1
    if by == 0 or (condition.op.endswith("=") and by > 0):
        return condition.threshold
    return condition.threshold + sign * by


def held(guideline, values):
    verdict = guideline.judge(features(**values))
    return [
        c.code for c in guideline.clauses if all(k.holds({**NORMAL, **values}) for k in c.all_of)
    ], verdict


@pytest.mark.parametrize(("guideline", "clause"), CLAUSES)
def test_a_clause_holds_just_inside_and_says_why(guideline, clause):
    values = {k.feature: satisfied(k) for k in clause.all_of}
    codes, verdict = held(guideline, values)
    assert clause.code in codes
    assert guideline.levels.index(verdict.level) >= guideline.levels.index(clause.level)
    if verdict.level == clause.level:
        rests_on = {(e.feature, e.value) for e in verdict.evidence if e.clause == clause.code}
        assert rests_on == set(values.items())


@pytest.mark.parametrize(("guideline", "clause"), CLAUSES)
def test_a_clause_fails_just_outside_each_of_its_limits(guideline, clause):
    for outside in clause.all_of:
        values = {k.feature: satisfied(k) for k in clause.all_of}
        strict = not outside.op.endswith("=")
        values[outside.feature] = satisfied(outside, 0 if strict else -STEP)
        codes, verdict = held(guideline, values)
        assert clause.code not in codes
        assert clause.code not in verdict.clauses


@pytest.mark.parametrize(("guideline", "level"), [(FIGO, "normal"), (NICHD, "I")])
def test_nothing_wrong_is_the_best_class(guideline, level):
    verdict = guideline.judge(features())
    assert (verdict.level, verdict.clauses, verdict.evidence) == (level, (), ())


@pytest.mark.parametrize("values", [
    {"examined_min": 9.9}, {"signal_quality": "poor"}, {"baseline_bpm": None},
    {"variability_bpm": None},
])  # fmt: skip
def test_too_little_signal_has_no_class(values):
    assert FIGO.judge(features(**values)).level == INDETERMINATE


def test_an_event_counts_even_on_too_little_signal():
    found = features(examined_min=7.0, longest_deceleration_min=5.5)
    found.event_ids["longest_deceleration_min"] = ["dec-1"]
    verdict = FIGO.judge(found)
    assert verdict.level == "pathological"
    assert verdict.evidence[0].events == ["dec-1"]


def test_a_lesser_event_is_no_class_on_too_little_signal():
    """Only what makes the worst class is proved by an event alone."""
    clauses = tuple(c._replace(level="suspicious") for c in FIGO.clauses if c.code == "FIGO-P8")
    guideline = replace(FIGO, clauses=clauses)
    for examined_min, level in ((7.0, INDETERMINATE), (20.0, "suspicious")):
        found = features(examined_min=examined_min, longest_deceleration_min=5.5)
        found.event_ids["longest_deceleration_min"] = ["dec-1"]
        assert guideline.judge(found).level == level


@pytest.mark.parametrize(("scale", "feature", "value", "points"), [
    (FISCHER, "baseline_bpm", 99.9, 0), (FISCHER, "baseline_bpm", 100, 1),
    (FISCHER, "baseline_bpm", 109.9, 1), (FISCHER, "baseline_bpm", 110, 2),
    (FISCHER, "baseline_bpm", 160, 2), (FISCHER, "baseline_bpm", 160.1, 1),
    (FISCHER, "baseline_bpm", 180, 1), (FISCHER, "baseline_bpm", 180.1, 0),
    (FISCHER, "variability_bpm", 4.9, 0), (FISCHER, "variability_bpm", 5, 1),
    (FISCHER, "variability_bpm", 9.9, 1), (FISCHER, "variability_bpm", 10, 2),
    (FISCHER, "variability_bpm", 30, 2), (FISCHER, "variability_bpm", 30.1, 1),
    (FISCHER, "oscillations_per_min", 1.9, 0), (FISCHER, "oscillations_per_min", 2, 1),
    (FISCHER, "oscillations_per_min", 6, 1), (FISCHER, "oscillations_per_min", 6.1, 2),
    (FISCHER, "acceleration_pattern", "none", 0), (FISCHER, "acceleration_pattern", "periodic", 1),
    (FISCHER, "acceleration_pattern", "sporadic", 2), (FISCHER, "deceleration_pattern", "none", 2),
    (FISCHER, "deceleration_pattern", "early", 1), (FISCHER, "deceleration_pattern", "variable", 1),
    (FISCHER, "deceleration_pattern", "late_short", 0),
    (FISCHER, "deceleration_pattern", "late_or_severe", 0),
    (SAVELYEVA, "baseline_bpm", 119.9, 1), (SAVELYEVA, "baseline_bpm", 120, 2),
    (SAVELYEVA, "baseline_bpm", 160, 2), (SAVELYEVA, "baseline_bpm", 99.9, 0),
    (SAVELYEVA, "oscillations_per_min", 2.9, 0), (SAVELYEVA, "oscillations_per_min", 3, 1),
    (SAVELYEVA, "oscillations_per_min", 6.1, 2), (SAVELYEVA, "variability_bpm", 5, 0),
    (SAVELYEVA, "variability_bpm", 5.1, 1), (SAVELYEVA, "variability_bpm", 10, 2),
    (SAVELYEVA, "variability_bpm", 25, 2), (SAVELYEVA, "variability_bpm", 25.1, 1),
    (SAVELYEVA, "deceleration_pattern", "early", 2),
    (SAVELYEVA, "deceleration_pattern", "late_short", 1),
    (SAVELYEVA, "deceleration_pattern", "late_or_severe", 0),
    (KREBS, "baseline_bpm", 120, 1), (KREBS, "baseline_bpm", 120.1, 2),
    (KREBS, "baseline_bpm", 159.9, 2), (KREBS, "baseline_bpm", 160, 1),
    (KREBS, "variability_bpm", 2.9, 0), (KREBS, "variability_bpm", 3, 1),
    (KREBS, "variability_bpm", 6, 2), (KREBS, "variability_bpm", 25.1, 0),
    (KREBS, "accelerations_per_30min", 0, 0), (KREBS, "accelerations_per_30min", 1, 1),
    (KREBS, "accelerations_per_30min", 5, 2), (KREBS, "decelerations_not_early_per_30min", 0, 2),
    (KREBS, "decelerations_not_early_per_30min", 1, 1),
    (KREBS, "decelerations_not_early_per_30min", 2, 0),
])  # fmt: skip
def test_the_edges_of_the_scales(scale, feature, value, points):
    assert scale.judge(features(**{feature: value})).points[feature] == points


@pytest.mark.parametrize(("values", "level"), [
    ({}, "normal"), ({"baseline_bpm": 165, "variability_bpm": 7.0}, "normal"),
    ({"baseline_bpm": 165, "variability_bpm": 7.0, "oscillations_per_min": 4}, "suspicious"),
    ({"baseline_bpm": 185, "variability_bpm": 4.0, "oscillations_per_min": 1}, "pathological"),
])  # fmt: skip
def test_the_class_follows_from_the_sum(values, level):
    assert FISCHER.judge(features(**values)).level == level


def test_unknown_rows_make_no_class_where_they_could_change_it():
    """Movements are never measured: 7 + 0…2 points are suspicious or satisfactory."""
    assert KREBS.judge(features()).level == "satisfactory"
    found = KREBS.judge(features(accelerations_per_30min=0, oscillations_per_min=4))
    assert (sum(p or 0 for p in found.points.values()), found.level) == (7, INDETERMINATE)


def test_the_command_offers_every_guideline():
    assert set(GUIDELINE_NAMES) == set(GUIDELINES)
    assert all(isinstance(g, Guideline | Scale) for g in GUIDELINES.values())


@pytest.mark.parametrize("rule", alerts.RULES, ids=lambda r: f"{r.code}-{r.level}-{r.text}")
def test_each_alert_rises_with_its_evidence_and_has_its_texts(rule):
    found = Features({k.feature: satisfied(k) for k in rule.all_of})
    up = {a.code: a for a in alerts.AlertBook().update(found, 600.0)}
    assert rule.code in up
    assert alerts.LEVELS.index(up[rule.code].level) >= alerts.LEVELS.index(rule.level)
    assert up[rule.code].evidence
    for language in ("en", "ru"):
        assert all(texts.alert_texts(list(up.values()), language))
        assert all(texts.recommendations(list(up.values()), language))


def test_an_alert_clears_five_minutes_after_its_clause_failed():
    book, bad, good = alerts.AlertBook(), Features({"tachycardia_min": 12.0}), Features()
    (raised,) = book.update(bad, 600.0)
    assert [a.since_s for a in book.update(bad, 630.0)] == [raised.since_s]
    assert book.update(good, 929.0)
    assert book.update(good, 930.0) == []


def test_an_alert_does_not_step_down_while_it_is_up():
    book = alerts.AlertBook()
    book.update(Features({"sinusoidal_min": 31.0}), 600.0)
    (alert,) = book.update(Features({"sinusoidal_min": 20.0}), 630.0)
    assert alert.level == "critical"


def test_every_alert_has_texts_and_no_text_is_left_over():
    codes = {r.code for r in alerts.RULES}
    assert codes == set(texts.ALERTS) == set(texts.RECOMMENDATIONS)


@pytest.mark.parametrize(
    "name", [n for n, g in GUIDELINES.items() if isinstance(g, Guideline) and g.requires]
)
def test_ten_minutes_are_enough_for_a_class(name):
    """Below 10 examined minutes there is no class, and that is the reason; at 10 it is none."""
    reasons = [GUIDELINES[name].judge(features(examined_min=m)).reasons for m in (9.9, 10.0)]
    assert [any("min examined" in text for text in found) for found in reasons] == [True, False]
