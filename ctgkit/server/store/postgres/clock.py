"""The database's clock as a node sees it. Pure: what was asked and answered comes in.

Each answer bounds the difference between the two clocks by its round trip. The bounds are narrowed
by each other, so a slow answer spoils nothing, and widened by what clocks may drift.
"""

from datetime import datetime, timedelta

DRIFT = 1e-4
"""How much two clocks may differ in pace. Chosen: five times what a crystal is specified for."""


class DatabaseClock:
    """Translates this process's monotonic time into the database's.

    >>> clock = DatabaseClock()
    >>> noon = datetime(2026, 1, 1, 12)
    >>> clock.heard(sent_s=100.0, received_s=100.002, said=noon)
    >>> clock.heard(sent_s=101.0, received_s=103.0, said=noon + timedelta(seconds=2))  # it was slow
    >>> clock.at(100.001) - noon < timedelta(microseconds=100)
    True
    """

    def __init__(self) -> None:
        self._origin: datetime | None = None
        self._low_s = self._high_s = self._heard_s = 0.0
        """What the database's clock, from its origin, is ahead of ours: at least and at most."""

    def heard(self, sent_s: float, received_s: float, said: datetime) -> None:
        """Take note of a time that the database said between two of ours."""
        if self._origin is None:
            self._origin, self._low_s, self._high_s = said, -received_s, -sent_s
        said_s = (said - self._origin).total_seconds()
        drift_s = (received_s - self._heard_s) * DRIFT
        self._low_s = max(self._low_s - drift_s, said_s - received_s)
        self._high_s = min(self._high_s + drift_s, said_s - sent_s)
        if self._low_s > self._high_s:  # one of the clocks was set, or it is another database
            self._low_s, self._high_s = said_s - received_s, said_s - sent_s
        self._heard_s = received_s

    def at(self, our_s: float) -> datetime | None:
        """Return what the database's clock showed at a time of ours; None while it isn't known."""
        if self._origin is None:
            return None
        return self._origin + timedelta(seconds=our_s + (self._low_s + self._high_s) / 2)
