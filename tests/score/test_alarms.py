"""Which alarms are called for."""

import pytest

from ctgkit.events import Event
from ctgkit.score.alarms import ANY, Alarm, called_for, intervals, judge_alarms
from tests.score.cases import truth_of

HOUR_S = 3600.0


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("normal-reactive", set()),
        ("tachycardia-fever", {"tachycardia"}),
        ("late-decels-severe", {"late_decelerations"}),
        ("sinusoidal", {"sinusoidal"}),
        ("hypoxia-acute", {"bradycardia"}),
        ("poor-signal", set()),
        ("doubling-halving", {"bradycardia", "tachycardia", "doubled_halved"}),
        ("dead-fetus-mhr", {"maternal_pulse"}),
    ],
)
def test_the_truth_of_a_scenario_calls_for_its_alarms(name, codes):
    alarms = truth_of(name).alarms
    assert {a.code for a in alarms if a.serious or a.code in codes} == codes


def test_a_deceleration_that_goes_on_is_called_for_before_it_ends():
    fall = Event(
        kind="deceleration", onset_s=1000, end_s=1500, size=60, subtype="prolonged",
        meets_clinical=True,
    )  # fmt: skip
    (alarm,) = called_for([fall], [(0, 3600, 140)], 1400.0)
    assert alarm.code == "prolonged_deceleration"
    assert 1180 < alarm.onset_s <= 1210


WANTED = [Alarm("tachycardia", 1000, 2000), Alarm("signal_loss", 2800, 2900, serious=False)]


@pytest.mark.parametrize(
    ("raised", "missed", "false"),
    [
        ([Alarm("tachycardia", 1100, 1200)], 0, 0),
        ([Alarm("tachycardia", 2500, 2600)], 0, 0),
        ([Alarm("tachycardia", 2601, 2700)], 1, 1),
        ([Alarm("bradycardia", 1100, 1200)], 1, 1),
        ([Alarm("signal_loss", 2800, 2900)], 1, 0),
        ([], 1, 0),
    ],
)
def test_alarms_with_a_code_are_compared_by_code_and_time(raised, missed, false):
    tally = judge_alarms(WANTED, raised, HOUR_S, by_code=True)
    assert (tally.wanted, len(tally.missed), len(tally.false)) == (1, missed, false)
    assert tally.false_per_h == false


def test_alarms_without_a_code_are_compared_with_any():
    raised = [Alarm(ANY, 1100, 1200), Alarm(ANY, 2850, 2860), Alarm(ANY, 100, 200)]
    tally = judge_alarms(WANTED, raised, HOUR_S, by_code=False)
    assert (tally.wanted, tally.met, tally.false) == (1, 1, (raised[2],))


def test_a_fall_may_be_told_as_a_deceleration_or_as_a_bradycardia():
    wanted, raised = [Alarm("bradycardia", 1000, 2000)], [Alarm("prolonged_deceleration", 900, 950)]
    assert judge_alarms(wanted, raised, HOUR_S, by_code=True).met == 1


@pytest.mark.parametrize("span", [(1000, 1200), (3500, 3600)])
def test_what_is_called_for_briefly_or_at_the_end_is_not_missed(span):
    assert judge_alarms([Alarm("tachycardia", *span)], [], HOUR_S, by_code=True).wanted == 0


def test_intervals_of_what_is_up():
    course = [(0, ()), (30, ("a",)), (60, ("a", "b")), (90, ("b",)), (120, ("a",))]
    assert intervals(course, 150) == [
        Alarm("a", 30, 90), Alarm("b", 60, 120), Alarm("a", 120, 150),
    ]  # fmt: skip
