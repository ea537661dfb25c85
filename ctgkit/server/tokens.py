"""Who shows a token: remote viewers in their first message; wrong ones wait for the answer."""

import asyncio
import time
from collections.abc import Callable

import msgspec
from websockets.exceptions import ConnectionClosed

from ctgkit.net.refusals import log_refusal
from ctgkit.net.server import Guarded
from ctgkit.server.door import Attempts, Gate

CLOSE_UNAUTHORIZED = 4401
TOKEN_TIMEOUT_S = 5.0
"""How long a viewer may take to send the access token, seconds."""
WAITING_MAX = 256
"""Viewers that haven't sent it yet, at a time."""


class Tokens:
    """Asks for tokens, and slows down who tries them.

    Parameters
    ----------
    gate : Gate
        Knows which are right.
    on_refused : callable
        Called with each viewer's connection whose token was wrong or missing.
    """

    def __init__(self, gate: Gate, on_refused: Callable[[Guarded], None]) -> None:
        self._gate, self._on_refused = gate, on_refused
        self._attempts = Attempts()
        self._waiting = 0

    @property
    def are_too_many(self) -> bool:
        """Whether no more viewers may be asked now."""
        return self._waiting >= WAITING_MAX

    async def is_shown(self, connection: Guarded) -> bool:
        """Read a remote viewer's access token, which must be its first message."""
        self._waiting += 1
        try:
            async with asyncio.timeout(TOKEN_TIMEOUT_S):
                first = msgspec.json.decode(await connection.recv(), type=dict[str, str])
            right = self._gate.is_viewer_token(first.get("token", ""))
            await self.slow_down(connection, right)
        except (TimeoutError, ConnectionClosed, msgspec.MsgspecError):
            right = False  # whatever it was, it was no token
        finally:
            self._waiting -= 1
        if not right:
            self._on_refused(connection)
            log_refusal(connection, CLOSE_UNAUTHORIZED, "viewer", "first message is not a token")
            await connection.close(CLOSE_UNAUTHORIZED, "access token required")
        return right

    async def slow_down(self, connection: Guarded, right: bool | None) -> None:
        """Let who tries tokens wait for the answer."""
        address = str(connection.remote_address[0])
        if pause_s := self._attempts.pause_s(address, right, time.monotonic()):
            await asyncio.sleep(pause_s)
