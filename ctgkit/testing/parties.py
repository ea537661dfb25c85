"""A backend, an ML stub, sensors and viewers for one test, on the running event loop.

All ports are free ones, all files lie in a directory of the test's. With the URL of a backend of
your own, that one takes the place of ours. For plain tests :mod:`ctgkit.testing.blocking` has the
same without ``await``.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from unittest import SkipTest

from ctgkit import toml
from ctgkit.check.connection import Target, answers, target_of
from ctgkit.config import SensorEntry, new_sensors
from ctgkit.errors import Unreachable
from ctgkit.mlstub.script import Script, parse_script
from ctgkit.mlstub.service import MlService, MlSettings
from ctgkit.net.client import dial
from ctgkit.server import app
from ctgkit.server.settings import BackendSettings
from ctgkit.testing.sensor import Sensor
from ctgkit.testing.viewer import Viewer

SENSORS = 3
"""Sensors that a backend of ours knows; they share a bed."""
ML_TIMEOUT_S = 10.0
"""How long a backend may take to find its ML service, seconds."""

T = TypeVar("T")


class Backend:
    """A backend. Made by :meth:`Parties.backend`."""

    def __init__(self, target: Target, sensors: Sequence[SensorEntry], token: str | None) -> None:
        self._target = target
        self.sensors = tuple(sensors)
        """Credentials that it knows: ``id`` and ``token`` each."""
        self.viewer_token = token
        """What it asks from viewers; None lets everybody watch."""

    @property
    def url(self) -> str:
        """``http://HOST:PORT``."""
        return self._target.web_url

    @property
    def viewer_url(self) -> str:
        """Where viewers connect, ``ws://HOST:PORT/ws``."""
        return self._target.socket_url + "/ws"

    @property
    def sensor_url(self) -> str:
        """Where sensors connect, ``ws://HOST:PORT/ws/sensor``; an id has to be added."""
        return self._target.socket_url + "/ws/sensor"

    @property
    def database(self) -> Path:
        """Its SQLite file. Skips the test where the backend is yours."""
        raise self._foreign("its database")

    async def start(self) -> None:
        """Start it again, on the same port and database. Skips where the backend is yours."""
        raise self._foreign("to start it")

    async def stop(self) -> None:
        """Stop it: everybody is disconnected with 1001. Skips where the backend is yours."""
        raise self._foreign("to stop it")

    def _foreign(self, what: str) -> SkipTest:
        return SkipTest(f"needs {what}, and {self.url} isn't CTGKit's to touch")


class OwnBackend(Backend):
    """CTGKit's backend, which can be stopped and started."""

    def __init__(self, settings: BackendSettings, tasks: asyncio.TaskGroup) -> None:
        super().__init__(Target(False, settings.host, 0, ""), settings.sensors, None)
        self._settings, self._tasks = settings, tasks
        self._leave = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    @property
    def database(self) -> Path:
        """Its SQLite file; docs/architecture.md names the tables."""
        assert isinstance(self._settings.database, Path)
        return self._settings.database

    async def start(self) -> None:
        """Start it, a second time on the same port and database, and let it find its ML service.

        Raises
        ------
        Unreachable
            When nobody is where the ML service should be.
        """
        if self._running is not None:
            raise RuntimeError("the backend runs already")
        ready: asyncio.Future[app.Backend] = asyncio.get_running_loop().create_future()
        self._leave.clear()
        self._running = self._tasks.create_task(self._run(ready))
        backend = await ready
        self._target = target_of(backend.url)
        self._settings = replace(self._settings, port=self._target.port)
        try:
            async with asyncio.timeout(ML_TIMEOUT_S):
                await backend.ml_connected()
        except TimeoutError:
            why = f"the backend found no ML service there within {ML_TIMEOUT_S:g} s"
            raise Unreachable(str(self._settings.ml_url), why) from None

    async def stop(self) -> None:
        """Stop it; nothing stays unwritten."""
        if self._running is None:
            return
        self._leave.set()
        await self._running
        self._running = None

    async def _run(self, ready: asyncio.Future[app.Backend]) -> None:
        async with app.run_backend(self._settings) as backend:
            ready.set_result(backend)
            await self._leave.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parties:
    """Starts the parties of one test.

    Parameters
    ----------
    directory : Path
        Where files may be put.
    seed : int
        Of everything that is drawn.
    scenario : str
        What sensors play unless told: a shipped scenario or a TOML file.
    script : Script or None
        What the ML stub does; without a script it answers honestly.
    url : str or None
        A backend of your own.
    credentials : sequence of SensorEntry
        Sensors that it knows; unused without *url*.
    viewer_token : str or None
        What it asks from viewers.
    """

    directory: Path
    seed: int = 0
    scenario: str = "normal-reactive"
    script: Script | None = None
    url: str | None = None
    credentials: Sequence[SensorEntry] = ()
    viewer_token: str | None = None

    @asynccontextmanager
    async def ml(self) -> AsyncIterator[MlService]:
        """Run the ML stub; ``url`` is where, ``counts.requests`` what it was asked."""
        async with _unwrapped(MlService(MlSettings(port=0, script=self.script))) as service:
            yield service

    @asynccontextmanager
    async def backend(self, ml_url: str | None = None) -> AsyncIterator[Backend]:
        """Run a backend, connected to the ML service at *ml_url*, if any; or find yours.

        Raises
        ------
        Unreachable
            When nothing listens at the URL of yours, or at *ml_url*.
        unittest.SkipTest
            When yours is to use *ml_url*: it has an ML service of its own.
        """
        if self.url is not None:
            if ml_url is not None:
                raise SkipTest(f"needs an ML stub, and {self.url} has an ML service of its own")
            target = target_of(self.url, ("/ws", "/ws/sensor"))
            if not await answers(target, 0.0):
                raise Unreachable(self.url, "nothing listens here (--ctgkit-url)")
            yield Backend(target, self.credentials, self.viewer_token)
            return
        settings = BackendSettings(
            sensors=new_sensors(SENSORS),
            database=self.directory / "ctg.db",
            port=0,
            ml_url=ml_url,
            ml_retry_s=0.2,
            durability="normal",
        )
        async with _unwrapped(_own_backend(settings)) as backend:
            await backend.start()
            yield backend

    @asynccontextmanager
    async def sensors(self, backend: Backend) -> AsyncIterator[tuple[Sensor, ...]]:
        """Have a sensor for each credential; each connects when it is first used."""
        async with _unwrapped(asyncio.TaskGroup()) as tasks:
            sensors = tuple(
                Sensor(backend.sensor_url, entry, number, self.scenario, self.seed, tasks)
                for number, entry in enumerate(backend.sensors)
            )
            try:
                yield sensors
            finally:
                for sensor in sensors:
                    await sensor.leave()

    @asynccontextmanager
    async def viewer(self, backend: Backend, backfill_s: float = 0.0) -> AsyncIterator[Viewer]:
        """Watch a backend's sensors; *backfill_s* asks for so much of the past, seconds."""
        token = backend.viewer_token
        query = f"?backfill={backfill_s:g}" if backfill_s else ""
        async with (
            await dial(
                backend.viewer_url + query,
                headers={"Authorization": f"Bearer {token}"} if token else {},
                max_bytes=None,
            ) as connection,
            _unwrapped(asyncio.TaskGroup()) as tasks,
        ):
            viewer = Viewer(connection, frozenset(entry.id for entry in backend.sensors))
            tasks.create_task(viewer.read())  # to the end: unread messages would hold up the close
            try:
                yield viewer
            finally:
                await connection.close()


@asynccontextmanager
async def _own_backend(settings: BackendSettings) -> AsyncIterator[Backend]:
    async with asyncio.TaskGroup() as tasks:
        backend = OwnBackend(settings, tasks)
        try:
            yield backend
        finally:
            await backend.stop()


@asynccontextmanager
async def _unwrapped(manager: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Enter *manager*; what the block raises leaves it as it is, not in a task group's group."""
    raised: Exception | None = None
    async with manager as value:
        try:
            yield value
        except Exception as error:
            raised = error
    if raised is not None:
        raise raised


def script_of(rules: Sequence[dict[str, Any] | str | Path], seed: int, where: str) -> Script:
    """Return a script for the ML stub.

    Parameters
    ----------
    rules : sequence
        Rules as dicts with the keys of docs/ml-script.md; or one TOML file.
    seed : int
        Of the rules with ``probability`` or ``jitter_s``; a file has its own.
    where : str
        Named in errors.

    Raises
    ------
    ConfigError
        When a rule is wrong, or the file cannot be read.
    """
    if len(rules) == 1 and isinstance(rules[0], str | Path):
        return parse_script(toml.read_text(Path(rules[0])), str(rules[0]))
    return toml.converted({"rule": list(rules), "seed": seed}, Script, where)
