"""The search finds the knee of any backend, and blames whom it should."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.bench.knee import Judged, Level, best_attempts, find_knee, judge, search

BOUND_MS = 50.0


def level(sensors=10, **figures):
    figures = {"p50_ms": 1.0, "p99_ms": 2.0, "lateness_p99_ms": 0.5, "generator_cpu": 0.1} | figures
    return Level(sensors=sensors, due=4 * sensors, samples_per_s=4.0 * sensors, **figures)


def run_search(holds, first, most, precision=0.1):
    """Return the levels tried and whether each held."""
    tried, steps = [], search(first, most, precision)
    sensors = next(steps, None)
    while sensors is not None:
        tried.append((sensors, holds(sensors)))
        try:
            sensors = steps.send(tried[-1][1])
        except StopIteration:
            sensors = None
    return tried


@given(
    capacity=st.integers(0, 100_000),
    first=st.integers(1, 500),
    most=st.integers(1, 50_000),
    precision=st.sampled_from([0.0, 0.05, 0.1, 0.5]),
)
def test_search_brackets_the_capacity_of_a_synthetic_backend(capacity, first, most, precision):
    """It ends within the precision of the capacity, below what there is, after few levels."""
    tried = run_search(lambda n: n <= capacity, first, most, precision)
    assert all(1 <= n <= most for n, _ in tried)
    assert len({n for n, _ in tried}) == len(tried)
    held = max((n for n, ok in tried if ok), default=0)
    failed = min((n for n, ok in tried if not ok), default=None)
    if failed is None:
        assert held == most <= capacity
    else:
        assert held <= capacity < failed
        assert failed - held <= max(1, precision * held)
    assert len(tried) <= 2 * math.log2(most + first) + 4


@given(st.lists(st.tuples(st.integers(1, 50), st.booleans(), st.floats(0, 100)), min_size=1))
def test_the_knee_is_below_the_first_number_that_never_held(attempts):
    """One success in several attempts counts; what held above a failure doesn't."""
    levels = [
        Judged(level(n, p99_ms=p99_ms), "held" if ok else "failed", "" if ok else "p99")
        for n, ok, p99_ms in attempts
    ]
    held = {n for n, ok, _ in attempts if ok}
    never = {n for n, _, _ in attempts} - held
    knee = find_knee(levels)
    assert knee.failed_at == min(never, default=None)
    assert knee.sensors == max((n for n in held if n < min(never, default=math.inf)), default=0)
    assert knee.limited_by == ("backend" if never else "sensors")
    best = best_attempts(levels)
    assert [b.level.sensors for b in best] == sorted(held | never)
    assert {b.level.sensors for b in best if b.verdict == "held"} == held


@pytest.mark.parametrize(
    ("figures", "verdict", "why"),
    [
        ({}, "held", ""),
        ({"p99_ms": 50.0}, "held", ""),
        ({"p99_ms": 50.1}, "failed", "p99 is 50.1 ms"),
        ({"p99_ms": None}, "failed", "nothing came back"),
        ({"lost": 3}, "failed", "3 of 40 samples were lost"),
        ({"lost": 3, "held_back": 3}, "failed", "3 of 40 samples were not taken"),
        ({"unacked": 1}, "failed", "1 samples were not acknowledged"),
        ({"rejected": 2, "cut": 1}, "failed", "1 sensors were disconnected; 2 samples were rej"),
        ({"viewer_closed": "1013 too slow"}, "failed", "the viewer was closed: 1013 too slow"),
        ({"refused": "answered 503", "p99_ms": None}, "failed", "answered 503"),
        # a busy generator that keeps the bound all the same is no reason to doubt
        ({"generator_cpu": 0.99, "lateness_p99_ms": 40.0}, "held", ""),
        ({"p99_ms": 60.0, "generator_cpu": 0.95}, "generator", "the generator used 95% of a core"),
        ({"p99_ms": 60.0, "lateness_p99_ms": 20.0}, "generator", "itself was 20.0 ms late"),
        ({"lost": 1, "lateness_p99_ms": 51.0}, "generator", "itself was 51.0 ms late"),
        # its lateness doesn't explain these
        ({"p99_ms": 51.0, "lateness_p99_ms": 2.0}, "failed", "p99 is 51.0 ms"),
        ({"p99_ms": 300.0, "lateness_p99_ms": 40.0}, "failed", "p99 is 300.0 ms"),
    ],
)
def test_who_is_to_blame(figures, verdict, why):
    """The backend, unless the load generator was at its limit."""
    judged = judge(level(**figures), BOUND_MS)
    assert judged.verdict == verdict
    assert why in judged.why
    assert bool(judged.why) == (verdict != "held")


def test_a_knee_of_the_generator_is_not_the_backends():
    """What only the generator failed says so."""
    late = judge(level(20, p99_ms=200.0, lateness_p99_ms=180.0), BOUND_MS)
    assert find_knee([judge(level(10), BOUND_MS), late]).limited_by == "generator"
    really = judge(level(20, p99_ms=200.0), BOUND_MS)
    assert find_knee([judge(level(10), BOUND_MS), late, really]).limited_by == "backend"
