"""Probability and status alone: ranking, calibration, time to alarm."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.score.alarms import Alarm
from ctgkit.score.calls import Calls, Moment, judge_calls

CALLED = [Alarm("late_decelerations", 1200.0, 2400.0)]


def course(probability_at, length_s=3600, status=None):
    moments = []
    for at_s in range(300, length_s + 1, 30):
        p = probability_at(at_s)
        moments.append(Moment(at_s, p, status or ("warning" if (p or 0) > 0.5 else "ok")))
    return moments


def pairs_won(moments):
    """The definition, by counting pairs."""
    called = [p for p, c in moments if c]
    others = [p for p, c in moments if not c]
    won = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in itertools.product(called, others)]
    return sum(won) / len(won) if won else None


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.9]), st.booleans()), max_size=30))
def test_the_auc_is_the_share_of_pairs(moments):
    auc = Calls(moments=tuple(moments)).auc
    assert auc == pytest.approx(pairs_won(moments))


def test_a_perfect_service_and_one_upside_down():
    """The truth still counts for the ten minutes that a prediction looks back."""
    right = judge_calls(CALLED, course(lambda t: 0.9 if 1200 <= t < 3000 else 0.1), 3600)
    assert right.auc == 1.0
    assert right.brier == pytest.approx(0.01)
    assert right.delay_s == 0
    assert not right.tally.false
    wrong = judge_calls(CALLED, course(lambda t: 0.1 if 1200 <= t < 3000 else 0.9), 3600)
    assert wrong.auc == 0.0


def test_time_to_alarm_is_from_the_onset():
    late = judge_calls(CALLED, course(lambda t: 0.9 if t >= 1500 else 0.1), 3600)
    assert late.delay_s == 300
    never = judge_calls(CALLED, course(lambda _: 0.1), 3600)
    assert never.delay_s is None
    assert (never.tally.wanted, never.tally.met) == (1, 0)


def test_a_status_alone_is_ranked():
    moments = [
        Moment(at_s, None, "critical" if 1200 <= at_s < 3000 else "ok")
        for at_s in range(300, 3601, 30)
    ]
    calls = judge_calls(CALLED, moments, 3600)
    assert calls.auc == 1.0
    assert calls.brier is None
    assert not calls.by_probability


def test_calibration_says_what_was_said_and_what_was_true():
    calls = judge_calls(CALLED, course(lambda t: 0.9 if 1200 <= t < 3000 else 0.1), 3600)
    assert [(b.from_p, round(b.said, 2), b.called) for b in calls.calibration()] == [
        (0.0, 0.1, 0.0),
        (0.8, 0.9, 1.0),
    ]


def test_nothing_said_or_known_is_no_score():
    assert judge_calls(None, course(lambda _: 0.1), 3600) is None
    assert judge_calls(CALLED, None, 3600) is None
    assert judge_calls(CALLED, course(lambda _: 0.1), None) is None
