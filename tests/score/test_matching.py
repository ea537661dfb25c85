"""Which found event is which true one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctgkit.score.matching import OVERLAP_S, Tally, match, overlap_s
from ctgkit.score.results import Found

TIMES = st.integers(0, 400).map(lambda quarter: quarter / 4)
EVENTS = st.lists(
    st.builds(lambda onset, length: Found("deceleration", onset, onset + length), TIMES, TIMES),
    max_size=8,
)
FEW = settings(max_examples=40)


def zone(onset_s, end_s):
    return Found("deceleration", onset_s, end_s)


@FEW
@given(EVENTS, EVENTS)
def test_pairs_are_one_to_one_and_none_is_left_that_could_be_made(wanted, found):
    pairs = match(wanted, found)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    for i, a in enumerate(wanted):
        for j, b in enumerate(found):
            enough = overlap_s(a, b) > OVERLAP_S
            taken = any(i == n or j == m for n, m in pairs)
            assert taken if enough else (i, j) not in pairs


@FEW
@given(EVENTS, EVENTS, st.randoms())
def test_the_order_of_events_does_not_matter(wanted, found, luck):
    def pairs(a, b):
        return sorted((a[i].onset_s, a[i].end_s, b[j].onset_s, b[j].end_s) for i, j in match(a, b))

    expected = pairs(wanted, found)
    luck.shuffle(wanted)
    luck.shuffle(found)
    assert pairs(wanted, found) == expected


@FEW
@given(EVENTS)
def test_everything_is_found_in_itself(events):
    long_enough = [e for e in events if e.end_s - e.onset_s > OVERLAP_S]
    assert len(match(events, events)) == len(long_enough)


def test_the_largest_overlap_goes_first():
    wanted, found = [zone(0, 60), zone(50, 100)], [zone(40, 100)]
    assert match(wanted, found) == [(1, 0)]


@pytest.mark.parametrize(("end_s", "pairs"), [(15.0, 0), (15.25, 1)])
def test_five_seconds_are_too_few(end_s, pairs):
    assert len(match([zone(10, 60)], [zone(0, end_s)])) == pairs


@FEW
@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_figures_are_shares(hits, missed, wrong):
    tally = Tally(hits + missed, hits + wrong, hits)
    for value in (tally.sensitivity, tally.precision, tally.f1):
        assert value is None or 0 <= value <= 1
    assert (tally.f1 == 1) == (hits > 0 and missed == wrong == 0)
    if hits:
        sensitivity, precision = tally.sensitivity, tally.precision
        mean = 2 * sensitivity * precision / (sensitivity + precision)
        assert tally.f1 == pytest.approx(mean)
