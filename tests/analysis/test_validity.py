"""Which samples are believed."""

import numpy as np
import pytest

from ctgkit.analysis.validity import Reason, below_share, captured_s, judge

N = 480


def flat(level=140.0):
    return np.full(N, level)


def test_a_clean_signal_is_good():
    assert (judge(flat() + np.sin(np.arange(N) / 20)) == Reason.GOOD).all()


@pytest.mark.parametrize(("value", "reason"), [
    (0.0, Reason.NO_SIGNAL), (np.nan, Reason.NO_SIGNAL), (49.9, Reason.OUT_OF_RANGE),
    (50.0, Reason.GOOD), (220.0, Reason.GOOD), (220.1, Reason.OUT_OF_RANGE),
])  # fmt: skip
def test_the_accepted_range(value, reason):
    signal = flat(value)
    assert (judge(signal) == reason).all()


def test_an_island_between_losses_is_noise():
    signal = flat()
    signal[100:160] = signal[175:240] = 0
    reason = judge(signal)
    assert (reason[160:175] == Reason.ISLAND).all()
    assert (reason[240:] == Reason.GOOD).all()


def test_a_short_gap_makes_no_island():
    signal = flat()
    signal[100:108] = signal[116:124] = 0
    assert (judge(signal)[108:116] == Reason.GOOD).all()


@pytest.mark.parametrize(("seconds", "reason"), [(29, Reason.EXCURSION), (31, Reason.GOOD)])
def test_a_jump_that_is_undone_within_half_a_minute(seconds, reason):
    signal = flat()
    signal[200 : 200 + 4 * seconds] = 100
    assert (judge(signal)[200 : 200 + 4 * seconds] == reason).all()


@pytest.mark.parametrize(("level", "shown", "reason"), [
    (80, 160, Reason.DOUBLED), (80, 169, Reason.DOUBLED), (80, 172, Reason.GOOD),
    (180, 90, Reason.HALVED), (180, 84, Reason.GOOD),
])  # fmt: skip
def test_doubled_and_halved_rates(level, shown, reason):
    signal = flat(level)
    signal[200:] = shown
    assert (judge(signal)[200:] == reason).all()


def test_a_deep_deceleration_with_flanks_is_the_fetus():
    down = np.linspace(140, 70, 20)
    signal = np.concatenate((flat()[:200], down, np.full(60, 70.0), down[::-1], flat()[:180]))
    assert (judge(signal) == Reason.GOOD).all()


def test_a_single_sample_is_nothing():
    signal = np.zeros(N)
    signal[7] = 140
    assert judge(signal)[7] == Reason.ISLAND


@pytest.mark.parametrize(("level", "seconds"), [(95, 25.0), (125, 0.0)])
def test_the_mothers_pulse_lies_between_two_steps(level, seconds):
    signal = flat()
    signal[200:300] = level
    assert captured_s(signal) == seconds


def test_the_share_below_a_limit_is_of_the_signal_that_is_there():
    signal = np.concatenate((np.full(60, 70.0), np.full(40, 80.0), np.full(50, np.nan)))
    assert below_share(signal, 80) == 0.6
    assert below_share(np.concatenate((signal, np.full(60, np.nan))), 80) is None
