"""A sensor's socket: read, decode, hand over, acknowledge.

A bad sample is counted, logged once per burst and, under ``ctgkit.v1``, answered; the connection
lives on until 100 frames in a row were bad (PROTOCOL S-4, S-6).
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

import msgspec
from websockets.frames import CloseCode

from ctgkit.errors import WireError
from ctgkit.net.frames import text_frame, write_frames_unless_full
from ctgkit.net.newcomers import BoundedConnection
from ctgkit.samples import Sample
from ctgkit.server.counters import Counters
from ctgkit.server.numbering import Attendance, Outcome
from ctgkit.server.store.engine import Replies
from ctgkit.wire import (
    ACKS_HEADER,
    GROUPED,
    SUBPROTOCOL,
    decode_frame,
    decode_sample,
    encode_ack,
    encode_reject,
)

log = logging.getLogger(__name__)

BAD_FRAMES_MAX = 100
"""Bad frames in a row before the connection is closed with 1008 (PROTOCOL.md)."""
SAMPLES_PER_TURN = 64
"""Samples read before other connections get their turn: a flooding sensor can't starve them."""
SHARE_MAX = 1_000
"""Samples of one sensor in the writer's queue. One that floods waits for them to be written, so
that the others' acknowledgements don't queue behind thousands of its rows. Chosen: an eighth of
the queue, some 10 ms of writing, four minutes of a usual sensor."""
REPLIES_WAIT_S = 2.0
"""How long a sensor that doesn't read its error replies isn't read either, seconds; after that they
are dropped, and counted, until it reads again: it may be one that sends first and then reads."""
GROUPED_ACK_S, GROUPED_ACK_MAX = 0.65, 64
"""How long an acknowledgement may wait for others where the sensor agreed, seconds, and how far
numbers may go on meanwhile. Chosen: with the commit it stays below the 1 s of PROTOCOL S-6.3; three
samples at 4 Hz."""
PROMPT_S = 1.0
"""How long acknowledgements come at once after the sensor asked for them, seconds."""
LOG_EVERY_S = 10.0
"""A burst of bad samples is logged once in this time per connection, seconds."""


class Intake(Protocol):
    """Where samples go."""

    @property
    def full(self) -> bool:
        """Whether :meth:`room` has to be awaited before the next sample."""

    def accept(self, attendance: Attendance, sample: Sample, replies: Replies) -> bool:
        """Take one valid sample, which *replies* hears of when it is committed.

        Return whether it is accepted at once: one without a number, or with a number that is
        certainly new, is. Of another one ``replies.settle`` is told.
        """

    def accept_all(
        self, attendance: Attendance, samples: Sequence[Sample], replies: Replies
    ) -> int:
        """Do the same with several, in order; return how many are accepted at once."""

    async def room(self) -> None:
        """Wait until another sample can be taken."""

    def pending(self) -> object:
        """Return the same thing until the writer has taken what is queued now."""

    async def written(self) -> None:
        """Wait until everything accepted so far is written, or given up."""


class SensorSocket:
    """One connection of one sensor.

    Parameters
    ----------
    connection : BoundedConnection
        Open, authenticated.
    attendance : Attendance
        What the session says about it.
    intake : Intake
        Where its samples go.
    counters : Counters
        Where they are counted.
    max_rate_hz : float
        Samples per second above which reading is held back; 0 for no limit.
    """

    def __init__(
        self,
        connection: BoundedConnection,
        attendance: Attendance,
        intake: Intake,
        counters: Counters,
        max_rate_hz: float,
    ) -> None:
        self._connection, self._attendance = connection, attendance
        self._intake, self._counters = intake, counters
        self._max_rate_hz = max_rate_hz
        self._numbered = connection.subprotocol == SUBPROTOCOL
        self._acked = self._told = -1
        """The largest number that may be acknowledged, and that was."""
        request = connection.request
        groups = request is not None and request.headers.get_all(ACKS_HEADER) == [GROUPED]
        self._groups = self.patient = groups and self._numbered
        self._told_later: asyncio.TimerHandle | None = None
        self._prompt_until_s = 0.0
        self._ack_is_due = False
        """Whether an acknowledgement waits until the sensor has read what it was sent."""
        self._reads = True
        """Whether it reads its replies, as far as is known."""
        connection.on_writable = self._make_good
        if self._groups:
            connection.on_ping = self._be_prompt
        self._bad_in_a_row = 0
        self._silent_until_s = 0.0
        self._turn = self._share = 0
        """Samples taken since others had their turn, and since the writer took what there was."""
        self._pending = intake.pending()
        self._has_asked = False
        """Whether the store was waited for once, which knows the stream's numbers since."""
        self._due_s = 0.0
        """When the next sample may be taken, if there is a limit; monotonic."""
        self._is_over = False
        self._closing: asyncio.Task[None] | None = None

    async def read(self) -> None:
        """Read until the sensor leaves, or sends nothing but rubbish."""
        try:
            await self._connection.deliver(self._take_all)
        finally:
            if self._told_later is not None:
                self._told_later.cancel()
        if self._closing is not None:
            await self._closing

    def _take_all(self, frames: Sequence[bytes]) -> Coroutine[Any, Any, None] | None:
        """Take what came together; return what has to be waited for, if anything."""
        at = self._turn = 0
        # Nothing comes while it waits, so only what others do meanwhile has to be looked at first.
        if not (self._intake.full or self._attendance.displaced):
            at = self._take(frames, 0)
            while not self._must_wait():
                if at >= len(frames):
                    return None
                at = self._take(frames, at)
        return self._take_in_time(frames, at)

    async def _take_in_time(self, frames: Sequence[bytes], at: int) -> None:
        """Take the rest, from *at* on, and wait as often as one has to."""
        while True:
            await self._wait()
            if self._is_over or at >= len(frames):
                return
            at = self._take(frames, at)

    def _must_wait(self) -> bool:
        return (
            self._intake.full
            or self._is_over
            or self._share >= SHARE_MAX
            or self._turn > SAMPLES_PER_TURN
            or self._bad_in_a_row >= BAD_FRAMES_MAX
            or (self._connection.paused and self._reads)
            or self._attendance.displaced
            or bool(self._max_rate_hz)
            or self._is_asking()
        )

    def _is_asking(self) -> bool:
        """Return whether the first number is looked up: those after it needn't be, once it is."""
        numbers = self._attendance.numbers
        return bool(numbers.waiting) and not (numbers.known or self._has_asked)

    async def _wait(self) -> None:
        """Wait for the writer, the sensor, the others, or the clock."""
        if self._intake.full:
            await self._intake.room()
        if self._attendance.displaced:
            self._is_over = True  # the sensor sends this again over its later connection
        if self._connection.paused and self._reads:
            await self._replies_read()
        if self._bad_in_a_row >= BAD_FRAMES_MAX and not self._is_over:
            self._is_over = True
            reason = f"{BAD_FRAMES_MAX} bad frames in a row"
            closing = self._connection.close(CloseCode.POLICY_VIOLATION, reason)
            # Not waited for here: nothing is read meanwhile, so not the sensor's goodbye either.
            self._closing = asyncio.get_running_loop().create_task(closing)
        if self._max_rate_hz:
            await asyncio.sleep(max(0.0, self._due_s - time.monotonic()))
        if self._is_asking():
            await self._intake.written()
            self._has_asked = True
        if self._share >= SHARE_MAX:
            await self._intake.written()
            self._turn = self._share = 0
        elif self._turn > SAMPLES_PER_TURN:
            await asyncio.sleep(0)
            self._turn = 0

    def _take(self, frames: Sequence[bytes], at: int) -> int:
        """Take the usual frames from *at* on, or an unusual one; return where they end."""
        if (queued := self._intake.pending()) is not self._pending:
            self._pending, self._share = queued, 0  # what came before is being written, or is
        sensor_id, numbered, start = self._attendance.sensor_id, self._numbered, at
        is_first = numbered and not self._attendance.numbers.known
        end = at + 1 if self._max_rate_hz or is_first else len(frames)
        samples: list[Sample] = []
        while at < end:
            sample = decode_sample(frames[at], sensor_id)
            if sample is None or numbered is (sample.seq is None):
                break  # numbers come under our subprotocol, there only
            samples.append(sample)
            at += 1
        if count := len(samples):
            self._bad_in_a_row = 0
            self._counters.received += count
            self._counters.accepted += self._intake.accept_all(self._attendance, samples, self)
        else:
            count = self._take_closely(frames[start])
            at = start + 1
        self._turn += count
        self._share += count
        if self._max_rate_hz:  # bursts of a second
            self._due_s = max(self._due_s, time.monotonic() - 1.0) + count / self._max_rate_hz
        return at

    def _take_closely(self, frame: bytes) -> int:
        """Take an array, a bad sample, or a number where none belongs; return how many it held."""
        samples, errors = decode_frame(frame, self._attendance.sensor_id)
        count = len(samples) + len(errors)
        self._counters.received += count
        for sample in samples:
            if not self._numbered:
                sample = msgspec.structs.replace(sample, seq=None)
            elif sample.seq is None:
                errors.append(WireError("missing", "seq", f"required under {SUBPROTOCOL}"))
                continue
            self._counters.accepted += self._intake.accept(self._attendance, sample, self)
        if errors:
            self._reject(errors)
        self._bad_in_a_row = 0 if len(errors) < count else self._bad_in_a_row + 1
        return count

    def ack(self, seq: int) -> None:
        """Acknowledge everything up to *seq*, or up to what was acknowledged before: never less."""
        if self._attendance.stale:
            return  # another node has the sensor, and hears of it there
        self._acked = max(self._acked, seq)
        if self._groups and self._acked - self._told < GROUPED_ACK_MAX:
            loop = asyncio.get_running_loop()
            if loop.time() >= self._prompt_until_s:
                self.patient = True
                if self._told_later is None:
                    self._told_later = loop.call_later(GROUPED_ACK_S, self._tell)
                return
        self._tell()

    def _tell(self) -> None:
        if self._told_later is not None:
            self._told_later.cancel()
            self._told_later = None
        # Cumulative: while the buffer is full, only the last one has to be kept.
        self._told = self._acked
        frames = (text_frame(encode_ack(self._acked)),)
        self._ack_is_due = not write_frames_unless_full(self._connection, frames)

    def _be_prompt(self) -> None:
        """Acknowledge at once, now and for a while: the sensor waits for it."""
        self._prompt_until_s = asyncio.get_running_loop().time() + PROMPT_S
        self.patient = False
        if self._told_later is not None:
            self._tell()

    def _make_good(self) -> None:
        """Acknowledge what could not be acknowledged: there is room again."""
        self._reads = True
        if self._ack_is_due:
            self._tell()

    async def _replies_read(self) -> None:
        """Let the sensor read its replies before it is read again."""
        try:
            async with asyncio.timeout(REPLIES_WAIT_S):
                await self._connection.drain()
        except TimeoutError:
            self._reads = False
        except OSError:
            pass  # the connection is lost, which the next read says

    def settle(self, sample: Sample, outcome: Outcome) -> None:
        """Count a sample whose number was looked up, and reject it if that has another one."""
        if outcome == "stale":
            return
        if outcome != "conflict":
            self._counters.accepted += 1
            return
        reason = "belongs to another sample, which is stored"
        self._reject([WireError("conflict", "seq", reason, seq=sample.seq)])

    def _reject(self, errors: list[WireError]) -> None:
        for error in errors:
            self._counters.rejected[error.code] += 1
        if self._numbered:
            frames = [text_frame(encode_reject(error)) for error in errors]
            if not write_frames_unless_full(self._connection, frames):
                self._counters.dropped["reply"] += len(frames)
        now_s = time.monotonic()
        if now_s >= self._silent_until_s:
            self._silent_until_s = now_s + LOG_EVERY_S
            log.warning("sample rejected sensor=%s %s", self._attendance.sensor_id, errors[0])
