"""Events keep their names, and final ones never change."""

from hypothesis import given
from hypothesis import strategies as st

from ctgkit.analysis.tracking import DISCOVERY_S, OVERLAP_S, Tracker
from ctgkit.events import Event


def event(onset_s, end_s):
    return Event(kind="deceleration", onset_s=onset_s, end_s=end_s)


def test_an_event_that_is_revised_keeps_its_id():
    tracker = Tracker("dec", 300, 3600)
    tracker.update([event(100, 140)], 140)
    tracker.update([event(98, 160)], 160)
    tracker.update([event(97, 163), event(200, 230)], 240)
    assert [(e.id, e.onset_s) for e in tracker.events] == [("dec-1", 97), ("dec-2", 200)]


def test_the_tiers_follow_age():
    tracker = Tracker("dec", 300, 3600)
    tiers = []
    for now_s in (140, 259, 260, 439, 440):
        tracker.update([event(100, 140)], now_s)
        tiers += [e.tier for e in tracker.events]
    assert tiers == ["provisional", "provisional", "confirmed", "confirmed", "final"]


def test_an_event_that_was_noise_disappears_until_it_is_final():
    tracker = Tracker("dec", 300, 3600)
    tracker.update([event(100, 140)], 140)
    tracker.update([], 150)
    assert tracker.events == []
    tracker.update([event(100, 140)], 440)
    tracker.update([], 450)
    assert len(tracker.events) == 1


def test_nothing_appears_beside_a_final_event_or_long_after():
    tracker = Tracker("dec", 300, 3600)
    tracker.update([event(100, 140)], 440)
    tracker.update([event(90, 150), event(200, 240 - OVERLAP_S)], 600 + DISCOVERY_S)
    assert [e.onset_s for e in tracker.events] == [100]


def test_old_events_are_forgotten():
    tracker = Tracker("dec", 300, 3600)
    tracker.update([event(100, 140)], 440)
    tracker.update([], 3741)
    assert tracker.events == []


ZONES = st.lists(st.tuples(st.integers(0, 1000), st.integers(10, 100)), max_size=6)


@given(st.lists(ZONES, max_size=25))
def test_ids_are_unique_and_final_events_never_change(rounds):
    tracker = Tracker("dec", 120, 3600)
    final = {}
    for n, zones in enumerate(rounds):
        tracker.update([event(onset, onset + length) for onset, length in sorted(zones)], 60.0 * n)
        ids = [e.id for e in tracker.events]
        assert len(set(ids)) == len(ids)
        for one in tracker.events:
            if one.id in final:
                assert final[one.id] == one
            if one.tier == "final":
                final[one.id] = one
        assert set(final) <= set(ids)
