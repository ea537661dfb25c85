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
import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from ctgkit.errors import excerpt
from ctgkit.net.frames import send_frames, text_frame, write_frames_unless_full
from ctgkit.net.newcomers import BoundedConnection

if TYPE_CHECKING:
    from ctgkit.server.door import Part

log = logging.getLogger(__name__)

QUEUE_MAX = 256
"""Results waiting for one viewer (specification: 256)."""
QUEUE_MAX_WHILE_BACKFILLING = 65_536
"""The same while a viewer is still being given the past: references, so 0.5 MB."""
QUEUE_MAX_BYTES = 4 << 20
"""Bytes waiting for one viewer, shared with the others: ten times what 256 results usually are."""
QUEUE_MAX_BYTES_WHILE_BACKFILLING = 16 << 20
"""The same while a viewer is still being given the past: 65,536 usual results."""
WRITE_MAX_BYTES = 1 << 18
"""Bytes written to one viewer before it has to take them, or a single result."""
TAKES_WITHIN_S = 30.0
"""How long a viewer may take to receive what is written at a time, seconds."""
FAREWELL_S = 1.0
"""How long a viewer that doesn't read may take to receive its close frame, seconds."""


Shows = Callable[[str], bool]
"""Whether a viewer is shown a sensor's results."""


class _Viewer:
    """One connected viewer and its queue."""

    def __init__(self, connection: BoundedConnection, shows: Shows | None) -> None:
        self.connection, self.shows = connection, shows
        self.queue: deque[bytes] = deque()
        self.queued_bytes = 0
        self.limit, self.limit_bytes = (
            QUEUE_MAX_WHILE_BACKFILLING,
            QUEUE_MAX_BYTES_WHILE_BACKFILLING,
        )
        self.idle = False
        """Whether its writer has nothing left to write, so that nothing can be overtaken."""
        self.wake = asyncio.Event()
        self.overflow = asyncio.Event()


class Broadcast:
    """All viewers of one backend.

    Parameters
    ----------
    dropped, closed : Counter
        Count the results that a viewer missed, under ``viewer``, and those who were closed for
        that, under ``slow``.
    """

    def __init__(self, dropped: Counter[str], closed: Counter[str]) -> None:
        self._dropped, self._closed = dropped, closed
        self._viewers: set[_Viewer] = set()

    def __len__(self) -> int:
        return len(self._viewers)

    def depth(self) -> int:
        """Return the length of the longest queue."""
        return max((len(v.queue) for v in self._viewers), default=0)

    def publish(self, texts: Sequence[tuple[str, bytes]]) -> None:
        """Queue results, each after its sensor's id, for every viewer; never waits."""
        if not self._viewers or not texts:
            return
        frames = [text_frame(text) for _, text in texts]
        joined = b"".join(frames)
        for viewer in self._viewers:
            if viewer.shows is None:
                self._give(viewer, frames, joined)
                continue
            shows = viewer.shows
            part = [f for f, (sensor, _) in zip(frames, texts, strict=True) if shows(sensor)]
            if part:
                self._give(viewer, part, b"".join(part))

    def _give(self, viewer: _Viewer, frames: list[bytes], joined: bytes) -> None:
        if viewer.idle and write_frames_unless_full(viewer.connection, (joined,)):
            return
        if (
            viewer.overflow.is_set()
            or len(viewer.queue) + len(frames) > viewer.limit
            or (viewer.queue and viewer.queued_bytes + len(joined) > viewer.limit_bytes)
        ):
            self._dropped["viewer"] += len(frames)
            viewer.overflow.set()
        else:
            viewer.queue.extend(frames)
            viewer.queued_bytes += len(joined)
            viewer.idle = False
            viewer.wake.set()

    async def serve(
        self,
        connection: BoundedConnection,
        past: AsyncIterator[list[bytes]],
        shows: Shows | None = None,
    ) -> None:
        """Feed one viewer until it leaves or falls behind; what it sends is ignored.

        Parameters
        ----------
        connection : BoundedConnection
            Open.
        past : async iterator of list of bytes
            Results of the recent past, sent first; what is published meanwhile waits.
        shows : callable or None
            Which sensors it is shown; None: all.
        """
        viewer = _Viewer(connection, shows)
        connection.message_min_bytes = math.inf  # it has no reason to send anything
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
                await _send(viewer, [text_frame(text) for text in texts])
            while True:
                if viewer.queue:
                    frames, size = [], 0
                    while viewer.queue and size < WRITE_MAX_BYTES:
                        frames.append(viewer.queue.popleft())
                        size += len(frames[-1])
                    viewer.queued_bytes -= size
                    await _send(viewer, frames)
                else:
                    viewer.limit, viewer.limit_bytes = QUEUE_MAX, QUEUE_MAX_BYTES
                    viewer.idle = True
                    viewer.wake.clear()
                    await viewer.wake.wait()

    async def _evict(self, viewer: _Viewer) -> None:
        """Close a viewer whose queue overflowed, even if it never reads again."""
        await viewer.overflow.wait()
        self._closed["slow"] += 1
        log.warning("viewer closed: it doesn't keep up peer=%s", viewer.connection.remote_address)
        try:
            async with asyncio.timeout(FAREWELL_S):
                await viewer.connection.close(CloseCode.TRY_AGAIN_LATER, "too slow")
        except TimeoutError:
            pass  # close() waits for room in a full buffer: only abort() ends that
        finally:
            viewer.connection.transport.abort()


async def _send(viewer: _Viewer, frames: list[bytes]) -> None:
    """Write frames; a viewer that doesn't take them for long is treated as one that is behind."""
    try:
        async with asyncio.timeout(TAKES_WITHIN_S):
            await send_frames(viewer.connection, frames)
    except TimeoutError:
        viewer.overflow.set()


def shown(part: "Part", beds: Mapping[str, str]) -> Callable[[str], bool]:
    """Return what says whether a sensor belongs to the part that a viewer wants."""
    if unknown := sorted(part.beds.difference(beds.values())):
        log.info("a viewer asked for bed %s, which no sensor has", excerpt(unknown[0]))
    if strange := sorted(part.sensors.difference(beds)):
        log.info("a viewer asked for sensor %s, which is not known", strange[0])
    return lambda sensor_id: part.shows(sensor_id, beds.get(sensor_id))
