"""Types of decelerations."""

import numpy as np
import pytest

from ctgkit.analysis.describe import acceleration_event, deceleration_event
from ctgkit.analysis.morphology import fill, zones
from ctgkit.events import Event
from tests.analysis.signals import bump

T_S = np.arange(1200) + 0.5
LEVEL = np.full(1200, 140.0)
UC = Event(kind="contraction", id="uc-1", onset_s=400, peak_s=440, end_s=490, size=40)


def describe(deviation, contractions=(UC,)):
    signal = 140 + deviation
    (zone,) = zones(signal, fill(signal), LEVEL)
    return deceleration_event(zone, signal, LEVEL, contractions, 0.0)


@pytest.mark.parametrize(("shape", "subtype"), [
    ((400, 8, 20, 10, 40), "variable"),
    ((405, 36, 0, 45, 25), "early"),
    ((430, 40, 5, 50, 25), "late"),
    ((405, 45, 15, 45, 25), "late_ambiguous"),
    ((420, 15, 170, 30, 50), "prolonged"),
])  # fmt: skip
def test_the_type_follows_from_shape_and_contraction(shape, subtype):
    event = describe(-bump(T_S, *shape))
    assert event.subtype == subtype
    assert event.linked_contraction == "uc-1"
    assert event.meets_clinical


@pytest.mark.parametrize("contractions", [None, ()])
def test_without_a_contraction_a_gradual_one_is_not_forced_into_a_type(contractions):
    event = describe(-bump(T_S, 430, 40, 5, 50, 25), contractions)
    assert event.subtype == "unclassified"
    assert event.linked_contraction == ""


def test_a_contraction_far_away_is_not_linked():
    assert describe(-bump(T_S, 800, 40, 5, 50, 25)).subtype == "unclassified"


def test_the_nadir_and_the_flanks_are_measured():
    event = describe(-bump(T_S, 430, 40, 10, 60, 30))
    assert event.peak_s == pytest.approx(475, abs=5)
    assert event.size == pytest.approx(30, abs=1)
    assert event.details["nadir_bpm"] == pytest.approx(110, abs=1)
    assert event.details["onset_to_nadir_s"] == pytest.approx(40, abs=5)
    assert event.details["recovery_s"] == pytest.approx(60, abs=6)


def test_atypical_features_are_named():
    event = describe(-bump(T_S, 400, 8, 40, 50, 50))
    assert set(event.details["atypical"].split(",")) >= {"long", "slow_return", "no_shoulders"}
    shoulders = 8 * (np.abs(T_S - 393) < 6)
    assert (
        "no_shoulders"
        not in describe(shoulders - bump(T_S, 400, 8, 15, 10, 50)).details["atypical"]
    )


def test_an_acceleration_is_measured():
    signal = 140 + bump(T_S, 400, 15, 10, 15, 22)
    (zone,) = zones(signal, fill(signal), LEVEL)
    event = acceleration_event(zone, signal, LEVEL, 100.0)
    assert event.peak_s == pytest.approx(520, abs=5)
    assert event.size == pytest.approx(22, abs=1)
    assert event.meets_clinical


def test_no_fall_or_rise_is_longer_than_its_deceleration():
    ramp = np.zeros(1200)
    ramp[420:448] = np.linspace(12, 30, 28)
    for deviation, name in ((ramp, "onset_to_nadir_s"), (ramp[::-1], "recovery_s")):
        event = describe(-deviation)
        assert 20 < event.details[name] <= event.duration_s
