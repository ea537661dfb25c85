"""The backend: owns the parts, wires them, starts and stops them."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from socket import socket
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from websockets.exceptions import ConnectionClosed

from ctgkit import __version__
from ctgkit.clock import utc_timestamp
from ctgkit.config import SensorEntry
from ctgkit.errors import ConfigError
from ctgkit.net.http import PLAIN, Answer, Asked, json_answer, problem
from ctgkit.net.origins import Rules
from ctgkit.net.refusals import log_refusal
from ctgkit.net.server import Guarded, OpenServer, listen, open_server
from ctgkit.samples import Sample
from ctgkit.server.audit import AuditLog, asked_for, configuration
from ctgkit.server.broadcast import Broadcast
from ctgkit.server.counters import Counters
from ctgkit.server.door import (
    Attempts,
    Gate,
    PageAsks,
    Report,
    SensorEnters,
    StartSensors,
    ViewerEnters,
    acts,
    select_subprotocol,
    token_digest,
)
from ctgkit.server.endpoints import Health
from ctgkit.server.ingest import SensorSocket
from ctgkit.server.livepage import page_answers
from ctgkit.server.mllink import MlLink
from ctgkit.server.numbering import Attendance, Turn
from ctgkit.server.pageapi import PageApi
from ctgkit.server.pageasks import Order
from ctgkit.server.results import Results
from ctgkit.server.sensors import SensorControls
from ctgkit.server.session import (
    Action,
    CloseExamination,
    Displace,
    OpenExamination,
    Session,
)
from ctgkit.server.settings import BackendSettings
from ctgkit.server.store.sqlite import open_store
from ctgkit.server.store.writer import Replies, Store

log = logging.getLogger(__name__)

HOUSEKEEPING_EVERY_S = 0.25
CLOSE_REPLACED, CLOSE_UNAUTHORIZED = 4409, 4401
TOKEN_TIMEOUT_S = 5.0
"""How long a viewer may take to send the access token, seconds."""
KNOCKING_MAX = 256
"""Viewers that haven't sent it yet, at a time."""


class Backend:
    """A running backend. Made by :func:`run_backend`."""

    def __init__(
        self, settings: BackendSettings, store: Store, audit: AuditLog, tasks: asyncio.TaskGroup
    ) -> None:
        self._settings, self._store, self._tasks = settings, store, tasks
        self._audit = audit
        recovered = store.recovered
        self.counters = Counters()
        self._session = Session(
            {s.id: s.bed for s in settings.sensors},
            settings.grace_s,
            recovered.last_examination_id,
        )
        self._sockets: dict[Attendance, Guarded] = {}
        self._entering: WeakKeyDictionary[Guarded, SensorEnters | ViewerEnters] = (
            WeakKeyDictionary()
        )
        self._broadcast = Broadcast(self.counters.dropped, self.counters.closed)
        self._results = Results(
            store,
            self._broadcast,
            self.counters,
            self._session.open_examinations,
        )
        self._mllink = (
            None
            if not settings.ml_url
            else MlLink(
                settings.ml_url,
                settings.ml_format,
                settings.ml_retry_s,
                self._results.relay,
                self._results.show_unanswered,
                store.room,
                self.counters,
            )
        )
        self._controls = SensorControls(settings.sensors, self._session.connected)
        self._page = PageApi(store, settings.sensors, self._session.open_examinations)
        self._gate = Gate(
            token_digests={s.id: recovered.token_digests[s.id] for s in settings.sensors},
            viewer_token=settings.viewer_token,
            page=page_answers(ask_token=settings.viewer_token is not None),
        )
        self._attempts = Attempts()
        self._server: OpenServer | None = None
        self._stopping = False
        self._knocking = 0
        """Viewers whose access token is awaited."""
        store.on_late = self._forward
        store.on_commit = lambda seconds, rows: self.counters.commit_seconds.observe(seconds)
        self.counters.expose(store, self._session, self._broadcast, self._mllink, audit.counts)

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
        """Wait until the ML service is connected."""
        if self._mllink:
            await self._mllink.connected.wait()

    # Intake: what ingest calls

    @property
    def full(self) -> bool:
        """Whether :meth:`room` has to be awaited before the next sample."""
        return self._store.full

    def accept(self, attendance: Attendance, sample: Sample, replies: Replies) -> bool:
        """Store and forward one valid sample, or have the store say whether it is there."""
        match self._session.admit(attendance, sample.seq):
            case "question":
                self._store.ask(attendance, sample, replies)
                return False
            case "stale":
                return False
        self._store.add_sample(attendance, sample)
        if sample.seq is not None:
            self._store.acknowledge(replies, sample.seq)
        waiting = attendance.numbers.waiting
        if waiting:
            waiting.append(Turn(sample, is_due=True))
        else:
            self._forward(sample)
        return True

    def _forward(self, sample: Sample) -> None:
        if self._mllink:
            self._mllink.offer(sample)
        else:
            self._results.show_plain(sample)

    async def room(self) -> None:
        """Wait until the store can take more."""
        await self._store.room()

    def pending(self) -> object:
        """Return the same thing until the writer has taken what is queued now."""
        return self._store.pending

    async def written(self) -> None:
        """Wait until everything accepted so far is written, or given up."""
        await self._store.written()

    # Connections

    async def _answer(self, connection: Guarded, asked: Asked) -> Answer | None:
        """Answer HTTP, refuse who has no token, let sensors and viewers in (None: upgrade)."""
        route = self._gate.route(asked)
        await self._slow_down(connection, self._gate.token_was_right(route))
        match route:
            case SensorEnters() | ViewerEnters():
                if self._is_full(route):
                    return problem(503, "too many connections")
                self._entering[connection] = route
                return None
            case StartSensors(count):
                self._note("control", connection, verb="start", count=count)
                return await self._controls.start(count)
            case Report("stop"):
                self._note("control", connection, verb="stop")
                return await self._controls.stop()
            case Order():
                return await self._order(connection, route)
            case PageAsks(name, query):
                if name == "note":
                    self._note("note", connection)
                return await self._page.answer(name, query)
            case Report(name):
                return self._report(name)
            case Answer():
                return route

    async def _order(self, connection: Guarded, order: Order) -> Answer:
        """Have a sensor do something; what it did is kept with its examination."""
        self._note("control", connection, verb=order.verb, sensor=order.sensor, **order.parameters)
        answer = await self._controls.order(order)
        examination_id = self._results.examination_of.get(order.sensor)
        if answer.status == 200 and examination_id is not None and order.verb != "stop":
            await self._page.keep(examination_id, order, answer)
        return answer

    def _refused(self, peer: str, target: str, answer: Answer) -> None:
        self.counters.refused[answer.status] += 1
        if answer.status in (401, 403, 503):
            details = asked_for(target)
            self._audit.note("refused", status=answer.status, **details, peer=peer)

    def _note(self, event: str, connection: Guarded, **details: Any) -> None:
        self._audit.note(event, **details, peer=connection.peer)

    def _is_full(self, entering: SensorEnters | ViewerEnters) -> bool:
        """Return whether there is no room: viewers can't take that of sensors."""
        sensors, limit = self._session.connected, self._settings.max_connections
        match entering:
            case SensorEnters(sensor_id):
                return sensor_id not in sensors and len(sensors) >= limit
            case ViewerEnters(admitted=False) if self._knocking >= KNOCKING_MAX:
                return True
            case _:
                return len(sensors) + len(self._broadcast) >= limit

    def _report(self, name: str) -> Answer:
        match name:
            case "health":
                return json_answer(self.health())
            case "metrics":
                kind = "text/plain; version=0.0.4; charset=utf-8"
                return Answer(200, self.counters.text(), kind)
            case "readyz" if self._stopping:
                return Answer(503, b"stopping\n", PLAIN)
            case _:  # livez, readyz
                return Answer(200, b"ok\n", PLAIN)

    def health(self) -> dict[str, object]:
        """Return what ``/api/health`` says."""
        link = self._mllink
        healthy = not self._store.degraded and (link is None or link.healthy)
        shown = Health(
            status="ok" if healthy else "degraded",
            service="ctgkit",
            timestamp=utc_timestamp(),
            version=__version__,
            store=self._store.degraded or "ok",
            ml=link.state if link else "off",
            ml_unanswered_share=round(link.unanswered_share, 3) if link else 0.0,
            sensors=len(self._session.connected),
            viewers=len(self._broadcast),
            examinations_open=len(self._session.open_examinations()),
            flooders_closed=self.counters.closed["flood"],
        )
        return dict(msgspec.to_builtins(shown))

    async def _handle(self, connection: Guarded) -> None:
        match self._entering.pop(connection):
            case SensorEnters(sensor_id, stream):
                await self._serve_sensor(connection, sensor_id, stream)
            case ViewerEnters(backfill_s, admitted):
                if admitted or await self._shows_token(connection):
                    self._note("connected", connection, role="viewer")
                    await self._broadcast.serve(connection, self._results.past(backfill_s))
                    code = connection.close_code
                    self._note("disconnected", connection, role="viewer", code=code)

    async def _serve_sensor(self, connection: Guarded, sensor_id: str, stream: str | None) -> None:
        attendance, actions = self._session.connect(sensor_id, time.monotonic(), stream)
        self._sockets[attendance] = connection
        self._results.examination_of[sensor_id] = attendance.examination_id
        self._perform(actions)
        log.info("sensor connected id=%s exam=%d", sensor_id, attendance.examination_id)
        who = {"role": "sensor", "sensor": sensor_id, "examination": attendance.examination_id}
        self._note("connected", connection, **who)
        socket_of = SensorSocket(
            connection, attendance, self, self.counters, self._settings.max_rate_hz
        )
        try:
            await socket_of.read()
        finally:
            del self._sockets[attendance]
            self._perform(self._session.disconnect(attendance, time.monotonic()))
            log.info("sensor disconnected id=%s code=%s", sensor_id, connection.close_code)
            self._note("disconnected", connection, **who, code=connection.close_code)

    async def _shows_token(self, connection: Guarded) -> bool:
        """Read a remote viewer's access token, which must be its first message."""
        self._knocking += 1
        try:
            async with asyncio.timeout(TOKEN_TIMEOUT_S):
                first = msgspec.json.decode(await connection.recv(), type=dict[str, str])
            right = self._gate.is_viewer_token(first.get("token", ""))
            await self._slow_down(connection, right)
        except (TimeoutError, ConnectionClosed, msgspec.MsgspecError):
            right = False  # whatever it was, it was no token
        finally:
            self._knocking -= 1
        if not right:
            self._note("refused", connection, status=CLOSE_UNAUTHORIZED, path="/ws")
            log_refusal(connection, CLOSE_UNAUTHORIZED, "viewer", "its first message is no token")
            await connection.close(CLOSE_UNAUTHORIZED, "access token required")
        return right

    async def _slow_down(self, connection: Guarded, right: bool | None) -> None:
        """Let who tries tokens wait for the answer."""
        address = str(connection.remote_address[0])
        if pause_s := self._attempts.pause_s(address, right, time.monotonic()):
            await asyncio.sleep(pause_s)

    def _perform(self, actions: Sequence[Action]) -> None:
        """Carry out what the session decided."""
        for action in actions:
            match action:
                case OpenExamination(examination_id, bed):
                    self._store.open_examination(examination_id, bed)
                    log.info("examination opened id=%d bed=%s", examination_id, bed)
                    self._audit.note("examination opened", examination=examination_id, bed=bed)
                case CloseExamination(examination_id, bed, interrupted):
                    self._store.close_examination(examination_id, interrupted=interrupted)
                    how = "interrupted" if interrupted else "closed"
                    log.info("examination %s id=%d bed=%s", how, examination_id, bed)
                    self._audit.note(f"examination {how}", examination=examination_id, bed=bed)
                case Displace(attendance):
                    older = self._sockets[attendance]
                    self._tasks.create_task(older.close(CLOSE_REPLACED, "replaced"))

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_EVERY_S)
            self._perform(self._session.expire(time.monotonic()))

    # Life

    def parts(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the sockets."""
        parts = [self._store.maintain_forever(), self._keep_house()]
        return [*parts, self._mllink.run()] if self._mllink else parts

    async def start(self, listeners: Sequence[socket]) -> None:
        """Recover what an earlier run left, then accept connections."""
        recovered = self._store.recovered
        self._perform(self._session.recover(recovered.open_examinations, time.monotonic()))
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


@contextlib.asynccontextmanager
async def run_backend(settings: BackendSettings) -> AsyncIterator[Backend]:
    """Run a backend for as long as the context lasts; leave nothing unwritten.

    Raises
    ------
    StoreError
        When the database cannot be used.
    ConfigError
        When a sensor's token is known nowhere.
    ExceptionGroup
        Of a ConfigError, when the address or the audit log cannot be opened.
    """
    digests = {s.id: token_digest(s.id, s.token) if s.token else None for s in settings.sensors}
    async with (
        open_store(settings.database, settings.durability, digests) as store,
        asyncio.TaskGroup() as tasks,
    ):
        audit = AuditLog(settings.audit_log)
        backend = Backend(settings, store, audit, tasks)
        listeners = listen(settings.host, settings.port, ConfigError)
        audit.note("started", **configuration(settings))
        auditor = tasks.create_task(audit.run())
        writer = tasks.create_task(store.run())
        others = [tasks.create_task(part) for part in backend.parts()]
        try:
            await backend.start(listeners)
            yield backend
        finally:
            await backend.stop()
            store.stop()
            await writer
            audit.stop()
            await auditor
            for task in others:
                task.cancel()
