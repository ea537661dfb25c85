"""What a connection may cost, whoever it is: frames without end, unread messages and answers.

The library parses all that one read brought, up to 256 KiB, before anybody else gets a turn: 43,000
pings are most of a second. Here a read is cut into frames; after so many, or while nobody takes the
messages, the rest waits and the socket isn't read. Whole messages never reach the library's parser
(:mod:`ctgkit.net.messages`), and :meth:`FairConnection.deliver` hands them over as they come.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Self

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed
from websockets.frames import DATA_OPCODES, CloseCode, Frame, Opcode
from websockets.protocol import CONNECTING, OPEN, Side

from ctgkit.net.budget import FLOODER_CLOSES_S, MESSAGE_MIN_BYTES, UNREAD_PONGS_MAX_BYTES, Budget
from ctgkit.net.messages import only_message, other_frames, whole_messages

log = logging.getLogger(__name__)

Sink = Callable[[list[bytes]], Coroutine[Any, Any, None] | None]
"""Takes messages that came together."""

FRAMES_PER_TURN = 64
"""Frames of one connection before the others get their turn. Chosen: half a millisecond."""
SLICE_BYTES, GROUP_BYTES = 512, 8192
"""What is parsed at a time: before and after the connection is open, when frames aren't measured;
and while it is."""
READ_BYTES = 1 << 16
"""Bytes of a read on asyncio's own loop, which allocates as many for each one, 256 KiB unless told:
more than half of the cost of a small message. uvloop doesn't (and has no such attribute)."""
UNREAD_MAX_BYTES = 1 << 18
"""Messages that wait for whoever reads the connection before its socket isn't read any more."""
LARGE_BYTES = 1024
"""Messages of this size are worth adding up."""


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

    _sink: Sink | None = None
    _held: asyncio.Task[None] | None = None  # what the sink waits for
    _rest: bytes = b""
    """Of a read: what isn't parsed yet, from `_rest_at` on."""
    _rest_at = 0
    _is_cut = False
    """Whether that is the beginning of a frame whose end hasn't come."""
    _owed = 0  # bytes that the library still has to get of a frame
    _longest, _is_masked = 0, False
    """Of messages that may come: how long they are at most, and whether they are masked."""
    _head_tail = b""
    _is_headed = False  # whether the peer's request, or response, has ended
    _turn: asyncio.Handle | None = None  # the next one, when one is due
    _reads = True  # whether the transport does
    _flooded = False
    _large = False
    _idle_frames = 0
    _budget: Budget | None = None
    _unread_pongs = 0
    """Bytes that were answered here since the peer had read everything."""

    @classmethod
    def counting(cls, closings: Counter[str]) -> type[Self]:
        """Return a class of such connections that count in *closings*."""
        return type(cls.__name__, (cls,), {"closings": closings})

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the queue of messages hold back the parser, not only the socket."""
        super().connection_made(transport)
        if hasattr(transport, "max_size"):
            transport.max_size = READ_BYTES
        self.recv_messages.pause = _nothing
        self.recv_messages.resume = self._next_turn

    async def deliver(self, sink: Sink) -> None:
        """Hand over all messages, several at a time where they come so, until the end.

        Whatever the library makes of a connection, here too: limits, pings, fragments, closing.

        Parameters
        ----------
        sink : callable
            Gets the messages that came together, in order. What it returns, unless None, is waited
            for before anything more is read or handed over.
        """
        self._sink = sink
        try:
            while True:
                message = await self.recv(decode=False)  # none of those that the sink got
                await self._settled()
                if (pending := sink([message])) is not None:
                    self._hold(pending)
                    await self._settled()
        except ConnectionClosed:
            await self._settled()
        finally:
            self._sink = None
            if self._held is not None:
                self._held.cancel()

    def _hold(self, pending: Coroutine[Any, Any, None]) -> None:
        """Read nothing until *pending* is over."""
        self._held = self.loop.create_task(pending)
        self._held.add_done_callback(self._let_go)

    def _let_go(self, over: asyncio.Task[None]) -> None:
        if not over.cancelled() and over.exception() is not None:
            self.transport.abort()  # which lets deliver() raise it
        elif self._held is over:
            self._held = None
            self._next_turn()

    async def _settled(self) -> None:
        """Wait for what the sink waits for."""
        while (held := self._held) is not None:
            await held
            self._let_go(held)

    def data_received(self, data: bytes) -> None:
        """Parse what came, or the first part of it."""
        if self._flooded:
            return
        if self._sink is not None and len(data) < LARGE_BYTES and self._takes_alone(data):
            return
        if self._rest:
            self._rest = self._rest[self._rest_at :] + data
            self._rest_at = 0
            if not self._is_cut:  # TLS delivers what it had decrypted in spite of the pause
                return
        else:
            self._rest = data
        self._go_on()

    def _takes_alone(self, data: bytes) -> bool:
        """Hand over a message that came alone, unless something is before it."""
        protocol = self.protocol
        if self._rest or self._owed or self._held is not None or self.recv_messages.frames.queue:
            return False
        if protocol.state is not OPEN or protocol.extensions or protocol.debug:
            return False
        longest = self._longest or self._measured()
        message = only_message(data, masked=self._is_masked)
        if not message or not self.message_min_bytes <= len(message) <= longest:
            return False
        if protocol.current_size is not None:
            return False
        self._give([message])
        if self._is_full():
            self._read_or_pause(has_more=False)
        return True

    def _give(self, messages: list[bytes]) -> None:
        """Give messages to the sink, and hold what it waits for."""
        try:
            pending = self._sink(messages) if self._sink else None
        except Exception as error:
            pending = _raised(error)
        if pending is not None:
            self._hold(pending)

    def _next_turn(self) -> None:
        if self._turn is None:
            self._turn = self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Parse as much as one turn allows; read on when nothing is left."""
        self._turn = None
        rest, at, frames, is_cut = self._rest, self._rest_at, 0, False
        while at < len(rest) and frames < FRAMES_PER_TURN and not self._must_wait():
            end, count = self._take(rest, at, FRAMES_PER_TURN - frames)
            if is_cut := end == at:
                break
            at, frames = end, frames + count
        if self._flooded or at >= len(rest):
            rest, at = b"", 0
        self._rest, self._rest_at, self._is_cut = rest, at, is_cut
        has_more = bool(rest) and not is_cut
        if has_more and not self._must_wait():
            self._next_turn()
        self._read_or_pause(has_more=has_more)

    def _read_or_pause(self, *, has_more: bool) -> None:
        """Have the transport read, unless something waits, or somebody."""
        reads = not (has_more or self._is_full())
        if reads is not self._reads and not self.transport.is_closing():
            self._reads = reads
            (self.transport.resume_reading if reads else self.transport.pause_reading)()

    def _is_full(self) -> bool:
        """Return whether somebody has to take what was parsed before more is."""
        return (self._held is not None or self.recv_messages.paused) and not self._flooded

    def _must_wait(self) -> bool:
        """Return whether nothing more may be parsed now."""
        return self._is_full()

    def _take(self, data: bytes, at: int, most: int) -> tuple[int, int]:
        """Parse some frames; return where they end, and how many they were.

        It ends where it began when more has to come first.
        """
        protocol = self.protocol
        if protocol.state is not OPEN or protocol.extensions or protocol.debug:
            end = self._end_of_slice(data, at)
            return end, self._parse(data[at:end])
        if self._owed:
            end = min(at + self._owed, len(data))
            self._owed -= end - at
            return end, self._parse(data[at:end])
        longest = self._longest or self._measured()
        room = self._room(most)
        if protocol.current_size is not None:
            longest = 0  # it is the library that knows how much may still come
        else:
            enough = GROUP_BYTES if self._sink is None else READ_BYTES
            messages, end = whole_messages(
                data, at, masked=self._is_masked, most=room, most_bytes=enough, longest=longest
            )
            if messages:
                self._hand_over(messages, data[at])
                return end, len(messages)
        count, end, self._owed = other_frames(
            data, at, masked=self._is_masked, most=room, most_bytes=GROUP_BYTES, longest=longest
        )
        if end > at:
            self._parse(data[at:end])
        return end, count

    def _measured(self) -> int:
        """Return the longest message that may come."""
        protocol = self.protocol
        self._is_masked = protocol.side is Side.SERVER
        limits = (protocol.max_message_size, protocol.max_fragment_size, 1 << 30)
        self._longest = min(limit for limit in limits if limit is not None)
        return self._longest

    def _room(self, most: int) -> int:
        """Return how many messages may come before those that wait are enough."""
        messages = self.recv_messages
        if messages.high is None or (self._sink is not None and not messages.frames.queue):
            return most
        return min(most, max(1, messages.high + 1 - len(messages.frames)))

    def _hand_over(self, messages: list[bytes], first: int) -> None:
        """Pass whole messages on: to the sink, unless others wait that came before them."""
        if self._sink is None or self.recv_messages.frames.queue:
            opcode = Opcode(first & 0x0F)
            for message in messages:
                self.process_event(Frame(opcode, message))
        else:
            least = self.message_min_bytes
            if len(min(messages, key=len)) < least:
                self._idle_frames += sum(len(message) < least for message in messages)
            self._give(messages)
        self._account()

    def _end_of_slice(self, data: bytes, at: int) -> int:
        """Return where the head ends, as long as it lasts: frames begin right behind it."""
        end = at + SLICE_BYTES
        if self.protocol.state is CONNECTING and not self._is_headed:
            before = self._head_tail
            found = (before + data[at:end]).find(b"\r\n\r\n")
            if found >= 0:
                self._is_headed = True
                end = at + found + 4 - len(before)
            self._head_tail = (before + data[at:end])[-3:]
        return end

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
        self._account()
        return len(events)

    def _account(self) -> None:
        """Look at what the last frames were."""
        if self._large:
            self._large = False
            self._add_up()
        if self._idle_frames:
            self._spend()

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
        budget = self._budget = self._budget or Budget()
        frames, self._idle_frames = self._idle_frames, 0
        if budget.spend(frames, self.loop.time()) and not self._flooded:
            self._flooded = True
            self.protocol.fail(CloseCode.POLICY_VIOLATION, "too many empty frames")
            self._answer()
            self.loop.call_later(FLOODER_CLOSES_S, self.transport.abort)
            if self.closings is not None:
                self.closings["flood"] += 1
                if self.closings["flood"].bit_count() > 1:  # 1st, 2nd, 4th …: the log isn't flooded
                    return
            log.warning("closed with 1008: a flood of empty frames peer=%s", self.remote_address)

    def eof_received(self) -> None:
        """Parse what still waits, then end (only TLS ends while something waits)."""
        rest, self._rest, self._is_cut = self._rest[self._rest_at :], b"", False
        for at in range(0, len(rest), SLICE_BYTES):
            if not self._flooded:
                self._parse(rest[at : at + SLICE_BYTES])
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what wasn't parsed; of a frame without its end, the library says what is missing."""
        if self._is_cut:
            self.protocol.receive_data(self._rest[self._rest_at :])
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


async def _raised(error: Exception) -> None:
    raise error


class BoundedClient(FairConnection, ClientConnection):
    """A client's connection, to a server that isn't trusted to leave us time for others."""
