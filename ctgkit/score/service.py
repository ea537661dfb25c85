"""Plays scenarios to an ML service as a backend does, and listens to its results.

All sensors share one connection (PROTOCOL M-1.1). A bounded number of requests is unanswered at
a time, so that a slow service sets the pace and a silent one is noticed.
"""

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from ctgkit.cli.progress import progress
from ctgkit.errors import Unreachable, WireError
from ctgkit.net.client import dial
from ctgkit.net.frames import send_texts
from ctgkit.samples import RATE_HZ, Sample
from ctgkit.score.results import Listener, read_result
from ctgkit.score.scoring import Played, Score, score
from ctgkit.score.truth import Span, Truth, simulated
from ctgkit.sensor.pacing import Feed
from ctgkit.simulate.scenario import Scenario
from ctgkit.simulate.sensor import Sensor
from ctgkit.simulate.signal.stream import Floats
from ctgkit.simulate.source import Chunk
from ctgkit.wire import MlFormat, encode_request

log = logging.getLogger(__name__)

IN_FLIGHT_MAX = 512
"""Requests that wait for their answers; half of what our stub holds back for a client."""
GROUP = 64
"""Requests sent in one write."""
TURN = 4
"""Samples of one sensor before the next one's, when all are due: a second at 4 Hz."""
RESULT_MAX_BYTES = 1 << 20
CLOSE_TIMEOUT_S = 1.0
TELL_EVERY_S, PROGRESS_EVERY_S = 10.0, 0.5
TOGETHER = 6
"""Patients played at a time where a run may end early or there are many. Chosen: enough to keep a
service busy."""
PARTIAL_MIN_S = 600.0
"""A scenario that was cut short sooner isn't scored, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaySettings:
    """What is played to whom."""

    url: str
    scenarios: Sequence[Scenario]
    sensors: int = 1
    """Patients of each scenario."""
    seed: int = 0
    duration_s: float | None = None
    """Of each; None: as long as the scenario is worth watching."""
    speed: float = float("inf")
    """Data seconds per second; infinity: as fast as the service answers."""
    ml_format: MlFormat = "nested"
    timeout_s: float = 10.0
    """How long a service that owes answers may be silent, and may take to accept."""
    until_s: float = float("inf")
    """Loop time at which no more is sent, seconds."""


class Role(NamedTuple):
    """One patient of a scenario."""

    name: str
    scenario: Scenario
    number: int


def roles(scenarios: Sequence[Scenario], sensors: int) -> list[Role]:
    """Return who is played; of many they are numbered as the files of ``ctgkit generate``."""
    if sensors == 1:
        return [Role(one.id, one, 0) for one in scenarios]
    width = len(str(sensors - 1))
    return [Role(f"{one.id}-{i:0{width}}", one, i) for one in scenarios for i in range(sensors)]


class Patient:
    """A simulated sensor that remembers its baseline, minute by minute: a Source."""

    def __init__(self, role: Role, seed: int, duration_s: float | None) -> None:
        scenario = role.scenario
        length_s = scenario.duration_s if duration_s is None else duration_s
        self.name = role.name
        self.length_s = length_s
        self.sensor_id = str(uuid.uuid4())  # a service may remember the ids of the last run
        self._sensor = Sensor(scenario, seed, role.number, duration_s=length_s)
        self._baseline: list[Floats] = []

    def read(self, n_samples: int) -> Chunk:
        """Return the next samples; fewer, down to none, at the end."""
        rendered = self._sensor.render(self._sensor.position, n_samples)
        self._sensor.seek(self._sensor.position + len(rendered.chunk.sec_from_start))
        self._baseline.append(rendered.truth.baseline_bpm)
        return rendered.chunk

    @property
    def played_s(self) -> float:
        """How much was read, seconds of data time."""
        return self._sensor.position / RATE_HZ

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


async def play_in_turn(
    settings: PlaySettings,
    max_time_s: float | None,
    done: dict[str, Score],
    keep: Callable[[dict[str, Score]], None],
) -> Played:
    """Play scenarios a few at a time until there are no more, or no more time.

    Parameters
    ----------
    settings : PlaySettings
        What to play, and to whom.
    max_time_s : float or None
        How long it may take, seconds.
    done : dict of str to Score
        What an earlier run has finished; it isn't played again.
    keep : callable
        Gets all that is finished, whenever there is more of it.
    """
    loop = asyncio.get_running_loop()
    until_s = float("inf") if max_time_s is None else loop.time() + max_time_s
    scores = dict(done)
    partial: list[str] = []
    everyone = roles(settings.scenarios, settings.sensors)
    waiting = [one for one in everyone if one.name not in scores]
    while waiting and loop.time() < until_s:
        group, waiting = waiting[:TOGETHER], waiting[TOGETHER:]
        finished = sum(one.name in done for one in everyone)
        log.info("%d of %d recordings are finished", finished, len(everyone))
        for score_of, whole in await _played(replace(settings, until_s=until_s), group):
            if score_of is not None:
                scores[score_of.name] = score_of
            if score_of is not None and whole:
                done[score_of.name] = score_of
            elif score_of is not None:
                partial.append(score_of.name)
        keep(done)
    left = tuple(one.name for one in everyone if one.name not in scores)
    in_order = [scores[one.name] for one in everyone if one.name in scores]
    return Played(in_order, tuple(partial), left)


async def play(settings: PlaySettings) -> list[Score]:
    """Play scenarios to a service and return a score of each.

    Raises
    ------
    Unreachable
        When it can't be reached, hangs up, or is silent while it owes answers.
    """
    everyone = roles(settings.scenarios, settings.sensors)
    return [score_of for score_of, _ in await _played(settings, everyone) if score_of is not None]


async def _show_progress(patients: Sequence[Patient]) -> None:
    """Show on a terminal how much was played, until cancelled."""
    told_s = 0.0
    with progress("playing", "s of data", sum(p.length_s for p in patients)) as advance:
        while True:
            await asyncio.sleep(PROGRESS_EVERY_S)
            played_s = sum(p.played_s for p in patients)
            advance(played_s - told_s)
            told_s = played_s


async def _played(settings: PlaySettings, cast: Sequence[Role]) -> list[tuple[Score | None, bool]]:
    """Play patients all at once; return a score of each, and whether it was played whole."""
    patients = [Patient(one, settings.seed, settings.duration_s) for one in cast]
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
            others = [tasks.create_task(each) for each in (talk.listen(), _show_progress(patients))]
            await talk.send_all(patients)
            for task in others:
                task.cancel()
    except* Unreachable as group:
        lost = group
    if lost is not None:
        raise lost.exceptions[0]
    found: list[tuple[Score | None, bool]] = []
    for p in patients:
        whole = p.played_s >= p.length_s - 1
        if whole or p.played_s >= PARTIAL_MIN_S:
            found.append((score(p.truth(), talk.listeners[p.sensor_id].results()), whole))
        else:
            found.append((None, False))
    return found


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
            result = read_result(text)
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
        began_s = told_s = loop.time()
        while not all(feed.ended for feed in feeds) and loop.time() < self._settings.until_s:
            batch = [s for feed in feeds for s in feed.take_due(loop.time(), TURN)]
            for start in range(0, len(batch), GROUP):
                await self._send(batch[start : start + GROUP])
            if not batch:
                await asyncio.sleep(min(f.next_due_s for f in feeds) - loop.time())
            if loop.time() > told_s + TELL_EVERY_S:
                told_s = loop.time()
                _tell(patients, loop.time() - began_s)
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
        try:
            await send_texts(
                self._connection, [encode_request(s, self._settings.ml_format) for s in samples]
            )
        except ConnectionClosed as error:
            raise Unreachable(self._settings.url, f"lost: {error}") from error

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait while the service goes on answering.

        Raises
        ------
        Unreachable
            When it wrote nothing for too long.
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


def _tell(patients: Sequence[Patient], taken_s: float) -> None:
    """Log how far it is, and how long the rest will take."""
    whole_s = sum(p.length_s for p in patients)
    played_s = sum(p.played_s for p in patients)
    share = played_s / whole_s if whole_s else 1.0
    left_s = taken_s * (1 - share) / share if share else float("inf")
    log.info(
        "played %.0f of %.0f min (%.0f %%), about %.0f s left",
        played_s / 60, whole_s / 60, 100 * share, left_s,
    )  # fmt: skip
