"""Messages that are cut off."""

from dataclasses import dataclass
from typing import ClassVar

from ctgkit.faults.fault import Message, MessageFault
from ctgkit.faults.parameters import number


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate(MessageFault):
    """The message is cut off."""

    kind: ClassVar[str] = "truncate"
    keep: float = number("keep", "", 0, 1, 0.5, "Share of its bytes that is left.")

    def apply(self, message: Message, u: float) -> list[Message]:
        """Return its first part."""
        return [message._replace(frame=message.frame[: int(self.keep * len(message.frame))])]
