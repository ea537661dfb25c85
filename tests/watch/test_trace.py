"""The ring of samples keeps the newest, in order, within its bound."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.watch.trace import Trace


@given(capacity=st.integers(1, 40), n_samples=st.integers(0, 200))
def test_keeps_the_newest_samples(capacity, n_samples):
    """Whatever the sizes, it holds the last *capacity* samples, as a list would."""
    trace = Trace(capacity)
    for n in range(n_samples):
        trace.append(float(n), 100.0 + n, None)
    t_s, fhr_bpm, toco = trace.between(-math.inf, math.inf)
    kept = list(range(n_samples))[-capacity:]
    assert t_s.tolist() == kept
    assert fhr_bpm.tolist() == [100.0 + n for n in kept]
    assert np.isnan(toco).all()
    assert len(trace) == len(kept)


def test_memory_stays_bounded():
    """Ten times the capacity leaves an array of twice the capacity."""
    trace = Trace(2000)
    for n in range(20_000):
        trace.append(float(n), 140.0, 10.0)
    assert trace.between(0, math.inf)[0].base.size == 3 * 2 * 2000


@given(cut_s=st.floats(-5, 25))
def test_forgets_from_a_time_on(cut_s):
    """What is left is earlier than the cut, and samples can be added again."""
    trace = Trace()
    for n in range(20):
        trace.append(float(n), 140.0, 10.0)
    trace.forget_from(cut_s)
    assert trace.between(-1, 99)[0].tolist() == [n for n in range(20) if n < cut_s]
    trace.append(30.0, 141.0, 11.0)
    assert trace.last_s == 30.0


def test_a_stretch_is_half_open():
    """The first time belongs to a stretch, the last doesn't."""
    trace = Trace()
    for n in range(10):
        trace.append(float(n), 140.0, 10.0)
    assert trace.between(3.0, 5.0)[0].tolist() == [3.0, 4.0]
