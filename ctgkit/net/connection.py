"""What a connection may cost, whoever it is: frames without end, handshakes, unread answers.

The library parses all that one read brought, up to 256 KiB, before anybody else gets a turn: 43,000
pings are most of a second. Here a read is parsed in slices; after so many frames, or while nobody
takes the messages, the rest waits and the socket isn't read.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, ClassVar, Self
from weakref import WeakKeyDictionary

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import Server, ServerConnection
from websockets.frames import DATA_OPCODES, CloseCode, Frame, Opcode
from websockets.http11 import Request, Response

log = logging.getLogger(__name__)

Answerer = Callable[[ServerConnection, Request], Awaitable[Response | None] | Response | None]

FRAMES_PER_TURN = 64
"""Frames of one connection before the others get their turn. Chosen: half a millisecond."""
SLICE_BYTES, SLICE_MAX_BYTES = 512, 8192
"""What is parsed at a time: at first 85 of the smallest frames, by which a turn may exceed its
bound; more as long as that is few frames."""
UNREAD_MAX_BYTES = 1 << 18
"""Messages that wait for whoever reads the connection before its socket isn't read any more."""
LARGE_BYTES = 1024
"""Messages of this size are worth adding up."""
IDLE_FRAMES_MAX, IDLE_FRAMES_PER_S = 1_000, 100.0
"""Frames that say nothing which a peer may send at once, and per second in the long run. Chosen:
a ping per sample at 8.33 Hz is twelve times less, and a thousand cost 5 ms."""
MESSAGE_MIN_BYTES = 16
"""A data frame below this says nothing: the shortest message of the protocol is longer."""
FLOODER_CLOSES_S = 1.0
"""How long a peer that is closed for flooding may take to hang up, seconds."""
NEWCOMERS_MAX = 512
"""Connections that haven't finished their handshake, at a time, before slow ones have to go."""
REQUEST_MAX_BYTES = 1 << 15
"""The request that opens a connection, headers included: the longest that we know has 2 KiB, and
half a thousand unfinished ones may wait."""
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
)
PATIENCE_S = 1.0
"""How long a handshake may take even then, seconds: a thousand sensors may come back at once."""
UNREAD_PONGS_MAX_BYTES = 1 << 20
"""Answers to pings that may wait for a peer to read them. Chosen: a ping per 20 s is usual."""


class FairConnection(Connection):
    """A connection whose work per turn of the event loop is bounded in frames, on both sides.

    A peer that sends pings, pongs, tiny messages or tiny fragments beyond a generous budget is
    closed with 1008; one that sends pings and doesn't read the pongs is dropped.
    """

    message_min_bytes: float = MESSAGE_MIN_BYTES
    """Data frames below this count against the budget; infinite where nothing is expected."""
    on_writable: Callable[[], None] | None = None
    """Called when a peer that was behind has read what it was sent."""
    closings: Counter[str] | None = None
    """Counts connections closed for what their peers did, under ``flood``."""

    _rest: bytes = b""
    """Of a read: what isn't parsed yet, from `_rest_at` on."""
    _rest_at = 0
    _slice_bytes = SLICE_BYTES
    _turn: asyncio.Handle | None = None
    """The next turn, when one is due."""
    _reads = True
    """Whether the transport reads."""
    _flooded = False
    _large = False
    _idle_frames = 0
    _idle_frames_left: float = IDLE_FRAMES_MAX
    _idle_frames_at_s = 0.0
    _unread_pongs = 0
    """Bytes that were answered here since the peer had read everything."""

    @classmethod
    def counting(cls, closings: Counter[str]) -> type[Self]:
        """Return a class of such connections that count in *closings*."""
        return type(cls.__name__, (cls,), {"closings": closings})

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the queue of messages hold back the parser, not only the socket."""
        super().connection_made(transport)
        self.recv_messages.pause = _nothing
        self.recv_messages.resume = self._next_turn

    def data_received(self, data: bytes) -> None:
        """Parse what came, or the first part of it."""
        if self._flooded:
            return
        if self._rest:  # TLS delivers what it had decrypted in spite of the pause
            self._rest = self._rest[self._rest_at :] + data
            self._rest_at = 0
        else:
            self._rest = data
            self._go_on()

    def _next_turn(self) -> None:
        if self._turn is None:
            self._turn = self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Parse as much as one turn allows; read on when nothing is left."""
        self._turn = None
        rest, at, frames, size = self._rest, self._rest_at, 0, self._slice_bytes
        while at < len(rest) and frames < FRAMES_PER_TURN and not self._must_wait():
            end = self._end_of_slice(rest, at, size)
            count = self._parse(rest[at:end])
            if count < FRAMES_PER_TURN // 4 and end == at + size <= len(rest):
                size = min(2 * size, SLICE_MAX_BYTES)
            elif count > FRAMES_PER_TURN:
                size = SLICE_BYTES
            at, frames = end, frames + count
        self._slice_bytes = size
        if self._flooded or at >= len(rest):
            self._rest, self._rest_at = b"", 0
        else:
            self._rest, self._rest_at = rest, at
        if self._rest and not self._must_wait():
            self._next_turn()
        reads = not (self._rest or (self.recv_messages.paused and not self._flooded))
        if reads is not self._reads and not self.transport.is_closing():
            self._reads = reads
            (self.transport.resume_reading if reads else self.transport.pause_reading)()

    def _must_wait(self) -> bool:
        """Return whether nothing more may be parsed before somebody takes what was."""
        return self.recv_messages.paused and not self._flooded

    def _end_of_slice(self, data: bytes, at: int, size: int) -> int:
        return at + size

    def _parse(self, data: bytes) -> int:
        """Let the library parse *data*; return how many frames that were."""
        protocol = self.protocol
        protocol.receive_data(data)
        events = protocol.events_received()
        if protocol.writes:
            self._answer()
        if protocol.close_expected() and self.close_deadline is None and self.close_timeout:
            self.close_deadline = self.loop.time() + self.close_timeout
        for event in events:
            self.process_event(event)
        if self._large:
            self._large = False
            self._add_up()
        if self._idle_frames:
            self._spend()
        return len(events)

    def process_event(self, event: Any) -> None:
        """Pass a frame on, and note what it is worth."""
        if type(event) is not Frame:
            super().process_event(event)
        elif event.opcode in DATA_OPCODES:
            self.recv_messages.put(event)
            size = len(event.data)
            if size < self.message_min_bytes:
                self._idle_frames += 1
            elif size >= LARGE_BYTES:
                self._large = True
        elif event.opcode is not Opcode.CLOSE:
            self._idle_frames += 1
            if event.opcode is Opcode.PONG:
                self.acknowledge_pings(bytes(event.data))

    def _answer(self) -> None:
        """Write what the protocol answers by itself; drop a peer that reads none of it."""
        size = sum(map(len, self.protocol.writes))
        try:
            self.send_data()
        except Exception as error:  # as the library does: the connection will be lost
            self.set_connection_exc(error)
        if not self.transport.get_write_buffer_size():
            self._unread_pongs = 0
            return
        self._unread_pongs += size
        if self._unread_pongs > UNREAD_PONGS_MAX_BYTES:
            self.transport.abort()

    def send_data(self) -> None:
        """Write what is to be sent, in one call."""
        writes = self.protocol.writes
        if len(writes) > 2:
            end = [writes.pop()] if not writes[-1] else []  # b"" half-closes
            writes[:] = [b"".join(writes), *end]
        super().send_data()

    def _add_up(self) -> None:
        """Stop parsing when the messages that wait are too large together."""
        messages = self.recv_messages
        if sum(len(frame.data) for frame in messages.frames.queue) > UNREAD_MAX_BYTES:
            messages.paused = True  # the next one that is taken makes it look again

    def _spend(self) -> None:
        """Take frames that say nothing from the budget; close when it is used up."""
        now_s = self.loop.time()
        since_s, self._idle_frames_at_s = now_s - self._idle_frames_at_s, now_s
        left = min(self._idle_frames_left + since_s * IDLE_FRAMES_PER_S, IDLE_FRAMES_MAX)
        self._idle_frames_left = left = left - self._idle_frames
        self._idle_frames = 0
        if left < 0 and not self._flooded:
            self._flooded = True
            self.protocol.fail(CloseCode.POLICY_VIOLATION, "too many frames that say nothing")
            self._answer()
            self.loop.call_later(FLOODER_CLOSES_S, self.transport.abort)
            if self.closings is not None:
                self.closings["flood"] += 1
                if self.closings["flood"].bit_count() > 1:  # 1st, 2nd, 4th …: the log isn't flooded
                    return
            log.warning("closed with 1008: floods with empty frames peer=%s", self.remote_address)

    def eof_received(self) -> None:
        """Parse what still waits, then end (only TLS ends while something waits)."""
        rest, self._rest = self._rest[self._rest_at :], b""
        for at in range(0, len(rest), SLICE_BYTES):
            if not self._flooded:
                self._parse(rest[at : at + SLICE_BYTES])
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what wasn't parsed."""
        self._rest, self._rest_at = b"", 0
        self.recv_messages.resume = _nothing
        if self._turn is not None:
            self._turn.cancel()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """Tell whoever waits that the peer reads again."""
        super().resume_writing()
        if self.on_writable is not None:
            self.on_writable()


def _nothing() -> None:
    pass


class BoundedClient(FairConnection, ClientConnection):
    """A client's connection, to a server that isn't trusted to leave us time for others."""


class BoundedConnection(FairConnection, ServerConnection):
    """A server's connection whose peer can't make it hold any amount of anything.

    One that doesn't finish its handshake makes room for others; otherwise whoever says nothing
    could hold any number of connections, for as long as a handshake may take. One that breaks its
    connection while its request is answered is dropped. What comes behind a request is parsed when
    the request is answered.
    """

    _waiting: ClassVar[WeakKeyDictionary[Server, dict[ServerConnection, float]]] = (
        WeakKeyDictionary()
    )
    """Per server: who hasn't finished, and since when (the loop's time), oldest first."""
    _request_bytes = 0

    async def handshake(
        self, process_request: Answerer | None = None, *arguments: Any, **more: Any
    ) -> None:
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
            answer = process_request and _unless_broken(process_request)
            await super().handshake(answer, *arguments, **more)
        finally:
            waiting.pop(self, None)
            if self._rest:
                self._next_turn()

    def _must_wait(self) -> bool:
        return super()._must_wait() or (self.request is not None and self.response is None)

    def _parse(self, data: bytes) -> int:
        """Let the library parse *data*, as long as a request isn't too large."""
        if self.request is None:
            self._request_bytes += len(data)
            if self._request_bytes > REQUEST_MAX_BYTES:
                self._flooded = True
                self.transport.write(TOO_LARGE)
                self.transport.close()
                return 0
        return super()._parse(data)

    def _end_of_slice(self, data: bytes, at: int, size: int) -> int:
        """Return where the request ends, as long as there is none."""
        if self.request is None and (end := data.find(b"\r\n\r\n", at)) >= 0:
            return min(end + 4, at + size)
        return at + size


def _unless_broken(
    answer: Answerer,
) -> Callable[[ServerConnection, Request], Awaitable[Response | None]]:
    """Wrap a ``process_request``: a peer whose connection broke meanwhile is dropped.

    It half-closed while it was answered, and websockets has then ended its side already: the answer
    would fail an assertion, and log a traceback.
    """

    async def answered(connection: ServerConnection, request: Request) -> Response | None:
        response = answer(connection, request)
        if isawaitable(response):
            response = await response
        if connection.protocol.eof_sent:
            if not connection.transport.is_closing():  # otherwise it was us, or is known already
                log.info(
                    "request dropped: it broke off meanwhile peer=%s", connection.remote_address
                )
            connection.transport.abort()
            await connection.wait_closed()
        return response

    return answered
