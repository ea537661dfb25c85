"""Messages that come twice."""

from dataclasses import dataclass
from typing import ClassVar

from ctgkit.faults.fault import Message, MessageFault
from ctgkit.faults.parameters import number


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate(MessageFault):
    """The message comes more than once."""

    kind: ClassVar[str] = "duplicate"
    copies: int = number("copies", "", 1, 100, 1, "How many more.", whole=True)

    def apply(self, message: Message, u: float) -> list[Message]:
        """Return it and its copies."""
        return [message] * (1 + self.copies)
