"""What a line does is a function of seed, party, fault and message, and of nothing else."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from ctgkit.faults.fault import Message
from ctgkit.faults.ledger import Ledger
from ctgkit.faults.line import HELD_MAX, Line
from ctgkit.faults.schedule import Schedule, When
from ctgkit.faults.schema import KINDS, parse_fault
from ctgkit.samples import Sample
from ctgkit.wire import encode_sample

whens = st.builds(
    When,
    at_s=st.none() | st.floats(0, 30),
    from_s=st.floats(0, 20),
    to_s=st.none() | st.floats(20, 40),
    rate=st.floats(0, 1),
)
faults = st.lists(
    st.builds(lambda kind, when: KINDS[kind](when=when), st.sampled_from(list(KINDS)), whens),
    max_size=5,
    unique_by=repr,
)
seeds = st.integers(0, 2**32)
COUNT = 60


def message(n):
    sample = Sample("0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d00", n / 4, 140.0, 10.0, 0.0, n)
    return Message(n, n / 4, encode_sample(sample))


def run(chosen, seed, count):
    """Return what left the line for each message, and all that was done."""
    line = Line(chosen, seed=seed, party="a")
    passed = [line.take(message(n)) for n in range(count)]
    return passed, [deed for p in passed for deed in p.deeds]


@settings(max_examples=40)
@given(faults, seeds, st.integers(1, 60), st.integers(1, 60))
def test_a_longer_run_begins_with_the_shorter_one(chosen, seed, short, more):
    """Nothing looks ahead."""
    assert run(chosen, seed, short + more)[0][:short] == run(chosen, seed, short)[0]


@settings(max_examples=40)
@given(faults, seeds, st.data())
def test_switching_faults_off_leaves_the_others_alone(chosen, seed, data):
    """To messages that the others don't strike the same happens as before."""
    off = [f for f in chosen if data.draw(st.booleans())]
    on = [f for f in chosen if f not in off]
    struck = {deed.n for fault in off for deed in run([fault], seed, COUNT)[1]}
    with_all, with_rest = run(chosen, seed, COUNT)[0], run(on, seed, COUNT)[0]
    for n in set(range(COUNT)) - struck:
        assert with_all[n].intact == with_rest[n].intact
        assert with_all[n].impairment == with_rest[n].impairment
        assert [d.fault for d in with_all[n].deeds] == [d.fault for d in with_rest[n].deeds]


@settings(max_examples=40)
@given(whens, seeds, st.floats(0, 1))
def test_a_higher_rate_adds_strikes_and_removes_none(when, seed, higher):
    when = replace(when, at_s=None)
    more = replace(when, rate=max(when.rate, higher))
    few, many = ({d.n for d in run([KINDS["drop"](when=w)], seed, COUNT)[1]} for w in (when, more))
    assert few <= many


@settings(max_examples=40)
@given(faults, seeds, st.lists(st.integers(0, COUNT), max_size=6))
def test_what_is_sent_again_meets_the_same_message_faults(chosen, seed, cuts):
    """After reconnects: each message is altered as before, nothing breaks or is told twice."""
    passed, deeds = run(chosen, seed, COUNT)
    line, told, n = Line(chosen, seed=seed, party="a"), [], 0
    for cut in [*sorted(cuts), COUNT]:
        while n < cut:
            again = line.take(message(n))
            told += again.deeds
            assert again.intact == passed[n].intact
            n += 1
        n = max(0, cut - 7) if cut < COUNT else n
    assert told == deeds


def test_what_was_dropped_did_not_arrive_intact():
    """Only those: a sensor takes back what it believes to have sent."""
    passed, deeds = run([parse_fault("drop:rate=0.3")], 1, COUNT)
    dropped = {deed.n for deed in deeds}
    assert 0 < len(dropped) < COUNT
    assert {n for n in range(COUNT) if not passed[n].intact} == dropped


def test_parties_and_seeds_differ():
    """Two sensors of a run, and two runs, have other luck."""
    drop = parse_fault("drop:rate=0.5")
    struck = set()
    for seed, party in ((1, "a"), (1, "b"), (2, "a")):
        line = Line([drop], seed=seed, party=party)
        struck.add(tuple(line.take(message(n)).intact for n in range(64)))
    assert len(struck) == 3


def test_rates_are_shares():
    """A thousand messages at 0.1: 100, give or take four standard deviations."""
    assert 62 <= len(run([parse_fault("drop:rate=0.1")], 3, 1000)[1]) <= 138


def test_late_messages_go_out_after_what_they_wait_for():
    """By number, and by data time; what is left at the end is flushed."""

    def order(text, count=8):
        line = Line([parse_fault(text)], seed=1, party="a")
        now = [m.n for n in range(count) for m in line.take(message(n)).messages]
        return now, [m.n for m in line.flush()]

    assert order("reorder:by=2,at=0.25") == ([0, 2, 3, 1, 4, 5, 6, 7], [])
    assert order("delay:by=0.6,at=0.25") == ([0, 2, 3, 4, 1, 5, 6, 7], [])
    assert order("reorder:by=3,from=1.5", 8) == ([0, 1, 2, 3, 4, 5], [6, 7])


def test_few_messages_wait():
    """With more than that many the oldest goes out."""
    line = Line([parse_fault("delay:by=120")], seed=1, party="a")
    sent = [len(line.take(message(n)._replace(t_s=0.0)).messages) for n in range(HELD_MAX + 2)]
    assert (sum(sent), sent[-2:], len(line.flush())) == (2, [1, 1], HELD_MAX)


def test_faults_work_on_one_another_in_order():
    """Copies are cut; what is dropped isn't copied."""
    line = Line([parse_fault("duplicate:copies=2"), parse_fault("truncate")], seed=1, party="a")
    assert [len(m.frame) for m in line.take(message(0)).messages] == [
        len(message(0).frame) // 2
    ] * 3
    dropped = Line([parse_fault("drop"), parse_fault("duplicate")], seed=1, party="a")
    passed = dropped.take(message(0))
    assert (passed.messages, [d.fault for d in passed.deeds]) == ([], ["drop"])


def test_the_ledger_joins_strikes_in_a_row():
    """Three drops in a row and a single one are two events."""
    ledger = Ledger()
    for text in ("drop:from=1,to=1.75", "drop:at=5"):
        for deed in run([parse_fault(text)], 1, 40)[1]:
            ledger.note(deed)
    assert [(e.kind, e.subtype, e.onset_s, e.end_s) for e in ledger.events()] == [
        ("fault", "drop", 1.0, 1.5), ("fault", "drop", 5.0, 5.0),
    ]  # fmt: skip
    assert ledger.events()[0].details == {"first_message": 4, "last_message": 6}


def test_a_fault_of_the_other_direction_does_nothing():
    """The line from the backend passes what only the sensor's line spoils, and the reverse."""
    drops = [parse_fault(f"drop:direction={direction}") for direction in ("up", "down", "both")]
    for direction, struck in (("up", [0, 1, 0]), ("down", [1, 0, 0])):
        lines = [Line([drop], seed=1, party="a", direction=direction) for drop in drops]
        assert [len(line.take(message(0)).messages) for line in lines] == struck


def test_equal_faults_strike_apart():
    """Two of the same kind and rate draw from streams of their own."""
    halves = [parse_fault("drop:rate=0.5")] * 2
    struck = [{d.n for d in run(halves[:count], 1, COUNT)[1]} for count in (1, 2)]
    assert struck[0] < struck[1]


@given(seeds, st.integers(1, 30))
def test_connections_are_numbered_from_0_whatever_was_sent(seed, count):
    """Which of them a rate strikes is its schedule's business, and doesn't depend on messages."""
    when = When(rate=0.5)
    line = Line([KINDS["handshake_failure"](when=when)], seed=seed, party="a")
    name = f"{KINDS['handshake_failure'](when=when)!r}".replace("rate=0.5", "")
    schedule = Schedule(when, seed, f"a/up/{name}/1")
    refused = []
    for n in range(count):
        line.take(message(n))
        impairment, deeds = line.open(n / 4)
        assert [deed.n for deed in deeds] == [n] * impairment.refuses
        refused.append(impairment.refuses)
    assert refused == [schedule.strikes(n, n / 4) is not None for n in range(count)]
