"""Connections to the other side: requests over HTTP, messages over WebSocket.

There is no acknowledgement on a foreign wire: a message is delivered at least once where the other
side answers (HTTP), and at most once where it doesn't (WebSocket). Exactly once is ``ctgkit.v1``
only.
"""

import asyncio
import logging
import math
import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from ctgkit.errors import CtgkitError, MissingExtra, Unreachable
from ctgkit.net.backoff import Backoff
from ctgkit.net.client import NotConnected, dial, why_failed
from ctgkit.profile.session import Outgoing, Session

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

TRIES_MAX = 5
"""How often a request is sent to a busy service before it counts as refused."""
BUSY = (429, 502, 503, 504)
"""Statuses after which a request is sent again."""
ANSWER_MAX_BYTES = 1 << 20
"""Of an answer that is read."""
CONNECTIONS_MAX = 256
READ_MAX_S = 30.0
"""How long a pong may take, seconds."""
STEADY_S = 5.0
"""A WebSocket that lasted this long was a good one: the next pause is short again, seconds."""
REFUSING = frozenset((1002, 1003, 1007, 1008, 1009, 1010, 1011))
"""Close codes by which a peer says that it doesn't want what it was sent."""


def _backoff() -> Backoff:
    return Backoff(jitter=random.random)


class Tally(msgspec.Struct):
    """What became of messages; shared by all links of a run."""

    rejected: Counter[str] = msgspec.field(default_factory=Counter)
    """Messages, or WebSockets, that the other side refused, by reason."""
    reconnects: int = 0
    retries: int = 0


class Refused(CtgkitError):
    """The other side answered, and refused; *reason* is short enough to be counted by."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


def http_client(most: int = CONNECTIONS_MAX) -> "httpx.AsyncClient":
    """Return a client without redirects and without what the environment says of proxies.

    Parameters
    ----------
    most : int
        Connections that it may have.

    Raises
    ------
    MissingExtra
        When the extra isn't installed.
    """
    try:
        import httpx
    except ImportError as error:
        raise MissingExtra("a profile over HTTP", "httpx", "http") from error
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they name every address and header
    limits = httpx.Limits(max_connections=most)
    return httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=600, limits=limits)


class HttpLink:
    """Requests of one session, one after another.

    Parameters
    ----------
    client : httpx.AsyncClient
        What :func:`http_client` returned.
    session : Session
        Whose secrets stay out of what is said.
    tally : Tally
        Counts.
    connect_timeout_s : float
        How long to try before the first answer, seconds; later it is tried indefinitely.
    timeout_s : float
        Of one request, until the end of its answer, seconds.
    """

    def __init__(
        self,
        client: "httpx.AsyncClient",
        session: Session,
        tally: Tally,
        connect_timeout_s: float,
        timeout_s: float,
    ) -> None:
        self._client, self._session, self._tally = client, session, tally
        self._connect_timeout_s, self._timeout_s = connect_timeout_s, timeout_s
        self._answered = False

    async def send(self, outgoing: Outgoing) -> bytes:
        """Send a request until it is answered; return the body of the answer.

        Raises
        ------
        Refused
            When the answer isn't 2xx, or the request cannot be sent at all.
        Unreachable
            When the first request gets no answer for too long.
        """
        loop = asyncio.get_running_loop()
        give_up_s = math.inf if self._answered else loop.time() + self._connect_timeout_s
        backoff = _backoff()
        while True:
            try:
                status, body = await self.ask(outgoing)
            except Unreachable as error:
                if loop.time() >= give_up_s:
                    raise
                if not backoff.failures:
                    log.warning("%s; trying again", error)
            else:
                self._answered = True
                if 200 <= status < 300:
                    return body
                if status not in BUSY or backoff.failures >= TRIES_MAX:
                    follows = ", which is not followed" if 300 <= status < 400 else ""
                    raise Refused(f"status {status}{follows}", self._session.shown(body))
            self._tally.retries += 1
            await asyncio.sleep(min(backoff.next_s(), max(0.0, give_up_s - loop.time())))

    async def ask(self, outgoing: Outgoing) -> tuple[int, bytes]:
        """Send a request once; return status and body of the answer.

        Raises
        ------
        Refused
            When it cannot be sent, or the answer is too large.
        Unreachable
            When there is no answer in time.
        """
        import httpx

        to = self._session.shown(shown_url(outgoing.url))
        headers = {"Content-Type": outgoing.content_type, "Accept-Encoding": "identity"}
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream(
                    outgoing.method,
                    outgoing.url,
                    content=outgoing.body,
                    headers=_merged(headers, outgoing.headers),
                ) as answer,
            ):
                return answer.status_code, await _bounded(answer)
        except TimeoutError:
            raise Unreachable(to, f"no answer within {self._timeout_s:g} s") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            kind = type(error).__name__  # its text quotes what was to be sent
            raise Refused("cannot be sent", f"{to}: {kind}") from None
        except httpx.RemoteProtocolError:
            raise Unreachable(to, "it hung up, or did not answer in HTTP") from None
        except httpx.HTTPError as error:
            raise Unreachable(to, why_failed(_root(error), outgoing.url)) from None


def _merged(ours: dict[str, str], theirs: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    named = {name.lower() for name, _ in theirs}
    return {name: value for name, value in ours.items() if name.lower() not in named} | dict(theirs)


def _root(error: BaseException) -> Exception:
    """Return what an error of a library came of."""
    while True:
        inner = error.__cause__ or error.__context__
        if isinstance(inner, BaseExceptionGroup):
            inner = inner.exceptions[0]
        if inner is None or (isinstance(error, OSError) and error.errno):
            assert isinstance(error, Exception)
            return error
        error = inner


async def _bounded(answer: "httpx.Response") -> bytes:
    body = bytearray()
    async for piece in answer.aiter_raw():  # not unpacked: a small answer may unpack to a huge one
        body += piece
        if len(body) > ANSWER_MAX_BYTES:
            raise Refused("answer too large", f"more than {ANSWER_MAX_BYTES} bytes")
    return bytes(body)


def shown_url(url: str) -> str:
    """Return an address without what may be secret in it: its query."""
    return url.partition("?")[0]


class SocketLinks:
    """WebSockets of one session, one per distinct address; what they say is read and dropped."""

    def __init__(self, session: Session, tally: Tally, connect_timeout_s: float) -> None:
        self._session, self._tally, self._timeout_s = session, tally, connect_timeout_s
        self._open: dict[str, ClientConnection] = {}
        self._opened_s: dict[str, float] = {}
        self._backoff: defaultdict[str, Backoff] = defaultdict(_backoff)
        self._drains = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._drains.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        async with asyncio.TaskGroup() as closing:
            for connection in self._open.values():
                closing.create_task(connection.close())
        await self._drains.__aexit__(None, None, None)  # what was said at last still counts

    async def send(self, outgoing: Outgoing) -> None:
        """Send a message; a lost connection is made again, however long that takes.

        Raises
        ------
        Unreachable
            When the first connection cannot be made for too long, or the other side refuses it.
        """
        while True:
            connection = self._open.get(outgoing.url)
            if connection is None:
                connection = await self._dial(outgoing)
            try:
                await connection.send(outgoing.body.decode())
            except ConnectionClosed:
                del self._open[outgoing.url]
                self._tally.reconnects += 1
                await self._pause(outgoing.url)
            else:
                return

    async def read_so_far(self, url: str) -> None:
        """Wait until the other side has read what was sent to *url*.

        Raises
        ------
        Unreachable
            When the connection ends, or nothing comes for long.
        """
        try:
            async with asyncio.timeout(READ_MAX_S):
                await (await self._open[url].ping())
        except TimeoutError:
            raise Unreachable(shown_url(url), f"no pong within {READ_MAX_S:g} s") from None
        except (KeyError, ConnectionClosed):
            raise Unreachable(shown_url(url), "the connection was lost") from None

    async def all_read_so_far(self) -> None:
        """Wait until the other side has read what was sent over all connections."""
        for url in self._open:
            await self.read_so_far(url)

    async def _pause(self, url: str) -> None:
        """Wait before dialling again, longer where connections don't last."""
        if asyncio.get_running_loop().time() > self._opened_s[url] + STEADY_S:
            self._backoff[url].reset()
        await asyncio.sleep(self._backoff[url].next_s())

    async def _dial(self, outgoing: Outgoing) -> ClientConnection:
        loop, url = asyncio.get_running_loop(), outgoing.url
        give_up_s = math.inf if url in self._opened_s else loop.time() + self._timeout_s
        backoff = _backoff()
        while True:
            try:
                connection: ClientConnection = await dial(
                    url, headers=outgoing.headers, open_timeout_s=max(self._timeout_s, 0.1)
                )
            except NotConnected as error:
                failed = self._explained(error)
            else:
                self._open[url], self._opened_s[url] = connection, loop.time()
                self._drains.create_task(self._drain(connection))
                return connection
            if failed.is_final or loop.time() >= give_up_s:
                raise failed
            if not backoff.failures:
                log.warning("%s; trying again", failed)
            await asyncio.sleep(min(backoff.next_s(), max(0.0, give_up_s - loop.time())))

    def _explained(self, error: NotConnected) -> NotConnected:
        """Return it without secrets, also where the other side repeats them."""
        reason = error.reason
        if error.response is not None and error.response.body:
            said = self._session.shown(bytes(error.response.body).strip())
            reason = f"answered {error.status}: {said}"
        to = self._session.shown(shown_url(error.url))
        return NotConnected(to, self._session.shown(reason), response=error.response)

    async def _drain(self, connection: ClientConnection) -> None:
        try:
            async for _ in connection:
                pass
        except ConnectionClosed as closed:
            said = closed.rcvd
            if said is not None and said.code in REFUSING:
                reason = f"closed with {CloseCode(said.code).value}"
                if not self._tally.rejected[reason]:
                    log.warning("refused: %s: %s", reason, self._session.shown(said.reason))
                self._tally.rejected[reason] += 1
