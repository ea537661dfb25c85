"""Replay in the role of the backend: the recorded viewer stream, played to any frontend."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from ctgkit.clock import utc_timestamp
from ctgkit.net.http import NOT_FOUND, Answer, Asked, json_answer, only
from ctgkit.net.origins import Rules
from ctgkit.net.server import listen, open_server
from ctgkit.recording.format import Line
from ctgkit.server.livepage import page_answers

log = logging.getLogger(__name__)

SEND_TIMEOUT_S = 5.0
"""A viewer that takes nothing for so long is closed with 1013, seconds. Until then the stream waits
for it: a replay has time, and must not lose results at maximal speed."""
VIEWERS_MAX = 1000


@dataclass(slots=True)
class StageCounts:
    """What was played."""

    results: int = 0
    viewers: int = 0
    too_slow: int = 0


class Stage:
    """A backend that only plays a stream.

    Parameters
    ----------
    speed : float
        Recorded seconds per second, > 0; ``inf`` for as fast as the viewers take it.
    """

    def __init__(self, speed: float) -> None:
        self.counts = StageCounts()
        self._page = page_answers(ask_token=False)
        self._speed = speed
        self._viewers: set[ServerConnection] = set()
        self._came = asyncio.Event()

    @contextlib.asynccontextmanager
    async def serve(self, host: str, port: int) -> AsyncIterator[str]:
        """Listen; yield the address, ``http://HOST:PORT``.

        Raises
        ------
        Unreachable
            When the address cannot be bound.
        """
        sockets = listen(host, port)
        async with await open_server(self._attend, self._answer, sockets, rules=Rules()) as server:
            yield server.url("http")

    def _answer(self, _connection: ServerConnection, asked: Asked) -> Answer | None:
        if asked.path in ("/ws", "/ws/"):
            return None
        if asked.path != "/api/health" and asked.path not in self._page:
            return NOT_FOUND
        if not asked.reads:
            return only("GET", "HEAD")
        if asked.path in self._page:
            return self._page[asked.path]
        return json_answer(
            {
                "status": "ok",
                "service": "ctgkit replay (a recording, not a medical device)",
                "timestamp": utc_timestamp(),
            }
        )

    async def _attend(self, connection: ServerConnection) -> None:
        if len(self._viewers) >= VIEWERS_MAX:
            await connection.close(CloseCode.TRY_AGAIN_LATER, "too many viewers")
            return
        self._viewers.add(connection)
        self.counts.viewers += 1
        self._came.set()
        try:
            async for _ in connection:
                pass  # what a viewer sends is ignored
        except ConnectionClosed:
            pass
        finally:
            self._viewers.discard(connection)

    async def play(self, lines: Iterable[Line], stop: asyncio.Event) -> None:
        """Wait for a first viewer, then play to whoever watches, to the end or until *stop*."""
        while not (self._came.is_set() or stop.is_set()):
            await _wait(stop, self._came)
        zero_s = base_s = math.nan
        for line in lines:
            if math.isnan(zero_s):
                zero_s, base_s = time.monotonic(), line.t_s
            due_s = zero_s + (line.t_s - base_s) / self._speed
            if due_s > time.monotonic():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(due_s - time.monotonic()):
                        await stop.wait()
            if stop.is_set():
                return
            self.counts.results += 1
            await self._show(line)

    async def _show(self, line: Line) -> None:
        viewers = list(self._viewers)
        if not viewers:
            await asyncio.sleep(0)  # at maximal speed nothing else would let others have a turn
        if len(viewers) == 1:
            await self._send(viewers[0], line)
            return
        async with asyncio.TaskGroup() as tasks:
            for viewer in viewers:
                tasks.create_task(self._send(viewer, line))

    async def _send(self, viewer: ServerConnection, line: Line) -> None:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await viewer.send(line.frame, text=line.is_text)
        except ConnectionClosed:
            self._viewers.discard(viewer)
        except TimeoutError:
            self._viewers.discard(viewer)
            self.counts.too_slow += 1
            log.warning("viewer closed: it doesn't keep up peer=%s", viewer.remote_address)
            viewer.transport.abort()


async def _wait(*events: asyncio.Event) -> None:
    """Wait for the first of some events."""
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(event.wait()) for event in events]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
