"""Which numbers of a sensor are certainly new, and which only the database can tell (PROTOCOL S-6).

This module performs no I/O. A number above every number that a stream ever used is certainly new:
it is stored and forwarded at once. Any other number is a *question*: the store looks it up in the
transaction that would store it, and answers ``new``, ``again`` or ``conflict``. So what is stored
is known from the database alone; :class:`Numbers` only saves the question where the answer is
certain.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ctgkit.samples import Sample

Outcome = Literal["new", "again", "conflict", "stale"]
"""What the store says of a question. ``new``: it is stored now. ``again``: the same sample was
stored before. ``conflict``: the number belongs to another sample; it is not stored. ``stale``:
another node has the sensor by now."""

Admission = Literal["new", "question", "stale"]

STREAM_MAX_CHARS = 64
"""Longest stream id; a UUID has 36. Chosen."""


def is_stream_id(text: str) -> bool:
    """Return whether *text* may be a stream id.

    >>> is_stream_id("2f1c9a3e-58d7-4f0b-9d57-0f2a6c9b1d00"), is_stream_id("a b"), is_stream_id("")
    (True, False, False)
    """
    allowed = text.isascii() and text.replace("-", "").replace("_", "").replace(".", "").isalnum()
    return allowed and len(text) <= STREAM_MAX_CHARS


@dataclass(slots=True, eq=False)
class Turn:
    """A sample's place in the order in which a stream's samples are forwarded."""

    sample: Sample
    is_due: bool = False
    """Whether it is known to be new, so forwarded once those before it are decided."""


@dataclass(slots=True, eq=False)
class Numbers:
    """What is known of a stream's numbers, and its samples that wait to be forwarded.

    Samples are forwarded as they came. One that is certainly new is forwarded at once, unless a
    question came before it: then it waits for the answer.
    """

    largest: int = -1
    """Largest of those accepted in this run and, when `known`, of those that are stored."""
    known: bool = False
    """Whether the store has said what it holds."""
    waiting: deque[Turn] = field(default_factory=deque)
    """In the order of arrival; empty while nothing is asked."""

    def is_new(self, seq: int) -> bool:
        """Take note of a number; return whether it is certainly new."""
        new = self.known and seq > self.largest
        self.largest = max(self.largest, seq)
        return new

    def are_new(self, samples: Sequence[Sample]) -> bool:
        """Take note of several numbers if all are certainly new, and each above the one before.

        Return False, and take note of none, otherwise, and while a sample waits for its answer.
        """
        largest = self.largest
        if not self.known or self.waiting:
            return False
        for sample in samples:
            seq = sample.seq
            if seq is None or seq <= largest:
                return False
            largest = seq
        self.largest = largest
        return True

    def ask(self, sample: Sample) -> Turn:
        """Let a sample of which the store has to decide wait."""
        turn = Turn(sample)
        self.waiting.append(turn)
        return turn

    def decide(self, turn: Turn, *, is_new: bool) -> list[Sample]:
        """Take note of an answer; return what can be forwarded now."""
        if not turn.is_due:  # else it may be gone
            turn.is_due = is_new
            if not is_new:
                self.waiting.remove(turn)
        return self._due()

    def learn(self, stored: int) -> list[Sample]:
        """Take note of the largest number that the store holds; return what can be forwarded."""
        largest = stored
        for turn in self.waiting:
            seq = turn.sample.seq
            if seq is not None and seq > largest:
                turn.is_due, largest = True, seq
        self.largest = max(self.largest, stored)
        self.known = True
        return self._due()

    def _due(self) -> list[Sample]:
        due = []
        while self.waiting and self.waiting[0].is_due:
            due.append(self.waiting.popleft().sample)
        return due


@dataclass(slots=True, eq=False)
class Attendance:
    """One connection of one sensor, for as long as it lasts: where its samples belong."""

    sensor_id: str
    examination_id: int
    stream: str | None = None
    """What the sensor calls its stream; None when it doesn't say."""
    numbers: Numbers = field(default_factory=Numbers)
    stream_key: int | None = None
    """The stream's key in the database, once a numbered sample of it was committed."""
    displaced: bool = False
    """Whether a later connection of the sensor took over: nothing more is taken from this one."""
    stale: bool = False
    """Whether another node has the sensor: what it sent was not stored, nothing is acknowledged."""
    bed: str = ""
    """Where the sensor was when it came; the roster may say otherwise by now."""
    epoch: int = 0
    """Among nodes: the number of this claim; the sensor's largest one is valid."""
    sensor_key: int = 0
    """Among nodes: the sensor's key in the database."""
    was_elsewhere: bool = False
    """Among nodes: whether another one may have had the sensor since it was here."""

    def admit(self, seq: int | None) -> Admission:
        """Say what to do with a sample.

        Returns
        -------
        {"new", "question", "stale"}
            ``new``: store and forward it. ``question``: the store has to look whether it is there
            (PROTOCOL S-6.5). ``stale``: nothing more is taken from a connection that was replaced.
        """
        if self.displaced:
            return "stale"
        return "new" if seq is None or self.numbers.is_new(seq) else "question"

    def admit_all(self, samples: Sequence[Sample]) -> bool:
        """Return whether all of several samples are ``new``; if not, none was taken note of.

        Those without numbers are, unless one that came before them waits.
        """
        if self.displaced:
            return False
        if samples[0].seq is not None:
            return self.numbers.are_new(samples)
        return not self.numbers.waiting and all(sample.seq is None for sample in samples)
