"""Which numbers of a sensor are certainly new, and which only the database can tell (PROTOCOL S-6).

This module performs no I/O. A number above every number that a stream ever used is certainly new:
it is stored and forwarded at once. Any other number is a *question*: the store looks it up in the
transaction that would store it, and answers ``new``, ``again`` or ``conflict``. So what is stored
is known from the database alone; :class:`Numbers` only saves the question where the answer is
certain.
"""

from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["new", "again", "conflict"]
"""What the store says of a question. ``new``: it is stored now. ``again``: the same sample was
stored before. ``conflict``: the number belongs to another sample; it is not stored."""

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
class Numbers:
    """The largest number that a stream used, as far as it is known."""

    largest: int = -1
    """Largest of those accepted in this run and, when `known`, of those that are stored."""
    known: bool = False
    """Whether the store has said what it holds."""

    def is_new(self, seq: int) -> bool:
        """Take note of a number; return whether it is certainly new."""
        new = self.known and seq > self.largest
        self.largest = max(self.largest, seq)
        return new

    def learn(self, stored: int) -> None:
        """Take note of the largest number that the store holds."""
        self.largest = max(self.largest, stored)
        self.known = True


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
