"""What a check of a backend may use: sensors, viewers, HTTP, somebody who sees samples."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection

from ctgkit.check.canary import Canary
from ctgkit.check.checks import Mismatch
from ctgkit.check.connection import (
    OPEN_PATIENCE,
    OWN_TROUBLE,
    Line,
    Pulse,
    Response,
    Target,
    answers,
    exchange,
    until,
)
from ctgkit.check.database import Database
from ctgkit.check.launched import Launched
from ctgkit.check.messages import (
    BAD_SEC_MAX,
    BAD_SEC_MIN,
    STREAM_HEADER,
    SUBPROTOCOL,
    TOKEN_HEADER,
    UPGRADE,
    Reading,
    reading,
    sample,
)
from ctgkit.check.ml_service import MlSide
from ctgkit.check.quiet import Quiet
from ctgkit.check.watch import FIRST_SEC, STEP_S, Watch
from ctgkit.config import SensorEntry
from ctgkit.dsn import Dsn
from ctgkit.net.client import NotConnected, dial


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """How a backend is judged."""

    target: Target
    sensors: tuple[SensorEntry, ...] = ()
    """Credentials that the backend knows and nobody else uses meanwhile."""
    timeout_s: float = 3.0
    redial_s: float = 12.0
    """How long the backend may take to come back to the ML service: twice M-1.1's period."""
    store: Path | Dsn | None = None
    grace_s: float = 0.0
    handover_s: float = 0.0
    """How long it waits for a sensor that was lost."""
    viewer_token: str | None = None
    max_connections: int = 0
    """The backend's limit, 0 when it isn't known."""

    @property
    def in_another_bed(self) -> int | None:
        """The first sensor that isn't in the bed of the first one, by its number."""
        beds = (n for n, s in enumerate(self.sensors) if s.bed != self.sensors[0].bed)
        return next(beds, None)

    @property
    def patience_s(self) -> float:
        """How long the backend may take to redial, seconds."""
        return max(self.redial_s, 4 * self.timeout_s)


class Bench:
    """A backend under test. Made by :func:`run_bench`."""

    def __init__(
        self,
        settings: BenchSettings,
        pulse: Pulse,
        ml: MlSide | None,
        database: Database | None,
        tasks: asyncio.TaskGroup,
        launched: Launched | None = None,
    ) -> None:
        self.settings, self.target, self.timeout_s = settings, settings.target, settings.timeout_s
        self.ml_side, self.database, self._tasks = ml, database, tasks
        self.launched = launched
        self.lacks: dict[str, str] = {}
        """What checks may need and this bench hasn't -> why."""
        self.pulse = pulse
        self.canary = Canary(self)
        self.quiet = Quiet(database, self.timeout_s)
        self.witness: Literal["store", "ml", "viewer"] = "viewer"
        self._used_links: list[ServerConnection] = []
        """ML connections over which a sample is known to have come."""
        self._sec, self._bad_sec = FIRST_SEC, BAD_SEC_MIN - STEP_S
        self._seq = int(datetime.now(UTC).timestamp() * 1_000_000)

    @property
    def ml(self) -> MlSide:
        """The ML service that the checker is; only for checks that need ``ml``."""
        assert self.ml_side is not None
        return self.ml_side

    @property
    def db(self) -> Database:
        """The backend's database; only for checks that need ``store``."""
        assert self.database is not None
        return self.database

    @property
    def process(self) -> Launched:
        """The backend's process; only for checks that need ``run``."""
        assert self.launched is not None
        return self.launched

    @property
    def moved_at_s(self) -> float:
        """When something last came from the backend, loop time in seconds."""
        return self.pulse.at_s

    @property
    def offered(self) -> frozenset[str]:
        """What the user gave the means for, whether or not it then worked."""
        offers = {"ml": self.ml_side, "store": self.database, "run": self.launched}
        sensor = {"sensor", "witness"} if self.settings.sensors else set()
        return frozenset(name for name, given in offers.items() if given is not None) | sensor

    @property
    def own_id(self) -> str:
        """Id of the first sensor."""
        return self.settings.sensors[0].id

    def examination_of(self, sec: float) -> int | None:
        """Return the examination in which the sample at *sec* is stored."""
        return self.db.examination_of(sec, [s.id for s in self.settings.sensors])

    # Data

    def sec(self) -> float:
        """Return a data time that no sample had."""
        self._sec += STEP_S
        return self._sec

    def bad_sec(self) -> float:
        """Return a data time for a bad sample; after 2000 of them they repeat."""
        self._bad_sec = self._bad_sec + STEP_S if self._bad_sec < BAD_SEC_MAX else BAD_SEC_MIN
        return self._bad_sec

    def leap(self, seconds: float) -> float:
        """Return the start of a stretch of data time that no other sample has."""
        begin = self.sec()
        self._sec += seconds
        return begin

    def seq(self) -> int:
        """Return a sequence number above all that this sensor used."""
        self._seq += 1
        return self._seq

    def fresh(self, **changes: float | str) -> tuple[float, str]:
        """Return a new valid sample: its data time and its text."""
        sec = self.sec()
        return sec, sample(sec, **changes)  # type: ignore[arg-type]

    async def sends(self, sensor: Line) -> float:
        """Have a sensor send a new valid sample; return its data time."""
        sec, text = self.fresh()
        await sensor.send(text)
        return sec

    # Connections

    def sensor_path(self, number: int = 0) -> str:
        """Return path and query of a sensor's endpoint."""
        return f"/ws/sensor?sensor_id={self.settings.sensors[number].id}"

    def token(self, number: int = 0) -> tuple[str, str]:
        """Return a sensor's token header."""
        return TOKEN_HEADER, self.settings.sensors[number].token

    def viewer_headers(self) -> list[tuple[str, str]]:
        """Return what admits a viewer."""
        token = self.settings.viewer_token
        return [("Authorization", f"Bearer {token}")] if token else []

    async def http(
        self,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        *,
        method: str = "GET",
        host: str | None = None,
        timeout_s: float | None = None,
    ) -> Response:
        """Send one HTTP request."""
        lines = [("Host", host or self.target.authority), ("Connection", "close"), *headers]
        return await exchange(
            self.target, self.target.path + path, lines, method, timeout_s or self.timeout_s
        )

    async def handshake(
        self, path: str, headers: Iterable[tuple[str, str]] = (), *, host: str | None = None
    ) -> Response:
        """Ask for a WebSocket and return the answer; a granted one is dropped at once."""
        lines = [("Host", host or self.target.authority), *UPGRADE, *headers]
        return await exchange(self.target, self.target.path + path, lines, "GET", self.timeout_s)

    def background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start something that runs beside a check, which cancels it."""
        return self._tasks.create_task(work)

    @asynccontextmanager
    async def line(
        self, path: str, headers: Iterable[tuple[str, str]], offers: str | None = None
    ) -> AsyncIterator[Line]:
        """Open a WebSocket that is read all the time.

        Raises
        ------
        Mismatch
            When it isn't granted.
        """
        try:
            connection: ClientConnection = await dial(
                self.target.socket_url + path,
                headers=headers,
                offers=[offers] if offers else (),
                open_timeout_s=OPEN_PATIENCE * self.timeout_s,
                max_bytes=None,
                max_queue=None,
                pings=False,
            )
        except NotConnected as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in OWN_TROUBLE:
                raise error.__cause__ from None
            raise Mismatch(f"a WebSocket at {path}", error.reason) from error
        line = Line(connection, self.timeout_s, self.pulse)
        self._tasks.create_task(line.read())
        try:
            yield line
        finally:
            await connection.close()

    @asynccontextmanager
    async def sensor(
        self, number: int = 0, *, v1: bool = False, settle: bool = True, stream: str = ""
    ) -> AsyncIterator[Line]:
        """Connect a sensor, which may name its stream of numbers.

        Unless a check is about just that, what the backend writes when a sensor comes or goes is
        done before something else happens.
        """
        offers = SUBPROTOCOL if v1 else None
        self.quiet.before()
        try:
            headers = [self.token(number), *([(STREAM_HEADER, stream)] if stream else [])]
            async with self.line(self.sensor_path(number), headers, offers) as line:
                if settle:
                    with contextlib.suppress(Mismatch):  # the check will see that it is closed
                        await line.settle()
                yield line
        finally:
            await self.quiet.after()

    @asynccontextmanager
    async def viewer(self, query: str = "", path: str = "/ws") -> AsyncIterator[Line]:
        """Connect a viewer."""
        async with self.line(path + query, self.viewer_headers()) as line:
            yield line

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[Watch]:
        """Watch what becomes of the first sensor's samples, by the best witness there is."""
        known_until, bad_until = self._sec, self._bad_sec + STEP_S

        def watched(where: str, texts: Callable[[], list[Reading | None]]) -> Watch:
            return Watch(
                where,
                lambda: [r for r in texts() if r],
                self.own_id,
                self.timeout_s,
                self.pulse,
                self.quiet,
                known_until,
                bad_until,
            )

        if self.witness == "store":
            after = self.db.last_row()
            yield watched("in the database", lambda: [*self.db.readings(after)])
        elif self.witness == "ml":
            requests, first = self.ml.requests, len(self.ml.requests)
            yield watched("at the ML service", lambda: [reading(r) for r in requests[first:]])
        else:
            async with self.viewer() as viewer:
                yield watched("at a viewer", lambda: [reading(r) for r in viewer.received])

    # Readiness

    async def alive(self) -> bool:
        """Return whether something listens at the target."""
        return await answers(self.target, 0.0, max(5.0, self.timeout_s))

    async def prepare(self) -> None:
        """Be a healthy ML service again, and wait until the backend has noticed."""
        if self.ml_side and "ml" not in self.lacks:
            self.ml_side.behave()
            try:
                await until(lambda: self.ml.linked, "", str, self.settings.patience_s)
            except Mismatch:
                self.lacks["ml"] = "the backend didn't come back to --ml-listen"
            else:
                await self._carried_by_link()

    async def _carried_by_link(self) -> None:
        """Send samples over a new ML connection until one arrives: both ends know of it then."""
        links = self.ml.links.copy()
        if links == self._used_links or "sensor" in self.lacks:
            return
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self.settings.patience_s
        while loop.time() < deadline_s and links == self.ml.links:
            with contextlib.suppress(Mismatch):  # whatever is wrong, the checks will say it
                async with self.sensor() as line:
                    sec = await self.sends(line)
                    asked = lambda sec=sec: self.ml.requests_at(sec)  # noqa: E731
                    await until(asked, "", str, self.timeout_s)
                    break
        self._used_links = links

    async def ailment(self) -> str:
        """Return what the backend no longer does, although it did at the beginning."""
        await self.prepare()
        return await self.canary.ailment()

    async def revive(self) -> bool:
        """Kill and start the backend, where the user said how; return whether it works."""
        if self.launched is None:
            return False
        await self.launched.kill()
        await self.canary.leave()
        if not await self.launched.start():
            return False
        self.lacks.pop("ml", None) if self.ml_side else None
        return not await self.ailment()
