"""What a peer may send that says nothing, and leave unread. This module performs no I/O."""

IDLE_FRAMES_MAX, IDLE_FRAMES_PER_S = 1_000, 100.0
"""Frames that say nothing which a peer may send at once, and per second in the long run. Chosen:
a ping per sample at 8.33 Hz is twelve times less, and a thousand cost 5 ms."""
MESSAGE_MIN_BYTES = 16
"""A data frame below this says nothing: the shortest message of the protocol is longer."""
FLOODER_CLOSES_S = 1.0
"""How long a peer that is closed for flooding may take to hang up, seconds."""
UNREAD_PONGS_MAX_BYTES = 1 << 20
"""Answers to pings that may wait for a peer to read them. Chosen: a ping per 20 s is usual."""


class Budget:
    """What is left of one connection's; times are monotonic, in seconds."""

    __slots__ = ("_at_s", "_left")

    def __init__(self) -> None:
        self._left, self._at_s = float(IDLE_FRAMES_MAX), 0.0

    def spend(self, frames: int, at_s: float) -> bool:
        """Take frames from it; return whether it is used up.

        >>> budget = Budget()
        >>> budget.spend(1_000, 0.0), budget.spend(1, 0.001), budget.spend(60, 1.0)
        (False, True, False)
        """
        since_s, self._at_s = at_s - self._at_s, at_s
        self._left = min(self._left + since_s * IDLE_FRAMES_PER_S, IDLE_FRAMES_MAX) - frames
        return self._left < 0
