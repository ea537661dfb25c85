"""Never twice, and acknowledged means stored: random sensors, crashes and examinations.

The session and the store are real, and so is the file; what a crash leaves is a copy of it, taken
while the writer works. The promises are checked by reading it with plain sqlite3.
"""

import asyncio
import contextlib
import shutil
import sqlite3
import tempfile
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ctgkit.samples import Sample
from ctgkit.server.numbering import Turn, is_stream_id
from ctgkit.server.session import CloseExamination, OpenExamination, Session
from ctgkit.server.store.sqlite import open_store

BEDS = {"a": "one", "b": "one", "c": "two"}


class Server:
    """Session and store as the backend wires them, without sockets."""

    def __init__(self, path, grace_s):
        self.path, self._grace_s = path, grace_s
        self.now_s = 0.0
        self.forwarded = []

    async def start(self):
        self.forwarded.clear()  # a new server may forward again what the old one lost
        self._stack = AsyncExitStack()
        digests = dict.fromkeys(BEDS, bytes(32))
        self.store = await self._stack.enter_async_context(open_store(self.path, "normal", digests))
        recovered = self.store.recovered
        self.session = Session(BEDS, self._grace_s, recovered.last_examination_id)
        self.store.on_late = self.forwarded.extend
        self._writer = asyncio.get_running_loop().create_task(self.store.run())
        self._perform(self.session.recover(recovered.open_examinations, self.now_s))

    async def stop(self):
        self.store.stop()
        await self._writer
        await self._stack.aclose()

    async def crash(self, new_path):
        """Leave behind what is on the disk now; go on with a copy of it."""
        for suffix in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{self.path}{suffix}", f"{new_path}{suffix}")
        self._writer.cancel()
        await asyncio.wait([self._writer])
        await self._stack.aclose()
        self.path = new_path
        await self.start()

    def connect(self, sensor, stream):
        attendance, actions = self.session.connect(sensor, self.now_s, stream)
        self._perform(actions)
        return attendance

    def disconnect(self, attendance):
        self._perform(self.session.disconnect(attendance, self.now_s))

    def wait(self, dt_s):
        self.now_s += dt_s
        self._perform(self.session.expire(self.now_s))

    def take(self, attendance, sample, replies):
        match self.session.admit(attendance, sample.seq):
            case "question":
                self.store.ask(attendance, sample, replies)
            case "new":
                self.store.add_sample(attendance, sample)
                self.store.acknowledge(replies, sample.seq)
                if attendance.numbers.waiting:
                    attendance.numbers.waiting.append(Turn(sample, is_due=True))
                else:
                    self.forwarded.append(sample)

    def _perform(self, actions):
        for action in actions:
            match action:
                case OpenExamination(number, bed):
                    self.store.open_examination(number, bed)
                case CloseExamination(number, _, interrupted):
                    self.store.close_examination(number, interrupted=interrupted)


class Line:
    """One connection; its replies are on their way until they are read, or lost with it."""

    patient = False

    def __init__(self, attendance):
        self.attendance = attendance
        self.replies, self.sent, self.resent = [], [], []
        self._acked = -1

    def ack(self, seq):
        self._acked = max(self._acked, seq)
        self.replies.append(("ack", self._acked))

    def settle(self, sample, outcome):
        if outcome == "conflict":
            self.replies.append(("error", sample.seq))


class Process:
    """One run of a sensor's program: its numbers, and what isn't acknowledged."""

    def __init__(self, first, stream):
        self.next, self.stream = first, stream
        self.waiting = []
        """Samples to be sent again after a reconnect."""


class Numbering(RuleBasedStateMachine):
    """What sensors that follow PROTOCOL S-6, and some that don't quite, may do."""

    def __init__(self):
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self._runner = asyncio.Runner()
        self._paths = (Path(self._directory.name) / f"{n}.db" for n in range(10_000))
        self.server = None
        self.lines, self.processes = {}, {}
        self.made = 0
        self.must_be_stored = set()

    def run(self, coroutine):
        return self._runner.run(coroutine)

    def teardown(self):
        if self.server is not None:
            self.settle_all()
            self.run(self.server.stop())
            self.check()
        self._runner.close()
        self._directory.cleanup()

    # What may happen

    @precondition(lambda self: self.server is None)
    @rule(grace_s=st.sampled_from([0.0, 5.0]))
    def start(self, grace_s):
        self.server = Server(next(self._paths), grace_s)
        self.run(self.server.start())

    @precondition(lambda self: self.server)
    @rule(
        sensor=st.sampled_from(sorted(BEDS)),
        first=st.sampled_from([0, 0, 1, 5, 17, 100, 10**6]),
        named=st.booleans(),
    )
    def restart_program(self, sensor, first, named):
        """Begin to count anew, from anywhere; what the old run kept in memory is gone."""
        self.made += 1
        self.drop(sensor)
        self.processes[sensor] = Process(first, f"stream-{self.made}" if named else None)

    @precondition(lambda self: self.processes)
    @rule(data=st.data())
    def connect(self, data):
        """Connect, perhaps while the older connection is still open, and resend in order."""
        sensor = data.draw(st.sampled_from(sorted(self.processes)))
        process = self.processes[sensor]
        older = self.lines.pop(sensor, None)
        line = Line(self.server.connect(sensor, process.stream))
        if older is not None:
            self.server.disconnect(older.attendance)
        self.lines[sensor] = line
        line.resent = list(process.waiting)
        for sample in process.waiting:
            self.send_over(line, sample)

    @precondition(lambda self: self.lines)
    @rule(data=st.data(), count=st.integers(1, 5), gap=st.sampled_from([1, 1, 1, 3, 10]))
    def send(self, data, count, gap):
        """Send new samples, with or without gaps between their numbers."""
        sensor = data.draw(st.sampled_from(sorted(self.lines)))
        process = self.processes[sensor]
        for _ in range(count):
            sample = self.sample(sensor, process.next)
            process.next += gap
            process.waiting.append(sample)
            self.send_over(self.lines[sensor], sample)

    @precondition(lambda self: any(line.sent for line in self.lines.values()))
    @rule(data=st.data())
    def repeat_a_number(self, data):
        """Use a number of this connection for another sample: an error, and nothing stored.

        Without a stream's name a number that came over an earlier connection first is free.
        """
        sensor = data.draw(st.sampled_from(sorted(s for s in self.lines if self.lines[s].sent)))
        line = self.lines[sensor]
        earlier = data.draw(st.sampled_from(line.sent))
        sample = self.sample(sensor, earlier.seq)
        line.replies.clear()
        self.server.take(line.attendance, sample, line)
        self.commit()
        if self.processes[sensor].stream is None and earlier in line.resent:
            assert (("error", sample.seq) in line.replies) == (self.rows_of(sample) == 0)
        else:
            assert ("error", sample.seq) in line.replies
            assert self.rows_of(sample) == 0
        # What is acknowledged here was lost on its way: whoever reuses numbers can't tell errors
        # apart, so it comes back as after a lost connection.
        line.replies.clear()

    @precondition(lambda self: self.lines)
    @rule(data=st.data(), back=st.integers(1, 100))
    def send_a_late_number(self, data, back):
        """One out of order: stored once, or refused, never lost without a word."""
        sensor = data.draw(st.sampled_from(sorted(self.lines)))
        line = self.lines[sensor]
        seq = max(0, self.processes[sensor].next - back)
        if seq == self.processes[sensor].next:
            return
        sample = self.sample(sensor, seq)
        self.server.take(line.attendance, sample, line)
        before = len(line.replies)
        self.commit()
        if ("error", seq) in line.replies[before:]:
            assert self.rows_of(sample) == 0
        else:
            assert line.replies[-1][0] == "ack"
            self.must_be_stored.add(sample.sec_from_start)
        line.replies = [reply for reply in line.replies if reply != ("error", seq)]

    @precondition(lambda self: self.server)
    @rule()
    def commit(self):
        self.run(self.server.store.written())

    @precondition(lambda self: self.lines)
    @rule(data=st.data(), count=st.integers(1, 10))
    def hear(self, data, count):
        """Read replies; what they settle is not sent again."""
        sensor = data.draw(st.sampled_from(sorted(self.lines)))
        line, process = self.lines[sensor], self.processes[sensor]
        heard, line.replies = line.replies[:count], line.replies[count:]
        for kind, seq in heard:
            assert kind == "ack", "who follows PROTOCOL is never refused"
            gone = [s for s in process.waiting if s in line.sent and s.seq <= seq]
            self.must_be_stored.update(s.sec_from_start for s in gone)
            process.waiting = [s for s in process.waiting if s not in gone]

    @precondition(lambda self: self.lines)
    @rule(data=st.data())
    def lose_connection(self, data):
        self.drop(data.draw(st.sampled_from(sorted(self.lines))))

    @precondition(lambda self: self.server)
    @rule(dt_s=st.floats(0, 10))
    def wait(self, dt_s):
        self.server.wait(dt_s)

    @precondition(lambda self: self.server)
    @rule(committed=st.booleans())
    def crash(self, committed):
        """Lose the server, with or without what it has just got; every reply is lost."""
        if committed:
            self.commit()
        self.lines.clear()
        self.run(self.server.crash(next(self._paths)))

    @precondition(lambda self: self.server)
    @rule()
    def stop_and_start(self):
        for sensor in list(self.lines):
            self.drop(sensor)
        self.run(self.server.stop())
        self.run(self.server.start())

    # How

    def sample(self, sensor, seq):
        self.made += 1
        return Sample(sensor, float(self.made), 140.0, None, None, seq)

    def send_over(self, line, sample):
        line.sent.append(sample)
        self.server.take(line.attendance, sample, line)

    def drop(self, sensor):
        line = self.lines.pop(sensor, None)
        if line is not None:
            self.server.disconnect(line.attendance)

    def settle_all(self):
        """Let every sensor have its last samples acknowledged."""
        for sensor, process in self.processes.items():
            self.drop(sensor)
            line = Line(self.server.connect(sensor, process.stream))
            for sample in process.waiting:
                self.send_over(line, sample)
            self.commit()
            assert all(kind == "ack" for kind, _ in line.replies)
            self.must_be_stored.update(s.sec_from_start for s in process.waiting)

    def rows(self):
        with closing(sqlite3.connect(self.server.path)) as db:
            return [sec for (sec,) in db.execute("SELECT sec_from_start FROM ctg")]

    def rows_of(self, sample):
        return self.rows().count(sample.sec_from_start)

    @precondition(lambda self: self.server)
    @invariant()
    def check(self):
        """No sample is there twice, and whatever was acknowledged is there."""
        stored = self.rows()
        assert len(stored) == len(set(stored))
        assert self.must_be_stored <= set(stored)
        for sensor in BEDS:  # once, and in the order in which they were made
            forwarded = [s.sec_from_start for s in self.server.forwarded if s.sensor_id == sensor]
            assert forwarded == sorted(set(forwarded))


Numbering.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestNumbering = Numbering.TestCase


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("é", False),
        ("a\n", False),
        ("a/b", False),
    ],
)
def test_stream_ids(text, fits):
    """Short, and of characters that no log or terminal obeys."""
    assert is_stream_id(text) == fits
