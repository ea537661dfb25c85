"""The soak's verdict: what grows is seen through noise, what doesn't is let pass."""

import random

import pytest

from benchmarks.soak.flatness import flatness
from benchmarks.soak.vitals import vitals


def series(slope_per_point, wild=0, seed=0):
    luck = random.Random(seed)
    points = [(5.0 * n, 100 + slope_per_point * n + luck.uniform(-2, 2)) for n in range(200)]
    for n in luck.sample(range(200), wild):
        points[n] = (points[n][0], luck.uniform(0, 1000))
    return points


@pytest.mark.parametrize("wild", [0, 50])
def test_growth_is_seen_through_wild_points(wild):
    """A quarter of the points may be anything."""
    leak = flatness(series(0.1, wild), share=0.05, least=8.0)
    assert leak.growth == pytest.approx(19.9, abs=4)
    assert leak.slope_per_hour == pytest.approx(72, abs=15)
    assert not leak.flat
    assert flatness(series(0.0, wild), share=0.05, least=8.0).flat
    assert flatness(series(-0.1, wild), share=0.05, least=8.0).flat


def test_too_few_points_say_nothing():
    """None is neither flat nor growing."""
    assert flatness(series(0.0)[:7], share=0.05, least=8.0) is None


def test_vitals_of_a_process_that_is_gone_are_empty():
    """A process that was just killed is no error."""
    assert vitals(2**22 + 1) == {}
