"""The ML service that the checker is: it hears what the backend sends, and answers as told."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ctgkit.check.connection import Pulse
from ctgkit.check.messages import reading, result
from ctgkit.errors import ConfigError
from ctgkit.net.server import why_not_bound

Answer = Callable[[str], Sequence[str | bytes]]
REQUEST_MAX_BYTES = 1 << 20
RECEIVE_BUFFER_BYTES = 8192
SEGMENT_BYTES = 536
"""The system's buffers, per connection, are kept small on both sides: a service that doesn't read
is felt after some hundred kilobytes instead of three megabytes."""


def echo(request: str) -> Sequence[str]:
    """Answer as a healthy service without an opinion does."""
    return (result(request),)


def silence(_request: str) -> Sequence[str]:
    """Answer nothing."""
    return ()


class MlSide:
    """The service, its requests, and how it behaves at the moment."""

    def __init__(self, pulse: Pulse | None = None) -> None:
        self._pulse = pulse or Pulse()
        self.requests: list[str] = []
        self._at: dict[float, list[str]] = {}
        self._sorted = 0
        """How many of the requests are in `_at`, by their data time: of thousands each is read
        once, however often somebody looks."""
        self.links: list[ServerConnection] = []
        self.paths: list[str] = []
        """The path of every connection that came."""
        self.answer: Answer = echo
        self.up = True
        """False: connections are refused with 503."""
        self.stays = True
        """False: connections are granted, and closed at once."""
        self.reading = asyncio.Event()
        """Cleared: nothing is read any more."""
        self.reading.set()

    @property
    def linked(self) -> bool:
        """Whether the backend is connected."""
        return bool(self.links)

    def behave(self) -> None:
        """Be a healthy service again."""
        self.answer, self.up, self.stays = echo, True, True
        self.reading.set()

    async def drop(self) -> None:
        """Cut every connection, without a close frame."""
        for link in self.links.copy():
            link.transport.abort()
            await link.wait_closed()

    async def fall(self) -> None:
        """Be down until :meth:`behave`."""
        self.up = False
        await self.drop()

    async def say(self, text: str | bytes) -> None:
        """Send a message that nobody asked for."""
        for link in self.links:
            await link.send(text)

    def requests_at(self, sec: float) -> list[str]:
        """Return the requests for one moment of data time."""
        while self._sorted < len(self.requests):
            request = self.requests[self._sorted]
            self._sorted += 1
            if (seen := reading(request)) and isinstance(seen.sec, int | float):
                self._at.setdefault(seen.sec, []).append(request)
        return self._at.get(sec, [])

    async def _converse(self, link: ServerConnection) -> None:
        if not self.stays:
            return
        self.links.append(link)
        try:
            while True:
                await self.reading.wait()
                message = await link.recv()
                request = message if isinstance(message, str) else message.decode(errors="replace")
                self.requests.append(request)
                self._pulse.beat()
                for reply in self.answer(request):
                    await link.send(reply)
        except ConnectionClosed:
            pass
        finally:
            self.links.remove(link)

    def _refuse(self, link: ServerConnection, request: Request) -> Response | None:
        self.paths.append(request.path)
        return None if self.up else link.respond(503, "down on purpose\n")

    @asynccontextmanager
    async def serving(self, host: str, port: int) -> AsyncIterator[Server]:
        """Listen for the backend.

        Raises
        ------
        ConfigError
            When the address cannot be bound.
        """
        try:
            server = await serve(
                self._converse,
                sock=_listener(host, port),
                process_request=self._refuse,
                compression=None,
                max_size=REQUEST_MAX_BYTES,
                close_timeout=1.0,
                ping_interval=None,
            )
        except OSError as error:
            reason = f"cannot listen: {why_not_bound(error)}"
            raise ConfigError(f"--ml-listen {host}:{port}", reason) from error
        async with server:
            try:
                yield server
            finally:
                await self.drop()


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        with contextlib.suppress(AttributeError, OSError):  # where the system knows it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
