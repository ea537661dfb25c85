"""Messages that get lost."""

from dataclasses import dataclass
from typing import ClassVar

from ctgkit.faults.fault import Message, MessageFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop(MessageFault):
    """The message is lost."""

    kind: ClassVar[str] = "drop"

    def apply(self, message: Message, u: float) -> list[Message]:
        """Return nothing."""
        return []
