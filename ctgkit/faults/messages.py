"""Faults of messages: lost, repeated, late, in the wrong order, or altered.

This module performs no I/O.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from ctgkit.faults.fault import Message, MessageFault
from ctgkit.faults.members import as_time_s, with_member
from ctgkit.faults.parameters import number, word

NOBODY = "00000000-0000-4000-8000-000000000000"
"""A valid UUID that `ctgkit init` never gives to a sensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop(MessageFault):
    """The message is lost."""

    kind: ClassVar[str] = "drop"

    def apply(self, message: Message, u: float) -> list[Message]:
        """Return nothing."""
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate(MessageFault):
    """The message comes more than once."""

    kind: ClassVar[str] = "duplicate"
    copies: int = number("copies", "", 1, 100, 1, "How many more.", whole=True)

    def apply(self, message: Message, u: float) -> list[Message]:
        """Return it and its copies."""
        return [message] * (1 + self.copies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reorder(MessageFault):
    """The message comes after later ones."""

    kind: ClassVar[str] = "reorder"
    by: int = number("by", "", 1, 1000, 1, "After how many later messages.", whole=True)

    def apply(self, message: Message, u: float) -> list[Message]:
        """Return it, to go out later."""
        return [message._replace(late=message.late + self.by)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay(MessageFault):
    """The message comes late; those behind it don't wait for it."""

    kind: ClassVar[str] = "delay"
    by_s: float = number("by", "s", 0.001, 120, 2, "How much later, in data time.")
    jitter_s: float = number("jitter", "s", 0, 120, 0, "Up to this much more, at random.")

    def apply(self, message: Message, u: float) -> list[Message]:
        """Return it, to go out later."""
        return [message._replace(late_s=message.late_s + self.by_s + u * self.jitter_s)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrupt(MessageFault):
    """A number in the message is replaced by another one."""

    kind: ClassVar[str] = "corrupt"
    field: str = word("field", ("fhr", "uterus", "spasms", "time", "seq"), "fhr", "Which number.")
    value: float = number("value", "", -1e9, 1e9, 999, "What it becomes.")

    def apply(self, message: Message, u: float) -> list[Message]:
        """Return it with the number; as it came when it has no such member."""
        value = int(self.value) if self.value.is_integer() else self.value
        frame = with_member(message.frame, self.field, lambda _: value)
        return [message._replace(frame=frame)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate(MessageFault):
    """The message is cut off."""

    kind: ClassVar[str] = "truncate"
    keep: float = number("keep", "", 0, 1, 0.5, "Share of its bytes that is left.")

    def apply(self, message: Message, u: float) -> list[Message]:
        """Return its first part."""
        return [message._replace(frame=message.frame[: int(self.keep * len(message.frame))])]


def _other_type(value: Any) -> Any:
    """Return a number for a text, and a text for anything else."""
    return 0 if isinstance(value, str) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongType(MessageFault):
    """A number in the message becomes a text, or a text a number."""

    kind: ClassVar[str] = "wrong_type"
    field: str = word(
        "field", ("fhr", "uterus", "spasms", "time", "seq", "id"), "fhr", "Which member."
    )

    def apply(self, message: Message, u: float) -> list[Message]:
        """Return it with that member changed; as it came when it has no such member."""
        frame = with_member(message.frame, self.field, _other_type)
        return [message._replace(frame=frame)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleTime(MessageFault):
    """The message bears an earlier data time, at least 0."""

    kind: ClassVar[str] = "stale_time"
    by_s: float = number("by", "s", 0.001, 86400, 60, "How much earlier.")

    def apply(self, message: Message, u: float) -> list[Message]:
        """Return it with that time; as it came when it has none."""

        def earlier(time: Any) -> Any:
            time_s = as_time_s(time)
            return time if time_s is None else max(0.0, time_s - self.by_s)

        frame = with_member(message.frame, "time", earlier)
        return [message._replace(frame=frame)]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongId(MessageFault):
    """The message names another sensor."""

    kind: ClassVar[str] = "wrong_id"

    def apply(self, message: Message, u: float) -> list[Message]:
        """Return it with nobody's id; as it came when it names no sensor."""
        frame = with_member(message.frame, "id", lambda _: NOBODY)
        return [message._replace(frame=frame)]
