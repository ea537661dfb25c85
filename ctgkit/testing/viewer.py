"""A viewer of a test: what it got, and waiting for more."""

import asyncio
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from ctgkit.testing.seen import Message, Seen, shown

TIMEOUT_S = 10.0
"""How long to wait for what is expected, unless told, seconds."""


class Viewer:
    """Somebody who watches a backend. Made by :meth:`ctgkit.testing.parties.Parties.viewer`."""

    def __init__(self, connection: ClientConnection, sensor_ids: frozenset[str]) -> None:
        self._connection, self._sensor_ids = connection, sensor_ids
        self._clock = asyncio.get_running_loop().time
        self._seen = Seen(self._clock())
        self._moved = asyncio.Event()
        self._closed = ""

    @property
    def messages(self) -> list[Any]:
        """What it got since it connected, or since :meth:`forget`: decoded JSON, oldest first."""
        return self._seen.contents

    def forget(self) -> None:
        """Begin anew: :meth:`wait_for` considers only what comes from now on."""
        self._seen.forget(self._clock())

    async def wait_for(
        self,
        predicate: Callable[[Any], object] = lambda message: True,
        timeout_s: float = TIMEOUT_S,
        *,
        count: int = 1,
    ) -> Any:
        """Wait until *count* messages satisfy *predicate*; those seen before count too.

        Parameters
        ----------
        predicate : callable
            Message (decoded JSON) -> whether it is meant.
        timeout_s : float
            How long to wait, seconds.
        count : int
            How many of them, >= 1.

        Returns
        -------
        Any
            The last of them.

        Raises
        ------
        AssertionError
            When they don't come in time, or the connection ends. The text shows what was seen.
        """
        __tracebackhide__ = True
        found = position = 0
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    fresh, position = self._seen.after(position), self._seen.total
                    for message in fresh:
                        found += _holds(predicate, message)
                        if found == count:
                            return message
                    if self._closed:
                        break
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            pass
        ended = self._closed or f"not seen within {timeout_s:g} s"
        wanted = f"{count} messages (of which {found} came)" if count > 1 else "a message"
        raise AssertionError(
            f"{wanted} for which the predicate holds: {ended}\n{self._seen.report(self._clock())}"
        )

    async def read(self) -> None:
        """Collect what comes until the connection ends."""
        try:
            while True:
                text = await self._connection.recv()
                message = Message.of(self._clock(), text)
                if message.sensor_id is None or message.sensor_id in self._sensor_ids:
                    self._seen.add(message)
                    self._moved.set()
        except ConnectionClosed as closed:
            self._closed = f"the backend ended the connection ({closed})"
            self._moved.set()


def _holds(predicate: Callable[[Any], object], message: Any) -> bool:
    try:
        return bool(predicate(message))
    except Exception as error:
        error.add_note(f"the predicate was asked about {shown(message)}")
        raise
