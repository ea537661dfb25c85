"""What a user says about a file, and what reading it found out.

This module performs no I/O.
"""

from dataclasses import dataclass, field
from typing import Final

MAX_MB: Final = 1024
"""Most that a file may unpack to, and a recording may take in memory, MiB. Chosen: two months of
one sensor at 4 Hz; more is more likely a decompression bomb."""


class Implausible(ValueError):
    """The values cannot be what they are taken for; ``--accept-implausible`` reads them anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How to read a file whose names and times don't say enough. All are optional."""

    fhr: str = ""
    """Name or number (from 1) of the column or signal with the heart rate."""
    toco: str = ""
    time: str = ""
    rate_hz: float | None = None
    """Samples per second; the file's own times are then not used. Not for EDF, WFDB, FHRMA."""
    fetus: int = 0
    """Read only this one of several heart rates, from 1; 0 reads all."""
    exam: int = 0
    """Read only this examination of a database; 0 reads all."""
    separator: str = ""
    """Between columns of text; found by itself when empty."""
    encoding: str = ""
    """Of text; found by itself when empty."""
    no_header: bool = False
    """The first line holds numbers: columns are numbered."""
    accept_implausible: bool = False
    skip_bad: bool = False
    """In the native format: go on after lines that cannot be read."""
    max_mb: int = MAX_MB

    @property
    def max_bytes(self) -> int:
        """Most bytes that a file may unpack to."""
        return self.max_mb << 20

    @property
    def chosen_max_bytes(self) -> int | None:
        """The same where the user chose it; None where each reader has its own idea."""
        return self.max_bytes if self.max_mb != MAX_MB else None

    @property
    def max_samples(self) -> int:
        """Longest recording: four numbers of eight bytes per sample."""
        return self.max_bytes // 32


@dataclass(slots=True)
class Report:
    """What a reader took for what, what it did not read, and what it had to change."""

    format: str = ""
    taken: list[str] = field(default_factory=list)
    """``heart rate from FHR1``."""
    unread: list[str] = field(default_factory=list)
    """Names of columns and signals, some with a reason in parentheses."""
    notes: list[str] = field(default_factory=list)
    """What is good to know: separators, units, clocks."""
    warnings: list[str] = field(default_factory=list)
    """What was changed, left out, or looks wrong."""

    def take(self, what: str, name: str) -> None:
        """Note what a name was taken for."""
        text = f"{what} from {name}"
        if text not in self.taken:
            self.taken.append(text)

    def leave(self, *names: str) -> None:
        """Note what was not read."""
        self.unread += [name for name in names if name not in self.unread]

    def note(self, *texts: str) -> None:
        """Note what is good to know."""
        self.notes += [text for text in texts if text not in self.notes]

    def warn(self, *texts: str) -> None:
        """Note what was changed or looks wrong."""
        self.warnings += [text for text in texts if text not in self.warnings]

    def summary(self) -> str:
        """Return the one line that every command which reads a file prints."""
        parts = [", ".join(self.taken), *self.notes]
        if self.unread:
            shown = ", ".join(self.unread[:UNREAD_SHOWN])
            more = len(self.unread) - UNREAD_SHOWN
            parts.append(f"not read: {shown}" + (f" and {more} more" if more > 0 else ""))
        return f"{self.format}: " + "; ".join(part for part in parts if part)


UNREAD_SHOWN: Final = 8
