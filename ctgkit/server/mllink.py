"""The link to the ML service: one connection for all sensors, reconnecting by itself.

The outbox is bounded: when it is full the oldest sample is dropped and counted; nobody ever waits
for the ML service. Each sample that has no usable result after 2 s, whatever else comes meanwhile,
is handed to ``on_unanswered``, so that viewers still see it; at once where the service is down.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, Protocol

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from ctgkit.errors import WireError
from ctgkit.net.client import NotConnected, dial
from ctgkit.net.connection import BoundedClient
from ctgkit.net.frames import send_texts
from ctgkit.samples import Sample
from ctgkit.server.counters import Counters
from ctgkit.server.owed import ANSWER_WITHIN_S, Answered, Owed
from ctgkit.server.priming import Past, Primer
from ctgkit.server.settings import without_password
from ctgkit.wire import MlFormat, encode_request, is_error_result
from ctgkit.wire.checked import CheckedResult, check_result

log = logging.getLogger(__name__)

OUTBOX_MAX = 65_536
"""Samples waiting to be sent: 14 min of 20 sensors at 4 Hz, some 15 MB."""
LOOK_EVERY_S = (0.02, 0.5)
"""Shortest and longest pause between looks for samples whose time is over, seconds."""
RESULTS_PER_TURN = 64
"""Results relayed before the viewers' writers get their turn: a quarter of a viewer's queue."""
UNANSWERED_MAX = 0.05
"""Share of samples without a usable result from which on the link isn't healthy. Chosen: one that
is restarted, or answers late now and then, stays below."""
RESULT_MAX_BYTES = 1 << 20
SAMPLES_PER_WRITE = 512
"""Samples sent before the service has to take them: 64 KiB, half a second of 1,000 sensors."""
CLOSE_TIMEOUT_S = 1.0
JITTER = 0.1
"""Share by which the retry pause varies, so that many backends don't knock in step."""


class Room(Protocol):
    """Where there may be no room."""

    full: bool
    """Whether there is none."""

    async def room(self) -> None:
        """Wait until there is."""


class MlLink:
    """The backend's side of the ML connection.

    Parameters
    ----------
    url : str
        ``ws://HOST:PORT/ws/ctg``.
    ml_format : {"nested", "flat", "both"}
        Shape of the requests.
    retry_s : float
        Pause before reconnecting, seconds.
    on_results : callable
        Gets the valid results of one turn, each as text and with its bytes as they came.
    on_unanswered : callable
        Gets samples that will have no answer.
    store : Room
        Where results are going to be stored; the service is not read while that is full.
    counters : Counters
        Counts garbage, errors and dropped samples.
    past : coroutine function
        Reads what a new connection's service has to know of a sensor.
    """

    def __init__(
        self,
        url: str,
        ml_format: MlFormat,
        retry_s: float,
        on_results: Callable[[Sequence[Answered]], None],
        on_unanswered: Callable[[Sequence[Sample]], None],
        store: Room,
        counters: Counters,
        past: Past,
    ) -> None:
        self._url, self._format, self._retry_s = url, ml_format, retry_s
        self._shown_url = without_password(url)
        self._on_results, self._on_unanswered = on_results, on_unanswered
        self._store, self._counters = store, counters
        self._outbox: deque[Sample] = deque()
        self._primer = Primer(past, self._send_past, self._enqueue)
        self._connection: ClientConnection | None = None
        self._owed = Owed()
        self._doubted = Owed()
        """Samples sent while it is silent: the first that is answered in time ends the doubt."""
        self._turn: list[tuple[CheckedResult, str, bytes]] = []
        self._wake = asyncio.Event()
        self._heard_at_s = 0.0
        self._refused_as = ""
        self.connected = asyncio.Event()
        self.stalled = False
        self.away_since_s: float | None = time.monotonic()
        """Since when it has been lost or silent, monotonic, seconds; None while it answers."""

    @property
    def name(self) -> str:
        """Its address, without secrets."""
        return self._shown_url

    @property
    def state(self) -> Literal["up", "down", "stalled"]:
        """``up``, ``down``, or ``stalled``: connected, but it owes answers."""
        if not self.connected.is_set():
            return "down"
        return "stalled" if self.stalled else "up"

    @property
    def unanswered_share(self) -> float:
        """Share of the samples sent lately that got no usable result in time, 0 to 1."""
        return self._owed.share(time.monotonic())

    @property
    def healthy(self) -> bool:
        """Whether it is connected and answers nearly everything."""
        return self.state == "up" and self.unanswered_share <= UNANSWERED_MAX

    @property
    def depth(self) -> int:
        """Samples waiting to be sent."""
        return len(self._outbox)

    def offer(self, samples: Sequence[Sample]) -> None:
        """Queue samples for the service; never waits."""
        if not self.connected.is_set():
            self._on_unanswered(samples)
            return
        now_s = time.monotonic()
        self._counters.asked += len(samples)
        for sample in samples:
            if self.stalled:  # viewers get it now, the service may still learn from it
                self._owed.miss(now_s)
                self._doubted.ask(sample, now_s)
                self._show((sample,))
            elif late := self._owed.ask(sample, now_s):
                self._show((late,))
        self._enqueue([sample for sample in samples if self._primer.admits(sample)])

    def _enqueue(self, samples: Sequence[Sample]) -> None:
        self._outbox.extend(samples)
        self._wake.set()
        while len(self._outbox) > OUTBOX_MAX:
            self._outbox.popleft()  # it is still owed, and so shown when its time is over
            self._counters.dropped["ml_outbox"] += 1

    def drop(self, sensor_id: str) -> None:
        """Take it that the service doesn't know a sensor: it was elsewhere meanwhile."""
        self._primer.drop(sensor_id)

    def _show(self, samples: Sequence[Sample]) -> None:
        """Let viewers see samples that were handed over in vain."""
        self._counters.unanswered += len(samples)
        self._on_unanswered(samples)

    async def run(self) -> None:
        """Connect, converse, and connect again, for ever."""
        while True:
            try:
                async with await dial(
                    self._url,
                    kind=BoundedClient.counting(self._counters.closed),
                    max_bytes=RESULT_MAX_BYTES,
                    max_queue=RESULTS_PER_TURN,
                    close_timeout_s=CLOSE_TIMEOUT_S,
                ) as connection:
                    log.info("ML service connected url=%s", self._shown_url)
                    self._refused_as = ""
                    self.connected.set()
                    self.away_since_s = None
                    try:
                        await self._converse(connection)
                    except asyncio.CancelledError:
                        await _leave(connection)
                        raise
                    log.warning("connection to the ML service lost url=%s", self._shown_url)
            except NotConnected as error:
                if error.reason != self._refused_as:
                    self._refused_as = error.reason
                    log.warning(
                        "cannot reach the ML service url=%s: %s", self._shown_url, error.reason
                    )
            except ConnectionClosed as error:
                log.warning("connection to the ML service lost url=%s: %s", self._shown_url, error)
            finally:
                if self.connected.is_set() and self.away_since_s is None:
                    self.away_since_s = time.monotonic()
                self.connected.clear()
                self.stalled = False
                self._doubted.give_up()
            self._outbox.clear()
            self._primer.begin_anew()
            await self._show_in_turns(self._owed.give_up())
            await asyncio.sleep(self._retry_s * random.uniform(1 - JITTER, 1 + JITTER))

    async def _converse(self, connection: BoundedClient) -> None:
        self._heard_at_s = time.monotonic()
        self._owed.begin_anew()
        self._connection = connection
        async with asyncio.TaskGroup() as tasks:
            parts = (self._send(connection), self._watch(), self._primer.run())
            others = [tasks.create_task(part) for part in parts]
            await connection.deliver(self._take)
            for task in others:
                task.cancel()

    async def _send(self, connection: ClientConnection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outbox:
                count = min(SAMPLES_PER_WRITE, len(self._outbox))
                samples = [self._outbox.popleft() for _ in range(count)]
                try:
                    await send_texts(connection, [encode_request(s, self._format) for s in samples])
                except ConnectionClosed:
                    return

    async def _send_past(self, samples: Sequence[Sample]) -> None:
        assert self._connection is not None
        texts = [encode_request(sample, self._format, past=True) for sample in samples]
        with contextlib.suppress(ConnectionClosed):  # the reader says so
            await send_texts(self._connection, texts)

    def _take(self, texts: Sequence[bytes]) -> Coroutine[Any, Any, None] | None:
        """Take results that came together; return what has to be waited for, if anything."""
        self._heard_at_s = time.monotonic()
        for text in texts:
            try:
                self._turn.append((check_result(text), text.decode(), text))
            except (WireError, UnicodeDecodeError) as error:
                outcome = "error" if is_error_result(text) else "garbage"
                if not self._counters.results[outcome]:
                    log.warning("ML service sent %s, counted from now on: %s", outcome, error)
                self._counters.results[outcome] += 1
                if outcome == "error":
                    self._refuse_oldest()
        self._end_turn()
        return self._pause() if self._store.full or len(texts) >= RESULTS_PER_TURN else None

    async def _pause(self) -> None:
        """Let the writer make room, and the viewers' writers have their turn."""
        await self._store.room()
        await asyncio.sleep(0)

    def _end_turn(self) -> None:
        """Hand over what has come since the last turn."""
        turn, self._turn = self._turn, []
        last_asked_at_s, answered = None, []
        for head, body, text in turn:
            sensor_id = head.sensor_id.lower()
            if self._primer.discards(sensor_id, head.sec_from_start):
                self._counters.results["past"] += 1
                continue
            if self.stalled:
                self._believe(head)
            asked_at_s = self._owed.answer(sensor_id, head.sec_from_start)
            last_asked_at_s = asked_at_s or last_asked_at_s
            answered.append(Answered(head, body, text, asked_at_s is not None))
        if answered:
            if last_asked_at_s is not None:  # one in a turn is enough for a histogram
                self._counters.ml_round_trip_seconds.observe(self._heard_at_s - last_asked_at_s)
            self._on_results(answered)

    def _believe(self, head: CheckedResult) -> None:
        """Take a service for up again when it answers in time; late answers are none."""
        asked_at_s = self._doubted.answer(head.sensor_id.lower(), head.sec_from_start)
        if asked_at_s is not None and self._heard_at_s - asked_at_s < ANSWER_WITHIN_S:
            self.stalled, self.away_since_s = False, None
            self._doubted.give_up()
            self._owed.begin_anew()
            log.info("ML service answers again")

    def _refuse_oldest(self) -> None:
        """Report as unanswered the sample behind an error: answers come in the requests' order."""
        self._end_turn()
        if not self._primer.refused() and (sample := self._owed.refuse()):
            self._show((sample,))

    async def _watch(self) -> None:
        """Show each sample whose time is over, and notice a service that says nothing at all."""
        while True:
            now_s, since_s = time.monotonic(), self._owed.since_s
            wait_s = LOOK_EVERY_S[1] if since_s is None else since_s + ANSWER_WITHIN_S - now_s
            await asyncio.sleep(min(max(wait_s, LOOK_EVERY_S[0]), LOOK_EVERY_S[1]))
            before_s = time.monotonic() - ANSWER_WITHIN_S
            self._doubted.overdue(before_s)
            if (late := self._owed.overdue(before_s)) and self._heard_at_s < before_s:
                self.stalled, self.away_since_s = True, time.monotonic()
                log.warning("ML service is silent, %d answers owed", len(late) + len(self._owed))
                late += self._owed.give_up()
            await self._show_in_turns(late)

    async def _show_in_turns(self, samples: list[Sample]) -> None:
        """Show samples a few at a time, for the viewers' sake."""
        for start in range(0, len(samples), RESULTS_PER_TURN):
            self._show(samples[start : start + RESULTS_PER_TURN])
            await asyncio.sleep(0)


async def _leave(connection: ClientConnection) -> None:
    """Close with 1001; a service that doesn't read is dropped, as it can't be told."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await connection.close(CloseCode.GOING_AWAY)
    except TimeoutError:
        connection.transport.abort()
