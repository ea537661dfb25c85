"""Lines in the log for what is refused: enough to see why, too few to fill a disk."""

import asyncio
import logging
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from websockets.asyncio.server import Server
from websockets.http11 import Request

from ctgkit.errors import excerpt

log = logging.getLogger(__name__)

LOG_BURST, LOG_EVERY_S = 5, 10.0
"""Lines about the same kind of refusal, and in how many seconds."""

TELLING = {401, 403, 503, 4401}
"""Refusals by which somebody's set-up fails."""


class Seldom:
    """Logs one line of each kind now and then, and says how many it left out."""

    _of: ClassVar[WeakKeyDictionary[Server, "Seldom"]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self._kinds: dict[object, tuple[float, int]] = {}
        """Kind -> when its first line was written, and how many have come since."""

    @classmethod
    def of(cls, server: Server) -> "Seldom":
        """Return the one of a server."""
        return cls._of.setdefault(server, cls())

    def log(self, level: int, kind: object, text: str, *values: object) -> None:
        """Write a line, unless several of its kind were written a moment ago.

        There must be few kinds: none of a peer's making.
        """
        now_s = asyncio.get_running_loop().time()
        since_s, came = self._kinds.get(kind, (-LOG_EVERY_S, 0))
        left_out = 0
        if now_s - since_s >= LOG_EVERY_S:
            since_s, left_out, came = now_s, max(0, came - LOG_BURST), 0
        self._kinds[kind] = since_s, came + 1
        if came < LOG_BURST:
            more = f" ({left_out} more like it before)" if left_out else ""
            log.log(level, text + "%s", *values, more)


def request_line(request: Request) -> str:
    """Return method and path for the log: no query, in which somebody may have put a token."""
    return f"{excerpt(request.method)} {excerpt(request.path.partition('?')[0])}"


def log_refusal(connection: Any, status: int, what: str, why: str, kind: bytes | str = "") -> None:
    """Write now and then a line for what is refused, so that its owner sees why.

    Parameters
    ----------
    connection : Guarded
        Whose request or message it was.
    status : int
        HTTP status or close code.
    what, why : str
        What was asked for, and what the refusal rests on.
    kind : bytes or str
        Refusals of different kinds don't silence one another; there must be few.
    """
    level = logging.WARNING if status in TELLING else logging.INFO
    Seldom.of(connection.server).log(
        level, (status, kind), "refused %d %s peer=%s: %s", status, what, connection.peer, why
    )
