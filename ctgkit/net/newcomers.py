"""What a connection may cost before it is open: handshakes that don't come to their end."""

import logging
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from websockets.asyncio.server import Server, ServerConnection
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

from ctgkit.net.connection import FairConnection

log = logging.getLogger(__name__)

Answerer = Callable[[ServerConnection, Request], Awaitable[Response | None] | Response | None]

NEWCOMERS_MAX = 512
"""Connections that haven't finished their handshake, at a time, before slow ones have to go."""
REQUEST_MAX_BYTES = 1 << 15
"""The request that opens a connection, headers included: the longest that we know has 2 KiB, and
half a thousand unfinished ones may wait."""
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
)
PATIENCE_S = 1.0
"""How long a handshake may take even then, seconds: a thousand sensors may come back at once."""


class BoundedConnection(FairConnection, ServerConnection):
    """A server's connection whose peer can't make it hold any amount of anything.

    One that doesn't finish its handshake makes room for others; otherwise whoever says nothing
    could hold any number of connections, for as long as a handshake may take. One that breaks its
    connection while its request is answered is dropped. What comes behind a request is parsed when
    the request is answered.
    """

    _waiting: ClassVar[WeakKeyDictionary[Server, dict[ServerConnection, float]]] = (
        WeakKeyDictionary()
    )
    """Per server: who hasn't finished, and since when (the loop's time), oldest first."""
    __slots__ = ("_request_bytes", "on_ping")

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._request_bytes = 0
        self.on_ping: Callable[[], None] | None = None
        """Called when the peer pings."""

    async def handshake(
        self, process_request: Answerer | None = None, *arguments: Any, **more: Any
    ) -> None:
        """Perform the opening handshake."""
        waiting = self._waiting.setdefault(self.server, {})
        now_s = self.loop.time()
        while len(waiting) >= NEWCOMERS_MAX:
            slowest, since_s = next(iter(waiting.items()))
            if now_s - since_s < PATIENCE_S:
                break
            del waiting[slowest]
            slowest.transport.abort()
        waiting[self] = now_s
        try:
            answer = process_request and _unless_broken(process_request)
            await super().handshake(answer, *arguments, **more)
        finally:
            waiting.pop(self, None)
            if self._rest:
                self._next_turn()

    def forget_headers(self) -> None:
        """Free what the handshake was about: 3 KiB of each connection."""
        for head in (self.request, self.response):
            if head is not None:
                head.headers.clear()

    def process_event(self, event: Any) -> None:
        """Pass a frame on; tell of a ping."""
        super().process_event(event)
        if self.on_ping is not None and isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.on_ping()

    def _must_wait(self) -> bool:
        return super()._must_wait() or (self.request is not None and self.response is None)

    def _parse(self, data: bytes) -> int:
        """Let the library parse *data*, as long as a request isn't too large."""
        if self.request is None:
            self._request_bytes += len(data)
            if self._request_bytes > REQUEST_MAX_BYTES:
                self._flooded = True
                self.transport.write(TOO_LARGE)
                self.transport.close()
                return 0
        return super()._parse(data)


def _unless_broken(
    answer: Answerer,
) -> Callable[[ServerConnection, Request], Awaitable[Response | None]]:
    """Wrap a ``process_request``: a peer whose connection broke meanwhile is dropped.

    It half-closed while it was answered, and websockets has then ended its side already: the answer
    would fail an assertion, and log a traceback.
    """

    async def answered(connection: ServerConnection, request: Request) -> Response | None:
        response = answer(connection, request)
        if isawaitable(response):
            response = await response
        if connection.protocol.eof_sent:
            if not connection.transport.is_closing():  # otherwise it was us, or is known already
                log.info("request dropped: the client hung up peer=%s", connection.remote_address)
            connection.transport.abort()
            await connection.wait_closed()
        return response

    return answered
