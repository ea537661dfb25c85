"""One connection to the target: WebSockets with everything they received, and raw HTTP."""

import asyncio
import contextlib
import errno
import http.client
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from ctgkit.check.checks import Mismatch
from ctgkit.check.messages import excerpt, parsed

OWN_TROUBLE = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.ENOSPC)
)
"""Errors of the machine that the checker runs on: they say nothing about the target."""

OPEN_PATIENCE = 3.0
"""How many time-outs a handshake may take: a busy backend is not a closed one."""

POLL_MIN_S, POLL_MAX_S, POLL_GROWTH = 0.002, 0.05, 1.2
"""How often to look whether something has come, seconds: often at first, then seldom."""
REST_MAX_S = 600.0
"""The longest that a backlog may take, seconds."""

UNSETTLED_S = 0.3
"""How long to wait for what may come from a peer that answers no pings, seconds."""

T = TypeVar("T")


@dataclass(slots=True)
class Pulse:
    """When something last arrived from the target, or was stored by it."""

    at_s: float = 0.0
    """Loop time, seconds."""
    pongs: bool = True
    """Whether the target answers pings; without that nothing can be settled, only awaited."""

    def beat(self) -> None:
        """Note that something arrived now."""
        self.at_s = asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class Target:
    """Where the judged party listens."""

    secure: bool
    host: str
    port: int
    path: str
    """Prefix of all paths of a backend; the whole path of an ML service."""

    @property
    def authority(self) -> str:
        """``HOST:PORT`` as a Host header says it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def web_url(self) -> str:
        """The address of its pages."""
        return f"http{'s' if self.secure else ''}://{self.authority}{self.path}"

    @property
    def socket_url(self) -> str:
        """The address of its WebSockets."""
        return f"ws{'s' if self.secure else ''}://{self.authority}{self.path}"

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect a raw socket."""
        return await asyncio.open_connection(self.host, self.port, ssl=self.secure or None)


def target_of(url: str, endings: Iterable[str] = ()) -> Target:
    """Parse a target's URL; *endings* of the path that people copy along are cut off.

    Raises
    ------
    ValueError
        When it is no ``http``, ``https``, ``ws`` or ``wss`` URL with a host.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise ValueError(f"{url!r} is not ws://HOST:PORT or http://HOST:PORT")
    secure = parts.scheme in ("https", "wss")
    path = parts.path.rstrip("/")
    for ending in endings:
        path = path.removesuffix(ending)
    return Target(secure, parts.hostname, parts.port or (443 if secure else 80), path)


async def answers(target: Target, wait_s: float, attempt_s: float = 5.0) -> bool:
    """Return whether something listens at *target*, at once or within *wait_s* seconds."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + wait_s
    while True:
        try:
            async with asyncio.timeout(attempt_s):
                _, writer = await target.open()
        except (OSError, TimeoutError):
            if loop.time() >= deadline_s:
                return False
            await asyncio.sleep(0.1)
        else:
            writer.transport.abort()
            return True


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON, None when it isn't."""
        return parsed(self.body)


async def exchange(
    target: Target, path: str, headers: Iterable[tuple[str, str]], method: str, timeout_s: float
) -> Response:
    """Send one literal HTTP request and read the answer.

    Raises
    ------
    Mismatch
        When no answer comes in time, or it isn't HTTP.
    """
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    reader, writer = await target.open()
    try:
        async with asyncio.timeout(timeout_s):
            writer.write("\r\n".join([*lines, "", ""]).encode())
            head = await reader.readuntil(b"\r\n\r\n")
            response = _parse(head)
            if response.status == 101 or method == "HEAD":
                return response
            size = response.headers.get("content-length")
            body = await (reader.readexactly(int(size)) if size else reader.read(-1))
            return _parse(head + body)
    except TimeoutError:
        raise Mismatch("an HTTP answer", f"none within {timeout_s:g} s") from None
    except (asyncio.IncompleteReadError, http.client.HTTPException, ConnectionError) as error:
        raise Mismatch("an HTTP answer", f"the connection broke: {error!r}") from error
    finally:
        writer.transport.abort()


class _Text:
    """What http.client wants of a socket."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._text)


def _parse(text: bytes) -> Response:
    answer = http.client.HTTPResponse(_Text(text))  # type: ignore[arg-type]
    answer.begin()
    names = {name.lower(): value for name, value in answer.getheaders()}
    complete = answer.status != 101 and not text.endswith(b"\r\n\r\n")
    return Response(answer.status, names, answer.read() if complete else b"")


class Line:
    """An open WebSocket that is read all the time.

    Parameters
    ----------
    connection : ClientConnection
        Open.
    timeout_s : float
        How long to wait for what is expected, seconds.
    pulse : Pulse
        Notes that something came.
    """

    def __init__(self, connection: ClientConnection, timeout_s: float, pulse: Pulse) -> None:
        self.connection, self.timeout_s, self.pulse = connection, timeout_s, pulse
        self.received: list[str | bytes] = []
        self.total = 0
        """Messages that came, also those that were cleared from `received`."""
        self.code: int | None = None
        """Close code; None while it is open."""

    async def read(self) -> None:
        """Collect what comes until the peer closes."""
        try:
            while True:
                self.received.append(await self.connection.recv())
                self.total += 1
                self.pulse.beat()
        except ConnectionClosed:
            self.code = self.connection.close_code or 1006

    async def send(self, *frames: str | bytes) -> None:
        """Send texts as text frames, bytes as binary ones; a closed line swallows them."""
        with contextlib.suppress(ConnectionClosed):  # whoever expects an effect will miss it
            for frame in frames:
                await self.connection.send(frame)

    async def send_fragments(self, pieces: Iterable[str]) -> None:
        """Send one text message in several frames."""
        with contextlib.suppress(ConnectionClosed):
            await self.connection.send(pieces)

    async def closed(self, *codes: int) -> None:
        """Wait until the peer closes with one of *codes*.

        Raises
        ------
        Mismatch
            When it doesn't, or with another one.
        """
        expected = "closed with " + " or ".join(map(str, codes))
        await until(lambda: self.code is not None, expected, self.seen, self.timeout_s)
        if self.code not in codes:
            raise Mismatch(expected, self.seen())

    async def settle(self) -> None:
        """Wait for a pong: what the peer sent before it has arrived then."""
        if not self.pulse.pongs:
            await asyncio.sleep(UNSETTLED_S)
            return
        try:
            async with asyncio.timeout(self.timeout_s):
                await (await self.connection.ping())
        except (TimeoutError, ConnectionClosed):
            raise Mismatch("a ping is answered", self.seen()) from None

    def must_live(self) -> None:
        """Raise a Mismatch if the peer has closed."""
        if self.code is not None:
            raise Mismatch("the connection stays open", self.seen())

    def seen(self) -> str:
        """Say what came over this line."""
        state = "it is open" if self.code is None else f"closed with {self.code}"
        last = f", last message {excerpt(self.received[-1])}" if self.received else ", no message"
        return state + last


async def until(
    condition: Callable[[], T], expected: str, actual: Callable[[], str], timeout_s: float
) -> T:
    """Wait until *condition* returns something true, and return it.

    Raises
    ------
    Mismatch
        After *timeout_s* seconds, with what was seen instead.
    """
    loop = asyncio.get_running_loop()
    deadline_s, pause_s = loop.time() + timeout_s, POLL_MIN_S
    while not (value := condition()):
        if loop.time() > deadline_s:
            raise Mismatch(expected, f"{actual()} within {timeout_s:g} s")
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * POLL_GROWTH, POLL_MAX_S)
    return value


async def until_rest(condition: Callable[[], bool], pulse: Pulse, patience_s: float) -> bool:
    """Wait until *condition* is true; return False when nothing has moved for *patience_s*."""
    loop = asyncio.get_running_loop()
    began_s, pause_s = loop.time(), POLL_MIN_S
    while not condition():
        now_s = loop.time()
        if now_s - max(began_s, pulse.at_s) > patience_s or now_s - began_s > REST_MAX_S:
            return False
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * POLL_GROWTH, POLL_MAX_S)
    return True
