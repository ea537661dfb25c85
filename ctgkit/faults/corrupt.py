"""Numbers that are wrong."""

from dataclasses import dataclass
from typing import ClassVar

from ctgkit.faults.fault import Message, MessageFault
from ctgkit.faults.members import with_member
from ctgkit.faults.parameters import number, word


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
