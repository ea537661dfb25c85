"""A connection over a bad network: carries out what network faults say, on the bytes themselves.

Everything that a connection writes, pings and closes too, goes through its :class:`Network`; while
that is cut nothing is read either, so that the peer sees what it would see of a real one.
"""

import asyncio
import math
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from websockets.asyncio.connection import Connection

from ctgkit.faults.fault import Impairment

HELD_MAX_BYTES = 256 * 1024
"""Bytes that wait in a bad network before senders wait too. Chosen: above the 128 KiB at which a
fake sensor stops by itself."""


class Network:
    """Stands between a connection and its transport.

    Parameters
    ----------
    transport : asyncio.Transport
        The real one; what isn't done here is done by it.
    connection : Connection
        Whose it is.
    """

    def __init__(self, transport: asyncio.Transport, connection: Connection) -> None:
        self._transport, self._connection = transport, connection
        self._loop = connection.loop
        self._way = Impairment()
        self._close_hold_s = 0.0
        self._cuts_handshake = False
        self._queue: deque[tuple[float, bytes | None]] = deque()
        self._held_bytes = 0
        self._last_due_s = -math.inf
        self._stalled_until_s = -math.inf
        self._mute = False
        self._wants_reading = True
        self._release_timer: asyncio.TimerHandle | None = None
        self._break_timer: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()
        self._room.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def open(self, impairment: Impairment) -> None:
        """Prepare for what happens when the connection is opened and closed."""
        self._cuts_handshake = impairment.refuses
        self._close_hold_s = impairment.close_hold_s
        if self._connection.close_timeout is not None:
            self._connection.close_timeout += impairment.close_hold_s

    def impair(self, impairment: Impairment) -> None:
        """Break what is to be broken now, and treat what is written from now on so."""
        self._way = impairment
        self.break_off(impairment)

    def break_off(self, impairment: Impairment) -> None:
        """Break what is to be broken now."""
        match impairment.breaks:
            case "reset":
                self.reset()
            case "half_open":
                self._mute = True
                self._forget()
                self._transport.pause_reading()
                self._after(impairment.break_s, self.reset)
            case "partition":
                self._stalled_until_s = self._loop.time() + impairment.break_s
                self._transport.pause_reading()
                self._after(impairment.break_s, self._heal)

    def _after(self, delay_s: float, end: Callable[[], None]) -> None:
        if self._break_timer is not None:
            self._break_timer.cancel()
        self._break_timer = self._loop.call_later(delay_s, end)

    def write(self, data: bytes) -> None:
        """Write now, later, or never."""
        if self._mute:
            return
        if self._cuts_handshake:
            self._transport.write(data[: len(data) // 2])
            self._transport.close()
            return
        self._put(data)

    def write_eof(self) -> None:
        """Half-close, after what is still held."""
        self._put(None)

    def close(self) -> None:
        """Close, after what is still held."""
        if self._queue:
            self._put(None)
        else:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._forget()
        self._transport.abort()

    def reset(self) -> None:
        """Close at once so that the peer gets a TCP RST."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None and not self._transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def pause_reading(self) -> None:
        """Stop reading."""
        self._wants_reading = False
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again, unless nothing comes through."""
        self._wants_reading = True
        if not self._mute and self._loop.time() >= self._stalled_until_s:
            self._transport.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait, here and below."""
        return self._held_bytes + self._transport.get_write_buffer_size()

    async def room(self) -> None:
        """Wait until more may be written."""
        await self._room.wait()

    def end(self) -> None:
        """Let go: the connection is lost."""
        self._forget()
        if self._break_timer is not None:
            self._break_timer.cancel()

    def _forget(self) -> None:
        if self._release_timer is not None:
            self._release_timer.cancel()
        self._queue.clear()
        self._held_bytes = 0
        self._room.set()

    def _put(self, data: bytes | None) -> None:
        """Write *data*, or half-close for None, when it is due."""
        size, hold_s, now_s = len(data or b""), self._way.hold_s, self._loop.time()
        if self._close_hold_s and self._connection.protocol.close_sent is not None:
            hold_s, self._close_hold_s = hold_s + self._close_hold_s, 0.0
        due_s = max(self._last_due_s, now_s + hold_s) + size / self._way.bytes_per_s
        if not self._queue and due_s <= now_s and now_s >= self._stalled_until_s:
            self._write(data)
            return
        self._last_due_s = due_s
        self._queue.append((due_s, data))
        self._held_bytes += size
        if self._held_bytes > HELD_MAX_BYTES:
            self._room.clear()
        if len(self._queue) == 1:
            self._wait()

    def _wait(self) -> None:
        at_s = max(self._queue[0][0], self._stalled_until_s)
        self._release_timer = self._loop.call_at(at_s, self._release)

    def _release(self) -> None:
        """Write what is due."""
        now_s = self._loop.time()
        while self._queue and max(self._queue[0][0], self._stalled_until_s) <= now_s:
            _, data = self._queue.popleft()
            self._held_bytes -= len(data or b"")
            self._write(data)
        if self._held_bytes <= HELD_MAX_BYTES:
            self._room.set()
        if self._queue:
            self._wait()

    def _write(self, data: bytes | None) -> None:
        if self._transport.is_closing():
            return
        if data is not None:
            self._transport.write(data)
        elif self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _heal(self) -> None:
        if self._wants_reading and not self._mute and not self._transport.is_closing():
            self._transport.resume_reading()


class Impaired(Connection):
    """A connection whose :attr:`network` can be impaired."""

    network: Network
    opening = Impairment()
    """What happens to it when it is opened and closed; set before it is connected."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Put the network between."""
        self.network = Network(cast(asyncio.Transport, transport), self)
        self.network.open(self.opening)
        super().connection_made(cast(asyncio.Transport, self.network))

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the network."""
        self.network.end()
        super().connection_lost(exc)

    async def drain(self) -> None:
        """Wait for the network, then for the transport."""
        await self.network.room()
        await super().drain()
