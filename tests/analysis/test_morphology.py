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


@pytest.mark.parametrize(("size", "found"), [(14.9, 0), (15.5, 1)])
def test_the_least_height_of_an_acceleration(size, found):
    assert len(find(bump(T_S, 400, 5, 40, 5, size))) == found


@pytest.mark.parametrize(("level_bpm", "found"), [(79, 0), (81, 1)])
def test_a_rise_from_the_floor_of_a_bradycardia_is_no_acceleration(level_bpm, found):
    signal = level_bpm + bump(T_S, 400, 15, 20, 15, 30)
    assert len(zones(signal, fill(signal), np.full(1200, float(level_bpm)))) == found


@pytest.mark.parametrize(("size", "found"), [(8.9, 0), (9.5, 1)])
def test_the_least_depth_of_a_deceleration(size, found):
    assert len(find(-bump(T_S, 400, 5, 40, 5, size))) == found


@pytest.mark.parametrize(
    ("sign", "hold_s", "found"), [(1, 6, 0), (1, 9, 1), (-1, 12, 0), (-1, 16, 1)]
)
def test_the_least_area(sign, hold_s, found):
    assert len(find(sign * bump(T_S, 400, 1, hold_s, 1, 25))) == found


@pytest.mark.parametrize(("bandwidth_bpm", "found"), [(20, 1), (40, 0)])
@pytest.mark.parametrize("sign", [1, -1])
def test_what_the_variability_can_do_alone_is_no_event(sign, bandwidth_bpm, found):
    signal = 140 + sign * bump(T_S, 400, 10, 30, 10, 25)
    assert len(zones(signal, fill(signal), LEVEL, bandwidth_bpm=bandwidth_bpm)) == found


@pytest.mark.parametrize(("gap_s", "size", "kinds"), [
    pytest.param(0, 18, [-1], id="overshoot"),
    pytest.param(12, 18, [-1], id="overshoot a little later"),
    pytest.param(60, 18, [-1, 1], id="apart"),
    pytest.param(0, 45, [-1, 1], id="as large as an acceleration"),
])  # fmt: skip
def test_an_overshoot_is_no_acceleration(gap_s, size, kinds):
    fall = bump(T_S, 400, 15, 40, 15, 50)
    rise = bump(T_S, 470 + gap_s, 8, 10, 8, size)
    assert [z.sign for z in find(rise - fall)] == kinds


def test_a_shoulder_is_no_acceleration():
    fall, rise = bump(T_S, 430, 15, 40, 15, 50), bump(T_S, 404, 8, 10, 8, 18)
    assert [z.sign for z in find(rise - fall)] == [-1]


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


def test_a_deceleration_after_an_incomplete_return_is_not_lost():
    first, again = bump(T_S, 300, 30, 90, 40, 40), bump(T_S, 480, 10, 100, 30, 80)
    found = find(-first - again - bump(T_S, 290, 5, 340, 5, 8))  # 8 below throughout: no crossing
    assert [z.start for z in found] == [pytest.approx(290, abs=6), pytest.approx(475, abs=15)]
    assert found[1].depth_bpm > 70


def test_decelerations_that_miss_the_baseline_for_more_than_ten_minutes_are_found():
    falls = sum(bump(T_S, at_s, 20, 60, 30, 50) for at_s in range(250, 950, 150))
    found = find(-falls - bump(T_S, 240, 5, 720, 5, 6))
    assert len(found) == 5
    assert all(z.sign < 0 and z.depth_bpm > 45 for z in found)
    assert not find(-bump(T_S, 240, 5, 720, 5, 40))  # without a return: a change of the baseline
