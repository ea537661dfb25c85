"""Somebody else's messages."""

from dataclasses import dataclass
from typing import ClassVar

from ctgkit.faults.fault import Message, MessageFault
from ctgkit.faults.members import with_member

NOBODY = "00000000-0000-4000-8000-000000000000"
"""A valid UUID that `ctgkit init` never gives to a sensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongId(MessageFault):
    """The message names another sensor."""

    kind: ClassVar[str] = "wrong_id"

    def apply(self, message: Message, u: float) -> list[Message]:
        """Return it with nobody's id; as it came when it names no sensor."""
        frame = with_member(message.frame, "id", lambda _: NOBODY)
        return [message._replace(frame=frame)]
