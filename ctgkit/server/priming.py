"""What an ML service has to know of a sensor's past when it meets it (PROTOCOL M-2.3).

A service's state belongs to its connection. On a new one, the first sample of a sensor that has
been measured for a while waits until the service was sent the last ten minutes from the store; one
sensor after another, a few requests at a time, so that the others' live samples pass in between.
What is answered to those is counted and dropped.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

from ctgkit.samples import PREDICTION_WINDOW_S, Sample
from ctgkit.server.owed import ANSWER_WITHIN_S

log = logging.getLogger(__name__)

STARTS_BELOW_S, STARTS_BACK_S = 5.0, 60.0
"""Data time below which, and step back by which, a service starts again by itself, seconds
(PROTOCOL M-3.4)."""
IN_FLIGHT_MAX, GROUP = 128, 64
"""Requests about the past that wait for their answers, and how many are sent at a time. Chosen: a
service that needs 10 ms for each delays the live samples between them by a second at most."""
ANSWERS_WITHIN_S = 5.0
"""How long they may stay without any answer before the sensor goes on without its past, seconds."""
HELD_MAX, HELD_MAX_WAITING = 2_400, 16
"""New samples of a sensor that are held while its past is sent, and while others have their turn.
Of the latter the oldest are dropped: they are stored, so they will be part of the past …"""
HELD_S = ANSWER_WITHIN_S
"""… once they have been held for so long: until then an answer may still be in time, and a sensor
that comes back sends all that it kept at once."""

Past = Callable[[str], Awaitable[Sequence[Sample]]]
"""Returns what is stored of a sensor's last ten minutes, in the order in which it was stored."""


def relevant(stored: Iterable[Sample], first: Sample) -> list[Sample]:
    """Return what of a sensor's past a service has to know before *first*.

    >>> samples = [Sample("a", s, None, None, None) for s in (50.0, 0.0, 1.0, 300.0, 301.0, 700.0)]
    >>> [s.sec_from_start for s in relevant(samples, samples[-1])]
    [300.0, 301.0]
    """
    kept: list[Sample] = []
    latest_s = 0.0
    for sample in stored:
        second = sample.sec_from_start
        if _starts_again(second, latest_s):
            kept.clear()
        latest_s = second
        if first.sec_from_start - PREDICTION_WINDOW_S <= second < first.sec_from_start:
            kept.append(sample)
    return kept


def _starts_again(second: float, latest_s: float) -> bool:
    """Return whether a service takes a data time for the begin of another examination."""
    return second < min(STARTS_BELOW_S, latest_s) or second < latest_s - STARTS_BACK_S


class Primer:
    """Sees to it that one connection's service knows the sensors whose samples it gets.

    Parameters
    ----------
    past : callable
        Reads a sensor's past.
    send : coroutine function
        Sends requests about the past.
    release : callable
        Gets the new samples that were held, when the service may have them.
    """

    def __init__(
        self,
        past: Past,
        send: Callable[[Sequence[Sample]], Awaitable[None]],
        release: Callable[[Sequence[Sample]], None],
    ) -> None:
        self._past, self._send, self._release = past, send, release
        self._known: set[str] = set()
        self._held: dict[str, deque[tuple[float, Sample]]] = {}
        """New samples of the sensors that wait, the first one first, and since when (monotonic)."""
        self._until_s: dict[str, float] = {}
        """Sensor -> data time below which an answer is about its past."""
        self._in_flight = 0
        self._turn_of = ""
        self._wake, self._answered = asyncio.Event(), asyncio.Event()

    def begin_anew(self) -> None:
        """Forget everything: the connection is another one, or gone."""
        self._known.clear()
        self._held.clear()
        self._until_s.clear()
        self._in_flight = 0

    def drop(self, sensor_id: str) -> None:
        """Take it that the service doesn't know a sensor: it was elsewhere meanwhile."""
        self._known.discard(sensor_id)

    def admits(self, sample: Sample) -> bool:
        """Return whether a sample can be sent now; otherwise it is held, and released later."""
        sensor_id = sample.sensor_id
        if (held := self._held.get(sensor_id)) is not None:
            self._hold(held, sample, waits=sensor_id != self._turn_of)
            return False
        until_s = self._until_s.get(sensor_id, 0.0)
        if _starts_again(sample.sec_from_start, until_s):
            del self._until_s[sensor_id]  # what it is answered from now on is no past
        if sensor_id in self._known:
            return True
        self._known.add(sensor_id)
        if sample.sec_from_start < STARTS_BELOW_S:
            return True
        self._held[sensor_id] = deque(((time.monotonic(), sample),))
        self._wake.set()
        return False

    def _hold(self, held: deque[tuple[float, Sample]], sample: Sample, *, waits: bool) -> None:
        now_s = time.monotonic()
        held.append((now_s, sample))
        while len(held) > HELD_MAX or (
            waits and len(held) > HELD_MAX_WAITING and now_s - held[0][0] > HELD_S
        ):
            held.popleft()

    def discards(self, sensor_id: str, second: float | None) -> bool:
        """Return whether a result answers a request about the past."""
        until_s = self._until_s.get(sensor_id)
        if until_s is None or second is None:
            return False
        if second >= until_s:
            del self._until_s[sensor_id]  # answers come in order
            return False
        self.refused()
        return True

    def refused(self) -> bool:
        """Take an answer that names no sample; return whether it may be about the past."""
        if not self._in_flight:
            return False
        self._in_flight -= 1
        self._answered.set()
        return True

    async def run(self) -> None:
        """Send one past after another, for as long as the connection lasts."""
        while True:
            self._wake.clear()
            while self._held:
                self._turn_of = sensor_id = next(iter(self._held))
                _, first = self._held[sensor_id][0]
                await self._prime(sensor_id, first)
                self._turn_of = ""
                self._release([sample for _, sample in self._held.pop(sensor_id)])
            await self._wake.wait()

    async def _prime(self, sensor_id: str, first: Sample) -> None:
        samples = relevant(await self._past(sensor_id), first)
        if not samples:
            return
        self._until_s[sensor_id] = first.sec_from_start
        for start in range(0, len(samples), GROUP):
            if not await self._has_room():
                log.warning(
                    "ML service does not answer: sensor %s continues without its past", sensor_id
                )
                self._in_flight = 0
                return
            group = samples[start : start + GROUP]
            self._in_flight += len(group)
            await self._send(group)
        log.info("ML service was sent %d past samples of sensor %s", len(samples), sensor_id)

    async def _has_room(self) -> bool:
        """Wait until few requests are unanswered; False when nothing is answered for long."""
        try:
            while self._in_flight > IN_FLIGHT_MAX - GROUP:
                self._answered.clear()
                async with asyncio.timeout(ANSWERS_WITHIN_S):
                    await self._answered.wait()
        except TimeoutError:
            return False
        return True
