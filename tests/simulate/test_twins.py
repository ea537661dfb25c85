"""Twins: two sensors, one mother."""

import numpy as np

from ctgkit.simulate.block import MASK_BITS
from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor

SCENARIO = load_scenario("twins")
N = 3600 * 4


def test_twins_share_the_toco_and_have_hearts_of_their_own():
    first, second, stranger = (Sensor(SCENARIO, seed=1, index=i).render(0, N) for i in range(3))
    assert np.array_equal(first.chunk.uterus, second.chunk.uterus)
    assert np.array_equal(first.truth.mother_bpm, second.truth.mother_bpm)
    assert not np.array_equal(first.chunk.uterus, stranger.chunk.uterus)
    assert not np.array_equal(first.truth.fhr_clean_bpm, second.truth.fhr_clean_bpm)


def test_now_and_then_both_hear_the_same_heart():
    """The truth says when, and then the values agree."""
    runs = [Sensor(SCENARIO, seed=1, index=i) for i in range(2)]
    first, second = (s.render(0, N) for s in runs)
    captured = second.truth.mask == MASK_BITS["twin"]
    assert captured.sum() > 100
    apart = np.abs(second.chunk.fhr_bpm - first.truth.fhr_clean_bpm)
    own = np.abs(second.chunk.fhr_bpm - second.truth.fhr_clean_bpm)
    clear = captured & (first.truth.mask == 0)
    assert np.nanmedian(apart[clear]) < np.nanmedian(own[clear])
    runs[1].seek(N)
    assert any(e.kind == "twin_capture" for e in runs[1].events())


def test_a_sensor_knows_the_one_on_the_other_twin():
    first, second = (Sensor(SCENARIO, seed=1, index=i) for i in (4, 5))
    for one, other in ((first, second), (second, first)):
        known = one.other_twin.render(0, 400).chunk
        assert np.array_equal(known, other.render(0, 400).chunk, equal_nan=True)
    assert Sensor(load_scenario("normal-reactive")).other_twin is None
