"""What a fault is: frozen settings, a schedule, and one pure function.

A message fault turns one message into none, one or several (:meth:`MessageFault.apply`); a network
fault says what happens to the connection (:meth:`NetworkFault.impair`). Neither does anything
itself: :class:`ctgkit.faults.line.Line` asks them, a shell carries it out. This module performs no
I/O.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

from ctgkit.faults.parameters import word
from ctgkit.faults.schedule import When

Direction = Literal["up", "down", "both"]


class Message(NamedTuple):
    """A message on its way."""

    n: int
    """Its number among those that its party sent in this direction, from 0."""
    t_s: float
    """Data time, seconds; of one without, the last one known of its party."""
    frame: bytes
    is_text: bool = True
    late: int = 0
    """It goes out after so many later messages …"""
    late_s: float = 0.0
    """… and after one that is so many seconds of data time later."""


class Impairment(NamedTuple):
    """What a network does to a connection; as it stands, nothing."""

    hold_s: float = 0.0
    """What is written now arrives so much later, seconds."""
    bytes_per_s: float = math.inf
    breaks: Literal["", "reset", "half_open", "partition"] = ""
    """What happens to the connection before the message is written."""
    break_s: float = 0.0
    """How long, seconds."""
    refuses: bool = False
    """The opening handshake is cut off."""
    close_hold_s: float = 0.0
    """The closing handshake is held back so long, seconds."""

    def joined(self, other: "Impairment") -> "Impairment":
        """Return both at once; of two breaks the later one counts, for the longer time."""
        return Impairment(
            self.hold_s + other.hold_s,
            min(self.bytes_per_s, other.bytes_per_s),
            other.breaks or self.breaks,
            max(self.break_s, other.break_s),
            self.refuses or other.refuses,
            self.close_hold_s + other.close_hold_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What all faults have in common."""

    kind: ClassVar[str]
    """Its name on the command line, in scenarios and in reports."""
    when: When = field(default_factory=When)
    direction: str = word(
        "direction",
        ("up", "down", "both"),
        "up",
        "Whose messages: of the party that connects (up), of the one that listens (down).",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFault(Fault):
    """A fault of what is said."""

    def apply(self, message: Message, u: float) -> list[Message]:
        """Return what becomes of a message.

        Parameters
        ----------
        message : Message
            As it came, or as faults before this one made it.
        u : float
            A uniform random number in [0, 1), if this fault needs one.

        Returns
        -------
        list of Message
            None: it is lost. The same one: this fault has nothing to do with such a message.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFault(Fault):
    """A fault of the connection. Its durations are seconds of the clock."""

    opens: ClassVar[bool] = False
    """Whether it strikes connections when they are opened, rather than messages."""

    def impair(self, u: float) -> Impairment:
        """Return what happens to the connection; *u* is a uniform random number in [0, 1)."""
        raise NotImplementedError
