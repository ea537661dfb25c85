"""Every sample that is handed over is either answered or given up, once, whatever the order."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from ctgkit.samples import Sample
from ctgkit.server.owed import OWED_MAX, Owed, Share

IDS = st.sampled_from(["a", "b"])
SECONDS = st.sampled_from([0.0, 0.12, 0.24, 1e9, 100_000.1])
STEPS = st.lists(
    st.tuples(st.just("ask"), IDS, SECONDS)
    | st.tuples(st.just("answer"), IDS, SECONDS)
    | st.tuples(st.just("overdue"), st.integers(0, 60), st.none())
    | st.tuples(st.just("refuse"), st.none(), st.none())
)


@given(STEPS)
def test_it_agrees_with_a_plain_list(steps):
    """Against a list that is searched from the front."""
    owed, plain = Owed(), []
    for now_s, (step, one, two) in enumerate(steps):
        if step == "ask":
            sample = Sample(one, two, 140.0, 10.0, None, seq=now_s)
            assert owed.ask(sample, now_s) is None
            plain.append((now_s, sample))
        elif step == "answer":
            found = [p for p in plain if (p[1].sensor_id, p[1].sec_from_start) == (one, two)]
            assert owed.answer(one, two) == (found[0][0] if found else None)
            plain = [p for p in plain if p not in found[:1]]
        elif step == "overdue":
            assert owed.overdue(one) == [s for at_s, s in plain if at_s <= one]
            plain = [p for p in plain if p[0] > one]
        else:
            assert owed.refuse() == (plain.pop(0)[1] if plain else None)
        assert len(owed) == len(plain)
        assert owed.since_s == (plain[0][0] if plain else None)
        assert 0.0 <= owed.share(now_s) <= 1.0
    assert owed.give_up() == [sample for _, sample in plain]
    assert len(owed) == 0


def test_services_that_compute_in_single_precision():
    """The time of their answer isn't quite the one that was asked."""
    owed = Owed()
    owed.ask(Sample("a", 123456.789, None, None, None), 1.0)
    (rounded,) = struct.unpack("f", struct.pack("f", 123456.789))
    assert owed.answer("a", 1e300) is owed.answer("a", None) is None
    assert owed.answer("a", rounded) == 1.0


def test_there_is_a_most_that_is_owed():
    """The oldest one is given up early."""
    owed = Owed()
    early = [owed.ask(Sample("a", n / 4, None, None, None), n) for n in range(OWED_MAX + 2)]
    assert [s.sec_from_start for s in early if s] == [0.0, 0.25]
    assert len(owed) == OWED_MAX


def test_the_share_is_that_of_the_last_seconds():
    """It rises at once and falls when the window has passed."""
    share = Share()
    for tenth in range(100):
        share.asked(tenth / 10)
        if tenth % 4 == 0:
            share.unanswered(tenth / 10)
    assert share.value(9.9) == 0.25
    for tenth in range(100, 300):
        share.asked(tenth / 10)
    assert share.value(30.0) == 0.0
    assert share.value(1e6) == 0.0
