"""Samples wait in the outbox until they are confirmed."""

from hypothesis import given
from hypothesis import strategies as st

from ctgkit.samples import Sample
from ctgkit.sensor.outbox import Outbox


def samples(first, count):
    return [Sample("id", float(n), 140.0, 10.0, 0.0, n) for n in range(first, first + count)]


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 8)),
        st.tuples(st.just("send"), st.integers(1, 8), st.integers(0, 8)),
        st.tuples(st.just("ack")),
        st.tuples(st.just("drop")),
    ),
    max_size=60,
)


@given(EVENTS)
def test_everything_arrives_in_order_whatever_is_dropped(events):
    """The union of what the peer receives is complete and ordered over drops and late acks."""
    outbox = Outbox(30)
    stored, produced, link = [], 0, []  # link: replies on their way back
    for event in [*events, ("drop",), ("send", 1000, 1000), ("ack",)]:
        match event:
            case ("put", wanted):
                count = min(wanted, outbox.room)
                outbox.put(samples(produced, count))
                produced += count
            case ("send", limit, arriving):
                taken, _ = outbox.take(limit)
                for sample in taken[:arriving]:
                    if not stored or sample.seq > stored[-1]:
                        stored.append(sample.seq)
                        assert sample.seq == len(stored) - 1, "a gap would be skipped for ever"
                if stored and arriving >= len(taken):
                    link.append(stored[-1])
                elif arriving < len(taken):  # lost on the way: so is the connection
                    link.clear()
                    outbox.rewind()
            case ("ack",):
                for seq in link:
                    outbox.ack(seq)
                link.clear()
            case ("drop",):
                link.clear()
                outbox.rewind()
        assert outbox.sent == outbox.acked + len(outbox) - unsent_of(outbox)
    assert stored == list(range(produced))
    assert outbox.acked == produced
    assert len(outbox) == 0


@given(st.sets(st.integers(0, 19)), st.integers(1, 8), st.integers(0, 3))
def test_what_is_refused_is_found_out(poison, limit, late):
    """A peer closes at certain samples, with some before them unanswered: only those are lost."""
    outbox = Outbox(20)
    outbox.put(samples(0, 20))
    stored, dropped = set(), []
    while len(outbox):
        outbox.rewind()
        alone = outbox.has_suspects
        taken = [s.seq for s in outbox.take(limit)[0]]
        assert len(taken) == 1 or not alone
        bad = next((n for n, seq in enumerate(taken) if seq in poison), len(taken))
        stored.update(taken[:bad])
        if bad == len(taken):
            outbox.ack(taken[-1])
        else:
            if bad > late:
                outbox.ack(taken[bad - late - 1])
            if (seq := outbox.refuse()) is not None:
                dropped.append(seq)
    assert set(dropped) == poison
    assert stored == set(range(20)) - poison
    assert outbox.rejected == len(poison)


def unsent_of(outbox):
    """Count the samples that were never taken."""
    return sum(s.seq > outbox._highest_sent for s in outbox._unsent)


def test_take_counts_new_and_repeated_samples():
    """After a drop the old samples come first and are counted as resent."""
    outbox = Outbox(10)
    outbox.put(samples(0, 3))
    assert outbox.take(2) == (samples(0, 2), 2)
    outbox.rewind()
    assert outbox.take(10) == (samples(0, 3), 1)
    assert (outbox.sent, outbox.resent) == (3, 2)


def test_an_ack_beyond_what_was_sent_settles_nothing_unsent():
    """A peer cannot make us drop what it never got."""
    outbox = Outbox(10)
    outbox.put(samples(0, 3))
    outbox.take(1)
    outbox.ack(99)
    assert (outbox.acked, len(outbox)) == (1, 2)


def test_an_ack_after_a_reconnect_spares_the_resend():
    """What the peer had committed before the drop isn't sent again."""
    outbox = Outbox(10)
    outbox.put(samples(0, 3))
    outbox.take(3)
    outbox.rewind()
    outbox.ack(1)
    assert outbox.take(9)[0] == samples(2, 1)


def test_a_rejected_sample_is_settled():
    """It is neither sent again nor waited for; an unknown one is only counted."""
    outbox = Outbox(10)
    outbox.put(samples(0, 3))
    outbox.take(3)
    outbox.reject(1)
    outbox.reject(None)
    outbox.reject(77)
    outbox.rewind()
    assert outbox.take(9)[0] == [*samples(0, 1), *samples(2, 1)]
    assert outbox.rejected == 3


def test_forget_sent_keeps_what_waits():
    """Towards a peer without acks sending is the end of it."""
    outbox = Outbox(10)
    outbox.put(samples(0, 3))
    outbox.take(2)
    outbox.forget_sent()
    assert (outbox.room, len(outbox)) == (9, 1)
