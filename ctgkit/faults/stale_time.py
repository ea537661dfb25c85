"""Clocks that are behind."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ctgkit.faults.fault import Message, MessageFault
from ctgkit.faults.members import as_time_s, with_member
from ctgkit.faults.parameters import number


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
