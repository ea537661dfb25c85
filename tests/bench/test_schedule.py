"""When samples are due, and that every delay counts from there."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctgkit.bench.schedule import Ledger, Schedule, quantile


@st.composite
def schedules(draw):
    rate_hz = draw(st.sampled_from([1.0, 4.0, 8.33, 50.0]))
    phases = draw(st.lists(st.floats(0, 0.999), min_size=1, max_size=20))
    return Schedule(
        phases_s=sorted(p / rate_hz for p in phases),
        rate_hz=rate_hz,
        warm_up=draw(st.integers(0, 5)),
        measured=draw(st.integers(1, 10)),
        first_index=draw(st.integers(0, 5000)),
    )


@settings(max_examples=40)
@given(schedules())
def test_samples_are_numbered_in_the_order_in_which_they_are_due(schedule):
    """So one pointer is all the timer that a level needs; and each sensor keeps its rate."""
    due_s = [schedule.due_s(number) for number in range(schedule.total)]
    assert due_s == sorted(due_s)
    for sensor in range(schedule.sensors):
        own = due_s[sensor :: schedule.sensors]
        assert len(own) == schedule.warm_up + schedule.measured
        assert own == pytest.approx(
            [schedule.phases_s[sensor] + n / schedule.rate_hz for n in range(len(own))]
        )


@settings(max_examples=40)
@given(schedules(), st.data())
def test_the_ledger_counts_every_sample_of_the_window_once(schedule, data):
    """Repetitions, strangers and the warm-up don't count; 32 bits are enough for a data time."""
    ledger = Ledger(schedule)
    sensor = st.integers(0, schedule.sensors - 1)
    index = st.integers(0, schedule.next_index + 5)
    arrivals = data.draw(st.lists(st.tuples(sensor, index)))
    for number, place in arrivals:
        (sec,) = struct.unpack("f", struct.pack("f", place / schedule.rate_hz))
        ledger.saw(number, sec, 1000.0)
    window = range(schedule.first_index + schedule.warm_up, schedule.next_index)
    seen = {(number, place) for number, place in arrivals if place in window}
    assert ledger.due == schedule.sensors * schedule.measured
    assert ledger.due - ledger.missing == len(seen) == len(ledger.latencies_s)


def test_a_stall_delays_every_sample_behind_it():
    """A second without answers at 10 Hz is ten late samples, not one: latency is from the due."""
    schedule = Schedule(phases_s=[0.0], rate_hz=10.0, warm_up=0, measured=20, first_index=0)
    ledger = Ledger(schedule)
    for number in range(20):
        due_s = schedule.due_s(number)
        ledger.saw(0, number / 10, max(due_s, 1.0) + 0.001)
    late = sorted(ledger.latencies_s, reverse=True)[:10]
    assert late == pytest.approx([1.001 - n / 10 for n in range(10)])


@given(st.lists(st.floats(0, 1), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_what_the_share_keeps_within(values, share):
    """The smallest value that at least the share is not above."""
    found = quantile(sorted(values), share)
    assert found in values
    assert sum(v <= found for v in values) >= share * len(values) - 1e-9
    assert sum(v < found for v in values) < share * len(values) + 1e-9
