"""Plays scenarios to an ML service as a backend does, and listens to its results.

All sensors share one connection (PROTOCOL M-1.1). A bounded number of requests is unanswered at
a time, so that a slow service sets the pace and a silent one is noticed.
"""

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from ctgkit.errors import Unreachable, WireError
from ctgkit.net.client import dial
from ctgkit.net.frames import send_texts
from ctgkit.samples import RATE_HZ, Sample
from ctgkit.score.results import Listener
from ctgkit.score.scoring import Score, score
from ctgkit.score.truth import Span, Truth, simulated
from ctgkit.sensor.pacing import Feed
from ctgkit.simulate.scenario import Scenario
from ctgkit.simulate.sensor import Sensor
from ctgkit.simulate.signal.stream import Floats
from ctgkit.simulate.source import Chunk
from ctgkit.wire import MlFormat, decode_result, encode_sample

log = logging.getLogger(__name__)

IN_FLIGHT_MAX = 512
"""Requests that wait for their answers; half of what our stub holds back for a client."""
GROUP = 64
"""Requests sent in one write."""
TURN = 4
"""Samples of one sensor before the next one's, when all are due: a second at 4 Hz."""
RESULT_MAX_BYTES = 1 << 20
CLOSE_TIMEOUT_S = 1.0
TELL_EVERY_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaySettings:
    """What is played to whom."""

    url: str
    scenarios: Sequence[Scenario]
    seed: int = 0
    duration_s: float | None = None
    """Of each; None: as long as the scenario is worth watching."""
    speed: float = float("inf")
    """Data seconds per second; infinity: as fast as the service answers."""
    ml_format: MlFormat = "nested"
    timeout_s: float = 10.0
    """How long a service that owes answers may be silent, and may take to accept."""


class Patient:
    """A simulated sensor that remembers its baseline, minute by minute: a Source."""

    def __init__(self, scenario: Scenario, seed: int, duration_s: float | None) -> None:
        length_s = scenario.duration_s if duration_s is None else duration_s
        self.name = scenario.id
        self.sensor_id = str(uuid.uuid4())  # a service may remember the ids of the last run
        self._sensor = Sensor(scenario, seed, duration_s=length_s)
        self._baseline: list[Floats] = []

    def read(self, n_samples: int) -> Chunk:
        """Return the next samples; fewer, down to none, at the end."""
        rendered = self._sensor.render(self._sensor.position, n_samples)
        self._sensor.seek(self._sensor.position + len(rendered.chunk.sec_from_start))
        self._baseline.append(rendered.truth.baseline_bpm)
        return rendered.chunk

    def truth(self) -> Truth:
        """Return what happened in what was read."""
        per_minute = round(60 * RATE_HZ)
        level_bpm = np.concatenate(self._baseline)
        minutes = level_bpm[: len(level_bpm) // per_minute * per_minute].reshape(-1, per_minute)
        spans = [
            Span(60.0 * n, 60.0 * (n + 1), bpm)
            for n, bpm in enumerate(minutes.mean(axis=1).tolist())
        ]
        return simulated(self.name, self._sensor.events(), spans)


async def play(settings: PlaySettings) -> list[Score]:
    """Play scenarios to a service and return a score of each.

    Raises
    ------
    Unreachable
        When it can't be reached, hangs up, or is silent while it owes answers.
    """
    patients = [Patient(one, settings.seed, settings.duration_s) for one in settings.scenarios]
    connection: ClientConnection = await dial(
        settings.url,
        max_bytes=RESULT_MAX_BYTES,
        open_timeout_s=settings.timeout_s,
        close_timeout_s=CLOSE_TIMEOUT_S,
        pings=False,  # a busy service answers requests, not pings
    )
    talk = _Talk(connection, settings, {p.sensor_id: Listener() for p in patients})
    lost: ExceptionGroup[Unreachable] | None = None
    try:
        async with connection, asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(talk.listen())
            await talk.send_all(patients)
            reader.cancel()
    except* Unreachable as group:
        lost = group
    if lost is not None:
        raise lost.exceptions[0]
    return [score(p.truth(), talk.listeners[p.sensor_id].results()) for p in patients]


class _Talk:
    """The conversation with the service."""

    def __init__(
        self,
        connection: ClientConnection,
        settings: PlaySettings,
        listeners: dict[str, Listener],
    ) -> None:
        self.listeners = listeners
        self._connection, self._settings = connection, settings
        self._owed: deque[tuple[str, float]] = deque()
        """Requests without an answer: sensor and data time, oldest first."""
        self._is_owed: set[tuple[str, float]] = set()
        self._heard = asyncio.Event()
        self._unanswered = self._stray = 0

    async def listen(self) -> None:
        """Take results until the service hangs up, which it shouldn't."""
        try:
            while True:
                text = await self._connection.recv(decode=False)
                self._heard.set()
                self._take(text)
        except ConnectionClosed as error:
            raise Unreachable(self._settings.url, f"lost: {error}") from error

    def _take(self, text: bytes) -> None:
        try:
            result = decode_result(text)
        except WireError as error:
            self._complain(f"can't be read: {error}")
            self._pay(None)
            return
        sensor_id = result.sensor_id.lower()
        self._pay((sensor_id, result.sec_from_start))
        if sensor_id in self.listeners:
            self.listeners[sensor_id].take(result)
        else:
            self._complain("is about a sensor that doesn't exist")

    def _complain(self, what: str) -> None:
        self._stray += 1
        if self._stray.bit_count() == 1:  # 1st, 2nd, 4th, 8th …: a burst stays readable
            log.warning("an answer (%d) %s", self._stray, what)

    def _pay(self, answered: tuple[str, float] | None) -> None:
        """Cross off the request behind an answer; those before it were passed over."""
        while self._owed:
            oldest = self._owed.popleft()
            self._is_owed.discard(oldest)
            if answered not in self._is_owed:
                return
            self._unanswered += 1

    async def send_all(self, patients: Sequence[Patient]) -> None:
        """Send every sample when it is due, and wait for the last answers."""
        loop = asyncio.get_running_loop()
        feeds = [
            Feed(p, sensor_id=p.sensor_id, first_seq=0, speed=self._settings.speed,
                 duration_s=float("inf"))
            for p in patients
        ]  # fmt: skip
        for feed in feeds:
            feed.start(loop.time())
        told_s, at_s = loop.time(), 0.0
        while not all(feed.ended for feed in feeds):
            batch = [s for feed in feeds for s in feed.take_due(loop.time(), TURN)]
            for start in range(0, len(batch), GROUP):
                await self._send(batch[start : start + GROUP])
            if batch:
                at_s = max(at_s, batch[-1].sec_from_start)
            else:
                await asyncio.sleep(min(f.next_due_s for f in feeds) - loop.time())
            if loop.time() > told_s + TELL_EVERY_S:
                told_s = loop.time()
                log.info("played %.1f min of %d scenarios", at_s / 60, len(patients))
        try:
            await self._until(lambda: not self._owed)
        except Unreachable:  # it did answer before, or nothing will be scored
            self._unanswered += len(self._owed)
        if self._unanswered:
            log.warning("%d requests were not answered", self._unanswered)

    async def _send(self, samples: Sequence[Sample]) -> None:
        await self._until(lambda: len(self._owed) <= IN_FLIGHT_MAX - len(samples))
        owed = [(s.sensor_id, s.sec_from_start) for s in samples]
        self._owed.extend(owed)
        self._is_owed.update(owed)
        bare = (msgspec.structs.replace(s, seq=None) for s in samples)
        try:
            await send_texts(
                self._connection, [encode_sample(s, self._settings.ml_format) for s in bare]
            )
        except ConnectionClosed as error:
            raise Unreachable(self._settings.url, f"lost: {error}") from error

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait while the service goes on answering.

        Raises
        ------
        Unreachable
            When it says nothing for too long.
        """
        timeout_s = self._settings.timeout_s
        while not condition():
            self._heard.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._heard.wait()
            except TimeoutError:
                reason = f"silent for {timeout_s:g} s, owes {len(self._owed)} answers"
                raise Unreachable(self._settings.url, reason) from None
