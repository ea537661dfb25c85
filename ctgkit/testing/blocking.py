"""The parties of a test for tests without ``async``: what the fixtures give.

They run on an event loop in a thread of this process. A thread, not processes: it starts in
milliseconds, a debugger sees everything, and nothing is left behind when the test is killed.
"""

import asyncio
import math
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from ctgkit.config import SensorEntry
from ctgkit.errors import CtgkitError
from ctgkit.sensor.fleet import Summary
from ctgkit.simulate.scenario import Scenario
from ctgkit.testing import parties, sensor, viewer
from ctgkit.testing.history import History
from ctgkit.testing.sensor import LIVE_SPEED, PLAY_S
from ctgkit.testing.viewer import TIMEOUT_S

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread of its own, from ``with`` to its end."""

    def __enter__(self) -> Self:
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="ctgkit-testing", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._runner.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run *coroutine* on the loop, and return what it returns."""
        __tracebackhide__ = True
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except (AssertionError, CtgkitError) as error:
            raise error.with_traceback(None) from None  # it says all; where we were says nothing
        except BaseException:
            future.cancel()  # Ctrl-C here must end it there
            raise

    def call(self, function: Callable[[], T]) -> T:
        """Call *function* on the loop's thread."""

        async def there() -> T:
            return function()

        return self.run(there())

    @contextmanager
    def holding(self, manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Enter *manager* on the loop and leave it there, in one task: task groups ask for that."""
        entered: Future[T] = Future()
        leave = asyncio.Event()

        async def hold() -> None:
            async with manager as value:
                entered.set_result(value)
                await leave.wait()

        held = asyncio.run_coroutine_threadsafe(hold(), self._loop)
        futures: tuple[Future[Any], ...] = (entered, held)
        wait(futures, return_when=FIRST_COMPLETED)
        if held.done():
            held.result()  # raises what went wrong
        try:
            yield entered.result()
        finally:
            self._loop.call_soon_threadsafe(leave.set)
            held.result()


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
