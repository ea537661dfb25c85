"""Where accelerations and decelerations are."""

import numpy as np
import pytest

from ctgkit.analysis.morphology import fill, zones
from tests.analysis.signals import bump

T_S = np.arange(1200) + 0.5
LEVEL = np.full(1200, 140.0)


def find(deviation):
    return zones(140 + deviation, fill(140 + deviation), LEVEL)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_event_is_found_from_crossing_to_crossing(sign):
    (zone,) = find(sign * bump(T_S, 400, 15, 20, 15, 30))
    assert zone.sign == sign
    assert zone.start == pytest.approx(400, abs=3)
    assert zone.end == pytest.approx(450, abs=3)
    assert zone.depth_bpm == pytest.approx(30, abs=1)


@pytest.mark.parametrize(("size", "found"), [(13.9, 0), (14.5, 1)])
def test_the_least_height_of_an_acceleration(size, found):
    assert len(find(bump(T_S, 400, 5, 40, 5, size))) == found


@pytest.mark.parametrize(("size", "found"), [(11.9, 0), (12.5, 1)])
def test_the_least_depth_of_a_deceleration(size, found):
    assert len(find(-bump(T_S, 400, 5, 40, 5, size))) == found


@pytest.mark.parametrize(
    ("sign", "hold_s", "found"), [(1, 6, 0), (1, 11, 1), (-1, 10, 0), (-1, 17, 1)]
)
def test_the_least_time_beyond_ten(sign, hold_s, found):
    assert len(find(sign * bump(T_S, 400, 1, hold_s, 1, 25))) == found


@pytest.mark.parametrize(("lost_s", "found"), [(15, 1), (25, 0)])
def test_a_third_of_an_event_may_be_missing(lost_s, found):
    signal = 140 + bump(T_S, 400, 10, 40, 10, 30)
    signal[425 : 425 + lost_s] = np.nan
    assert len(zones(signal, fill(signal), LEVEL)) == found


def test_two_events_with_a_return_between_are_two():
    assert len(find(-bump(T_S, 400, 10, 20, 10, 30) - bump(T_S, 460, 10, 20, 10, 30))) == 2


@pytest.mark.parametrize(("minutes", "prolonged"), [(3, True), (8, True), (11, False)])
def test_a_prolonged_deceleration_is_followed_although_the_baseline_follows_it(minutes, prolonged):
    signal = 140 - bump(T_S, 200, 20, minutes * 60, 20, 60)
    follows = 140 - bump(T_S, 260, 60, max(1, minutes * 60 - 100), 60, 55)
    found = [z for z in zones(signal, fill(signal), follows) if z.end - z.start > minutes * 60]
    assert bool(found) == prolonged


def test_a_prolonged_deceleration_stays_one_when_its_first_part_is_long_ago():
    signal = 140 - bump(T_S, 200, 20, 160, 5, 40) - bump(T_S, 395, 5, 150, 20, 40)
    whole = zones(signal, signal, LEVEL)
    assert [(z.sign, z.end - z.start > 300) for z in whole] == [(-1, True)]
    assert zones(signal, signal, LEVEL, since=450) == whole


def test_silence_has_no_events():
    assert zones(np.full(1200, np.nan), LEVEL, LEVEL) == []
