"""What our servers do about a peer that breaks its connection while its request is answered."""

import logging
from collections.abc import Awaitable, Callable
from inspect import isawaitable

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

log = logging.getLogger(__name__)

Answerer = Callable[[ServerConnection, Request], Awaitable[Response | None] | Response | None]


def unless_broken(
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
