"""When samples are due, without a clock."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.net.backoff import BACKOFF_CAP_S, Backoff
from ctgkit.sensor.pacing import Feed
from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor
from ctgkit.simulate.source import Chunk
from ctgkit.wire import decode_frame, encode_sample


class Times:
    """A source of given times."""

    def __init__(self, times):
        self.times = list(times)

    def read(self, n_samples):
        part, self.times = self.times[:n_samples], self.times[n_samples:]
        sec = np.array(part, dtype=float)
        return Chunk(sec, np.where(sec % 2 == 0, np.nan, 140.0), sec, np.full(len(sec), np.nan))


def feed(times, *, speed=1.0, duration_s=math.inf, first_seq=0):
    return Feed(
        Times(times), sensor_id="id", first_seq=first_seq, speed=speed, duration_s=duration_s
    )


STEPS = st.lists(st.floats(0.01, 5.0), min_size=1, max_size=200)


@given(STEPS, st.floats(0.1, 1000.0), st.lists(st.floats(0.0, 3.0), min_size=1, max_size=50))
def test_deadlines_are_absolute_however_late_one_looks(steps, speed, looks):
    """A sample is handed out at the first look at or after its deadline: lateness never adds up."""
    times = np.cumsum(steps)
    one = feed(times, speed=speed)
    one.start(100.0)
    deadlines = 100.0 + (times - times[0]) / speed
    now, got = 100.0, 0
    for gap in looks:
        now += gap / speed
        due = one.take_due(now, 1000)
        assert len(due) + got == np.count_nonzero(deadlines <= now)
        got += len(due)
        if got < len(times):
            assert one.next_due_s == deadlines[got]
        else:
            assert one.ended
            assert one.next_due_s == math.inf


def test_an_hour_at_4_hz_ends_on_the_millisecond():
    """The last of 14,400 samples is due one step before the hour's end."""
    one = feed(np.arange(14_400) / 4)
    one.start(7.0)
    samples = one.take_due(7.0 + 3600, 20_000)
    assert len(samples) == 14_400
    assert one.due_at(samples[-1]) == 7.0 + 3599.75


def test_samples_are_numbered_and_nan_is_no_value():
    """seq counts from the first one given; NaN becomes None."""
    one = feed([1.0, 2.0], first_seq=10)
    one.start(0.0)
    assert [(s.seq, s.fhr_bpm, s.uterus, s.spasms) for s in one.take_due(9.0, 9)] == [
        (10, 140.0, 1.0, None),
        (11, None, 2.0, None),
    ]
    assert one.next_seq == 12


def test_limit_holds_and_nothing_is_skipped():
    """A feed held up hands the rest out later."""
    one = feed(range(10), speed=math.inf)
    one.start(0.0)
    assert [s.sec_from_start for s in one.take_due(0.0, 4)] == [0, 1, 2, 3]
    assert [s.sec_from_start for s in one.take_due(0.0, 99)] == [4, 5, 6, 7, 8, 9]
    assert one.ended


@pytest.mark.parametrize(("duration_s", "count"), [(1.0, 4), (0.1, 1), (25.0, 100), (1e9, 1000)])
def test_duration_is_data_time(duration_s, count):
    """Ten seconds at 4 Hz are 40 samples, wherever the source's clock begins."""
    one = feed(5.0 + np.arange(1000) / 4, duration_s=duration_s)
    one.start(0.0)
    assert len(one.take_due(1e9, 2000)) == count
    assert one.ended


def test_nothing_is_due_before_start_and_after_stop():
    """A feed doesn't run by itself."""
    one = feed(range(10))
    assert (one.next_due_s, one.ended) == (math.inf, False)
    one.start(0.0)
    one.stop()
    assert (one.next_due_s, one.ended, one.take_due(99.0, 9)) == (math.inf, True, [])


def test_an_empty_source_ends_at_once():
    """No samples: nothing is ever due."""
    one = feed([])
    one.start(0.0)
    assert one.ended


@given(st.integers(0, 10_000), st.floats(0.0, 1.0, exclude_max=True))
def test_backoff_stays_below_its_cap(failures, share):
    """Full jitter: anything from 0 to a limit that doubles up to the cap."""
    backoff = Backoff(jitter=lambda: share)
    backoff.failures = failures
    assert 0 <= backoff.next_s() <= BACKOFF_CAP_S


def test_the_mothers_heart_rate_is_a_member_that_others_ignore():
    """In whole beats, what the truth says; without it, and to a reader, the sample is the same."""
    scenario, n = load_scenario("dead-fetus-mhr"), 2100

    def sent(mother):
        source = Sensor(scenario, seed=3, duration_s=n / 4)
        one = Feed(
            source, sensor_id="id", first_seq=0, speed=1.0, duration_s=math.inf, mother=mother
        )
        one.start(0.0)
        return [encode_sample(sample) for sample in one.take_due(1e6, 3 * n)]

    plain, with_her = sent(False), sent(True)
    beats = [json.loads(frame)["data"].pop("BPMMother") for frame in with_her]
    truth = Sensor(scenario, seed=3).render(0, n).truth.mother_bpm
    assert beats == np.round(truth).tolist()
    assert b"BPMMother" not in b"".join(plain)
    assert [decode_frame(f, "id") for f in with_her] == [decode_frame(f, "id") for f in plain]
