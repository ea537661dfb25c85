"""The baseline, against signals whose baseline is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.analysis import baseline
from ctgkit.analysis.windows import moving_max, moving_mean
from tests.analysis.signals import bump, noise

BINS = int(1200 / baseline.BIN_S)
T_S = (np.arange(BINS) + 0.5) * baseline.BIN_S
GOOD = np.ones(BINS)


def test_a_flat_signal_is_its_own_baseline():
    level, reliability, *_ = baseline.estimate(np.full(BINS, 137.0), GOOD)
    assert level == pytest.approx(np.full(BINS, 137.0), abs=0.1)  # levels are 4 bpm apart
    assert reliability == pytest.approx(GOOD, abs=1e-3)


def test_events_leave_no_mark():
    signal = 140 + noise(BINS) + bump(T_S, 300, 20, 20, 20, 30) - bump(T_S, 700, 30, 20, 40, 40)
    level, *_ = baseline.estimate(signal, GOOD)
    assert np.abs(level - 140).max() < 4


def test_a_slow_drift_is_followed():
    truth = 130 + 15 * T_S / 1200
    level, *_ = baseline.estimate(truth + noise(BINS), GOOD)
    assert np.sqrt(np.mean((level - truth) ** 2)) < 2


def test_a_new_level_is_followed_where_it_prevails():
    truth = np.where(T_S < 600, 130.0, 160.0)
    level, *_ = baseline.estimate(truth + noise(BINS), GOOD)
    away = np.abs(T_S - 600) > 120
    assert np.abs(level - truth)[away].max() < 5


def test_gaps_are_bridged_and_make_it_unreliable():
    signal, share = 140 + noise(BINS), GOOD.copy()
    signal[60:120], share[60:120] = np.nan, 0
    level, reliability, *_ = baseline.estimate(signal, share)
    assert np.abs(level - 140).max() < 4
    assert reliability[90] < 0.2 < 0.5 < reliability[200]


def test_nothing_gives_nothing():
    level, reliability, *_ = baseline.estimate(np.full(BINS, np.nan), np.zeros(BINS))
    assert np.isnan(level).all()
    assert (reliability == 0).all()


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=240))
def test_kernel_sums_are_the_sums_that_they_stand_for(values):
    rows = np.array(values)
    at = np.arange(rows.size)
    kernel = np.exp(-np.abs(at[:, None] - at) * baseline.BIN_S / baseline.KERNEL_S)
    assert baseline.kernel_sums(rows) == pytest.approx(kernel @ rows, abs=1e-6)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=60), st.integers(0, 20))
def test_moving_mean_and_max_are_what_they_say(values, reach):
    array = np.array(values)
    windows = [array[max(0, n - reach) : n + reach + 1] for n in range(array.size)]
    assert moving_mean(array, reach) == pytest.approx([w.mean() for w in windows])
    padded = np.pad(array, reach, mode="edge")
    assert moving_max(padded, 2 * reach + 1).tolist() == [w.max() for w in windows]
