"""Members of the wrong type."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ctgkit.faults.fault import Message, MessageFault
from ctgkit.faults.members import with_member
from ctgkit.faults.parameters import word


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
