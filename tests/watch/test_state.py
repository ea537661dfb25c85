"""Results, connection and keys change what is shown as they should."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.display import MAX_EVENTS, MAX_SENSORS
from ctgkit.samples import Prediction
from ctgkit.watch.state import State, fold, refuse, set_link
from tests.watch.backend import OTHER, result


def folded(*results, state=None, now_s=0.0):
    state = state or State(source="test")
    for item in results:
        fold(state, item, now_s)
    return state


def times(state):
    return state.focused.trace.between(-1, 1e9)[0].tolist()


def test_values_and_verdict_are_the_newest():
    """What is said last is what is shown."""
    said = Prediction(
        hypoxia_probability=0.6, hypoxia_risk="high", alerts=["x"], confidence=1, recommendations=[]
    )
    state = folded(result(1.0), result(2.0, 151.0, 33.0, prediction=said, status="warning"))
    sensor = state.focused
    assert (sensor.fhr_bpm, sensor.toco, sensor.status) == (151.0, 33.0, "warning")
    assert sensor.prediction.hypoxia_risk == "high"


def test_no_signal_is_no_value():
    """A sample without signal takes a place in time and no place on the paper."""
    state = folded(result(1.0), result(1.25, fhr_bpm=None))
    assert state.focused.fhr_bpm is None
    assert state.focused.quality() == (0.5, 4.0)


def test_spasms_stand_in_for_a_missing_tone():
    """A sensor that measures contractions only still has a toco curve."""
    assert folded(result(1.0, uterus=None, spasms=21.0)).focused.toco == 21.0


def test_data_time_that_falls_back_starts_a_new_trace():
    """A sensor that starts again begins an empty strip; what was latched stays."""
    state = folded(*(result(t / 4, 100.0) for t in range(160)))
    assert state.focused.alarms.open
    folded(result(0.25), result(0.5), state=state)
    assert times(state) == [0.25, 0.5]
    assert [a.active for a in state.focused.alarms.open] == [False]


def test_a_sample_that_comes_late_is_counted_and_left_out():
    """Slight disorder doesn't throw the trace away."""
    state = folded(result(5.0), result(6.0), result(5.5), result(6.0), result(7.0))
    assert times(state) == [5.0, 6.0, 7.0]
    assert state.n_late == 2


def test_backfill_after_a_reconnect_fills_the_hole():
    """What the server repeats replaces what was known; nothing is drawn twice or lost."""
    state = folded(*(result(float(t)) for t in range(10)))
    set_link(state, "lost", "gone")
    set_link(state, "live")
    folded(*(result(float(t)) for t in range(5, 20)), state=state)
    assert times(state) == list(range(20))


def test_a_sensor_that_restarted_meanwhile_is_not_joined_to_its_past():
    """Later by the clock but earlier in data time: the old trace ends."""
    state = folded(*(result(float(t), timestamp="2026-11-23T00:00:00Z") for t in range(100, 110)))
    set_link(state, "live")
    folded(result(50.0, timestamp="2026-11-23T00:05:00Z"), state=state)
    assert times(state) == [50.0]


@pytest.mark.parametrize("change", [{"sec_from_start": -1.0}, {"sec_from_start": 1e300}])
def test_impossible_times_are_counted(change):
    """A result that has no place in time is refused, and said so."""
    state = folded(result(1.0, **change))
    assert (state.n_unreadable, state.sensors) == (1, {})


@pytest.mark.parametrize("fhr_bpm", [1e308, -5.0, 1.0])
def test_impossible_heart_rates_are_no_signal(fhr_bpm):
    """No curve runs to a number that no heart has."""
    sensor = folded(msgspec.structs.replace(result(1.0), fhr_bpm=fhr_bpm)).focused
    assert sensor.fhr_bpm is None


def test_sensors_and_ids_are_bounded():
    """The sixty-fifth sensor and an endless id take no memory; both are counted."""
    many = [result(1.0, sensor_id=f"s{n}") for n in range(MAX_SENSORS + 3)]
    state = folded(*many, result(1.0, sensor_id="x" * 5000))
    assert (len(state.sensors), state.n_beyond, state.n_unreadable) == (MAX_SENSORS, 3, 1)


def test_only_the_chosen_sensors():
    """A filter takes beginnings of ids, in any case."""
    state = State(source="test", only=("7be1",))
    folded(result(1.0), result(1.0, sensor_id=OTHER.upper()), state=state)
    assert [s.name for s in state.sensors.values()] == ["7BE10D55"]


def event(kind="contraction", onset_s=1.0, end_s=50.0, **more):
    return {"kind": kind, "onset_s": onset_s, "end_s": end_s, **more}


def test_events_are_kept_by_id():
    """A newer version of an event replaces the older one; kinds that aren't drawn are left out."""
    state = folded(
        result(1.0, events=[event(id="c1", tier="provisional"), event("baseline")]),
        result(2.0, events=[event(id="c1", end_s=60.0)]),
    )
    (kept,) = state.focused.events.values()
    assert (kept.end_s, kept.tier) == (60.0, "final")


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["kind", "onset_s", "end_s", "peak_s", "id", "tier", "details"]),
            st.sampled_from(["acceleration", "x", [], {}]) | st.floats(allow_nan=False) | st.none(),
        )
    )
)
def test_any_events_are_tolerated(events):
    """Whatever an analyzer sends as events, the sample is shown."""
    assert times(folded(result(1.0, events=events))) == [1.0]


def test_events_are_bounded():
    """A flood of events pushes the oldest out."""
    flood = [event(onset_s=float(n), end_s=n + 1.0) for n in range(MAX_EVENTS + 10)]
    assert len(folded(result(1.0, events=flood)).focused.events) == MAX_EVENTS


def test_unreadable_messages_are_counted():
    """The number and the reason of the last one are known."""
    state = State(source="test")
    refuse(state, "why")
    assert (state.n_unreadable, state.last_error) == (1, "why")


def test_reconnecting_counts_attempts():
    """Failures add up until the connection stands."""
    state = State(source="test")
    for _ in range(2):
        set_link(state, "connecting")
        set_link(state, "lost", "refused")
    assert (state.attempts, state.link_reason) == (2, "refused")
    set_link(state, "live")
    assert state.attempts == 0
