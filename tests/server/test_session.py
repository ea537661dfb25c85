"""Examinations: transcripts of what happens and what is done, and the invariant behind them."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ctgkit.samples import Sample
from ctgkit.server.session import (
    CloseExamination,
    Displace,
    OpenExamination,
    Session,
)

BEDS = {"a": "one", "b": "one", "c": "two"}


def session(grace_s=0.0, **more):
    return Session(BEDS, grace_s, **more)


def test_the_first_sensor_opens_and_the_last_one_closes():
    """As specified: one examination per bed, from the first connect to the last disconnect."""
    s = session()
    a, done = s.connect("a", 0)
    assert done == [OpenExamination(1, "one")]
    b, done = s.connect("b", 1)
    assert done == []
    assert b.examination_id == a.examination_id == 1
    c, done = s.connect("c", 2)
    assert done == [OpenExamination(2, "two")]
    assert s.open_examinations() == {1: "one", 2: "two"}
    assert s.disconnect(a, 3) == []
    assert s.disconnect(b, 4) == [CloseExamination(1, "one")]
    assert s.disconnect(c, 4) == [CloseExamination(2, "two")]
    assert s.connect("a", 5)[1] == [OpenExamination(3, "one")]


def test_a_sensor_that_comes_back_displaces_itself():
    """A lost network isn't noticed at once: the new connection takes over, nothing closes."""
    s = session()
    old, _ = s.connect("a", 0)
    new, done = s.connect("a", 1)
    assert done == [Displace(old)]
    assert s.disconnect(old, 2) == []
    assert s.connected == {"a": new}
    assert s.disconnect(new, 3) == [CloseExamination(1, "one")]


def test_grace_keeps_it_open():
    """Within the grace period the examination goes on; after it, it closes."""
    s = session(grace_s=10)
    a, _ = s.connect("a", 0)
    assert s.disconnect(a, 5) == []
    assert s.expire(14.9) == []
    a, done = s.connect("a", 14.9)
    assert done == []
    assert a.examination_id == 1
    assert s.disconnect(a, 20) == []
    assert s.expire(30) == [CloseExamination(1, "one")]


def test_a_late_return_opens_a_new_one_even_before_anybody_looked():
    """Coming back after the grace period never joins the old examination."""
    s = session(grace_s=10)
    a, _ = s.connect("a", 0)
    s.disconnect(a, 0)
    assert s.connect("a", 10)[1] == [CloseExamination(1, "one"), OpenExamination(2, "one")]


def test_a_lost_sensor_is_waited_for():
    """S-5.3: for the handover, also when another one leaves by itself meanwhile."""
    s = session(handover_s=15)
    a, _ = s.connect("a", 0)
    b, _ = s.connect("b", 0)
    assert s.disconnect(a, 5, lost=True) == []
    assert s.disconnect(b, 6) == []
    assert s.expire(19.9) == []
    a, done = s.connect("a", 19.9)
    assert (done, a.examination_id) == ([], 1)
    assert s.disconnect(a, 20) == [CloseExamination(1, "one")]
    c, _ = s.connect("c", 20)
    assert s.disconnect(c, 21, lost=True) == []
    assert s.expire(36) == [CloseExamination(2, "two")]


def test_the_longer_of_grace_and_handover_counts():
    """Who is lost is waited for at least as long as who left."""
    s = session(grace_s=30, handover_s=15)
    a, _ = s.connect("a", 0)
    assert s.disconnect(a, 0, lost=True) == []
    assert s.expire(29.9) == []
    assert s.expire(30) == [CloseExamination(1, "one")]


def test_recovery_without_grace_interrupts():
    """After a crash, open examinations end at their last sample."""
    s = session(last_examination_id=7)
    assert s.recover([(6, "one", 1.0), (7, "two", 1.0)], 0) == [
        CloseExamination(6, "one", interrupted=True),
        CloseExamination(7, "two", interrupted=True),
    ]
    assert s.connect("a", 1)[1] == [OpenExamination(8, "one")]


def test_recovery_within_the_handover_resumes():
    """The sensors of the run that ended were lost: who comes first doesn't end it for the rest."""
    s = session(handover_s=15)
    assert s.recover([(7, "one", 5.0)], 100.0) == []
    a, done = s.connect("a", 103)
    assert (done, a.examination_id) == ([], 7)
    assert s.disconnect(a, 104) == []
    b, _ = s.connect("b", 105)
    assert b.examination_id == 7
    assert s.disconnect(b, 111) == [CloseExamination(7, "one")]


def test_recovery_within_grace_resumes():
    """Young ones wait for their sensors for what is left of the grace period."""
    s = session(grace_s=10, last_examination_id=3)
    done = s.recover([(1, "one", 5.0), (2, "one", 4.0), (3, "two", 11.0)], 100)
    assert done == [
        CloseExamination(1, "one", interrupted=True),
        CloseExamination(3, "two", interrupted=True),
    ]
    assert s.expire(105.9) == []
    assert s.connect("b", 105.9)[0].examination_id == 2
    other = session(grace_s=10, last_examination_id=3)
    other.recover([(2, "one", 4.0)], 100)
    assert other.expire(106.0) == [CloseExamination(2, "one", interrupted=True)]


def admissions(s, attendance, seqs):
    return [s.admit(attendance, seq) for seq in seqs]


def test_only_numbers_above_all_known_ones_are_certainly_new():
    """Of the others the store knows; so of all until it has said what it holds."""
    s = session(grace_s=10)
    a, _ = s.connect("a", 0)
    assert admissions(s, a, [5, 6]) == ["question"] * 2
    a.numbers.learn(100)
    assert admissions(s, a, [7, 100, 101, 103, 102, None]) == [
        "question", "question", "new", "new", "question", "new",
    ]  # fmt: skip
    a, _ = s.connect("a", 1)
    assert admissions(s, a, [103, 104]) == ["question", "new"]


def test_streams_are_told_apart_by_name():
    """A new name is unknown; a sensor without one has a stream of its own."""
    s = session(grace_s=10)
    first, _ = s.connect("a", 0, "x")
    first.numbers.learn(10)
    assert s.connect("a", 1, "x")[0].numbers is first.numbers
    unnamed, _ = s.connect("a", 2)
    assert unnamed.numbers is not first.numbers
    assert s.connect("a", 3, "x")[0].numbers is first.numbers
    assert s.connect("a", 4)[0].numbers is unnamed.numbers
    assert not s.connect("a", 5, "y")[0].numbers.known


def test_nothing_is_taken_from_a_connection_that_was_replaced():
    """Its sensor sends again over the later one what isn't acknowledged."""
    s = session()
    old, _ = s.connect("a", 0)
    new, _ = s.connect("a", 1)
    assert admissions(s, old, [1, None]) == ["stale", "stale"]
    assert s.admit(new, None) == "new"


class Ward(RuleBasedStateMachine):
    """Sensors come, go and come back; time passes."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.grace = 5.0
        self.session = session(self.grace)
        self.here = []
        self.open = {}
        self.used = set()
        self.empty_since = {}

    def apply(self, actions):
        for action in actions:
            match action:
                case OpenExamination(number, bed):
                    assert number not in self.used
                    assert bed not in self.open.values()
                    self.used.add(number)
                    self.open[number] = bed
                case CloseExamination(number, bed, interrupted):
                    assert not interrupted
                    assert self.open.pop(number) == bed
                case Displace(attendance):
                    assert attendance in self.here

    @rule(sensor=st.sampled_from(sorted(BEDS)))
    def connect(self, sensor):
        attendance, actions = self.session.connect(sensor, self.now)
        self.apply(actions)
        assert self.open[attendance.examination_id] == BEDS[sensor]
        self.here.append(attendance)
        self.empty_since.pop(BEDS[sensor], None)

    @precondition(lambda self: self.here)
    @rule(data=st.data())
    def disconnect(self, data):
        attendance = self.here.pop(data.draw(st.integers(0, len(self.here) - 1)))
        before = self.session.connected.get(attendance.sensor_id)
        self.apply(self.session.disconnect(attendance, self.now))
        bed = BEDS[attendance.sensor_id]
        if before is attendance and not any(BEDS[s] == bed for s in self.session.connected):
            self.empty_since[bed] = self.now

    @rule(dt=st.floats(0, 10))
    def wait(self, dt):
        self.now += dt
        self.apply(self.session.expire(self.now))

    @invariant()
    def open_exactly_while_attended_or_in_grace(self):
        """An examination is open exactly while a sensor is connected, or within its grace."""
        attended = {BEDS[s] for s in self.session.connected}
        waiting = {b for b, t in self.empty_since.items() if self.now < t + self.grace}
        assert set(self.open.values()) == attended | waiting
        assert self.session.open_examinations() == self.open


Ward.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestWard = Ward.TestCase


def test_what_waited_for_an_answer_is_forwarded_in_order():
    """Once the store has said what it holds, all above it are due; the others stay questions."""
    numbers = session().connect("a", 0)[0].numbers
    samples = [Sample("a", n / 4, 140.0, 10.0, 0.0, seq) for n, seq in enumerate((5, 12, 11, 13))]
    turns = [numbers.ask(sample) for sample in samples]
    assert numbers.learn(10) == []
    assert [turn.is_due for turn in turns] == [False, True, False, True]
    assert numbers.decide(turns[0], is_new=False) == samples[1:2]
    assert numbers.decide(turns[2], is_new=True) == samples[2:]
