"""A transparent proxy: what passes between two parties is recorded and handed on as it came.

It stands between sensors (or viewers) and a backend, or between a backend and its ML service.
Path, subprotocol, headers and messages go through unchanged, and so do refusals and close codes.
"""

import asyncio
import contextlib
import http
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, cast
from urllib.parse import parse_qs, urlsplit, urlunsplit

from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from ctgkit.errors import Unreachable, excerpt
from ctgkit.recording.format import redact_headers, redact_path
from ctgkit.recording.tape import (
    FRAME_MAX_BYTES,
    Closer,
    LinkKind,
    RecordedClient,
    RecordedServer,
    Tape,
    how_closed,
)
from ctgkit.wire import SENSOR_ID_PARAMETER

log = logging.getLogger(__name__)

DIAL_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
_OWN_HEADERS = {"host", "connection", "upgrade", "content-length"}
"""Headers that belong to one hop; those of the handshake itself (Sec-WebSocket-…) do too."""


def link_kind(path: str) -> LinkKind:
    """Return what a connection to *path* is: a sensor's, a viewer's, or one to an ML service.

    >>> [link_kind(p) for p in ("/ws/sensor?sensor_id=1", "/ws", "/ws/ctg", "/")]
    ['s', 'v', 'm', 'v']
    """
    parts = urlsplit(path)
    if SENSOR_ID_PARAMETER in parse_qs(parts.query) or parts.path.rstrip("/").endswith("/sensor"):
        return "s"
    return "m" if parts.path.rstrip("/").endswith("/ctg") else "v"


class Proxy:
    """One listening address and where it leads.

    Parameters
    ----------
    target : str
        ``ws://HOST:PORT`` or ``wss://…``; its path, if any, replaces the client's, its query is
        the client's.
    tape : Tape
        Where to record.
    """

    def __init__(self, target: str, tape: Tape) -> None:
        self._target, self._tape = urlsplit(target), tape
        self._upstreams: dict[ServerConnection, tuple[RecordedClient, dict[str, Any]]] = {}
        self._tasks: asyncio.TaskGroup

    @contextlib.asynccontextmanager
    async def serve(self, host: str, port: int) -> AsyncIterator[str]:
        """Listen; yield the address that stands for the target.

        Raises
        ------
        Unreachable
            When the address cannot be bound.
        """
        try:
            server = await serve(
                self._relay,
                host,
                port,
                create_connection=RecordedServer,
                process_request=self._dial,
                select_subprotocol=self._subprotocol,
                compression=None,
                max_size=FRAME_MAX_BYTES,
                open_timeout=2 * DIAL_TIMEOUT_S,
                ping_interval=None,  # whether a silent client lives is the target's business
                close_timeout=CLOSE_TIMEOUT_S,
            )
        except OSError as error:
            reason = f"cannot listen: {error.strerror or error}"
            raise Unreachable(f"{host}:{port}", reason) from error
        async with asyncio.TaskGroup() as self._tasks, server:
            bound_host, bound_port = server.sockets[0].getsockname()[:2]
            shown = f"[{bound_host}]" if ":" in bound_host else bound_host
            yield f"ws://{shown}:{bound_port}{self._target.path}"

    def _subprotocol(
        self, connection: ServerConnection, _offered: Sequence[Subprotocol]
    ) -> Subprotocol | None:
        return self._upstreams[connection][0].subprotocol

    async def _dial(self, connection: ServerConnection, request: Request) -> Response | None:
        """Connect to the target as this client would; what it refuses, we refuse."""
        kind = link_kind(request.path)
        headers = [
            (name, value)
            for name, value in request.headers.raw_items()
            if name.lower() not in _OWN_HEADERS and not name.lower().startswith("sec-websocket")
        ]
        offered = [
            Subprotocol(name.strip())
            for value in request.headers.get_all("Sec-WebSocket-Protocol")
            for name in value.split(",")
        ]
        if request.headers.get("Upgrade", "").lower() != "websocket":
            body = b"ctgkit record: only WebSockets pass here\n"
            return _response(426, Headers({"Upgrade": "websocket"}), body)
        about: dict[str, Any] = {
            "path": redact_path(request.path),
            "offered": offered,
            "headers": redact_headers(list(request.headers.raw_items())),
        }
        try:
            upstream = await connect(
                self._url(request.path),
                create_connection=RecordedClient,
                additional_headers=headers,
                user_agent_header=None,
                subprotocols=offered or None,
                compression=None,
                max_size=FRAME_MAX_BYTES,
                proxy=None,
                open_timeout=DIAL_TIMEOUT_S,
                ping_interval=None,
                close_timeout=CLOSE_TIMEOUT_S,
            )
        except InvalidStatus as error:
            answer = error.response
            self._tape.refuse(kind, about | {"status": answer.status_code})
            return _response(answer.status_code, answer.headers, bytes(answer.body or b""))
        except (OSError, InvalidHandshake) as error:
            reason = str(error) or type(error).__name__
            log.warning("target not reached: %s", reason)
            self._tape.refuse(kind, about | {"status": 502, "reason": excerpt(reason)})
            return _response(502, Headers(), b"ctgkit record: the target cannot be reached\n")
        self._upstreams[connection] = (cast(RecordedClient, upstream), about)
        self._tasks.create_task(self._hang_up(connection))
        return None

    async def _hang_up(self, connection: ServerConnection) -> None:
        """End the target's side of a connection that broke before anything was relayed."""
        await connection.wait_closed()
        if unused := self._upstreams.pop(connection, None):
            await unused[0].close(CloseCode.GOING_AWAY)

    def _url(self, path: str) -> str:
        asked = urlsplit(path)
        return urlunsplit(
            (
                self._target.scheme,
                self._target.netloc,
                self._target.path.rstrip("/") or asked.path,
                asked.query,
                "",
            )
        )

    async def _relay(self, connection: ServerConnection) -> None:
        """Pass messages both ways until one side closes, then close the other side alike."""
        client = cast(RecordedServer, connection)
        dialled = self._upstreams.pop(connection, None)
        if dialled is None:
            return  # the client was gone at once
        upstream, about = dialled
        link = self._tape.open(
            link_kind(connection.request.path if connection.request else ""),
            about | {"subprotocol": upstream.subprotocol},
        )
        async with asyncio.TaskGroup() as tasks:
            there = tasks.create_task(self._pass(client, upstream, link, ">"))
            back = tasks.create_task(self._pass(upstream, client, link, "<"))
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            first = there if there.done() else back
            # who cannot be written to is gone, but what it said before may still be unread
            by_client = first is there if await first else first is back
            await (there if by_client else back)
            source, other = (client, upstream) if by_client else (upstream, client)
            whose, code, reason = how_closed(source)
            remote: Closer = "client" if by_client else "server"
            self._tape.close(link, "recorder" if whose == "local" else remote, code, reason)
            await close_alike(other, code, reason)

    async def _pass(
        self,
        source: RecordedServer | RecordedClient,
        target: RecordedServer | RecordedClient,
        link: str,
        what: Literal[">", "<"],
    ) -> bool:
        """Pass messages one way; return whether it was the source that ended it."""
        while True:
            try:
                frame, is_text = await source.receive()
            except ConnectionClosed:
                return True
            self._tape.frame(link, what, frame, is_text)
            try:
                await target.send(frame, text=is_text)
            except ConnectionClosed:
                return False


async def close_alike(connection: Connection, code: int, reason: str) -> None:
    """Close a connection as another one was: with a code, without one, or by breaking it."""
    if code == CloseCode.ABNORMAL_CLOSURE:
        connection.transport.abort()
    elif code == CloseCode.NO_STATUS_RCVD:
        with contextlib.suppress(ConnectionClosed):
            async with connection.send_context():
                connection.protocol.send_close()
    else:
        await connection.close(code, reason)


def _response(status: int, headers: Headers, body: bytes) -> Response:
    own = {"content-length", "transfer-encoding", "connection", "date", "server"}
    kept = Headers([(k, v) for k, v in headers.raw_items() if k.lower() not in own])
    kept["Content-Length"] = str(len(body))
    kept["Connection"] = "close"
    return Response(status, http.HTTPStatus(status).phrase, kept, body)
