"""Viewers: every one gets every result, none waits for another.

Results that come together are serialised and joined once, and written at once to every viewer
that keeps up. For one that is behind, or still gets the past, references to the frames queue up;
its writer takes the whole queue at once when there is room. A queue that is full means a viewer
that doesn't keep up: it is closed with 1013, what it missed is counted, and the others notice
nothing.
"""

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from ctgkit.net.frames import send_frames, text_frame, write_frames_unless_full

log = logging.getLogger(__name__)

QUEUE_MAX = 256
"""Results waiting for one viewer (specification: 256)."""
QUEUE_MAX_WHILE_BACKFILLING = 65_536
"""The same while a viewer is still being given the past: references, so some 5 MB at most."""
FAREWELL_S = 1.0
"""How long a viewer that doesn't read may take to receive its close frame, seconds."""


class _Viewer:
    """One connected viewer and its queue."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.queue: deque[bytes] = deque()
        self.limit = QUEUE_MAX_WHILE_BACKFILLING
        self.idle = False
        """Whether its writer has nothing left to write, so that nothing can be overtaken."""
        self.wake = asyncio.Event()
        self.overflow = asyncio.Event()


class Broadcast:
    """All viewers of one backend.

    Parameters
    ----------
    dropped : Counter
        Counts the results that a viewer missed, under ``viewer``.
    """

    def __init__(self, dropped: Counter[str]) -> None:
        self._dropped = dropped
        self._viewers: set[_Viewer] = set()

    def __len__(self) -> int:
        return len(self._viewers)

    def depth(self) -> int:
        """Return the length of the longest queue."""
        return max((len(v.queue) for v in self._viewers), default=0)

    def publish(self, texts: Sequence[bytes]) -> None:
        """Queue results for every viewer; never waits."""
        if not self._viewers:
            return
        frames = [text_frame(text) for text in texts]
        joined = (b"".join(frames),)
        for viewer in self._viewers:
            if viewer.idle and write_frames_unless_full(viewer.connection, joined):
                continue
            if viewer.overflow.is_set() or len(viewer.queue) + len(frames) > viewer.limit:
                self._dropped["viewer"] += len(frames)
                viewer.overflow.set()
            else:
                viewer.queue.extend(frames)
                viewer.idle = False
                viewer.wake.set()

    async def serve(self, connection: ServerConnection, past: AsyncIterator[list[bytes]]) -> None:
        """Feed one viewer until it leaves or falls behind; what it sends is ignored.

        Parameters
        ----------
        connection : ServerConnection
            Open.
        past : async iterator of list of bytes
            Results of the recent past, sent first; what is published meanwhile waits.
        """
        viewer = _Viewer(connection)
        self._viewers.add(viewer)
        try:
            async with asyncio.TaskGroup() as tasks:
                parts = (self._write(viewer, past), self._evict(viewer))
                running = [tasks.create_task(part) for part in parts]
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        await connection.recv()
                for task in running:
                    task.cancel()
        finally:
            self._viewers.discard(viewer)

    async def _write(self, viewer: _Viewer, past: AsyncIterator[list[bytes]]) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for texts in past:
                await send_frames(viewer.connection, [text_frame(text) for text in texts])
            while True:
                if viewer.queue:
                    frames = list(viewer.queue)
                    viewer.queue.clear()
                    await send_frames(viewer.connection, frames)
                else:
                    viewer.limit, viewer.idle = QUEUE_MAX, True
                    viewer.wake.clear()
                    await viewer.wake.wait()

    async def _evict(self, viewer: _Viewer) -> None:
        """Close a viewer whose queue overflowed, even if it never reads again."""
        await viewer.overflow.wait()
        log.warning("viewer closed: it doesn't keep up peer=%s", viewer.connection.remote_address)
        try:
            async with asyncio.timeout(FAREWELL_S):
                await viewer.connection.close(CloseCode.TRY_AGAIN_LATER, "too slow")
        except TimeoutError:
            pass  # close() waits for room in a full buffer: only abort() ends that
        finally:
            viewer.connection.transport.abort()
