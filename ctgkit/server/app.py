"""The backend: owns the parts, wires them, starts and stops them."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from socket import socket
from typing import Any
from weakref import WeakKeyDictionary

from websockets.frames import CloseCode

from ctgkit.config import SensorEntry
from ctgkit.net.http import Answer, Asked, problem
from ctgkit.net.origins import Rules
from ctgkit.net.server import Guarded, OpenServer, listen, open_server
from ctgkit.server.audit import AuditLog, asked_for, configuration
from ctgkit.server.broadcast import Broadcast, shown
from ctgkit.server.bus.neighbours import Neighbours, check_bus
from ctgkit.server.counters import Counters
from ctgkit.server.door import (
    Gate,
    PageAsks,
    Reads,
    Report,
    SensorEnters,
    StartSensors,
    ViewerEnters,
    acts,
    for_page,
    select_subprotocol,
    token_digest,
)
from ctgkit.server.health import health_of, report
from ctgkit.server.ingest import SensorSocket
from ctgkit.server.intake import SampleIntake
from ctgkit.server.livepage import page_answers
from ctgkit.server.mllink import MlLink
from ctgkit.server.mlpool import MlPool
from ctgkit.server.numbering import Attendance
from ctgkit.server.opening import opened
from ctgkit.server.pageapi import PageApi
from ctgkit.server.pageasks import Order
from ctgkit.server.registry import NOT_READY_AFTER_S, REFUSES_AFTER_S, Registry, Replaced
from ctgkit.server.restapi import RestApi
from ctgkit.server.results import Results
from ctgkit.server.roster import Roster
from ctgkit.server.sensors import SensorControls
from ctgkit.server.session import Action, CloseExamination, Displace, OpenExamination
from ctgkit.server.settings import BackendSettings
from ctgkit.server.store.engine import Again
from ctgkit.server.store.writer import Store
from ctgkit.server.tokens import CLOSE_UNAUTHORIZED, Tokens
from ctgkit.wire import SUBPROTOCOL

log = logging.getLogger(__name__)

WITHDRAWN = (CloseCode.POLICY_VIOLATION, "its token is no longer valid")
CLOSE_REPLACED = 4409
LOST_CODES = (CloseCode.GOING_AWAY, CloseCode.ABNORMAL_CLOSURE, CloseCode.SERVICE_RESTART)
"""How a connection ends whose sensor didn't mean to leave (PROTOCOL S-5.3)."""
Entering = tuple[SensorEnters | ViewerEnters, float]
"""Who was let through the door, and when, monotonic."""


class Backend:
    """A running backend. Made by :func:`run_backend`."""

    def __init__(
        self,
        settings: BackendSettings,
        store: Store,
        registry: Registry,
        roster: Roster,
        audit: AuditLog,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._settings, self._store, self._tasks = settings, store, tasks
        self._registry = registry
        registry.on_actions, registry.on_lost = self._perform, self._send_all_away
        registry.on_uneven = self._send_away
        self._audit = audit
        recovered = store.recovered
        self.counters = Counters()
        self._sockets: dict[Attendance, Guarded] = {}
        self._entering: WeakKeyDictionary[Guarded, Entering] = WeakKeyDictionary()
        self._broadcast = Broadcast(self.counters.dropped, self.counters.closed)
        self._results = Results(
            store, self._broadcast, self.counters, registry.open_examinations, settings.keep_results
        )
        self._roster, self._beds = roster, roster.beds
        roster.begin(recovered.token_digests)
        self._ml = MlPool(settings.ml_urls, self._link) if settings.ml_urls else None
        self._controls = SensorControls(roster.entries, registry.connected)
        self._page = PageApi(store, roster.entries, registry.open_examinations)
        self._gate = Gate(
            token_digests=roster.digests,
            viewer_token=settings.viewer_token,
            page=page_answers(ask_token=settings.viewer_token is not None),
        )
        self._rest = RestApi(settings.database, roster.entries, lambda: registry.connected)
        self._neighbours = Neighbours(settings, registry, self._results, self._beds)
        self._tokens = Tokens(self._gate, self._note_no_token)
        self._server: OpenServer | None = None
        self._stopping = False
        self._intake = SampleIntake(store, self._ml, self._results)
        store.on_commit = lambda seconds, rows: self.counters.commit_seconds.observe(seconds)
        self.counters.expose(store, registry, self._broadcast, self._ml, audit.counts)
        self.counters.expose_bus(self._neighbours.bus)

    def _link(self, url: str) -> MlLink:
        return MlLink(
            url,
            self._settings.ml_format,
            self._settings.ml_retry_s,
            self._results.relay,
            self._results.show_unanswered,
            self._store,
            self.counters,
            self._results.past_of,
        )

    @property
    def url(self) -> str:
        """``http://HOST:PORT`` (or https) as bound."""
        assert self._server is not None
        scheme = "https" if self._settings.tls else "http"
        return self._server.url(scheme)

    @property
    def credentials(self) -> tuple[SensorEntry, ...]:
        """The sensors that it knows."""
        return self._settings.sensors

    @property
    def stored(self) -> int:
        """Samples committed by this run."""
        return self._store.stored

    async def ml_connected(self) -> None:
        """Wait until the ML services are connected."""
        if self._ml:
            await self._ml.connected()

    # Connections

    async def _answer(self, connection: Guarded, asked: Asked) -> Answer | None:
        given = await self._given(connection, asked)
        return None if given is None else for_page(asked, given)

    async def _given(self, connection: Guarded, asked: Asked) -> Answer | None:
        """Answer HTTP, refuse who has no token, let sensors and viewers in (None: upgrade)."""
        route = self._gate.route(asked)
        await self._tokens.slow_down(connection, self._gate.token_was_right(route))
        match route:
            case SensorEnters() | ViewerEnters():
                if self._is_full(route):
                    return problem(503, "too many connections")
                self._entering[connection] = route, time.monotonic()
                return None
            case StartSensors(count):
                self._note("control", connection, verb="start", count=count)
                return await self._controls.start(count)
            case Report("stop"):
                self._note("control", connection, verb="stop")
                return await self._controls.stop()
            case Order(sensor=who):
                self._note("control", connection, verb=str(route), sensor=who)
                answer = await self._controls.order(route)
                return await self._page.kept(self._results.examination_of.get(who), route, answer)
            case PageAsks(name, query):
                return await self._page.answer(name, query)
            case Report(name):
                trouble = (
                    "stopping" if self._stopping else self._registry.trouble(NOT_READY_AFTER_S)
                )
                return report(name, trouble, self.health, self.counters.text)
            case Reads(name, places, query):
                return await self._rest.answer(name, places, query)
            case Answer():
                return route

    def _refused(self, peer: str, target: str, answer: Answer) -> None:
        self.counters.refused[answer.status] += 1
        if answer.status in (401, 403, 503):
            details = asked_for(target)
            self._audit.note("refused", status=answer.status, **details, peer=peer)

    def _note_no_token(self, connection: Guarded) -> None:
        self._note("refused", connection, status=CLOSE_UNAUTHORIZED, path="/ws")

    def _note(self, event: str, connection: Guarded, **details: Any) -> None:
        self._audit.note(event, **details, peer=connection.peer)

    def _is_full(self, entering: SensorEnters | ViewerEnters) -> bool:
        """Return whether there is no room: viewers can't take that of sensors."""
        sensors, limit = self._registry.connected, self._settings.max_connections
        match entering:
            case SensorEnters() if self._registry.trouble(REFUSES_AFTER_S):
                return True
            case SensorEnters(sensor_id):
                return sensor_id not in sensors and len(sensors) >= limit
            case ViewerEnters(admitted=False) if self._tokens.are_too_many:
                return True
            case _:
                return len(sensors) + len(self._broadcast) >= limit

    def health(self) -> dict[str, object]:
        """Return what ``/api/health`` says."""
        trouble = self._store.degraded or self._registry.trouble(NOT_READY_AFTER_S)
        return health_of(
            trouble, self._registry, self._ml, self._neighbours.bus, len(self._broadcast),
            self.counters.closed["flood"],
        )  # fmt: skip

    async def _handle(self, connection: Guarded) -> None:
        route, arrived_s = self._entering.pop(connection)
        match route:
            case SensorEnters(sensor_id, stream):
                await self._serve_sensor(connection, sensor_id, stream, arrived_s)
            case ViewerEnters(backfill_s, admitted, part):
                if admitted or await self._tokens.is_shown(connection):
                    self._note("connected", connection, role="viewer")
                    shows = None if part is None else shown(part, self._beds)
                    past = self._results.past(backfill_s, shows)
                    await self._broadcast.serve(connection, past, shows)
                    code = connection.close_code
                    self._note("disconnected", connection, role="viewer", code=code)

    async def _serve_sensor(
        self, connection: Guarded, sensor_id: str, stream: str | None, arrived_s: float
    ) -> None:
        if sensor_id not in self._beds:  # removed since it showed its token
            await connection.close(*WITHDRAWN)
            return
        numbered = connection.subprotocol == SUBPROTOCOL
        try:
            attendance = await self._registry.claim(
                sensor_id, stream, numbered=numbered, arrived_s=arrived_s
            )
        except Replaced:
            await connection.close(CLOSE_REPLACED, "replaced")
            return
        except Again as error:
            log.warning("sensor refused for now id=%s: %s", sensor_id, error)
            await connection.close(CloseCode.SERVICE_RESTART, "come again")
            return
        self._sockets[attendance] = connection
        if attendance.displaced:  # while it was let in
            self._perform((Displace(attendance),))
        begins = self._results.begin(sensor_id, attendance.examination_id)
        if self._ml and (begins or attendance.was_elsewhere):
            self._ml.begin(sensor_id)
        log.info("sensor connected id=%s exam=%d", sensor_id, attendance.examination_id)
        who = {"role": "sensor", "sensor": sensor_id, "examination": attendance.examination_id}
        self._note("connected", connection, **who)
        socket_of = SensorSocket(
            connection, attendance, self._intake, self.counters, self._settings.max_rate_hz
        )
        connection.forget_headers()
        try:
            await socket_of.read()
        finally:
            del self._sockets[attendance]
            lost = connection.close_code in LOST_CODES
            self._registry.release(attendance, lost=lost)
            log.info("sensor disconnected id=%s code=%s", sensor_id, connection.close_code)
            self._note("disconnected", connection, **who, code=connection.close_code)

    def _perform(self, actions: Sequence[Action]) -> None:
        """Carry out what the registry decided."""
        for action in actions:
            match action:
                case OpenExamination(examination_id, bed):
                    log.info("examination opened id=%d bed=%s", examination_id, bed)
                    self._audit.note("examination opened", examination=examination_id, bed=bed)
                case CloseExamination(examination_id, bed, interrupted):
                    self._results.store_held(examination_id)
                    how = "interrupted" if interrupted else "closed"
                    log.info("examination %s id=%d bed=%s", how, examination_id, bed)
                    self._audit.note(f"examination {how}", examination=examination_id, bed=bed)
                case Displace(attendance):
                    older = self._sockets.get(attendance)
                    if older is not None:  # else its handler is about to look
                        self._tasks.create_task(older.close(CLOSE_REPLACED, "replaced"))

    def _send_all_away(self, reason: str) -> None:
        self._send_away(list(self._sockets), reason)

    def _send_away(
        self, going: Sequence[Attendance], reason: str = "another node has more room"
    ) -> None:
        """Close sensors' connections: they come again, here or to another node."""
        for connection in [self._sockets[one] for one in going if one in self._sockets]:
            self._tasks.create_task(connection.close(CloseCode.SERVICE_RESTART, reason))

    def _withdraw(self, sensor_id: str) -> None:
        """Send away a sensor whose token is no longer valid."""
        log.info("sensor %s: its token is no longer valid", sensor_id)
        attendance = self._registry.connected.get(sensor_id)
        if attendance is not None and attendance in self._sockets:
            self._tasks.create_task(self._sockets[attendance].close(*WITHDRAWN))

    def parts(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the sockets."""
        roster = self._store.watch(self._roster, self._withdraw)
        own = [self._store.maintain_forever(), self._results.keep_house(), self._page.run()]
        parts = [*own, roster, *self._neighbours.parts()]
        return parts + (self._ml.parts() if self._ml else [])

    async def start(self, listeners: Sequence[socket]) -> None:
        """Recover what an earlier run left, then accept connections."""
        await self._registry.start()
        self._server = await open_server(
            self._handle,
            self._answer,
            listeners,
            rules=Rules(
                hosts=self._settings.hosts | {self._settings.host},
                origins=self._settings.origins,
                acts=acts,
                options=True,
            ),
            connection=Guarded.counting(self.counters.closed),
            on_refused=self._refused,
            select_subprotocol=select_subprotocol,
            tls=self._settings.tls,
        )

    async def stop(self) -> None:
        """Stop accepting, let peers go with 1001, drop those that don't answer."""
        self._stopping = True
        self._store.hurry()  # a full disk must not hold up those who wait for room
        if self._server is not None:
            await self._server.stop()
        self._results.store_held()


@contextlib.asynccontextmanager
async def run_backend(settings: BackendSettings) -> AsyncIterator[Backend]:
    """Run a backend for as long as the context lasts; leave nothing unwritten.

    Raises
    ------
    Unreachable
        When NATS doesn't let us in; the database isn't touched then.
    StoreError
        When the database cannot be used.
    ConfigError
        When a sensor's token is known nowhere.
    ExceptionGroup
        Of a ConfigError, when the address or the audit log cannot be opened.
    """
    digests = {s.id: token_digest(s.id, s.token) if s.token else None for s in settings.sensors}
    roster = Roster(settings.sensors)
    await check_bus(settings.bus)
    async with (
        opened(settings, digests, roster.beds) as (store, registry),
        asyncio.TaskGroup() as tasks,
    ):
        audit = AuditLog(settings.audit_log)
        backend = Backend(settings, store, registry, roster, audit, tasks)
        listeners = listen(settings.host, settings.port)
        audit.note("started", **configuration(settings))
        auditor = tasks.create_task(audit.run())
        writer = tasks.create_task(store.run())
        housekeeper = tasks.create_task(registry.run())
        others = [tasks.create_task(part) for part in backend.parts()]
        try:
            await backend.start(listeners)
            yield backend
        finally:
            await backend.stop()
            store.stop()
            await writer
            housekeeper.cancel()
            await asyncio.wait((housekeeper,))
            await registry.stop()
            audit.stop()
            await auditor
            for task in others:
                task.cancel()
