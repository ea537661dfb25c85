"""What a connection may cost, whoever it is: handshakes that never end or break, unread answers."""

import logging
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from websockets.asyncio.server import Server, ServerConnection
from websockets.http11 import Request, Response

log = logging.getLogger(__name__)

Answerer = Callable[[ServerConnection, Request], Awaitable[Response | None] | Response | None]

NEWCOMERS_MAX = 512
"""Connections that haven't finished their handshake, at a time, before slow ones have to go."""
PATIENCE_S = 1.0
"""How long a handshake may take even then, seconds: a thousand sensors may come back at once."""
UNREAD_PONGS_MAX_BYTES = 1 << 20
"""Answers to pings that may wait for a peer to read them. Chosen: a ping per 20 s is usual."""


class BoundedConnection(ServerConnection):
    """A server's connection whose peer can't make it hold any amount of anything.

    One that doesn't finish its handshake makes room for others; otherwise whoever says nothing
    could hold any number of connections, for as long as a handshake may take. One that sends pings
    and doesn't read the pongs is dropped; the library would queue them without end. One that breaks
    its connection while its request is answered is dropped too.
    """

    _waiting: ClassVar[WeakKeyDictionary[Server, dict[ServerConnection, float]]] = (
        WeakKeyDictionary()
    )
    """Per server: who hasn't finished, and since when (the loop's time), oldest first."""

    _unread_pongs = 0
    """Bytes that the library answered by itself since the peer had read everything."""

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

    def data_received(self, data: bytes) -> None:
        """Take what came; drop a peer that reads none of the answers that it causes."""
        before = self.transport.get_write_buffer_size()
        super().data_received(data)
        waiting = self.transport.get_write_buffer_size()
        self._unread_pongs = self._unread_pongs + waiting - before if waiting else 0
        if self._unread_pongs > UNREAD_PONGS_MAX_BYTES:
            self.transport.abort()


def _unless_broken(
    answer: Answerer,
) -> Callable[[ServerConnection, Request], Awaitable[Response | None]]:
    """Wrap a ``process_request``: a peer whose connection broke meanwhile is dropped.

    It sent bytes behind its request that are no frames (a second request, a smuggled body), or
    half-closed while it was answered. websockets has then ended its side already: the answer would
    fail an assertion, and log a traceback for everybody who sends a stray byte.
    """

    async def answered(connection: ServerConnection, request: Request) -> Response | None:
        response = answer(connection, request)
        if isawaitable(response):
            response = await response
        if connection.protocol.eof_sent:
            log.info("request dropped: more than a request came peer=%s", connection.remote_address)
            connection.transport.abort()
            await connection.wait_closed()
        return response

    return answered
