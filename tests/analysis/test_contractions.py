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


def test_saturated_contractions_with_a_high_tone_between_are_not_one():
    """Three peaks at 127 whose valleys stay above 60 % of it, and a re-zero after them."""
    toco = 40 + noise(1200, 0.5) + sum(contraction(T_S, p, 110, 30) for p in (300, 420, 540))
    toco = np.where((T_S > 240) & (T_S < 600), np.maximum(toco, 80), toco) - 30 * (T_S > 650)
    toco = np.clip(toco + sum(contraction(T_S, p) for p in (800, 1000)), 0, 127)
    assert [c.peak for c in find(toco) if 240 < c.peak < 640] == pytest.approx(
        [300, 420, 540], abs=20
    )


def breathing(amplitude=1.5):
    return amplitude * np.sin(2 * np.pi * T_S / 4)


@pytest.mark.parametrize("worn", [
    pytest.param((200, 260), id="on and soon re-zeroed"),
    pytest.param((200, 320), id="two minutes at the wrong zero"),
])  # fmt: skip
def test_a_belt_put_on_is_no_contraction(worn):
    on_s, zeroed_s = worn
    is_worn = on_s <= T_S
    toco = np.where(is_worn, 12 + breathing(), 0.0) + 45 * (is_worn & (zeroed_s > T_S))
    toco += sum(contraction(T_S, p) for p in (500, 700, 900)) * is_worn
    assert [c.peak for c in find(toco)] == pytest.approx([500, 700, 900], abs=6)


def test_a_belt_taken_off_is_no_contraction():
    toco = 12 + breathing() + sum(contraction(T_S, p) for p in (200, 400, 600))
    toco = np.where(T_S > 800, 12 + 40 * (1 - np.exp(-(T_S - 800) / 30)), toco)
    toco[T_S > 870] = 0
    assert [c.peak for c in find(toco)] == pytest.approx([200, 400, 600], abs=6)


def test_a_slow_drift_is_no_contraction():
    drift = 30 * np.exp(-0.5 * ((T_S - 700) / 200) ** 2)
    toco = 12 + breathing(0.5) + drift
    assert find(toco) == []
