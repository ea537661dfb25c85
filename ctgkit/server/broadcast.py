"""Viewers: every one gets every result, none waits for another.

Each viewer has a queue of references to frames that were serialised once. One writer per viewer
takes the whole queue and writes it at once. A queue that is full means a viewer that doesn't keep
up: it is closed with 1013, what it missed is counted, and the others notice nothing.
"""

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from ctgkit.frames import send_frames, text_frame, write_frames_unless_full

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
        self.wake = asyncio.Event()
        self.overflow = asyncio.Event()

    def flush(self) -> None:
        """Write the queue now, unless the viewer is behind or still gets the past."""
        if self.limit == QUEUE_MAX and write_frames_unless_full(self.connection, self.queue):
            self.queue.clear()


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
        for viewer in self._viewers:
            if len(viewer.queue) + len(frames) > viewer.limit:
                viewer.flush()  # a burst of ours is not the viewer's slowness
            if viewer.overflow.is_set() or len(viewer.queue) + len(frames) > viewer.limit:
                self._dropped["viewer"] += len(frames)
                viewer.overflow.set()
            else:
                viewer.queue.extend(frames)
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
                    viewer.limit = QUEUE_MAX
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
