"""What recorders write to: connections in, lines with their times out, secrets left behind."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from ctgkit.errors import RecordingError
from ctgkit.recording.format import Line, redact_frame
from ctgkit.recording.journal import JournalWriter

LinkKind = Literal["s", "v", "m"]
Closer = Literal["client", "server", "recorder"]


class Tape:
    """A recording being made.

    Parameters
    ----------
    journal : JournalWriter
        Open; its owner closes it.
    stop : asyncio.Event
        Set when the disk refuses; the reason is :attr:`failure` then.
    """

    def __init__(self, journal: JournalWriter, stop: asyncio.Event) -> None:
        self.failure: RecordingError | None = None
        self.frames: Counter[str] = Counter()
        """Recorded frames, by kind of link and direction: ``"s >"``."""
        self.links: Counter[str] = Counter()
        """Recorded connections, by kind of link."""
        self._journal, self._stop = journal, stop
        self._zero_s = time.monotonic()

    def open(self, kind: LinkKind, about: Mapping[str, Any]) -> str:
        """Record a new connection and return its link."""
        link = self._number(kind)
        self._write(link, Line(0.0, link, "open", about=about))
        return link

    def refuse(self, kind: LinkKind, about: Mapping[str, Any]) -> None:
        """Record a connection that was refused."""
        link = self._number(kind)
        self._write(link, Line(0.0, link, "refused", about=about))

    def _number(self, kind: LinkKind) -> str:
        self.links[kind] += 1
        return f"{kind}{self.links[kind]}"

    def frame(self, link: str, what: Literal[">", "<"], frame: bytes, is_text: bool) -> None:
        """Record a message, byte for byte but for tokens."""
        self.frames[f"{link[0]} {what}"] += 1
        self._write(link, Line(0.0, link, what, redact_frame(frame), is_text))

    def close(self, link: str, by: Closer, code: int, reason: str) -> None:
        """Record the end of a connection; 1006 means that it broke, 1005 that no code was sent."""
        self._write(
            link, Line(0.0, link, "close", about={"by": by, "code": code, "reason": reason})
        )

    def _write(self, link: str, line: Line) -> None:
        if self.failure is not None:
            return
        try:
            self._journal.write(line._replace(t_s=time.monotonic() - self._zero_s))
        except RecordingError as error:
            self.failure = error
            self._stop.set()
