"""One sensor, from switched on to switched off: connection, acknowledgements, reconnects.

It never loses a sample by itself. While the connection is down its data time goes on and samples
collect in the bounded outbox; when that is full production pauses, and after the reconnect
everything is sent, oldest first, until data time has caught up with the clock.
"""

import asyncio
import logging
import math
import random
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import urlencode, urlsplit, urlunsplit

from msgspec.structs import replace
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from ctgkit.clock import monotonic_s
from ctgkit.errors import Unreachable, WireError, excerpt
from ctgkit.net.backoff import BACKOFF_CAP_S, Backoff
from ctgkit.net.client import NotConnected, dial
from ctgkit.net.frames import is_writable, write_texts
from ctgkit.net.lags import Lags
from ctgkit.sensor.badline import BadLine, SensorEnd
from ctgkit.sensor.outbox import Outbox
from ctgkit.sensor.pacing import Feed
from ctgkit.sensor.settings import FleetSettings
from ctgkit.wire import (
    ACKS_HEADER,
    GROUPED,
    SENSOR_ID_PARAMETER,
    STREAM_HEADER,
    SUBPROTOCOL,
    TOKEN_HEADER,
    Ack,
    Reject,
    decode_reply,
    encode_sample,
    plain_ack,
)

log = logging.getLogger(__name__)

BURST_SAMPLES = 256
"""Most samples in one write: 32 KiB. Chosen: larger ones gain nothing measurable."""

WRITE_BUFFER_BYTES = 128 * 1024
"""A connection with more unwritten bytes than this gets no new ones: the peer is slow."""

ACK_PATIENCE_S = 30.0
"""A connection over which nothing is settled for so long, though something waits, is given up."""

RETRY_S = 0.02
"""How soon a sensor that could not send looks again, seconds; an acknowledgement is sooner."""

STOP_FLUSH_S = 3.0
"""How long a stopped sensor waits for acknowledgements, seconds. Chosen: below the 10 s after
which service managers kill."""

CLOSE_TIMEOUT_S = 2.0
GROUPED_FROM = 256
"""Window from which on one acknowledgement may stand for several samples."""
REASONS_MAX = 20
"""Reasons of rejections that are told apart."""
REPLACED = 4409
"""Close code when the same sensor connected again (PROTOCOL.md)."""
REFUSED = {1007: "is no UTF-8", 1008: "breaks its rules", 1009: "is too large"}
"""Close codes of a peer that refuses a frame (PROTOCOL.md), and why."""


class SensorClient:
    """Plays one feed over one WebSocket, and reconnects as often as it takes.

    Parameters
    ----------
    settings : FleetSettings
        Shared by the fleet.
    number : int
        Which of the fleet's sensors this is, from 0.
    first_seq : int
        Sequence number of its first sample.
    lags : Lags
        Where to count how late samples are sent.
    on_started : callable
        Called once, when the feed starts: from then on :meth:`pump` has to be called.
    """

    __slots__ = (
        "_acks", "_asked", "_backoff", "_complained", "_connection", "_ended", "_flush", "_flush_s",
        "_lags", "_level", "_on_started", "_patience_s", "_settings", "_settled",
        "_stream", "_token", "_waits_since_s", "bad_line", "connects", "dialled", "failure", "feed",
        "first_sent_s", "last_sent_s", "outbox", "reject_reasons", "sensor_id",
    )  # fmt: skip

    def __init__(
        self,
        settings: FleetSettings,
        number: int,
        *,
        first_seq: int,
        lags: Lags,
        on_started: Callable[["SensorClient"], None],
    ) -> None:
        entry = settings.credentials[number]
        self.sensor_id = entry.id
        self.outbox = Outbox(settings.window)
        self.feed = Feed(
            settings.make_source(number),
            sensor_id=entry.id, first_seq=first_seq, speed=settings.speed,
            duration_s=settings.duration_s, mother=settings.mother,
        )  # fmt: skip
        self.bad_line: BadLine | None = None
        """None when there are no faults."""
        self.connects = 0
        self.reject_reasons: Counter[str] = Counter()
        """Why the backend rejected samples; of very many reasons the first."""
        self.failure: Unreachable | None = None
        self.first_sent_s = self.last_sent_s = math.nan
        """Times of the first and the last write of a new sample, seconds of the monotonic clock."""
        self.dialled = asyncio.Event()
        """Set when the first connection stands, or none will."""
        self._settings = settings
        self._token = entry.token
        self._stream = str(uuid.uuid4())
        """Says to the backend that what is sent again is the same, and what isn't is not."""
        self._lags = lags if settings.speed < math.inf else None
        self._on_started = on_started
        self._connection: SensorEnd | None = None
        self._acks = False
        self._asked: SensorEnd | None = None
        """Over which connection it asked for what is still to be acknowledged."""
        self._waits_since_s = math.inf
        """Since when acknowledgements have been waited for; infinite while nothing is in flight."""
        self._backoff = Backoff(jitter=lambda: self._share(settings.seed, number))
        self._complained = False
        self._flush_s = settings.flush_timeout_s
        self._patience_s = ACK_PATIENCE_S
        if (line := settings.make_line(number)) is not None:
            self.bad_line = BadLine(
                line, first_seq, self.outbox, partial(settings.on_fault, number)
            )
            self._flush_s += self.bad_line.patience_s
            self._patience_s += self.bad_line.delay_s
        self._flush: asyncio.Timeout | None = None
        self._ended = asyncio.Event()
        self._settled = asyncio.Event()
        self._level = logging.INFO if len(settings.credentials) <= 10 else logging.DEBUG

    async def run(self, connect_timeout_s: float) -> None:
        """Connect and play until the feed's end or :meth:`stop`, then wait for acknowledgements.

        Parameters
        ----------
        connect_timeout_s : float
            How long to dial for the first connection, seconds; 0 is one attempt.

        Notes
        -----
        It returns in any case; what went wrong for good is in :attr:`failure`.
        """
        async with asyncio.TaskGroup() as tasks:
            link = tasks.create_task(self._keep_linked(connect_timeout_s))
            await self._ended.wait()
            try:
                async with asyncio.timeout(self._flush_s) as self._flush:
                    await self._settled.wait()
            except TimeoutError:
                log.warning(
                    "gave up waiting id=%s unacknowledged=%d", self.sensor_id, len(self.outbox)
                )
                self._settled.set()
            self.dialled.set()
            link.cancel()

    def stop(self) -> None:
        """Produce nothing more; :meth:`run` returns when the rest is acknowledged, soon at most."""
        self.feed.stop()
        self._flush_s = STOP_FLUSH_S
        self._ended.set()
        self._check_end()
        if self._flush is not None and not self._settled.is_set():  # waits already, but longer
            self._flush.reschedule(asyncio.get_running_loop().time() + STOP_FLUSH_S)

    def pump(self) -> float:
        """Produce what is due, send what can be sent, and return when to be called again.

        Infinity means never. It does not wait for the peer: a connection whose buffer is filled
        is left alone. It runs once per sample, so what is rare comes last.
        """
        now, feed, outbox = monotonic_s(), self.feed, self.outbox
        if feed.next_due_s <= now and (room := outbox.room):
            outbox.put(feed.take_due(now, min(room, BURST_SAMPLES)))
        if now - self._waits_since_s >= self._patience_s and self._connection is not None:
            self._give_up_waiting(self._connection)
        connection = self._connection
        if connection is not None and not is_writable(connection, WRITE_BUFFER_BYTES):
            connection = None
        if connection is not None and outbox.has_unsent:
            self._send(connection, now)
            if outbox.has_unsent:
                return now  # more than one burst
        elif connection is not None and self.bad_line is not None and feed.ended:
            self.bad_line.flush(connection)
        if feed.ended:
            self._check_end()
            return math.inf if self._settled.is_set() else now + RETRY_S
        if outbox.has_unsent or not outbox.room:
            return now + RETRY_S
        return min(feed.next_due_s, self._waits_since_s + self._patience_s)

    def _give_up_waiting(self, connection: SensorEnd) -> None:
        """Drop a connection over which nothing has been settled for long: another may be better."""
        log.log(
            self._level, "no acknowledgement for %g s, dialling again id=%s",
            self._patience_s, self.sensor_id,
        )  # fmt: skip
        self._waits_since_s = math.inf  # until the next one stands
        connection.transport.abort()

    def _share(self, *about: int) -> float:
        """Return a share of the next pause; a generator that is kept takes 2.5 KiB."""
        return random.Random(f"{about}/{self._backoff.failures}").random()

    def _send(self, connection: SensorEnd, now: float) -> None:
        samples, n_new = self.outbox.take(BURST_SAMPLES)
        numbered = samples if self._acks else [replace(s, seq=None) for s in samples]
        stands = True
        if self.bad_line is None:
            write_texts(connection, [encode_sample(s) for s in numbered])
        else:
            stands = self.bad_line.send(connection, samples, numbered)
        if stands and not self._acks:  # otherwise they stay in flight, to be sent again
            self.outbox.forget_sent()
        if self._waits_since_s == math.inf and self._acks and self.outbox.is_waiting:
            self._waits_since_s = now
        if n_new:
            self.last_sent_s = now
            if math.isnan(self.first_sent_s):
                self.first_sent_s = now
            if self._lags is not None:
                for sample in samples[-n_new:]:
                    self._lags.add(now - self.feed.due_at(sample))

    def _check_end(self) -> None:
        if self.feed.ended:
            self._ended.set()
            if not len(self.outbox) and not (self.bad_line and self.bad_line.holds):
                self._settled.set()
            elif self._connection is not None and not self.outbox.has_unsent:
                self._ask(self._connection)

    def _ask(self, connection: SensorEnd) -> None:
        """Have the last samples acknowledged at once (PROTOCOL S-6.3): nothing comes after them."""
        if self._asked is not connection and connection.state is State.OPEN:
            self._asked = connection
            connection.protocol.send_ping(b"")
            connection.transport.write(b"".join(connection.protocol.data_to_send()))

    async def _keep_linked(self, connect_timeout_s: float) -> None:
        """Dial, use the connection until it is lost, and again."""
        give_up_at = monotonic_s() + connect_timeout_s
        while True:
            try:
                connection = await self._dial()
            except NotConnected as error:
                if error.is_final or (not self.connects and monotonic_s() >= give_up_at):
                    return self._fail(error.reason)
                log.log(
                    self._level if not self._backoff.failures else logging.DEBUG,
                    "cannot connect, trying again id=%s: %s", self.sensor_id, error.reason,
                )  # fmt: skip
            else:
                began = monotonic_s()
                await self._use(connection)
                if monotonic_s() - began > BACKOFF_CAP_S:
                    self._backoff.reset()
                self._note_refused(connection.close_code)
                if connection.close_code == REPLACED:
                    return self._fail(
                        f"sensor {self.sensor_id} connected a second time and this connection was"
                        " replaced: is another `ctgkit sensor` running? Give each its own"
                        " --sensor-id, or run both in one command with --sensors"
                    )
            await asyncio.sleep(self._backoff.next_s())

    def _note_refused(self, code: int | None) -> None:
        """Drop the frame because of which the backend closed; faults send such ones on purpose."""
        if code not in REFUSED or self.bad_line is not None:
            return
        if (seq := self.outbox.refuse()) is not None:
            reason = f"closed with {code}: a sample {REFUSED[code]}"
            self._count_rejected(reason, seq)
            self._check_end()

    def _fail(self, reason: str) -> None:
        self.failure = Unreachable(self._settings.url, reason)
        log.log(self._level, "sensor gave up id=%s: %s", self.sensor_id, reason)
        self.feed.stop()
        self._ended.set()
        self._settled.set()

    async def _dial(self) -> SensorEnd:
        parts = urlsplit(self._settings.url)
        query = urlencode({SENSOR_ID_PARAMETER: self.sensor_id})
        query = f"{parts.query}&{query}" if parts.query else query
        headers = {TOKEN_HEADER: self._token, STREAM_HEADER: self._stream}
        one_by_one = self.outbox.has_suspects  # each waits for the one before
        if self.bad_line is None and not one_by_one and self._settings.window >= GROUPED_FROM:
            headers[ACKS_HEADER] = GROUPED
        made_by: type[SensorEnd] = SensorEnd
        if self.bad_line is not None:
            made_by = await self.bad_line.before_dialling()
        return await dial(
            urlunsplit(parts._replace(query=query)),
            kind=made_by,
            headers=headers,
            offers=[SUBPROTOCOL],
            close_timeout_s=CLOSE_TIMEOUT_S,
            write_limit=4 * WRITE_BUFFER_BYTES,  # pump() stops earlier, so nobody ever waits
        )

    async def _use(self, connection: SensorEnd) -> None:
        """Read replies until the connection is lost."""
        self._acks = connection.subprotocol == SUBPROTOCOL
        self._connection = connection
        self.connects += 1
        self.dialled.set()
        self.outbox.rewind()
        acks = "yes" if self._acks else "no"
        log.log(self._level, "sensor connected id=%s acks=%s", self.sensor_id, acks)
        try:
            if self.connects == 1:
                self.feed.start(monotonic_s())
                self._on_started(self)
            else:
                self.pump()
            await connection.deliver(self._take_replies)
            await connection.recv()  # which says how it ended
        except ConnectionClosed as closed:
            log.log(self._level, "sensor disconnected id=%s: %s", self.sensor_id, closed)
        finally:
            self._connection, self._waits_since_s = None, math.inf
            await connection.close()

    def _take_replies(self, frames: Sequence[bytes]) -> None:
        """Take what came together; of plain acknowledgements in a row the last one counts."""
        if not self._acks:
            return
        acked = -1
        for frame in frames:
            if (seq := plain_ack(frame)) is None:
                self._take_ack(acked)
                acked = -1
                self._handle_reply(frame)
            else:
                acked = max(acked, seq)
        self._take_ack(acked)

    def _take_ack(self, seq: int) -> None:
        if seq >= 0:
            held_up = not self.outbox.room
            self.outbox.ack(seq)
            self._backoff.reset()  # this connection is worth something
            self._go_on(held_up)

    def _go_on(self, held_up: bool) -> None:
        """Note that something was settled; send what it made room for."""
        self._waits_since_s = monotonic_s() if self.outbox.is_waiting else math.inf
        if self.feed.ended:
            self._check_end()
        if held_up or self.outbox.has_unsent:
            self.pump()

    def _handle_reply(self, frame: bytes | str) -> None:
        try:
            reply = decode_reply(frame)
        except WireError as error:
            level = logging.DEBUG if self._complained else logging.WARNING
            log.log(level, "unreadable reply id=%s: %s", self.sensor_id, error)
            self._complained = True
            return
        match reply:
            case Ack(ack=seq):
                self._take_ack(seq)
            case Reject(error=reason, seq=seq):
                held_up = not self.outbox.room
                self.outbox.reject(seq)
                self._count_rejected(reason, seq)
                self._go_on(held_up)

    def _count_rejected(self, reason: str, seq: int | None) -> None:
        shown = excerpt(reason)
        if shown in self.reject_reasons or len(self.reject_reasons) < REASONS_MAX:
            self.reject_reasons[shown] += 1
        level = logging.WARNING if self.outbox.rejected == 1 else logging.DEBUG
        log.log(level, "sample rejected id=%s seq=%s: %s", self.sensor_id, seq, shown)
