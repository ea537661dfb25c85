"""How a server is opened: the one way, for all that we have.

:func:`listen` binds, :func:`open_server` serves: with bounds on what a connection may cost,
requests parsed once and strictly, the rules of :mod:`ctgkit.net.origins`, and a line in the log for
what is refused.
"""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from inspect import isawaitable
from types import TracebackType
from typing import Any, Self, cast

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.typing import Subprotocol

from ctgkit.errors import ConfigError, excerpt
from ctgkit.net.addresses import PORT_MAX, authority
from ctgkit.net.connection import FRAMES_PER_TURN
from ctgkit.net.http import Answer, Asked, problem, response, split_target
from ctgkit.net.newcomers import Answerer, BoundedConnection
from ctgkit.net.origins import Rules
from ctgkit.net.refusals import TELLING, Seldom, log_refusal, request_line

FRAME_MAX_BYTES = 16_384
"""Largest message that a server takes unless told otherwise (PROTOCOL.md: 16 KiB)."""
HANDSHAKE_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
"""How long a peer may take to answer a close frame, seconds."""
PING_EVERY_S, PONG_TIMEOUT_S = 20.0, 20.0
"""Keep-alive (PROTOCOL K-1): who leaves a ping without its pong is closed with 1011."""
STOP_TIMEOUT_S = 5.0
"""How long a graceful stop waits for its peers before it drops them, seconds."""
SEND_BUFFER_BYTES = 131_072
"""Kernel's send buffer per connection: a viewer that never reads is noticed in 2 s instead of 5
(docs/performance.md)."""
BACKLOG = 1024
"""Connections that wait to be accepted; with fewer, sensors that all come back at once after a
restart are turned away by the kernel and try again only after 1 s, 3 s, 7 s."""
_TLS_HANDSHAKE = b"\x16\x03"
"""How a TLS client begins."""
_NO_TLS = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"this port does not use TLS: use ws:// or http://\n"
)

OnRefused = Callable[[str, str, Answer], None]
"""Gets the peer, the target as it was sent, and the refusal."""


class Guarded(BoundedConnection):
    """A bounded connection that knows its addresses, and recognises TLS on a port without it."""

    _local: tuple[Any, ...] = ("", 0)
    _remote: tuple[Any, ...] = ("", 0)

    def connection_made(self, transport: Any) -> None:
        """Note the addresses: a connection that broke has none, and uvloop raises for it."""
        with contextlib.suppress(OSError, ValueError):  # it broke before it was accepted
            self._local = transport.get_extra_info("sockname") or self._local
            self._remote = transport.get_extra_info("peername") or self._remote
        super().connection_made(transport)

    @property
    def local_address(self) -> Any:
        """Where it arrived."""
        return self._local

    @property
    def remote_address(self) -> Any:
        """Where it came from, also when it is broken."""
        return self._remote

    @property
    def peer(self) -> str:
        """``HOST:PORT`` of the peer."""
        return authority(str(self._remote[0]), int(self._remote[1])) if self._remote[1] else "gone"

    def _parse(self, data: bytes) -> int:
        """Parse what came; answer a TLS client in words instead of waiting for its request."""
        if self.request is None and data.startswith(_TLS_HANDSHAKE):
            Seldom.of(self.server).log(
                logging.WARNING, "tls", "peer=%s uses TLS (wss:// or https://), this port"
                " doesn't: use ws:// or http://", self.peer,
            )  # fmt: skip
            self._flooded = True
            self.transport.write(_NO_TLS)
            self.transport.close()
            return 0
        return super()._parse(data)


Answers = Callable[[Any, Asked], Awaitable[Answer | Response | None] | Answer | Response | None]
"""Answers a request on a :class:`Guarded` connection; None lets it become a WebSocket."""


class OpenServer:
    """A server that listens; made by :func:`open_server`. Leaving its context stops it."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = servers

    def url(self, scheme: str, path: str = "") -> str:
        """Return ``SCHEME://HOST:PORT`` as bound; of several addresses the first."""
        return bound_url(scheme, self._servers[0].sockets[0], path)

    @property
    def sockets(self) -> list[socket.socket]:
        """Where it listens."""
        return [sock for server in self._servers for sock in server.sockets]

    @property
    def connections(self) -> set[ServerConnection]:
        """The open connections."""
        return {one for server in self._servers for one in server.connections}

    async def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop accepting, let peers go with 1001, drop those that don't answer."""
        for server in self._servers:
            server.close()
        try:
            async with asyncio.timeout(timeout_s):
                for server in self._servers:
                    await server.wait_closed()
        except TimeoutError:
            for server in self._servers:
                for connection in server.all_connections:  # also those that are closing
                    connection.transport.abort()
                for task in server.handler_tasks:  # and those that never sent a request
                    task.cancel()
                await server.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()


def listen(host: str, port: int) -> list[socket.socket]:
    """Bind an address; ``localhost`` means both loopback ones, where the machine has both.

    Parameters
    ----------
    host : str
        A name or an address; an IPv6 one with or without brackets.
    port : int
        0 takes any free one, the same on each address.

    Raises
    ------
    ConfigError
        When it cannot be bound.
    """
    host = host.removeprefix("[").removesuffix("]")
    wanted = ("127.0.0.1", "::1") if host.lower() == "localhost" else (host,)
    bound: list[socket.socket] = []
    try:
        for number, one in enumerate(wanted):
            try:
                bound.append(_bind(one, bound[0].getsockname()[1] if number and bound else port))
            except OSError as problem:
                missing = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # no IPv6 here, or no IPv4
                if len(wanted) == 1 or problem.errno not in missing:
                    raise
        if not bound:
            raise OSError("there is no loopback address")
    except (OSError, ValueError, OverflowError) as problem:
        for sock in bound:
            sock.close()
        where = authority(host, port)
        raise ConfigError(where, f"cannot listen: {why_not_bound(problem)}") from problem
    return bound


def why_not_bound(problem: Exception) -> str:
    """Return in a few words why an address cannot be listened at."""
    if isinstance(problem, OSError) and (problem.errno or 0) > 0:
        if problem.errno == errno.EADDRINUSE:
            return "the port is already in use"
        return os.strerror(problem.errno or 0)  # asyncio's own text repeats the address
    return getattr(problem, "strerror", None) or str(problem)


def _bind(host: str, port: int) -> socket.socket:
    if not 0 <= port <= PORT_MAX:
        raise ValueError("invalid port")
    if "\0" in host:
        raise ValueError("no such host")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    # What is accepted inherits it. asyncio's own loop sets it only where the protocol is named,
    # which Python's listening sockets don't: each group of results waited for the ACK of the last.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def bound_url(scheme: str, sock: socket.socket, path: str = "") -> str:
    """Return the address at which a listening socket is reached."""
    return f"{scheme}://{authority(*sock.getsockname()[:2])}{path}"


async def open_server(
    handle: Callable[[Any], Awaitable[None]],
    answer: Answers,
    listeners: Iterable[socket.socket],
    *,
    rules: Rules,
    connection: Callable[..., ServerConnection] = Guarded,
    on_refused: OnRefused = lambda peer, target, answer: None,
    select_subprotocol: Callable[[Any, Sequence[Subprotocol]], Subprotocol | None] | None = None,
    max_bytes: int = FRAME_MAX_BYTES,
    max_queue: int = FRAMES_PER_TURN,
    handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
    ping_every_s: float | None = PING_EVERY_S,
    tls: ssl.SSLContext | None = None,
) -> OpenServer:
    """Serve HTTP and WebSockets on bound sockets.

    Parameters
    ----------
    handle : coroutine function
        Serves an open WebSocket.
    answer : callable
        Answers a request that the rules let through; None opens a WebSocket.
    listeners : iterable of socket
        What :func:`listen` returned.
    rules : Rules
        Which pages and host names are let through.
    connection : type or callable
        Makes the connections: :class:`Guarded` ones.
    on_refused : callable
        Called for every answer of 400 and above.
    select_subprotocol : callable or None
        As in websockets.
    max_bytes, max_queue : int
        Largest message (a larger one closes with 1009); messages that wait to be read.
    handshake_timeout_s : float
        How long a peer may take to send its request and to get the answer, seconds.
    ping_every_s : float or None
        None: a silent peer is not our business.
    tls : ssl.SSLContext or None
        None serves in plain.
    """
    settings: dict[str, Any] = {
        "backlog": BACKLOG,
        "create_connection": cast(type[ServerConnection], connection),
        "process_request": _door(answer, rules, on_refused, secure=tls is not None),
        "process_response": _note_rejected,
        "select_subprotocol": select_subprotocol,
        "compression": None,
        "max_size": max_bytes,
        "max_queue": max_queue,
        "open_timeout": handshake_timeout_s,
        "close_timeout": CLOSE_TIMEOUT_S,
        "ping_interval": ping_every_s,
        "ping_timeout": PONG_TIMEOUT_S,
        "server_header": "ctgkit",
        "ssl": tls,
        "ssl_handshake_timeout": HANDSHAKE_TIMEOUT_S if tls else None,
    }
    return OpenServer([await serve(handle, sock=sock, **settings) for sock in listeners])


def _door(answer: Answers, rules: Rules, on_refused: OnRefused, *, secure: bool) -> Answerer:
    """Return what each request goes through: parsing, rules, the server's own answer, the log."""

    async def decide(connection: Guarded, request: Request) -> Answer | Response | None:
        asked = asked_of(connection, request, secure=secure)
        if isinstance(asked, Answer):
            return asked
        if refusal := rules.refusal(asked):
            return refusal
        given = answer(connection, asked)
        return await given if isawaitable(given) else given

    async def process(connection: Any, request: Request) -> Response | None:
        given = await decide(connection, request)
        if not isinstance(given, Answer):
            return given
        if given.status >= 400 and connection.state is State.CONNECTING:
            on_refused(connection.peer, request.path, given)
            reason = given.why or excerpt(given.body.strip())
            kind = given.body if given.status in TELLING else b""  # its own text there
            log_refusal(connection, given.status, request_line(request), reason, kind)
        return response(given, with_body=request.method != "HEAD")

    return process


def asked_of(connection: Guarded, request: Request, *, secure: bool) -> Asked | Answer:
    """Return a request as all rules see it, or the refusal of one that can't be read."""
    try:
        path, query = split_target(request.path)
    except ValueError as error:
        return problem(400, "bad request target", f"the target is {error}")
    return Asked(
        method=request.method,
        path=path,
        query=query,
        target=request.path,
        header=request.headers.get_all,
        local_host=str(connection.local_address[0]),
        peer_host=str(connection.remote_address[0]),
        secure=secure,
    )


def _note_rejected(link: Any, request: Request, last: Response) -> None:
    """Log what the library refuses: a handshake that is none."""
    if link.protocol.accept_called and last.status_code >= 400:
        reason = excerpt(bytes(last.body).partition(b"\n")[0])
        log_refusal(link, last.status_code, request_line(request), reason)
