"""Who plays whom: recorded sensors, the credentials at hand, and what changes in their messages.

Messages are played byte for byte. Two things may be put in their place, and only where asked for
or unavoidable: the sensor's id, when the backend doesn't know the recorded one, and sequence
numbers, when the backend may have them already. This module performs no I/O.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ctgkit.config import SensorEntry

_SEQ = re.compile(rb'("seq"\s*:\s*)(\d{1,19})(?![\d.eE])')

SURE_CHARS = 16
"""Length from which on an id is replaced wherever it stands, as in a message that is no JSON."""


@dataclass(slots=True)
class Part:
    """One recorded sensor, and who plays it."""

    recorded_id: str
    entry: SensorEntry
    base_seq: int | None = None
    """Number that its first one becomes; None leaves the numbers as recorded."""
    _shift: int | None = field(default=None, init=False)

    def begin(self, base_seq: int | None) -> None:
        """Start another pass; from its first message on, numbers count from *base_seq*."""
        self.base_seq, self._shift = base_seq, None

    def text(self, frame: bytes) -> bytes:
        """Return a recorded message as it is to be sent."""
        if self.recorded_id and self.entry.id != self.recorded_id:
            # a short id may be part of other words: only the whole string is one then
            quote = "" if len(self.recorded_id) >= SURE_CHARS else '"'
            for old, new in (
                (self.recorded_id, self.entry.id),
                (self.recorded_id.upper(), self.entry.id.upper()),
            ):
                frame = frame.replace(
                    f"{quote}{old}{quote}".encode(), f"{quote}{new}{quote}".encode()
                )
        if self.base_seq is not None:
            frame = _SEQ.sub(self._renumbered, frame)
        return frame

    def _renumbered(self, found: re.Match[bytes]) -> bytes:
        seq = int(found[2])
        if self._shift is None:
            assert self.base_seq is not None
            self._shift = self.base_seq - seq
        return found[1] + b"%d" % max(0, seq + self._shift)


class Casting:
    """Gives each recorded sensor the credentials of a sensor that the backend knows.

    Parameters
    ----------
    known : sequence of SensorEntry
        The credentials at hand, in order.
    """

    def __init__(self, known: Sequence[SensorEntry]) -> None:
        self._known = {entry.id: entry for entry in known}
        self.parts: dict[str, Part] = {}
        """Recorded id -> who plays it."""

    def part(self, recorded_id: str) -> Part:
        """Return the part of a recorded sensor: itself if it is known, else the next free one.

        Raises
        ------
        LookupError
            When there are fewer credentials than recorded sensors.
        """
        recorded_id = recorded_id.lower()
        if recorded_id not in self.parts:
            taken = {part.entry.id for part in self.parts.values()}
            free = [entry for entry in self._known.values() if entry.id not in taken]
            if recorded_id in self._known and recorded_id not in taken:
                free = [self._known[recorded_id]]
            if not free:
                raise LookupError(recorded_id)
            self.parts[recorded_id] = Part(recorded_id, free[0])
        return self.parts[recorded_id]
