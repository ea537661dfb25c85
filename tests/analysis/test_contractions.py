"""Contractions on a tocogram."""

import numpy as np
import pytest

from ctgkit.analysis.contractions import find, measured
from tests.analysis.signals import contraction, noise

T_S = np.arange(1200.0)


def series(every_s=180, **shape):
    return (
        10 + noise(1200, 0.5) + sum(contraction(T_S, p, **shape) for p in range(90, 1150, every_s))
    )


@pytest.mark.parametrize("every_s", [100, 180, 300])
def test_each_one_is_found_at_its_peak(every_s):
    peaks = [c.peak for c in find(series(every_s))]
    assert peaks == pytest.approx(list(range(90, 1150, every_s)), abs=8)


@pytest.mark.parametrize(("size", "found"), [(8, 0), (13, 6)])
def test_the_least_height(size, found):
    assert len(find(series(size=size))) == found


@pytest.mark.parametrize(("width_s", "found"), [(5, 0), (9, 6)])
def test_the_least_duration(width_s, found):
    assert len(find(series(width_s=width_s))) == found


def test_drift_and_a_new_zero_are_survived():
    toco = series() + T_S / 60
    toco[700:] -= 8
    assert len(find(toco)) == 6


def test_pushing_is_one_contraction():
    efforts = [contraction(T_S, 500 + n * 13, 25, 3.5) for n in range(-1, 3)]
    toco = 10 + noise(1200, 0.5) + contraction(T_S, 500, 30, 25) + sum(efforts)
    assert len(find(toco)) == 1


def test_a_long_one_after_which_the_tone_stays_up():
    """It ends where it has fallen to the tone beside it, not at the next one's foot."""
    toco = 10 + noise(1200, 0.5) + contraction(T_S, 500, 65, 80) + np.where(T_S > 500, 16, 0)
    toco += sum(contraction(T_S, p) for p in (90, 250, 1000))
    (long,) = [c for c in find(toco) if c.height > 70]
    assert long.start == pytest.approx(365, abs=30)
    assert long.end == pytest.approx(650, abs=30)


def test_gaps_are_bridged():
    toco = series()
    toco[300:330] = np.nan
    assert len(find(toco)) == 6


@pytest.mark.parametrize("toco", [np.zeros(1200), np.full(1200, np.nan), np.full(1200, 12.0)])
def test_a_lifted_sensor_measures_nothing(toco):
    assert not measured(toco)
    assert find(toco) == []
