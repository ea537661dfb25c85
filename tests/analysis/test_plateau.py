"""Which level is the baseline."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctgkit.analysis.plateau import FLANK_SHARE, LEVELS_BPM, STEP_BINS, Plateaus, steadiness


def course(mean_bpm, weight=None, window=240):
    """Return the level of each step as it looked when it was the last one."""
    plateaus, told = Plateaus(window // STEP_BINS + 1), []
    weight = np.ones(len(mean_bpm)) if weight is None else weight
    for end in range(STEP_BINS, len(mean_bpm) + 1, STEP_BINS):
        seen = slice(max(0, end - window), end)
        levels, other = plateaus.update(mean_bpm[seen], weight[seen], end)
        assert levels.shape == mean_bpm[seen].shape
        told.append((levels, other))
    return told


def bins(*parts):
    """Return means of 5 s: (minutes, beats/min) one after the other."""
    return np.concatenate([np.full(round(12 * minutes), float(bpm)) for minutes, bpm in parts])


def cycles(count, *parts):
    return [part for _ in range(count) for part in parts]


def test_the_level_that_returns_reach_is_the_baseline_though_most_of_the_time_is_below():
    levels, _ = course(bins((8, 140), *cycles(8, (2, 75), (0.5, 140))))[-1]
    assert np.abs(levels - 140).max() <= 4


def test_without_returns_the_new_level_is_taken_after_minutes():
    told = course(bins((10, 140), (10, 76)))
    after = [float(levels[-1]) for levels, _ in told[20:]]
    assert after[0] == pytest.approx(140, abs=4)
    assert after[-1] == pytest.approx(76, abs=4)
    assert after.index(after[-1]) in range(2, 12)


def test_a_long_acceleration_does_not_become_the_baseline():
    levels, _ = course(bins((10, 130), (2.5, 155), (10, 130)))[-1]
    assert np.abs(levels - 130).max() <= 4


def test_returns_that_no_longer_reach_the_level_lower_it():
    falling = bins((10, 138), *cycles(6, (1.3, 58), (0.7, 92)))
    levels, _ = course(falling)[-1]
    assert levels[0] == pytest.approx(138, abs=4)
    assert levels[-1] < 110


def test_silence_changes_nothing():
    weight = np.concatenate((np.ones(120), np.zeros(400)))
    levels, _ = course(np.concatenate((np.full(120, 144.0), np.full(400, 60.0))), weight)[-1]
    assert np.abs(levels - 144).max() <= 4


def test_two_levels_that_share_the_time_are_doubted():
    others = [other for _, other in course(bins((10, 140), *cycles(10, (1, 120), (1, 140))))]
    assert any(other is not None for other in others[20:])
    assert [other for _, other in course(bins((20, 140)))][4:] == [None] * 36


def test_where_the_heart_rate_stays_counts_more_than_where_it_passes():
    u_shape = 140 - 40 * (1 - np.cos(2 * np.pi * np.arange(24) / 24)) / 2
    counts = steadiness(np.concatenate((np.full(12, 140.0), u_shape, np.full(12, 140.0))))
    assert counts[:8] == pytest.approx(np.ones(8))
    assert counts[16:20].max() < FLANK_SHARE + 0.2  # half way down
    assert counts.size == 48


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0.2, 6), st.floats(50, 220)), min_size=1, max_size=12))
def test_any_signal_has_a_level_at_each_time(parts):
    for levels, other in course(bins(*parts)):
        assert np.isin(levels, LEVELS_BPM).all()
        assert other is None or other in LEVELS_BPM


@given(st.integers(1, 30))
def test_a_finish_between_two_steps_is_no_problem(extra):
    mean_bpm = bins((5, 140))
    plateaus = Plateaus(41)
    plateaus.update(mean_bpm, np.ones(60), 60)
    longer = np.concatenate((mean_bpm, np.full(extra, 140.0)))
    levels, _ = plateaus.update(longer, np.ones(longer.size), longer.size)
    assert levels == pytest.approx(np.full(longer.size, 140.0), abs=4)
