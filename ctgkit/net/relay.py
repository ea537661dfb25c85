"""A relay between two parties: what passes is handed on as it came, unless somebody meddles.

It stands between sensors (or viewers) and a backend, or between a backend and its ML service.
Path, subprotocol, headers and messages go through unchanged, and so do refusals and close codes.
`ctgkit record` listens to it, `ctgkit proxy` puts faults in: each with a :class:`Passage` of its
own.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar, cast
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.connection import Connection
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidHeaderFormat
from websockets.frames import CloseCode, Frame, Opcode
from websockets.headers import parse_subprotocol
from websockets.http11 import Response
from websockets.typing import Subprotocol

from ctgkit.net.client import NotConnected, dial
from ctgkit.net.connection import BoundedClient, FairConnection
from ctgkit.net.http import PLAIN, Answer, Asked, only, phrase, problem
from ctgkit.net.origins import Rules
from ctgkit.net.server import Guarded, listen, open_server

log = logging.getLogger(__name__)

FRAME_MAX_BYTES = 16 << 20
"""Longest message that is recorded or passed on. Chosen: far above any backend's own limit, so
that the backend's 1009 is seen and not ours."""
DIAL_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
_OWN_HEADERS = {"host", "connection", "upgrade", "content-length"}
"""Headers that belong to one hop; those of the handshake itself (Sec-WebSocket-…) do too."""

Party = Literal["client", "server"]


class KindsOfFrames(FairConnection):
    """A connection that remembers which messages came as text.

    ``recv()`` would refuse bad UTF-8, and ``recv(decode=False)`` doesn't tell the kind. Messages
    of any length are the other side's business; pings and pongs end here, and are budgeted.
    """

    message_min_bytes = 0
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


class ClientEnd(KindsOfFrames, BoundedClient):
    """The client's end of a connection, ours towards a server."""


class ServerEnd(KindsOfFrames, Guarded):
    """The server's end of a connection, ours towards a client."""


C = TypeVar("C", bound=ClientEnd)
S = TypeVar("S", bound=ServerEnd)


class Visit(NamedTuple):
    """What a client asks for."""

    path: str
    """With its query."""
    headers: list[tuple[str, str]]
    offered: list[Subprotocol]


class Passage(Generic[C, S]):
    """What becomes of one client; as it stands everything passes unchanged.

    Parameters
    ----------
    visit : Visit
        What it asks for.
    """

    client: S
    upstream: C

    def __init__(self, visit: Visit) -> None:
        self.visit = visit

    async def admit(self, client: S) -> bool:
        """Say whether the target is dialled; otherwise the client is cut off without an answer."""
        return True

    def refused(self, status: int, reason: str) -> None:
        """Note that the target refused, or with 502 that it wasn't reached."""

    def opened(self, client: S, upstream: C) -> None:
        """Begin: both connections stand."""
        self.client, self.upstream = client, upstream

    async def carry(self, frame: bytes, is_text: bool, *, up: bool) -> None:
        """Hand on one message; raise ConnectionClosed when its receiver is gone."""
        await (self.upstream if up else self.client).send(frame, text=is_text)

    async def closed(self, by: Party | None, code: int, reason: str) -> None:
        """Note who closed it, None for the relay; 1006: it broke, 1005: no code was sent."""

    def left(self) -> None:
        """Note that the client is gone, whether it was opened or not."""


class Relay(Generic[C, S]):
    """One listening address and where it leads.

    Parameters
    ----------
    target : str
        ``ws://HOST:PORT`` or ``wss://…``; its path, if any, replaces the client's, its query is
        the client's.
    passages : callable
        Called for each client.
    client_end, server_end : type
        Classes of the connections, towards the target and towards clients.
    """

    def __init__(
        self,
        target: str,
        passages: Callable[[Visit], Passage[C, S]],
        client_end: type[C],
        server_end: type[S],
    ) -> None:
        self._target, self._passages = urlsplit(target), passages
        self._client_end, self._server_end = client_end, server_end
        self._dialled: dict[ServerEnd, tuple[Passage[C, S], C]] = {}
        self._tasks: asyncio.TaskGroup

    @contextlib.asynccontextmanager
    async def serve(self, host: str, port: int) -> AsyncIterator[str]:
        """Listen; yield the address that stands for the target.

        Raises
        ------
        Unreachable
            When the address cannot be bound.
        """
        server = await open_server(
            self._relay,
            self._dial,
            listen(host, port),
            rules=Rules(origins=None),
            connection=self._server_end,
            select_subprotocol=self._subprotocol,
            max_bytes=FRAME_MAX_BYTES,
            handshake_timeout_s=2 * DIAL_TIMEOUT_S,
            ping_every_s=None,  # whether a silent client lives is the target's business
        )
        async with asyncio.TaskGroup() as self._tasks, server:
            yield server.url("ws", self._target.path)

    def _subprotocol(
        self, connection: ServerEnd, _offered: Sequence[Subprotocol]
    ) -> Subprotocol | None:
        dialled = self._dialled.get(connection)  # None when it was cut off
        return dialled and dialled[1].subprotocol

    async def _dial(self, connection: ServerEnd, asked: Asked) -> Answer | Response | None:
        """Connect to the target as this client would; what it refuses, we refuse."""
        if [value.lower() for value in asked.header("Upgrade")] != ["websocket"]:
            body = b"ctgkit: only WebSockets pass here\n"
            return Answer(426, body, PLAIN, (("Upgrade", "websocket"),))
        if asked.method != "GET":
            return only("GET")
        try:
            offered = [
                name
                for value in asked.header("Sec-WebSocket-Protocol")
                for name in parse_subprotocol(value)
            ]
        except InvalidHeaderFormat:
            return problem(400, "Sec-WebSocket-Protocol is not a list of names")
        client = cast(S, connection)
        assert connection.request is not None
        visit = Visit(asked.target, list(connection.request.headers.raw_items()), offered)
        passage = self._passages(visit)
        self._tasks.create_task(self._see_off(client, passage))
        if not await passage.admit(client):
            client.transport.abort()
            await client.wait_closed()
            return None
        try:
            upstream = await self._connect(visit)
        except NotConnected as error:
            if error.response is not None and error.response.status_code >= 200:
                passage.refused(error.response.status_code, "")
                return _passed_on(error.response)
            log.warning("cannot reach the target: %s", error.reason)
            passage.refused(502, error.reason)
            return Answer(502, b"ctgkit: the target cannot be reached\n", PLAIN, why=error.reason)
        self._dialled[connection] = (passage, upstream)
        return None

    async def _connect(self, visit: Visit) -> C:
        headers = [
            (name, value)
            for name, value in visit.headers
            if name.lower() not in _OWN_HEADERS and not name.lower().startswith("sec-websocket")
        ]
        return await dial(
            self._url(visit.path),
            kind=self._client_end,
            headers=headers,
            offers=visit.offered,
            open_timeout_s=DIAL_TIMEOUT_S,
            close_timeout_s=CLOSE_TIMEOUT_S,
            max_bytes=FRAME_MAX_BYTES,
            pings=False,
            user_agent_header=None,
        )

    async def _see_off(self, client: S, passage: Passage[C, S]) -> None:
        """End the target's side of a connection that broke before anything was relayed."""
        await client.wait_closed()
        if unused := self._dialled.pop(client, None):
            await unused[1].close(CloseCode.GOING_AWAY)
        passage.left()

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

    async def _relay(self, connection: ServerEnd) -> None:
        """Pass messages both ways until one side closes, then close the other side alike."""
        dialled = self._dialled.pop(connection, None)
        if dialled is None:
            return  # the client was gone at once
        client = cast(S, connection)
        passage, upstream = dialled
        passage.opened(client, upstream)
        async with asyncio.TaskGroup() as tasks:
            there = tasks.create_task(_pass(client, passage, up=True))
            back = tasks.create_task(_pass(upstream, passage, up=False))
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            first = there if there.done() else back
            # who cannot be written to is gone, but what it said before may still be unread
            by_client = first is there if await first else first is back
            await (there if by_client else back)
            source, other = (client, upstream) if by_client else (upstream, client)
            whose, code, reason = how_closed(source)
            remote: Party = "client" if by_client else "server"
            await passage.closed(None if whose == "local" else remote, code, reason)
            await close_alike(other, code, reason)


async def _pass(source: KindsOfFrames, passage: Passage[C, S], *, up: bool) -> bool:
    """Pass messages one way; return whether it was the source that ended it."""
    while True:
        try:
            frame, is_text = await source.receive()
        except ConnectionClosed:
            return True
        try:
            await passage.carry(frame, is_text, up=up)
        except ConnectionClosed:
            return False


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


def _passed_on(refusal: Response) -> Response:
    """Return the target's refusal without what belongs to its own hop."""
    own = {"content-length", "transfer-encoding", "connection", "date", "server"}
    kept = Headers([(k, v) for k, v in refusal.headers.raw_items() if k.lower() not in own])
    body = bytes(refusal.body or b"")
    kept["Content-Length"] = str(len(body))
    kept["Connection"] = "close"
    return Response(refusal.status_code, phrase(refusal.status_code), kept, body)
