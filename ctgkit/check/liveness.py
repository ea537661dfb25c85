"""Connections for keep-alive checks: one notes pings, one leaves them unanswered."""

import asyncio
import contextlib
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from ctgkit.check.checks import Mismatch

PING_WITHIN_S = 31.0
"""Longest wait for a server's ping (C-2.2), seconds, with a second for the way."""
GONE_WITHIN_S = 55.0
"""Longest time until a peer that leaves pings unanswered is closed (C-2.3), seconds: 30 for the
ping, 20 without its pong, 5 for the way. Ours needs 40."""
SILENT_S = 50.0
"""How long one that answers and says nothing is watched (C-2.4), seconds; a check has 60."""
CATCH_UP_S = 2.0
"""Longest wait for the answer that ends such a time, seconds."""


class Pinged(ClientConnection):
    """A connection that notes when it is pinged."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.pinged = asyncio.Event()

    def process_event(self, event: Any) -> None:
        """Note pings; the library has answered them by now."""
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.pinged.set()
        super().process_event(event)


class Mute(Pinged):
    """A connection that answers no ping, as of a sensor that never thought of them."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        send_frame = self.protocol.send_frame

        def send(frame: Frame) -> None:
            if frame.opcode is not Opcode.PONG:
                send_frame(frame)

        self.protocol.send_frame = send  # type: ignore[method-assign]


async def answers_pings(connection: Connection, timeout_s: float) -> None:
    """Raise a Mismatch unless a ping comes back with its payload."""
    try:
        async with asyncio.timeout(timeout_s):
            await (await connection.ping(b"ctgkit \x00\xff"))  # a pong with another payload is none
    except TimeoutError:
        raise Mismatch("a pong with the ping's payload", f"none within {timeout_s:g} s") from None
    except ConnectionClosed as closed:
        raise Mismatch("a pong with the ping's payload", str(closed)) from None


async def _catch_up(connection: Connection) -> None:
    """Read what the server sent until now, for as long as it answers.

    A checker whose machine stood still for some seconds finds its own deadline passed and what
    came meanwhile unread: it would judge by what it hasn't seen.
    """
    with contextlib.suppress(TimeoutError, ConnectionClosed):
        async with asyncio.timeout(CATCH_UP_S):
            await (await connection.ping())


async def is_pinged(connection: Pinged) -> None:
    """Raise a Mismatch unless the server pings."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PING_WITHIN_S):
            await connection.pinged.wait()
    if not connection.pinged.is_set():
        await _catch_up(connection)
    if not connection.pinged.is_set():
        raise Mismatch("a ping every 30 s", f"none in {PING_WITHIN_S:g} s")


async def is_closed(connection: Mute) -> None:
    """Raise a Mismatch unless the server closes a peer that answers no ping."""
    wanted = "closed with 1011, as no ping was answered"
    code = await _code_within(connection, GONE_WITHIN_S)
    if code is None:
        pinged = "pinged" if connection.pinged.is_set() else "never pinged"
        raise Mismatch(wanted, f"open after {GONE_WITHIN_S:g} s, {pinged}")
    if code != 1011:
        raise Mismatch(wanted, f"closed with {code}")


async def stays_open(connection: ClientConnection) -> None:
    """Raise a Mismatch when the server closes a peer that answers pings and says nothing."""
    code = await _code_within(connection, SILENT_S)
    if code is not None:
        raise Mismatch("a silent peer stays connected", f"closed with {code}")


async def _code_within(connection: Connection, seconds: float) -> int | None:
    """Read for so long; return what the server closed with, None if it didn't."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                await connection.recv()
    except TimeoutError:
        await _catch_up(connection)
    except ConnectionClosed:
        return connection.close_code or 1006
    said = connection.protocol.close_rcvd  # it closes, and leaves its socket open for now
    return said.code if said else connection.close_code
