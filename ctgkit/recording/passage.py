"""Recording what passes between two parties, on its way through a relay."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from ctgkit.errors import excerpt
from ctgkit.net.relay import ClientEnd, Party, Passage, Relay, ServerEnd, Visit
from ctgkit.recording.format import redact_headers, redact_path
from ctgkit.recording.tape import LinkKind, Tape
from ctgkit.wire import SENSOR_ID_PARAMETER


def link_kind(path: str) -> LinkKind:
    """Return what a connection to *path* is: a sensor's, a viewer's, or one to an ML service.

    >>> [link_kind(p) for p in ("/ws/sensor?sensor_id=1", "/ws", "/ws/ctg", "/")]
    ['s', 'v', 'm', 'v']
    """
    parts = urlsplit(path)
    if SENSOR_ID_PARAMETER in parse_qs(parts.query) or parts.path.rstrip("/").endswith("/sensor"):
        return "s"
    return "m" if parts.path.rstrip("/").endswith("/ctg") else "v"


def recording_relay(target: str, tape: Tape) -> Relay[ClientEnd, ServerEnd]:
    """Return a relay to *target* that writes to *tape* what passes."""
    return Relay(target, lambda visit: RecordedPassage(visit, tape), ClientEnd, ServerEnd)


class RecordedPassage(Passage[ClientEnd, ServerEnd]):
    """Passes everything unchanged, and writes it down."""

    def __init__(self, visit: Visit, tape: Tape) -> None:
        super().__init__(visit)
        self._tape = tape
        self._link = ""
        self._kind = link_kind(visit.path)
        self._about: dict[str, Any] = {
            "path": redact_path(visit.path),
            "offered": visit.offered,
            "headers": redact_headers(visit.headers),
        }

    def refused(self, status: int, reason: str) -> None:
        """Record the refusal."""
        why = {"reason": excerpt(reason)} if reason else {}
        self._tape.refuse(self._kind, self._about | {"status": status} | why)

    def opened(self, client: ServerEnd, upstream: ClientEnd) -> None:
        """Record the opening."""
        super().opened(client, upstream)
        about = self._about | {"subprotocol": upstream.subprotocol}
        self._link = self._tape.open(self._kind, about)

    async def carry(self, frame: bytes, is_text: bool, *, up: bool) -> None:
        """Record the message and hand it on."""
        self._tape.frame(self._link, ">" if up else "<", frame, is_text)
        await super().carry(frame, is_text, up=up)

    async def closed(self, by: Party | None, code: int, reason: str) -> None:
        """Record the end."""
        self._tape.close(self._link, by or "recorder", code, reason)
