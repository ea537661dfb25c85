"""Connections whose handshake isn't done: whoever says nothing can't keep the others out."""

from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from websockets.asyncio.server import Server, ServerConnection

NEWCOMERS_MAX = 512
"""Connections that haven't finished their handshake, at a time, before slow ones have to go."""
PATIENCE_S = 1.0
"""How long a handshake may take even then, seconds: a thousand sensors may come back at once."""


class Newcomer(ServerConnection):
    """A connection that makes room for others if it doesn't come to the point.

    Otherwise whoever opens connections without saying anything could hold any number of them, for
    as long as a handshake may take.
    """

    _waiting: ClassVar[WeakKeyDictionary[Server, dict[ServerConnection, float]]] = (
        WeakKeyDictionary()
    )
    """Per server: who hasn't finished, and since when (the loop's time), oldest first."""

    async def handshake(self, *arguments: Any, **more: Any) -> None:
        """Perform the opening handshake."""
        waiting = self._waiting.setdefault(self.server, {})
        now_s = self.loop.time()
        while len(waiting) >= NEWCOMERS_MAX:
            slowest, since_s = next(iter(waiting.items()))
            if now_s - since_s < PATIENCE_S:
                break
            del waiting[slowest]
            slowest.transport.abort()
        waiting[self] = now_s
        try:
            await super().handshake(*arguments, **more)
        finally:
            waiting.pop(self, None)
