"""Connections for keep-alive checks: one notes pings, one leaves them unanswered."""

import asyncio
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


async def is_pinged(connection: Pinged) -> None:
    """Raise a Mismatch unless the server pings."""
    try:
        async with asyncio.timeout(PING_WITHIN_S):
            await connection.pinged.wait()
    except TimeoutError:
        raise Mismatch("a ping every 30 s", f"none in {PING_WITHIN_S:g} s") from None


async def is_closed(connection: Mute) -> None:
    """Raise a Mismatch unless the server closes a peer that answers no ping."""
    wanted = "closed with 1011, as no ping was answered"
    try:
        async with asyncio.timeout(GONE_WITHIN_S):
            while True:
                await connection.recv()
    except ConnectionClosed:
        code = connection.close_code or 1006
        if code != 1011:
            raise Mismatch(wanted, f"closed with {code}") from None
    except TimeoutError:
        pinged = "pinged" if connection.pinged.is_set() else "never pinged"
        raise Mismatch(wanted, f"open after {GONE_WITHIN_S:g} s, {pinged}") from None


async def stays_open(connection: ClientConnection) -> None:
    """Raise a Mismatch when the server closes a peer that answers pings and says nothing."""
    try:
        async with asyncio.timeout(SILENT_S):
            while True:
                await connection.recv()
    except TimeoutError:
        return
    except ConnectionClosed:
        code = connection.close_code or 1006
        raise Mismatch("a silent peer stays connected", f"closed with {code}") from None
