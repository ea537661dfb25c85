"""The backend: owns the parts, wires them, starts and stops them."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ctgkit import __version__
from ctgkit.clock import utc_timestamp
from ctgkit.config import SensorEntry
from ctgkit.net.addresses import authority
from ctgkit.net.connection import BoundedConnection
from ctgkit.net.http import PLAIN, Answer, json_answer, response
from ctgkit.samples import Sample
from ctgkit.server.audit import AuditLog, asked, configuration, peer_of
from ctgkit.server.broadcast import Broadcast
from ctgkit.server.counters import Counters
from ctgkit.server.ingest import SensorSocket
from ctgkit.server.listener import BACKLOG, listen, select_subprotocol
from ctgkit.server.livepage import page_answers
from ctgkit.server.mllink import MlLink
from ctgkit.server.results import Results
from ctgkit.server.routes import (
    Gate,
    Report,
    SensorEnters,
    StartSensors,
    ViewerEnters,
    token_digest,
)
from ctgkit.server.sensors import SensorControls
from ctgkit.server.session import (
    Action,
    Attendance,
    CloseExamination,
    Displace,
    OpenExamination,
    Session,
    Tail,
)
from ctgkit.server.settings import BackendSettings
from ctgkit.server.store.sqlite import Store, open_store

log = logging.getLogger(__name__)

FRAME_MAX_BYTES = 16_384
"""Largest frame from a sensor or viewer (contract: 16 KiB); larger ones close with 1009."""
HANDSHAKE_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
"""How long a peer may take to answer a close frame, seconds."""
STOP_TIMEOUT_S = 5.0
"""How long a graceful stop waits for its peers before it drops them, seconds."""
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
            {sensor_id: Tail(*tail) for sensor_id, tail in recovered.tails.items()},
        )
        self._keys = recovered.sensor_keys
        self._sockets: dict[Attendance, ServerConnection] = {}
        self._entering: WeakKeyDictionary[ServerConnection, SensorEnters | ViewerEnters] = (
            WeakKeyDictionary()
        )
        self._broadcast = Broadcast(self.counters.dropped)
        self._results = Results(
            store,
            self._broadcast,
            self.counters,
            recovered.sensor_keys,
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
        self._gate = Gate(
            token_digests={s.id: recovered.token_digests[s.id] for s in settings.sensors},
            hosts=settings.hosts | {settings.host},
            origins=settings.origins,
            viewer_token=settings.viewer_token,
            page=page_answers(ask_token=settings.viewer_token is not None),
        )
        self._server: Server | None = None
        self._stopping = False
        self._knocking = 0
        """Viewers whose access token is awaited."""
        store.on_commit = lambda seconds, rows: self.counters.commit_seconds.observe(seconds)
        self.counters.expose(store, self._session, self._broadcast, self._mllink, audit.counts)

    @property
    def url(self) -> str:
        """``http://HOST:PORT`` (or https) as bound."""
        assert self._server is not None
        scheme = "https" if self._settings.tls else "http"
        return f"{scheme}://{authority(*self._server.sockets[0].getsockname()[:2])}"

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

    def accept(self, attendance: Attendance, sample: Sample) -> None:
        """Store and forward one valid sample."""
        seq = sample.seq
        admission = "new" if seq is None else self._session.admit(attendance, seq)
        if admission == "stored":
            if not self.counters.skipped:
                log.warning("resent samples skipped, counted from now on id=%s", sample.sensor_id)
            self.counters.skipped += 1
            return
        self._store.add_sample(
            (
                attendance.examination_id,
                self._keys[sample.sensor_id],
                seq,
                sample.sec_from_start,
                sample.sensor_id,
                sample.fhr_bpm,
                sample.uterus,
                sample.spasms,
            )
        )
        if admission == "new":
            if self._mllink:
                self._mllink.offer(sample)
            else:
                self._results.show_plain(sample)

    def acknowledge(self, ack: Callable[[int], None], seq: int) -> None:
        """Call ``ack(seq)`` when everything accepted so far is committed."""
        self._store.acknowledge(ack, seq)

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

    async def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer HTTP, refuse strangers, let sensors and viewers in (None: go on upgrading)."""
        local_host = str(connection.local_address[0])
        route = self._gate.route(request.method, request.path, request.headers.get_all, local_host)
        match route:
            case SensorEnters() | ViewerEnters():
                assert self._server is not None
                if self._is_full(route):
                    route = json_answer({"error": "too many connections"}, 503)
                else:
                    self._entering[connection] = route
                    return None
            case StartSensors(count):
                self._note("control", connection, verb="start", count=count)
                route = await self._controls.start(count)
            case Report("stop"):
                self._note("control", connection, verb="stop")
                route = await self._controls.stop()
            case Report(name):
                route = self._report(name)
            case Answer():
                pass
        if route.status >= 400:
            self.counters.refused[route.status] += 1
        if route.status in (401, 403, 503):
            self._note("refused", connection, status=route.status, **asked(request.path))
        return response(route)

    def _note(self, event: str, connection: ServerConnection, **details: Any) -> None:
        self._audit.note(event, **details, peer=peer_of(connection.remote_address))

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
        ml = self._mllink.state if self._mllink else "off"
        healthy = not self._store.degraded and ml in ("up", "off")
        return {
            "status": "ok" if healthy else "degraded",
            "service": "ctgkit",
            "timestamp": utc_timestamp(),
            "version": __version__,
            "store": self._store.degraded or "ok",
            "ml": ml,
            "sensors": len(self._session.connected),
            "viewers": len(self._broadcast),
            "examinations_open": len(self._session.open_examinations()),
        }

    async def _handle(self, connection: ServerConnection) -> None:
        match self._entering.pop(connection):
            case SensorEnters(sensor_id):
                await self._serve_sensor(connection, sensor_id)
            case ViewerEnters(backfill_s, admitted):
                if admitted or await self._shows_token(connection):
                    self._note("connected", connection, role="viewer")
                    await self._broadcast.serve(connection, self._results.past(backfill_s))
                    code = connection.close_code
                    self._note("disconnected", connection, role="viewer", code=code)

    async def _serve_sensor(self, connection: ServerConnection, sensor_id: str) -> None:
        attendance, actions = self._session.connect(sensor_id, time.monotonic())
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

    async def _shows_token(self, connection: ServerConnection) -> bool:
        """Read a remote viewer's access token, which must be its first message."""
        self._knocking += 1
        try:
            async with asyncio.timeout(TOKEN_TIMEOUT_S):
                first = msgspec.json.decode(await connection.recv(), type=dict[str, str])
            if self._gate.is_viewer_token(first.get("token", "")):
                return True
        except (TimeoutError, ConnectionClosed, msgspec.MsgspecError):
            pass  # whatever it was, it was no token
        finally:
            self._knocking -= 1
        self._note("refused", connection, status=CLOSE_UNAUTHORIZED, path="/ws")
        await connection.close(CLOSE_UNAUTHORIZED, "access token required")
        return False

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
        parts = [self._store.checkpoint_forever(), self._keep_house()]
        return [*parts, self._mllink.run()] if self._mllink else parts

    async def start(self, listener: socket.socket) -> None:
        """Recover what an earlier run left, then accept connections."""
        recovered = self._store.recovered
        self._perform(self._session.recover(recovered.open_examinations, time.monotonic()))
        self._server = await serve(
            self._handle,
            sock=listener,
            backlog=BACKLOG,
            create_connection=BoundedConnection,
            process_request=self._answer,
            select_subprotocol=select_subprotocol,
            compression=None,
            max_size=FRAME_MAX_BYTES,
            open_timeout=HANDSHAKE_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            server_header="ctgkit",
            ssl=self._settings.tls,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if self._settings.tls else None,
        )

    async def stop(self) -> None:
        """Stop accepting, let peers go with 1001, drop those that don't answer."""
        self._stopping = True
        self._store.hurry()  # a full disk must not hold up those who wait for room
        if self._server is None:
            return
        self._server.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._server.wait_closed()
        except TimeoutError:
            for connection in self._server.all_connections:  # also those that are closing
                connection.transport.abort()
            for task in self._server.handler_tasks:  # and those that never sent a request
                task.cancel()
            await self._server.wait_closed()


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
        listener = listen(settings.host, settings.port)
        audit.note("started", **configuration(settings))
        auditor = tasks.create_task(audit.run())
        writer = tasks.create_task(store.run())
        others = [tasks.create_task(part) for part in backend.parts()]
        try:
            await backend.start(listener)
            yield backend
        finally:
            await backend.stop()
            store.stop()
            await writer
            audit.stop()
            await auditor
            for task in others:
                task.cancel()
