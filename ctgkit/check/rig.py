"""What a check of a backend may use: sensors, viewers, HTTP, somebody who sees samples."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from websockets.asyncio.client import ClientConnection

from ctgkit.check.checks import Mismatch
from ctgkit.check.connection import Line, Response, Target, answers, exchange, until
from ctgkit.check.database import Database
from ctgkit.check.messages import SUBPROTOCOL, TOKEN_HEADER, UPGRADE, Reading, reading, sample
from ctgkit.check.ml_service import MlSide
from ctgkit.config import SensorEntry
from ctgkit.net.client import NotConnected, dial

FIRST_SEC, STEP_S = 1000.0, 0.25
"""Data time of the checker's samples: exact in 32 bits too, and never met twice in a run."""
SEC_TOLERANCE_S = 0.005
"""What a data time may lose on its way in 32 bits, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """How a backend is judged."""

    target: Target
    sensors: tuple[SensorEntry, ...] = ()
    """Credentials that the backend knows and nobody else uses meanwhile."""
    timeout_s: float = 3.0
    redial_s: float = 12.0
    """How long the backend may take to come back to the ML service: twice M-1.1's period."""
    store: Path | None = None
    grace_s: float = 0.0
    viewer_token: str | None = None
    max_connections: int = 0
    """The backend's limit, 0 when it isn't known."""


@dataclass(slots=True)
class Watch:
    """What somebody downstream saw of the first sensor since the watch began."""

    where: str
    readings: Callable[[], list[Reading]]
    timeout_s: float
    known_until: float
    """Samples from `FIRST_SEC` to here were sent earlier: they may still be on their way."""

    async def saw(self, sec: float, times: int = 1) -> Reading:
        """Wait for the sample at *sec*, and return what became of it."""

        def found() -> list[Reading]:
            seen = [r for r in self.readings() if is_at(r, sec)]
            return seen if len(seen) >= times else []

        what = f"the sample at {sec:g} s" + (f", {times} times," if times > 1 else "")
        readings = await until(
            found,
            f"{what} arrives {self.where}",
            lambda: f"{len(self.fresh())} new samples did, not this",
            self.timeout_s,
        )
        return readings[0]

    def fresh(self) -> list[Reading]:
        """Return what was seen, without late ones of earlier checks."""
        return [
            r
            for r in self.readings()
            if not (isinstance(r.sec, int | float) and FIRST_SEC <= r.sec <= self.known_until)
        ]


class Bench:
    """A backend under test. Made by :func:`run_bench`."""

    def __init__(
        self,
        settings: BenchSettings,
        ml: MlSide | None,
        database: Database | None,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.settings, self.target, self.timeout_s = settings, settings.target, settings.timeout_s
        self.ml_side, self.database, self._tasks = ml, database, tasks
        self.lacks: dict[str, str] = {}
        """What checks may need and this bench hasn't -> why."""
        self.witness: Literal["store", "ml", "viewer"] = "viewer"
        self._sec = FIRST_SEC
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
                open_timeout_s=self.timeout_s,
                max_bytes=None,
                max_queue=None,
                pings=False,
            )
        except NotConnected as error:
            raise Mismatch(f"a WebSocket at {path}", error.reason) from error
        line = Line(connection, self.timeout_s)
        self._tasks.create_task(line.read())
        try:
            yield line
        finally:
            await connection.close()

    @asynccontextmanager
    async def sensor(self, number: int = 0, *, v1: bool = False) -> AsyncIterator[Line]:
        """Connect a sensor."""
        offers = SUBPROTOCOL if v1 else None
        async with self.line(self.sensor_path(number), [self.token(number)], offers) as line:
            yield line

    @asynccontextmanager
    async def viewer(self, query: str = "", path: str = "/ws") -> AsyncIterator[Line]:
        """Connect a viewer."""
        async with self.line(path + query, self.viewer_headers()) as line:
            yield line

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[Watch]:
        """Watch what becomes of the first sensor's samples, by the best witness there is."""
        own, known_until = self.own_id, self._sec

        def watched(where: str, texts: Callable[[], list[Reading | None]]) -> Watch:
            return Watch(
                where,
                lambda: [r for r in texts() if r and r.sensor_id == own],
                self.timeout_s,
                known_until,
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
        return await answers(self.target, 0.0)

    async def prepare(self) -> None:
        """Be a healthy ML service again, and wait until the backend has noticed."""
        if self.ml_side and "ml" not in self.lacks:
            self.ml_side.behave()
            try:
                await until(lambda: self.ml.linked, "", str, self.settings.redial_s)
            except Mismatch:
                self.lacks["ml"] = "the backend didn't come back to --ml-listen"

    async def probe(self) -> None:
        """Find out what this backend lets us see; what it doesn't goes to ``lacks``."""
        self._probe_settings()
        await self._probe_ml()
        if not self.settings.sensors:
            why = "no credentials: give --sensor-id and --token-file"
            self.lacks |= dict.fromkeys(("sensor", "v1", "witness"), why)
            return
        try:
            async with self.sensor(v1=True) as line:
                if line.connection.subprotocol != SUBPROTOCOL:
                    self.lacks["v1"] = f"the backend doesn't speak {SUBPROTOCOL}"
        except Mismatch as mismatch:
            why = f"the sensor isn't let in: {mismatch.actual}"
            self.lacks |= dict.fromkeys(("sensor", "pair", "v1", "witness"), why)
            return
        await self._probe_witness()

    def _probe_settings(self) -> None:
        sensors = self.settings.sensors
        beds = {s.bed for s in sensors[:2]}
        if len(sensors) < 2 or len(beds) > 1:
            self.lacks["pair"] = "needs credentials of two sensors of one bed"
        if sum(bool(s.control) for s in sensors) < 2:
            self.lacks["control"] = "needs two sensors with a control address in the configuration"
        if not self.database:
            self.lacks["store"] = "needs --store"
        if not self.settings.max_connections:
            self.lacks["limit"] = "needs --max-connections"
        if _is_loopback(self.target.host):
            self.lacks["remote"] = "viewers on loopback are asked for no token"
        elif not self.settings.viewer_token:
            self.lacks["remote"] = "needs the viewers' token"

    async def _probe_ml(self) -> None:
        if not self.ml_side:
            self.lacks["ml"] = "needs --ml-listen"
            return
        try:
            await until(lambda: self.ml.linked, "", str, self.settings.redial_s)
        except Mismatch:
            self.lacks["ml"] = (
                f"the backend didn't connect to --ml-listen within {self.settings.redial_s:g} s"
            )

    async def _probe_witness(self) -> None:
        candidates: tuple[tuple[Literal["store", "ml", "viewer"], bool], ...] = (
            ("store", "store" not in self.lacks),
            ("ml", "ml" not in self.lacks),
            ("viewer", True),
        )
        for self.witness, offered in candidates:
            if not offered:
                continue
            try:
                async with self.watch() as watch, self.sensor() as line:
                    sec, text = self.fresh()
                    await line.send(text)
                    await watch.saw(sec)
                    return
            except Mismatch:
                continue
        self.lacks["witness"] = "a valid sample showed up nowhere (--ml-listen or --store may help)"


def is_at(seen: Reading, sec: float) -> bool:
    """Return whether a reading is of *sec*, or of what 32 bits make of it."""
    return isinstance(seen.sec, int | float) and abs(seen.sec - sec) < SEC_TOLERANCE_S


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@asynccontextmanager
async def run_bench(
    settings: BenchSettings, ml_listen: tuple[str, int] | None = None
) -> AsyncIterator[Bench]:
    """Set up a bench around a backend, probed and ready.

    Raises
    ------
    ConfigError, StoreError
        When the address of the ML side can't be bound, or the database can't be read.
    """
    database = Database(settings.store) if settings.store else None
    async with AsyncExitStack() as stack:
        ml = None
        if ml_listen is not None:
            ml = MlSide()
            await stack.enter_async_context(ml.serving(*ml_listen))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        bench = Bench(settings, ml, database, tasks)
        await bench.probe()
        yield bench
