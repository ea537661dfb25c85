"""Truth and results make a score."""

from dataclasses import replace

import msgspec
import pytest

from ctgkit.events import Event
from ctgkit.score.limits import Limits, exit_code, judge
from ctgkit.score.matching import Tally
from ctgkit.score.results import Found, Results
from ctgkit.score.scoring import Score, combined, f1_intervals, score
from ctgkit.score.truth import Span, by_experts, joined, simulated
from tests.score.cases import perfect, truth_of

TRUTH = truth_of("late-decels-severe")


def test_a_perfect_analyzer_gets_everything():
    full = score(TRUTH, perfect(TRUTH, delay_s=60))
    assert {kind: t.f1 for kind, t in full.tallies.items() if t.wanted} == {
        "deceleration": 1, "contraction": 1,
    }  # fmt: skip
    assert all(t.f1 == 1 for t in full.types.values())
    assert full.type_accuracy == 1
    assert full.baseline_rmsd_bpm == 0
    assert full.delay_s(50) == full.delay_s(95) == 60
    assert full.alarms.sensitivity == 1
    assert full.alarms.false == ()
    assert full.tallies["deceleration"].onset_rmsd_s == 0


def without_every_second(results):
    return replace(results, events=results.events[::2])


def with_inventions(results):
    more = [Found("acceleration", e.onset_s + 1, e.end_s) for e in results.events]
    return replace(results, events=(*results.events, *more))


def with_wrong_types(results):
    events = [msgspec.structs.replace(e, subtype=e.subtype and "early") for e in results.events]
    return replace(results, events=tuple(events))


def with_a_lower_baseline(results):
    return replace(results, baseline=tuple(s._replace(bpm=s.bpm - 7) for s in results.baseline))


def later(results):
    events = [msgspec.structs.replace(e, named_at_s=e.named_at_s + 90) for e in results.events]
    return replace(results, events=tuple(events))


def with_alarms_exchanged(results):
    return replace(results, alarms=tuple(a._replace(code="hypertonus") for a in results.alarms))


@pytest.mark.parametrize(
    ("worsen", "broken"),
    [
        (without_every_second, {"F1 of deceleration >= 0.9", "F1 of contraction >= 0.9"}),
        (with_inventions, {"F1 of acceleration >= 0.9"}),
        (with_wrong_types, {"type accuracy >= 0.9"}),
        (with_a_lower_baseline, {"baseline RMSD, bpm <= 5"}),
        (later, {"median delay, s <= 100"}),
        (
            with_alarms_exchanged,
            {"false alarms per hour <= 0.5", "share of alarms raised >= 0.9"},
        ),
    ],
)
def test_each_fault_lowers_its_own_figure_and_no_other(worsen, broken):
    limits = Limits(
        min_f1={"": 0.9}, min_type_accuracy=0.9, max_baseline_rmsd_bpm=5, max_delay_s=100,
        max_false_alarms_per_h=0.5, min_alarm_sensitivity=0.9,
    )  # fmt: skip
    spoilt = score(TRUTH, worsen(perfect(TRUTH)))
    outcomes = judge(spoilt, limits)
    known = {o.asked for o in outcomes if o.actual[0].isdigit()}
    assert {o.asked for o in outcomes if not o.kept} & known == broken
    assert exit_code([spoilt], outcomes) == 1


def test_what_is_not_reported_is_not_zero():
    silent = score(TRUTH, Results(alarms=(), alarms_by_code=False))
    assert (silent.tallies, silent.types, silent.baseline_rmsd_bpm) == (None, None, None)
    assert silent.delay_s(50) is None
    assert silent.scored  # it raised no alarm: that can be judged
    (outcome,) = judge(silent, Limits(min_f1={"": 0.5}))
    assert not outcome.kept
    assert "not reported" in outcome.actual


def test_a_threshold_for_all_is_one_for_what_there_is():
    calm = replace(TRUTH, events=tuple(e for e in TRUTH.events if e.kind == "contraction"))
    outcomes = judge(score(calm, perfect(calm)), Limits(min_f1={"": 0.9}))
    assert [(o.asked, o.kept) for o in outcomes] == [("F1 of contraction >= 0.9", True)]


def test_nothing_scored_is_a_failure():
    empty = score(by_experts("x", []), Results(events=()))
    assert not empty.scored
    assert exit_code([empty], []) == 1
    assert exit_code([], []) == 1
    assert exit_code([score(TRUTH, perfect(TRUTH))], []) == 0
    assert exit_code([score(TRUTH, perfect(TRUTH)), Score(name="lost", said=False)], []) == 1


def test_the_order_of_results_does_not_matter():
    results = with_inventions(without_every_second(perfect(TRUTH)))
    backwards = replace(results, events=results.events[::-1])
    assert score(TRUTH, backwards).tallies == score(TRUTH, results).tallies


# --- what is asked for --------------------------------------------------------------------------


def deceleration(onset_s, end_s, **more):
    return Event(kind="deceleration", onset_s=onset_s, end_s=end_s, **more)


def patient(*events, length_s=3600.0):
    level = Event(kind="baseline", onset_s=0, end_s=length_s, size=140.0)
    return simulated("x", [level, *events])


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(deceleration(1000, 1060, meets_clinical=False), id="too small"),
        pytest.param(deceleration(30, 90, meets_clinical=True), id="at the start"),
        pytest.param(deceleration(3500, 3560, meets_clinical=True), id="at the end"),
    ],
)
def test_what_is_spared_may_be_found_or_missed(event):
    truth = patient(event)
    for found in ((), (Found("deceleration", event.onset_s, event.end_s),)):
        assert score(truth, Results(events=found)).tallies["deceleration"] == Tally()


@pytest.mark.parametrize(("lost_s", "asked"), [(15, 1), (30, 0)])
def test_what_nobody_can_see_is_not_asked_for(lost_s, asked):
    lost = Event(kind="loss", onset_s=1000, end_s=1000 + lost_s)
    truth = patient(deceleration(1000, 1060, meets_clinical=True), lost)
    assert len(truth.events) == asked


def test_events_that_overlap_are_one():
    one, two = deceleration(10, 50, subtype="late"), deceleration(40, 80, subtype="variable")
    small = deceleration(70, 90, subtype="early", meets_clinical=False)
    (whole,) = joined([two, one, small])
    assert (whole.onset_s, whole.end_s, whole.subtype) == (10, 90, "")
    (typed,) = joined([one, deceleration(40, 60, subtype="early", meets_clinical=False)])
    assert typed.subtype == "late"


def test_experts_say_nothing_about_what_lies_far_from_their_zones():
    truth = by_experts("x", [deceleration(600, 660)])
    near, far = Found("deceleration", 670, 720), Found("deceleration", 700, 760)
    assert score(truth, Results(events=(near, far))).tallies["deceleration"] == Tally(1, 1, 0)


# --- the baseline -------------------------------------------------------------------------------


def spans(length_s, *levels):
    return tuple(Span(n * length_s, (n + 1) * length_s, bpm) for n, bpm in enumerate(levels))


@pytest.mark.parametrize(
    ("own", "gaps"),
    [
        (spans(60, *[140] * 10, *[150] * 10), (0, 0)),
        (spans(60, *[142] * 10), (2,)),
        (spans(60, 141, 143, 141, 143, 142, 142), (2,)),
        (spans(60, 141, 143, 141), None),
        ((Span(300, 900, 140.0),), (-5,)),
    ],
)
def test_the_baseline_is_compared_over_the_longer_spans(own, gaps):
    level = [
        Event(kind="baseline", onset_s=600.0 * n, end_s=600.0 * n + 600, size=140.0 + 10 * n)
        for n in range(2)
    ]
    found = score(simulated("x", level), Results(baseline=own)).baseline_gaps_bpm
    assert found == (None if gaps is None else pytest.approx(gaps))


def test_what_is_combined_adds_up():
    perfect_one = score(TRUTH, perfect(TRUTH))
    worse = score(TRUTH, without_every_second(perfect(TRUTH)))
    both = combined([perfect_one, worse])
    assert both.tallies["contraction"] == (
        perfect_one.tallies["contraction"] + worse.tallies["contraction"]
    )
    assert both.alarms.hours == 2
    assert worse.tallies["contraction"].f1 < both.tallies["contraction"].f1 < 1


def test_the_interval_of_many_holds_the_figure_and_that_of_few_is_not_given():
    good, bad = (
        Score(name="a", tallies={"x": Tally(9, 9, 9)}),
        Score(name="b", tallies={"x": Tally(9, 9, 3)}),
    )
    many = [good, bad] * 5
    low, high = f1_intervals(many)["x"]
    assert 3 / 9 < low < combined(many).tallies["x"].f1 < high < 1
    assert f1_intervals(many) == f1_intervals(many)
    assert f1_intervals([good] * 6)["x"] == (1, 1)
    assert f1_intervals(many[:4]) == {}
