"""What recorders write to: connections in, lines with their times out, secrets left behind."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Literal

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode

from ctgkit.errors import RecordingError
from ctgkit.recording.format import Line, redact_frame
from ctgkit.recording.journal import JournalWriter

FRAME_MAX_BYTES = 16 << 20
"""Longest message that is recorded or passed on. Chosen: far above any backend's own limit, so
that the backend's 1009 is seen and not ours."""

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


class KindsOfFrames(Connection):
    """A connection that remembers which messages came as text.

    ``recv()`` would refuse bad UTF-8, and ``recv(decode=False)`` doesn't tell the kind.
    """

    _kinds: deque[bool]

    def process_event(self, event: Any) -> None:
        """Note the kind of each message before it is queued."""
        if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY):
            if not hasattr(self, "_kinds"):
                self._kinds = deque()
            self._kinds.append(event.opcode is Opcode.TEXT)
        super().process_event(event)

    async def receive(self) -> tuple[bytes, bool]:
        """Return the next message as it came, and whether it was text.

        Raises
        ------
        websockets.ConnectionClosed
            At the end.
        """
        frame = await self.recv(decode=False)
        return frame, self._kinds.popleft()


class RecordedClient(KindsOfFrames, ClientConnection):
    """The client's end of a recorded connection."""


class RecordedServer(KindsOfFrames, ServerConnection):
    """The server's end of a recorded connection."""


def how_closed(
    connection: Connection,
) -> tuple[Literal["local", "remote"], int, str]:
    """Return who closed a connection first, with which code and reason."""
    protocol = connection.protocol
    received, sent = protocol.close_rcvd, protocol.close_sent
    if received is not None and (sent is None or protocol.close_rcvd_then_sent):
        return "remote", received.code, received.reason
    if sent is not None:
        return "local", sent.code, sent.reason
    return "remote", 1006, ""
