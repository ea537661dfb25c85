"""What the heart does inside decelerations and after them, beside the plain fall."""

import numpy as np
import pytest

from ctgkit.simulate.signal.deceleration import Deceleration, break_up, dip
from ctgkit.simulate.signal.stream import Streams

T_S = np.arange(0, 600, 0.25)


def deceleration(**of):
    """Return one that falls by 50 bpm from 100 s to 106 s, rests, and is over at 180 s."""
    return Deceleration("d7", "variable", 100.0, 6.0, 54.0, 20.0, 50.0, **of)


def beside(d, t_s=T_S):
    """Return what breaks it up."""
    wave = np.zeros_like(t_s)
    break_up(wave, d, Streams(3, 0), t_s)
    return wave


def test_a_smooth_one_is_left_alone():
    assert not beside(deceleration()).any()


@pytest.mark.parametrize("ragged", [0.2, 0.6, 1.2])
def test_a_broken_one_falls_and_recovers_several_times(ragged):
    """Not above where the heart came from, nor below by more than the depth again."""
    d = deceleration(ragged=ragged)
    wave = beside(d)
    turns = np.flatnonzero(np.diff(np.sign(np.diff(wave[wave != 0]))) != 0)
    assert len(turns) >= 5
    assert wave.max() <= d.depth_bpm
    assert wave.min() >= -d.depth_bpm
    assert not wave[d.onset_s > T_S].any()


def test_what_is_left_goes_back_slowly():
    d = deceleration(ragged=1e-9, left_bpm=10.0, left_s=100.0)
    left = beside(d)
    assert left[d.end_s == T_S] == pytest.approx(-10, abs=0.01)
    assert left[d.end_s + 40 == T_S] == pytest.approx(-4.5, abs=0.01)
    assert not left[d.end_s + 100 <= T_S].any()
    assert d.gone_s == d.end_s + 100


@pytest.mark.parametrize("cut_s", [90.0, 103.25, 150.0, 210.0])
def test_two_halves_are_the_whole(cut_s):
    """Whoever renders only a part of it sees the same."""
    d = deceleration(ragged=0.8, left_bpm=8.0)
    parts = [beside(d, T_S[cut_s > T_S]), beside(d, T_S[cut_s <= T_S])]
    np.testing.assert_array_equal(np.concatenate(parts), beside(d))


def test_the_truth_is_measured_without_it():
    """No short recovery splits an event: the plain fall has one nadir and no step."""
    fall = dip(deceleration(ragged=1.0, left_bpm=10.0), T_S)
    np.testing.assert_array_equal(fall, dip(deceleration(), T_S))
