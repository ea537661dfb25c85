"""What a viewer has seen, and how to tell it to whoever waited for something else.

This module performs no I/O and reads no clock.
"""

import json
from collections import Counter
from typing import Any, NamedTuple

from ctgkit.errors import WireError
from ctgkit.wire import decode_result_head

KEPT_MAX = 100_000
"""Messages that are kept; older ones are forgotten and counted. Chosen: seven hours at 4 Hz."""
SHOWN = 5
"""Messages that a report shows."""
SHOWN_MAX_CHARS = 240
"""Longest piece of one of them."""


class Message(NamedTuple):
    """One message, and what it is about."""

    at_s: float
    """When it came, seconds of the caller's clock."""
    content: Any
    """Decoded JSON; the text itself where it is none."""
    sensor_id: str | None
    """Lower case; None where it names no sensor."""
    status: str | None

    @classmethod
    def of(cls, at_s: float, text: str | bytes) -> "Message":
        """Read a message as it came."""
        try:
            content = json.loads(text)
        except ValueError:
            content = text
        try:
            head = decode_result_head(text)
        except WireError:
            return cls(at_s, content, None, None)
        return cls(at_s, content, head.sensor_id.lower(), head.status)


class Seen:
    """The messages of one viewer, oldest first.

    Parameters
    ----------
    since_s : float
        Now, seconds of the caller's clock.
    """

    def __init__(self, since_s: float) -> None:
        self._since_s, self._since = since_s, "the viewer connected"
        self._messages: list[Message] = []
        self._began = self._gone = 0
        self.total = 0
        """How many there ever were."""

    @property
    def contents(self) -> list[Any]:
        """The messages since the last :meth:`forget`, oldest first."""
        return [message.content for message in self._messages.copy()]

    def after(self, position: int) -> list[Any]:
        """Return the messages that follow the first *position* of all there ever were."""
        return [message.content for message in self._messages[max(0, position - self._gone) :]]

    def add(self, message: Message) -> None:
        """Keep one more."""
        self._messages.append(message)
        self.total += 1
        if len(self._messages) > KEPT_MAX:
            self._drop(KEPT_MAX // 10)

    def forget(self, now_s: float) -> None:
        """Begin anew."""
        self._drop(len(self._messages))
        self._began = self.total
        self._since_s, self._since = now_s, "forget() was called"

    def _drop(self, count: int) -> None:
        del self._messages[:count]
        self._gone += count

    def report(self, now_s: float) -> str:
        """Say how many messages came, since when, about what, and show the last ones."""
        since = f"since {self._since} {now_s - self._since_s:.1f} s ago"
        came = self.total - self._began
        if not came:
            return f"no message came {since}"
        last = self._messages[-SHOWN:]
        lines = [
            f"{came} message{'s' * (came > 1)} came {since}, the last one"
            f" {now_s - last[-1].at_s:.1f} s ago",
            f"status: {self._counted('status')}; sensors: {self._counted('sensor_id')}",
            f"the last {len(last)}:" if len(last) > 1 else "it was:",
        ]
        return "\n".join([*lines, *(f"  {shown(message.content)}" for message in last)])

    def _counted(self, what: str) -> str:
        counts = Counter(str(getattr(message, what) or "none") for message in self._messages)
        return ", ".join(f"{count} x {value}" for value, count in counts.most_common(SHOWN))


def shown(content: Any) -> str:
    """Return the start of a message, as compact JSON."""
    text = json.dumps(content, default=repr, ensure_ascii=False)
    return text if len(text) <= SHOWN_MAX_CHARS else text[: SHOWN_MAX_CHARS - 1] + "…"
