"""Messages that come late."""

from dataclasses import dataclass
from typing import ClassVar

from ctgkit.faults.fault import Message, MessageFault
from ctgkit.faults.parameters import number


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay(MessageFault):
    """The message comes late; those behind it don't wait for it."""

    kind: ClassVar[str] = "delay"
    by_s: float = number("by", "s", 0.001, 120, 2, "How much later, in data time.")
    jitter_s: float = number("jitter", "s", 0, 120, 0, "And up to so much more, at random.")

    def apply(self, message: Message, u: float) -> list[Message]:
        """Return it, to go out later."""
        return [message._replace(late_s=message.late_s + self.by_s + u * self.jitter_s)]
