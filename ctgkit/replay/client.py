"""One recorded connection of a sensor, performed: its messages, its drops, its close."""

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit, urlunsplit

from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from ctgkit.errors import Unreachable, WireError, excerpt
from ctgkit.net.backoff import Backoff
from ctgkit.net.client import NotConnected, dial
from ctgkit.net.frames import send_texts
from ctgkit.net.lags import Lags
from ctgkit.net.relay import ClientEnd, close_alike, how_closed
from ctgkit.recording.tape import Tape
from ctgkit.replay.roles import Part
from ctgkit.wire import (
    SENSOR_ID_PARAMETER,
    SUBPROTOCOL,
    TOKEN_HEADER,
    Ack,
    Reject,
    decode_frame,
    decode_reply,
)

log = logging.getLogger(__name__)

QUEUE_MAX = 2400
"""Messages of one connection that wait for it; when it is full the whole replay pauses. As many
as a fake sensor keeps."""
IN_FLIGHT_MAX = 2400
"""Messages without acknowledgement; when they are reached, it sends no more."""
BURST = 256
"""Most messages in one write."""
ACKS_TIMEOUT_S = 15.0
"""How long a connection that ends waits for its last acknowledgements, seconds; as a sensor."""
BARRIER_TIMEOUT_S = 5.0
"""How long a backend may take to say that it has read everything, or to close by itself."""
REASONS_MAX = 20
"""Reasons of rejections that are told apart."""
RETRY_FIRST_S, RETRY_MAX_S = 0.1, 2.0
ENVIRONMENTAL = {1000, 1001, 1005, 1006, 1011, 1012, 1013}
"""Close codes of a backend that stops or breaks; all others judge what the sensor sent."""


class Due(NamedTuple):
    """A message and when it is due, seconds of the monotonic clock."""

    at_s: float
    frame: bytes
    is_text: bool


class Performer:
    """Performs one connection, and makes it again when the backend loses it.

    Parameters
    ----------
    url : str
        The backend's sensor endpoint.
    part : Part
        The sensor.
    about : mapping
        What was recorded of the connection: ``offered`` and ``subprotocol``.
    connect_timeout_s : float
        How long to dial for the first connection, seconds.
    lags : Lags
        Where to count how late messages are sent.
    tape : Tape or None
        Where to record the replay.
    """

    def __init__(
        self,
        url: str,
        part: Part,
        about: Mapping[str, Any],
        *,
        connect_timeout_s: float,
        lags: Lags,
        tape: Tape | None,
    ) -> None:
        self.part = part
        self.counts: Counter[str] = Counter()
        self.reject_reasons: Counter[str] = Counter()
        self.failure: Unreachable | None = None
        self.other_close: str = ""
        """How the connection ended otherwise than recorded; empty when alike."""
        self.dialled, self.done = asyncio.Event(), asyncio.Event()
        self.ending = False
        """Whether its recorded end has come."""
        self._url, self._about = url, about
        self._connect_timeout_s, self._lags, self._tape = connect_timeout_s, lags, tape
        self._queue: deque[Due] = deque()
        self._in_flight: deque[tuple[int, Due]] = deque()
        self._highest_seq = -1
        self._wake, self._room, self._ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._end_by, self._end_code, self._end_reason = "client", 1000, ""
        self._link = ""
        self._finished = False

    async def put(self, due: Due) -> None:
        """Queue a message; waits while the queue is full."""
        while len(self._queue) >= QUEUE_MAX and not self.done.is_set():
            self._room.clear()
            await self._room.wait()
        if self.done.is_set():
            self.counts["discarded"] += 1
            return
        self._queue.append(due)
        self._wake.set()

    def end(self, by: str, code: int, reason: str) -> None:
        """Let it end as recorded, after what is queued."""
        self.ending = True
        self._end_by, self._end_code, self._end_reason = by, code, reason
        self._ended.set()
        self._wake.set()

    async def run(self) -> None:
        """Connect, perform, connect again if need be; return when all is over."""
        try:
            give_up_at_s = time.monotonic() + self._connect_timeout_s
            backoff = Backoff(RETRY_FIRST_S, RETRY_MAX_S)
            while True:
                connection = await self._dial(give_up_at_s)
                if self.failure is not None:
                    return
                if connection is not None:
                    backoff.reset()
                    give_up_at_s = math.inf
                    if await self._use(connection):
                        return
                await asyncio.sleep(backoff.next_s())
        finally:
            self.counts["discarded"] += len(self._queue)
            self.dialled.set()
            self.done.set()
            self._room.set()

    def _address(self) -> str:
        parts = urlsplit(self._url)
        query = urlencode({SENSOR_ID_PARAMETER: self.part.entry.id})
        return urlunsplit(parts._replace(query=f"{parts.query}&{query}".lstrip("&")))

    async def _dial(self, give_up_at_s: float) -> ClientEnd | None:
        try:
            return await dial(
                self._address(),
                kind=ClientEnd,
                headers={TOKEN_HEADER: self.part.entry.token},
                offers=self._about.get("offered") or (),
                max_queue=1024,
                close_timeout_s=2.0,
            )
        except NotConnected as error:
            if error.is_final or time.monotonic() >= give_up_at_s:
                self.failure = Unreachable(self._url, error.reason)
            return None

    async def _use(self, connection: ClientEnd) -> bool:
        """Perform over one connection; return whether everything is over."""
        self.counts["connects"] += 1
        if self._tape is not None:
            self._link = self._tape.open(
                "s",
                {
                    "path": urlunsplit(("", "", *urlsplit(self._address())[2:])),
                    "offered": list(self._about.get("offered") or ()),
                    "subprotocol": connection.subprotocol,
                },
            )
        self._queue.extendleft(due for _, due in reversed(self._in_flight))
        self._in_flight.clear()
        self.dialled.set()
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._read(connection))
            with contextlib.suppress(ConnectionClosed):
                await self._write(connection, acks=connection.subprotocol == SUBPROTOCOL)
            await connection.wait_closed()
            await reading
        who, code, reason = how_closed(connection)
        if self._tape is not None:
            self._tape.close(self._link, "client" if who == "local" else "server", code, reason)
        return await self._is_over(code, remote=who == "remote")

    async def _is_over(self, code: int, *, remote: bool) -> bool:
        """Judge the end of a connection against the recorded one."""
        if remote and code not in ENVIRONMENTAL:
            self._room.set()
            self.done.set()  # it is no use to go on: the backend has judged
            await self._ended.wait()
            if (self._end_by, self._end_code) != ("server", code):
                self.other_close = f"closed with {code}, recorded {self._end_code}"
            return True
        if not self._finished:
            log.info("connection lost, reconnecting sensor=%s", self.part.entry.id)
            return False
        if self._end_by == "server" and self._end_code not in ENVIRONMENTAL:
            self.other_close = f"not closed by the backend, recorded {self._end_code}"
        return True

    async def _write(self, connection: ClientEnd, *, acks: bool) -> None:
        """Send what is queued until the recorded end, then end it likewise."""
        while connection.state is State.OPEN:
            if self._queue and len(self._in_flight) < IN_FLIGHT_MAX:
                await self._send(connection, acks=acks)
            elif self.ending and not self._queue:
                await self._finish(connection)
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    async def _send(self, connection: ClientEnd, *, acks: bool) -> None:
        group: list[Due] = []
        while self._queue and len(group) < BURST:
            if group and not (group[0].is_text and self._queue[0].is_text):
                break
            group.append(self._queue.popleft())
        for due in group:
            seq = self._seq(due.frame) if acks else None
            if seq is None:
                self.counts["sent"] += 1
                self.counts["unconfirmed"] += not acks
                continue
            self._in_flight.append((seq, due))  # before the write: what fails is sent again
            self.counts["sent" if seq > self._highest_seq else "resent"] += 1
            self._highest_seq = max(self._highest_seq, seq)
        if group[0].is_text:
            await send_texts(connection, [due.frame for due in group])
        else:
            await connection.send(group[0].frame, text=False)
        self._room.set()
        now_s = time.monotonic()
        for due in group:
            if due.at_s > -math.inf:
                self._lags.add(now_s - due.at_s)
            if self._tape is not None:
                self._tape.frame(self._link, ">", due.frame, due.is_text)

    def _seq(self, frame: bytes) -> int | None:
        """Return the number whose acknowledgement settles a message; None if none will come."""
        samples, _ = decode_frame(frame, self.part.entry.id)
        return max((sample.seq for sample in samples if sample.seq is not None), default=None)

    async def _finish(self, connection: ClientEnd) -> None:
        by_server = self._end_by == "server"
        judged = by_server and self._end_code not in ENVIRONMENTAL
        if not judged:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ACKS_TIMEOUT_S):
                    while self._in_flight and connection.state is State.OPEN:
                        self._wake.clear()
                        await self._wake.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BARRIER_TIMEOUT_S):
                if judged:
                    await connection.wait_closed()
                    return
                await (await connection.ping())  # it has read all that came before
        self._finished = True
        self.counts["unacked"] += len(self._in_flight)
        if not judged:
            self.counts["overdue"] += len(self._in_flight)
        if by_server:
            await connection.close()
        else:
            await close_alike(connection, self._end_code, self._end_reason)

    async def _read(self, connection: ClientEnd) -> None:
        """Settle what is acknowledged or rejected."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                frame, is_text = await connection.receive()
                if self._tape is not None:
                    self._tape.frame(self._link, "<", frame, is_text)
                if connection.subprotocol == SUBPROTOCOL:
                    self._settle(frame)
                    self._wake.set()
        self._wake.set()

    def _settle(self, frame: bytes) -> None:
        try:
            reply = decode_reply(frame)
        except WireError:
            self.counts["unreadable replies"] += 1
            return
        match reply:
            case Ack(ack=seq):
                while self._in_flight and self._in_flight[0][0] <= seq:
                    self._in_flight.popleft()
                    self.counts["acked"] += 1
            case Reject(error=reason, seq=seq):
                self.counts["rejected"] += 1
                shown = excerpt(reason)
                if shown in self.reject_reasons or len(self.reject_reasons) < REASONS_MAX:
                    self.reject_reasons[shown] += 1
                kept = [item for item in self._in_flight if item[0] != seq]
                self._in_flight = deque(kept)
