"""A sensor of a test: plays a scenario, or sends what the test says."""

import asyncio
import math
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from ctgkit.config import SensorEntry
from ctgkit.errors import Unreachable
from ctgkit.net.client import NotConnected, dial
from ctgkit.samples import RATE_HZ, Sample
from ctgkit.sensor.fleet import Summary, run_fleet
from ctgkit.sensor.settings import FleetSettings
from ctgkit.simulate.repertoire import Repertoire
from ctgkit.simulate.scenario import Scenario
from ctgkit.simulate.sensor import Sensor as SimulatedSensor
from ctgkit.simulate.source import Source
from ctgkit.testing.history import History, Send
from ctgkit.wire import SENSOR_ID_PARAMETER, TOKEN_HEADER, encode_sample

PLAY_S = 600.0
"""Data time that is played unless told, seconds: enough for eleven predictions."""
SEQ_PER_PLAY = 1 << 32
"""Sequence numbers that one play may use: no sensor sends so many samples."""
LIVE_SPEED = 10.0
"""Speed of what runs beside the test unless told, data seconds per second."""


class Sensor:
    """One sensor of a backend. Made by :meth:`ctgkit.testing.parties.Parties.sensors`.

    It plays (:meth:`play`, :meth:`start`) as `ctgkit sensor` does, numbered and acknowledged; or it
    sends by hand (:meth:`send`, :meth:`send_frame`), without numbers, as the simplest sensor would.
    """

    def __init__(
        self,
        url: str,
        entry: SensorEntry,
        number: int,
        scenario: str,
        seed: int,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._url, self._entry, self._number = url, entry, number
        self._scenario, self._seed, self._tasks = scenario, seed, tasks
        self._connection: ClientConnection | None = None
        self._next_s = 0.0
        self._first_seq = 0
        self._fleet: FleetSettings | None = None
        self._playing: asyncio.Task[Summary] | None = None

    @property
    def id(self) -> str:
        """Its UUID."""
        return self._entry.id

    # By hand

    async def send(
        self,
        fhr_bpm: float | None,
        uterus: float | None = 10.0,
        spasms: float | None = 0.0,
        *,
        sec: float | None = None,
    ) -> float:
        """Send one sample, and return when it has arrived at the backend.

        Parameters
        ----------
        fhr_bpm : float or None
            Heart rate, beats/min; None is no signal. Not checked: 999 goes out too.
        uterus, spasms : float or None
            Tone and contraction, device units or mmHg; None is not measured.
        sec : float or None
            Data time, seconds; by default 0.25 after the one before.

        Returns
        -------
        float
            Its data time, seconds.

        Raises
        ------
        Unreachable
            When the backend doesn't let the sensor in, or closes the connection.
        """
        at_s = self._next_s if sec is None else sec
        await self.send_frame(
            encode_sample(Sample(self.id, at_s, fhr_bpm, uterus, spasms)).decode()
        )
        self._next_s = at_s + 1 / RATE_HZ
        return at_s

    async def send_frame(self, *frames: str | bytes) -> None:
        """Send frames as they are, and return when they have arrived at the backend.

        Texts go as text frames, bytes as binary ones. Raises as :meth:`send`. A backend that ends
        the connection because of them may take a moment to do so.
        """
        connection = self._connection or await self._connect()
        try:
            for frame in frames:
                await connection.send(frame)
            await (await connection.ping())
        except ConnectionClosed as closed:
            self._connection = None
            raise Unreachable(self._url, f"the backend ended the connection: {closed}") from closed

    async def perform(self, history: History) -> None:
        """Do what a history says, and return when all of it has arrived at the backend."""
        for step in history.steps:
            if isinstance(step, Send):
                await self.send_frame(step.frame)
            elif step.how == "again" and self._connection is not None:
                older = self._connection
                await self._connect()
                await older.close()
            else:
                await self.leave(abruptly=step.how == "drop")

    async def leave(self, *, abruptly: bool = False) -> None:
        """Disconnect, if connected; *abruptly* without saying so. The next use connects again."""
        if self._playing is not None:
            await self.stop()
        connection, self._connection = self._connection, None
        if connection is not None:
            if abruptly:
                connection.transport.abort()
            await connection.close()

    async def _connect(self) -> ClientConnection:
        if self._playing is not None:
            raise RuntimeError("the sensor is playing: stop() it before you send by hand")
        try:
            self._connection = await dial(
                f"{self._url}?{urlencode({SENSOR_ID_PARAMETER: self.id})}",
                headers={TOKEN_HEADER: self._entry.token},
            )
        except NotConnected as error:
            raise Unreachable(self._url, f"the sensor isn't let in: {error.reason}") from error
        return self._connection

    # Playing

    async def play(
        self,
        scenario: str | Scenario | None = None,
        *,
        recording: Path | None = None,
        duration_s: float = PLAY_S,
        speed: float = math.inf,
    ) -> Summary:
        """Play to the end, as fast as the backend takes it, and return what was sent.

        Parameters
        ----------
        scenario : str, Scenario or None
            A shipped scenario, a TOML file, or one that was parsed; by default that of the marker
            ``ctgkit_scenario``.
        recording : Path or None
            Play this file instead, of any format.
        duration_s : float
            Data time, seconds; a recording may end sooner.
        speed : float
            Data seconds per second, > 0.

        Raises
        ------
        Unreachable
            When the sensor gave up, e.g. because its token is refused.
        ScenarioError, RecordingError
            When there is nothing to play.
        """
        await self.start(scenario, recording=recording, duration_s=duration_s, speed=speed)
        return await self._played()

    async def start(
        self,
        scenario: str | Scenario | None = None,
        *,
        recording: Path | None = None,
        duration_s: float = math.inf,
        speed: float = LIVE_SPEED,
    ) -> None:
        """Play beside the test, until :meth:`stop` or the test's end; otherwise as :meth:`play`."""
        await self.leave()
        source = self._source(scenario or self._scenario, recording)
        now_us = int(datetime.now(UTC).timestamp() * 1_000_000)  # may be frozen, or turned back
        self._first_seq = max(now_us, self._first_seq + SEQ_PER_PLAY)
        self._fleet = FleetSettings(
            url=self._url,
            credentials=(self._entry,),
            make_source=lambda _: source,
            first_seq=self._first_seq,
            speed=speed,
            duration_s=duration_s,
        )
        self._playing = self._tasks.create_task(run_fleet(self._fleet))

    async def stop(self) -> Summary:
        """Stop playing, and return what was sent. Raises Unreachable as :meth:`play`."""
        if self._fleet is None:
            raise RuntimeError("the sensor isn't playing: start() it first")
        self._fleet.stop.set()
        return await self._played()

    async def _played(self) -> Summary:
        assert self._playing is not None
        playing, self._playing, self._fleet = self._playing, None, None
        summary = await playing
        if summary.failures:
            raise Unreachable(self._url, "; ".join(summary.failures))
        return summary

    def _source(self, scenario: str | Scenario, recording: Path | None) -> Source:
        if isinstance(scenario, Scenario):
            return SimulatedSensor(scenario, self._seed, self._number)
        return Repertoire(scenario, recording, self._seed).source(self._number)
