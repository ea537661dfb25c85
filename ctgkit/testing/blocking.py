"""The parties of a test for tests without ``async``: what the fixtures give.

They run on an event loop in a thread of this process. A thread, not processes: it starts in
milliseconds, a debugger sees everything, and nothing is left behind when the test is killed.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ctgkit.config import SensorEntry
from ctgkit.net.loopthread import LoopThread
from ctgkit.sensor.fleet import Summary
from ctgkit.simulate.scenario import Scenario
from ctgkit.testing import parties, sensor, viewer
from ctgkit.testing.history import History
from ctgkit.testing.sensor import LIVE_SPEED, PLAY_S
from ctgkit.testing.viewer import TIMEOUT_S


class Backend:
    """A backend; the fixture ``ctgkit_backend``."""

    def __init__(self, loop: LoopThread, party: parties.Backend) -> None:
        self._loop = loop
        self.party = party
        """The same on the loop of the thread; use it only there."""

    @property
    def url(self) -> str:
        """``http://HOST:PORT``."""
        return self.party.url

    @property
    def viewer_url(self) -> str:
        """Where viewers connect, ``ws://HOST:PORT/ws``."""
        return self.party.viewer_url

    @property
    def sensor_url(self) -> str:
        """Where sensors connect, ``ws://HOST:PORT/ws/sensor``; an id has to be added."""
        return self.party.sensor_url

    @property
    def sensors(self) -> tuple[SensorEntry, ...]:
        """Credentials that it knows: ``id`` and ``token`` each."""
        return self.party.sensors

    @property
    def database(self) -> Path:
        """Its SQLite file. Skips the test where the backend is yours."""
        return self.party.database

    def stop(self) -> None:
        """Stop it: everybody is disconnected with 1001. Skips where the backend is yours."""
        self._loop.run(self.party.stop())

    def start(self) -> None:
        """Start it again, on the same port and database. Skips where the backend is yours."""
        self._loop.run(self.party.start())


class Viewer:
    """Somebody who watches the backend; the fixture ``ctgkit_viewer``."""

    def __init__(self, loop: LoopThread, viewer: viewer.Viewer) -> None:
        self._loop, self._viewer = loop, viewer

    @property
    def messages(self) -> list[Any]:
        """What it got since it connected, or since :meth:`forget`: decoded JSON, oldest first."""
        return self._viewer.messages

    def forget(self) -> None:
        """Begin anew: :meth:`wait_for` considers only what comes from now on."""
        self._loop.call(self._viewer.forget)

    def wait_for(
        self,
        predicate: Callable[[Any], object] = lambda message: True,
        timeout_s: float = TIMEOUT_S,
        *,
        count: int = 1,
    ) -> Any:
        """Wait for messages; see :meth:`ctgkit.testing.viewer.Viewer.wait_for`."""
        __tracebackhide__ = True
        return self._loop.run(self._viewer.wait_for(predicate, timeout_s, count=count))


class Sensor:
    """A sensor; the fixture ``ctgkit_sensor``, or one of ``ctgkit_sensors``."""

    def __init__(self, loop: LoopThread, sensor: sensor.Sensor) -> None:
        self._loop, self._sensor = loop, sensor

    @property
    def id(self) -> str:
        """Its UUID."""
        return self._sensor.id

    def send(
        self,
        fhr_bpm: float | None,
        uterus: float | None = 10.0,
        spasms: float | None = 0.0,
        *,
        sec: float | None = None,
    ) -> float:
        """Send one sample; see :meth:`ctgkit.testing.sensor.Sensor.send`."""
        return self._loop.run(self._sensor.send(fhr_bpm, uterus, spasms, sec=sec))

    def send_frame(self, *frames: str | bytes) -> None:
        """Send frames as they are; see :meth:`ctgkit.testing.sensor.Sensor.send_frame`."""
        self._loop.run(self._sensor.send_frame(*frames))

    def perform(self, history: History) -> None:
        """Do what a history says; see :meth:`ctgkit.testing.sensor.Sensor.perform`."""
        self._loop.run(self._sensor.perform(history))

    def leave(self, *, abruptly: bool = False) -> None:
        """Disconnect; see :meth:`ctgkit.testing.sensor.Sensor.leave`."""
        self._loop.run(self._sensor.leave(abruptly=abruptly))

    def play(
        self,
        scenario: str | Scenario | None = None,
        *,
        recording: Path | None = None,
        duration_s: float = PLAY_S,
        speed: float = math.inf,
    ) -> Summary:
        """Play to the end; see :meth:`ctgkit.testing.sensor.Sensor.play`."""
        return self._loop.run(
            self._sensor.play(scenario, recording=recording, duration_s=duration_s, speed=speed)
        )

    def start(
        self,
        scenario: str | Scenario | None = None,
        *,
        recording: Path | None = None,
        duration_s: float = math.inf,
        speed: float = LIVE_SPEED,
    ) -> None:
        """Play beside the test; see :meth:`ctgkit.testing.sensor.Sensor.start`."""
        self._loop.run(
            self._sensor.start(scenario, recording=recording, duration_s=duration_s, speed=speed)
        )

    def stop(self) -> Summary:
        """Stop playing; see :meth:`ctgkit.testing.sensor.Sensor.stop`."""
        return self._loop.run(self._sensor.stop())
