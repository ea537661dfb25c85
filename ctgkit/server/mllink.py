"""The link to the ML service: one connection for all sensors, reconnecting by itself.

The outbox is bounded: when it is full the oldest sample is dropped and counted; nobody ever waits
for the ML service. A sample that gets no answer, because the service is down, hangs, or dropped
out between request and answer, is handed to ``on_unanswered``, so that viewers still see it.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from ctgkit.errors import WireError
from ctgkit.net.client import NotConnected, dial
from ctgkit.net.frames import send_texts
from ctgkit.samples import Sample
from ctgkit.server.counters import Counters
from ctgkit.server.settings import without_password
from ctgkit.wire import (
    MlFormat,
    ResultHead,
    decode_result_head,
    encode_sample,
    is_error_result,
)

log = logging.getLogger(__name__)

OUTBOX_MAX = 65_536
"""Samples waiting to be sent: 14 min of 20 sensors at 4 Hz, some 15 MB."""
STALLED_AFTER_S = 2.0
"""A service that owes answers and is silent for so long counts as down, seconds. Chosen: a
healthy one answers in milliseconds, the original one needs up to 10 ms per sample."""
RESULTS_PER_TURN = 64
"""Results relayed before the viewers' writers get their turn: a quarter of a viewer's queue."""
RESULT_MAX_BYTES = 1 << 20
CLOSE_TIMEOUT_S = 1.0
JITTER = 0.1
"""Share by which the retry pause varies, so that many backends don't knock in step."""


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
        Gets the valid results of one turn, each with its bytes as they came.
    on_unanswered : callable
        Gets samples that will have no answer.
    room : coroutine function
        Waits until results can be taken; the service is not read meanwhile.
    counters : Counters
        Counts garbage, errors and dropped samples.
    """

    def __init__(
        self,
        url: str,
        ml_format: MlFormat,
        retry_s: float,
        on_results: Callable[[Sequence[tuple[ResultHead, bytes]]], None],
        on_unanswered: Callable[[Sequence[Sample]], None],
        room: Callable[[], Awaitable[None]],
        counters: Counters,
    ) -> None:
        self._url, self._format, self._retry_s = url, ml_format, retry_s
        self._shown_url = without_password(url)
        self._on_results, self._on_unanswered = on_results, on_unanswered
        self._room, self._counters = room, counters
        self._outbox: deque[Sample] = deque()
        self._owed: dict[tuple[str, float], tuple[Sample, float]] = {}
        """(sensor, data time) -> sample, when it was sent; oldest first."""
        self._turn: list[tuple[ResultHead, bytes]] = []
        self._wake = asyncio.Event()
        self._heard_at_s = 0.0
        self._refused_as = ""
        self.connected = asyncio.Event()
        self.stalled = False

    @property
    def state(self) -> str:
        """``up``, ``down``, or ``stalled``: connected, but it owes answers."""
        if not self.connected.is_set():
            return "down"
        return "stalled" if self.stalled else "up"

    @property
    def depth(self) -> int:
        """Samples waiting to be sent."""
        return len(self._outbox)

    def offer(self, sample: Sample) -> None:
        """Queue a sample for the service; never waits."""
        if not self.connected.is_set():
            self._on_unanswered((sample,))
            return
        if self.stalled:  # viewers get it now, the service may still learn from it
            self._on_unanswered((sample,))
        self._outbox.append(sample)
        self._wake.set()
        if len(self._outbox) > OUTBOX_MAX:
            dropped = self._outbox.popleft()
            self._counters.dropped["ml_outbox"] += 1
            if not self.stalled:
                self._on_unanswered((dropped,))

    async def run(self) -> None:
        """Connect, converse, and connect again, for ever."""
        while True:
            try:
                async with await dial(
                    self._url,
                    max_bytes=RESULT_MAX_BYTES,
                    max_queue=RESULTS_PER_TURN * 16,
                    close_timeout_s=CLOSE_TIMEOUT_S,
                ) as connection:
                    log.info("ML service connected url=%s", self._shown_url)
                    self._refused_as = ""
                    self.connected.set()
                    try:
                        await self._converse(connection)
                    except asyncio.CancelledError:
                        await _leave(connection)
                        raise
                    log.warning("ML service lost url=%s", self._shown_url)
            except NotConnected as error:
                if error.reason != self._refused_as:
                    self._refused_as = error.reason
                    log.warning("ML service not reached url=%s: %s", self._shown_url, error.reason)
            except ConnectionClosed as error:
                log.warning("ML service lost url=%s: %s", self._shown_url, error)
            finally:
                self.connected.clear()
                self.stalled = False
            await self._give_up()
            await asyncio.sleep(self._retry_s * random.uniform(1 - JITTER, 1 + JITTER))

    async def _converse(self, connection: ClientConnection) -> None:
        self._heard_at_s = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(self._send(connection)), tasks.create_task(self._watch())]
            with contextlib.suppress(ConnectionClosed):
                await self._receive(connection)
            self._end_turn()
            for task in others:
                task.cancel()

    async def _send(self, connection: ClientConnection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            samples, self._outbox = self._outbox, deque()
            if not self.stalled:
                now_s = time.monotonic()
                self._owed.update({(s.sensor_id, s.sec_from_start): (s, now_s) for s in samples})
                while len(self._owed) > OUTBOX_MAX:  # answered under another time, or far behind
                    del self._owed[next(iter(self._owed))]
            try:
                await send_texts(connection, [encode_sample(s, self._format) for s in samples])
            except ConnectionClosed:
                return

    async def _receive(self, connection: ClientConnection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            text = await connection.recv(decode=False)
            self._heard_at_s = time.monotonic()
            if self.stalled:
                self.stalled = False
                log.info("ML service answers again")
            try:
                head = decode_result_head(text)
            except WireError as error:
                outcome = "error" if is_error_result(text) else "garbage"
                if not self._counters.results[outcome]:
                    log.warning("ML service sent %s, counted from now on: %s", outcome, error)
                self._counters.results[outcome] += 1
                if outcome == "error":
                    self._refuse_oldest()
                    await asyncio.sleep(0)
                continue
            if not self._turn:
                loop.call_soon(self._end_turn)
            self._turn.append((head, text))
            if len(self._turn) >= RESULTS_PER_TURN:
                self._end_turn()
                await self._room()
                await asyncio.sleep(0)

    def _end_turn(self) -> None:
        """Hand over what has come since the last turn."""
        turn, self._turn = self._turn, []
        for head, _ in turn:
            owed = self._owed.pop((head.sensor_id.lower(), head.sec_from_start or 0.0), None)
        if turn:
            if owed is not None:  # one in a turn is enough for a histogram
                self._counters.ml_round_trip_seconds.observe(self._heard_at_s - owed[1])
            self._on_results(turn)

    def _refuse_oldest(self) -> None:
        """Report as unanswered the sample behind an error: answers come in the requests' order."""
        self._end_turn()
        if self._owed:
            sample, _ = self._owed.pop(next(iter(self._owed)))
            self._on_unanswered((sample,))

    async def _watch(self) -> None:
        """Notice a service that owes answers and says nothing."""
        while True:
            await asyncio.sleep(STALLED_AFTER_S / 4)
            if self._owed and not self.stalled:
                _, sent_at_s = next(iter(self._owed.values()))
                silent_s = time.monotonic() - max(sent_at_s, self._heard_at_s)
                if silent_s > STALLED_AFTER_S:
                    self.stalled = True
                    log.warning("ML service is silent, %d answers owed", len(self._owed))
                    await self._give_up(keep_outbox=True)

    async def _give_up(self, *, keep_outbox: bool = False) -> None:
        """Report as unanswered what is owed, a few at a time for the viewers' sake."""
        samples = [sample for sample, _ in self._owed.values()]
        self._owed.clear()
        samples += self._outbox
        if not keep_outbox:  # kept: shown now, and still sent
            self._outbox.clear()
        for start in range(0, len(samples), RESULTS_PER_TURN):
            self._on_unanswered(samples[start : start + RESULTS_PER_TURN])
            await asyncio.sleep(0)


async def _leave(connection: ClientConnection) -> None:
    """Close with 1001; a service that doesn't read is dropped, as it can't be told."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await connection.close(CloseCode.GOING_AWAY)
    except TimeoutError:
        connection.transport.abort()
