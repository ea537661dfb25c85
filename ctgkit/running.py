"""Backend, ML stub and sensors as context managers, with or without ``async``."""

import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
)
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from ctgkit.config import SensorEntry
    from ctgkit.mlstub.service import MlService
    from ctgkit.sensor.fleet import Summary
    from ctgkit.server.app import Backend

T = TypeVar("T")


class Running(AbstractAsyncContextManager[T], AbstractContextManager[T], Generic[T]):
    """Something that runs inside ``async with``, or inside ``with`` on a thread of its own."""

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._opened = opened
        self._manager: AbstractAsyncContextManager[T] | None = None
        self._stack = ExitStack()

    async def __aenter__(self) -> T:
        self._manager = self._opened()
        return await self._manager.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        assert self._manager is not None
        return await self._manager.__aexit__(kind, error, trace)

    def __enter__(self) -> T:
        from ctgkit.net.loopthread import LoopThread

        with ExitStack() as stack:
            loop = stack.enter_context(LoopThread())
            value = stack.enter_context(loop.holding(self._opened()))
            self._stack = stack.pop_all()
        return value

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)


def run_backend(
    sensors: "int | Sequence[SensorEntry]" = 3,
    *,
    database: Path | str | None = None,
    ml_url: str | None = None,
    port: int = 0,
    **settings: Any,
) -> "Running[Backend]":
    """Run a backend.

    Parameters
    ----------
    sensors : int or sequence of SensorEntry
        How many sensors it knows, with new credentials; or the credentials.
    database : Path, str or None
        SQLite file; None: a temporary one that is gone afterwards.
    ml_url : str or None
        The ML service, ``ws://HOST:PORT/ws/ctg``; None for none.
    port : int
        0 picks a free one.
    **settings
        Other fields of :class:`~ctgkit.server.settings.BackendSettings`.

    Returns
    -------
    Running of Backend
        A context manager; ``url`` is where it listens, ``health()`` how it is, ``credentials``
        whom it knows.

    Raises
    ------
    StoreError, ConfigError, Unreachable
        On entry, when the database or the address cannot be used.
    """

    @asynccontextmanager
    async def opened() -> AsyncIterator["Backend"]:
        from ctgkit.config import new_sensors
        from ctgkit.server.app import run_backend as run
        from ctgkit.server.settings import BackendSettings

        known = new_sensors(sensors) if isinstance(sensors, int) else tuple(sensors)
        with ExitStack() as stack:
            if database is None:
                folder = tempfile.TemporaryDirectory(prefix="ctgkit-", ignore_cleanup_errors=True)
                path = Path(stack.enter_context(folder)) / "ctg.db"
            else:
                path = Path(database)
            chosen = BackendSettings(
                sensors=known, database=path, port=port, ml_url=ml_url, **settings
            )
            async with run(chosen) as backend:
                yield backend

    return Running(opened)


def run_ml(port: int = 0, **settings: Any) -> "Running[MlService]":
    """Run the stub ML service.

    Parameters
    ----------
    port : int
        0 picks a free one.
    **settings
        Other fields of :class:`~ctgkit.mlstub.service.MlSettings`: ``script`` answers as you say,
        ``make_analyzer`` takes an analysis of your own.

    Returns
    -------
    Running of MlService
        A context manager; ``url`` is where it listens.
    """

    def opened() -> "AbstractAsyncContextManager[MlService]":
        from ctgkit.mlstub.service import MlService, MlSettings

        return MlService(MlSettings(port=port, **settings))

    return Running(opened)


@dataclass(frozen=True, slots=True)
class Sensors:
    """Sensors that play to a backend. Made by :func:`run_sensors`."""

    _task: "asyncio.Task[Summary]"
    _loop: asyncio.AbstractEventLoop
    _stop: asyncio.Event

    async def finished(self) -> "Summary":
        """Wait until all have played to their end, for callers inside ``async with``."""
        return await asyncio.shield(self._task)

    def wait(self, timeout_s: float | None = None) -> "Summary":
        """Wait until all have played to their end, for callers inside ``with``.

        Raises
        ------
        TimeoutError
            When they still play after *timeout_s* seconds.
        """
        return asyncio.run_coroutine_threadsafe(self.finished(), self._loop).result(timeout_s)

    def stop(self) -> None:
        """Let them stop; what was sent is still acknowledged before the context ends."""
        self._loop.call_soon_threadsafe(self._stop.set)


def run_sensors(
    url: str,
    credentials: "Sequence[SensorEntry]",
    scenario: str = "normal-reactive",
    *,
    recording: Path | str | None = None,
    seed: int = 0,
    duration_s: float = float("inf"),
    speed: float = 1.0,
    **settings: Any,
) -> Running[Sensors]:
    """Run sensors that send a scenario, or a recording, to a backend.

    Parameters
    ----------
    url : str
        The backend: ``http://HOST:PORT`` or its sensor endpoint.
    credentials : sequence of SensorEntry
        One sensor each.
    scenario : str
        A shipped scenario or a TOML file.
    recording : Path, str or None
        A recording that every sensor plays instead.
    seed : int
        Of the scenario.
    duration_s : float
        How much they play, seconds of data time.
    speed : float
        Data seconds per second; ``inf`` for as fast as the backend takes it.
    **settings
        Other fields of :class:`~ctgkit.sensor.settings.FleetSettings`.

    Returns
    -------
    Running of Sensors
        A context manager. Leaving it stops them and waits for acknowledgements.
    """
    played = (scenario, Path(recording) if recording else None, seed)
    given = {"credentials": credentials, "duration_s": duration_s, "speed": speed}
    return Running(lambda: _sensors(url, played, given | settings))


@asynccontextmanager
async def _sensors(
    url: str, played: tuple[str, Path | None, int], settings: dict[str, Any]
) -> AsyncIterator[Sensors]:
    from ctgkit.net.addresses import websocket_url
    from ctgkit.sensor.fleet import run_fleet
    from ctgkit.sensor.settings import FleetSettings
    from ctgkit.simulate.repertoire import Repertoire

    repertoire = Repertoire(*played)
    stop = asyncio.Event()
    chosen: dict[str, Any] = {
        "url": websocket_url(url, "/ws/sensor"),
        "make_source": repertoire.source,
        "make_line": repertoire.line,
        "on_fault": repertoire.note_fault,
        "first_seq": time.time_ns() // 1000,
        "seed": secrets.randbits(32),
        "stop": stop,
    }
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(run_fleet(FleetSettings(**(chosen | settings))))
        try:
            yield Sensors(task, asyncio.get_running_loop(), stop)
        finally:
            stop.set()
