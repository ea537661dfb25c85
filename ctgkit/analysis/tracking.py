"""Events that keep their name while more becomes known about them.

Pure. Every 30 s the last minutes are looked at again; what is found is matched with what was
found before. An event is *provisional* at first, *confirmed* 120 s after its end, and *final*
some time later: a final one never changes, and nothing new appears beside it.
"""

import math
from collections.abc import Sequence

import msgspec

from ctgkit.events import Event, Tier

CONFIRMED_AFTER_S = 120.0
"""How long after its end an event is confirmed, seconds (notes/analysis.md 0.3)."""

OVERLAP_S = 5.0
"""Two findings are the same event when they share more than this (FHRMA's rule)."""

OPEN_S = 5.0
"""An event that ends this near to the last sample goes on, whatever the lag (chosen)."""

DISCOVERY_S = 90.0
"""An event may come up this much after it would be final, seconds, in one of three looks: the
baseline beside it may settle only then. Later it is left out."""


class Tracker:
    """The events of one kind of one sensor.

    Parameters
    ----------
    prefix : str
        Start of the ids.
    final_after_s : float
        How long after its end an event is final, seconds.
    keep_s : float
        How long after its end an event is remembered, seconds.
    """

    def __init__(self, prefix: str, final_after_s: float, keep_s: float) -> None:
        self.events: list[Event] = []
        """By onset; final ones first."""
        self._prefix, self._final_after_s, self._keep_s = prefix, final_after_s, keep_s
        self._named = 0
        self._settled_until_s = -math.inf

    def since_s(self, now_s: float) -> float:
        """Return the data time before which nothing changes any more, seconds."""
        return now_s - self._final_after_s - DISCOVERY_S

    def update(self, found: Sequence[Event], now_s: float) -> None:
        """Take what was found in the window that ends *now_s*, by onset."""
        self.events = [e for e in self.events if e.end_s >= now_s - self._keep_s]
        settled = [e for e in self.events if e.tier == "final"]
        open_events = [e for e in self.events if e.tier != "final"]
        fresh = [
            e
            for e in found
            if e.end_s > self.since_s(now_s) and not self.is_settled(e.onset_s, e.end_s)
        ]
        for event in fresh:
            before = max(open_events, key=lambda o: _overlap_s(event, o), default=None)
            if before is not None and _overlap_s(event, before) > OVERLAP_S:
                open_events.remove(before)
                name = before.id
            else:
                self._named += 1
                name = f"{self._prefix}-{self._named}"
            tier = self._tier(now_s - event.end_s)
            if tier == "final":
                self._settled_until_s = max(self._settled_until_s, event.end_s)
            settled.append(msgspec.structs.replace(event, id=name, tier=tier))
        self.events = sorted(settled, key=lambda e: e.onset_s)

    def is_settled(self, onset_s: float, end_s: float) -> bool:
        """Whether what is between these times is final already."""
        if onset_s > self._settled_until_s - OVERLAP_S:
            return False
        return any(
            e.tier == "final" and min(e.end_s, end_s) - max(e.onset_s, onset_s) > OVERLAP_S
            for e in reversed(self.events)
        )

    def unmoved(self, onset_s: float, end_s: float) -> Event | None:
        """Return the confirmed event between exactly these times: it is described already."""
        for e in reversed(self.events):
            if e.onset_s == onset_s and e.end_s == end_s and e.tier == "confirmed":
                return e
        return None

    def settle(self) -> None:
        """Make everything final: no more samples will come."""
        self.events = [msgspec.structs.replace(e, tier="final") for e in self.events]

    def _tier(self, age_s: float) -> Tier:
        if age_s <= OPEN_S:
            return "provisional"
        if age_s >= self._final_after_s:
            return "final"
        return "confirmed" if age_s >= CONFIRMED_AFTER_S else "provisional"


def _overlap_s(a: Event, b: Event) -> float:
    return min(a.end_s, b.end_s) - max(a.onset_s, b.onset_s)
