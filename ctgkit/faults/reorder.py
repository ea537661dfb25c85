"""Messages out of order."""

from dataclasses import dataclass
from typing import ClassVar

from ctgkit.faults.fault import Message, MessageFault
from ctgkit.faults.parameters import number


@dataclass(frozen=True, slots=True, kw_only=True)
class Reorder(MessageFault):
    """The message comes after later ones."""

    kind: ClassVar[str] = "reorder"
    by: int = number("by", "", 1, 1000, 1, "After how many later messages.", whole=True)

    def apply(self, message: Message, u: float) -> list[Message]:
        """Return it, to go out later."""
        return [message._replace(late=message.late + self.by)]
