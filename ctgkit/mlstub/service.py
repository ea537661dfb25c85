"""The ML service's sockets: requests in, one reply each, in order (PROTOCOL.md, clauses M).

Each connection has its own sensors and its own queue of replies; nothing that one client does
is waited for by another.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from ctgkit import __version__, wire
from ctgkit.analysis.analyzer import Analyzer, AnalyzerSettings
from ctgkit.clock import utc_timestamp
from ctgkit.errors import WireError, excerpt
from ctgkit.mlstub.acting import act_out
from ctgkit.mlstub.script import Script
from ctgkit.net.frames import send_texts
from ctgkit.net.http import Answer, Asked, json_answer, problem
from ctgkit.net.origins import Rules
from ctgkit.net.server import Guarded, OpenServer, listen, open_server
from ctgkit.samples import Prediction, Sample, Status, status_of

logger = logging.getLogger(__name__)

PATH = "/ws/ctg"
REPLIES_MAX, REPLIES_MAX_BYTES = 1024, 1 << 20
"""Replies of one connection that wait for its client; when full, its requests aren't read.
Chosen: some 300 KiB as they usually are."""

SEND_TIMEOUT_S = 30.0
"""A client that doesn't read its replies for this long is cut off, seconds."""

CLIENTS_MAX = 100
"""Connections at a time: a backend needs one."""

SENSORS_MAX = 10_000
"""Sensors followed at a time by one process; a further one gets an error reply. Chosen: twice
what one core can follow at 4 Hz."""

SENSOR_ID_MAX_CHARS = 100
"""Longest sensor id: UUIDs have 36 characters, and each one is kept."""


class OwnAnalyzer(Protocol):
    """An analysis of your own, of one sensor."""

    def add(self, sample: Sample) -> Prediction | None:
        """Take one sample; return the prediction to answer it with, None for none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MlSettings:
    """How the stub ML service runs."""

    host: str = "127.0.0.1"
    port: int = 8081
    """0 picks a free port."""
    idle_s: float = 600.0
    """A sensor not heard of for this long (wall time) is forgotten, seconds."""
    analysis: AnalyzerSettings = field(default_factory=AnalyzerSettings)
    make_analyzer: Callable[[], OwnAnalyzer] | None = None
    """Makes an analysis of your own for each sensor, instead of ours."""
    script: Script | None = None
    """What to do instead of answering honestly."""


@dataclass(slots=True)
class _Followed:
    """A sensor of one connection, and the part of its replies that repeats."""

    analyzer: Analyzer | OwnAnalyzer
    heard_at: float = 0.0
    samples: int = 0
    """Of the examination, as far as the analysis tells them apart."""
    prediction: msgspec.Raw | None = None
    status: Status = "ok"


@dataclass(slots=True)
class _Counts:
    requests: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    predictions: int = 0
    failures: int = 0
    closed: Counter[str] = field(default_factory=Counter)
    """Connections closed for what their clients did, by what: ``flood``."""


class MlService:
    """The stub ML service, serving from ``async with`` to its end.

    Parameters
    ----------
    settings : MlSettings
        Where to listen and how to analyse.
    """

    def __init__(self, settings: MlSettings | None = None) -> None:
        self.settings = settings or MlSettings()
        self.counts = _Counts()
        self._clients: dict[ServerConnection, dict[str, _Followed]] = {}
        self._server: OpenServer
        self._tasks: asyncio.TaskGroup
        self._sweeper: asyncio.Task[None]

    @property
    def url(self) -> str:
        """Where it listens, known inside ``async with``."""
        return self._server.url("ws", PATH)

    @property
    def sensors(self) -> int:
        """How many sensors are followed."""
        return sum(len(followed) for followed in self._clients.values())

    async def __aenter__(self) -> Self:
        self._server = await open_server(
            self._converse,
            self._route,
            listen(self.settings.host, self.settings.port),
            rules=Rules(acts=lambda asked: not asked.reads),
            connection=Guarded.counting(self.counts.closed),
        )
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._sweeper = self._tasks.create_task(self._forget_idle())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._sweeper.cancel()
        await self._server.stop()
        await self._tasks.__aexit__(kind, error, traceback)

    async def _forget_idle(self) -> None:
        while True:
            await asyncio.sleep(self.settings.idle_s / 4)
            too_old = monotonic() - self.settings.idle_s
            for followed in self._clients.values():
                for sensor_id in [s for s, f in followed.items() if f.heard_at < too_old]:
                    del followed[sensor_id]
                    logger.info("sensor %s: idle, its analysis is discarded", sensor_id)

    # --- one connection -------------------------------------------------------------------------

    async def _converse(self, connection: Guarded) -> None:
        followed: dict[str, _Followed] = {}
        replies: list[bytes] = []
        waiting_bytes = 0

        def take(messages: Sequence[bytes]) -> Coroutine[Any, Any, None] | None:
            nonlocal waiting_bytes
            for message in messages:
                replies.append(self._reply(message, followed))
                waiting_bytes = len(replies[-1]) + (waiting_bytes if len(replies) > 1 else 0)
            wanted.set()
            if len(replies) < REPLIES_MAX and waiting_bytes < REPLIES_MAX_BYTES:
                return None
            taken.clear()
            return _until(taken)

        self._clients[connection] = followed
        peer = connection.remote_address
        logger.info("client %s connected", peer)
        wanted, taken = asyncio.Event(), asyncio.Event()
        try:
            if self.settings.script is not None:
                await act_out(
                    connection, self.settings.script, lambda request: self._reply(request, followed)
                )
                return
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(_write(connection, replies, wanted, taken))
                await connection.deliver(take)
                writer.cancel()
        except* (ConnectionClosed, TimeoutError):
            pass  # it left, or was cut off, which is logged
        finally:
            del self._clients[connection]
            logger.info("client %s disconnected; it had %d sensors", peer, len(followed))

    def _reply(self, message: bytes | str, followed: dict[str, _Followed]) -> bytes:
        self.counts.requests += 1
        timestamp = utc_timestamp()
        try:
            sample = wire.decode_request(message)
            return self._result(sample, self._follow(sample.sensor_id, followed), timestamp)
        except WireError as error:
            self._count_rejected(error)
            unreadable = error.code in ("json", "utf8")
            kind = "Invalid JSON format" if unreadable else "Processing error"
            return wire.encode_error_result(f"{kind}: {error}", timestamp)
        except Exception:  # a defect of the analysis must not cost the others theirs
            logger.exception("analysis failed; starting over for this sensor")
            self.counts.failures += 1
            followed.pop(sample.sensor_id, None)
            return wire.encode_error_result("Processing error: a defect of ours", timestamp)

    def _follow(self, sensor_id: str, followed: dict[str, _Followed]) -> _Followed:
        state = followed.get(sensor_id)
        if state is None:
            if len(sensor_id) > SENSOR_ID_MAX_CHARS:
                raise WireError("limit", "frame", "the sensor id is too long", excerpt(sensor_id))
            if self.sensors >= SENSORS_MAX:
                raise WireError("limit", "frame", f"more than {SENSORS_MAX} sensors")
            make = self.settings.make_analyzer
            own = make() if make is not None else Analyzer(self.settings.analysis)
            state = followed[sensor_id] = _Followed(own)
        state.heard_at = monotonic()
        return state

    def _result(self, sample: Sample, state: _Followed, timestamp: str) -> bytes:
        extra = None
        if isinstance(state.analyzer, Analyzer):
            extra = self._analyse(sample, state, state.analyzer)
        else:
            state.samples += 1
            prediction = state.analyzer.add(sample)
            state.prediction, state.status = None, "ok"
            if prediction is not None:
                self.counts.predictions += 1
                state.prediction = wire.encode_prediction(prediction)
                state.status = status_of(prediction.hypoxia_probability)
        return wire.encode_result(sample, state.prediction, state.status, timestamp, extra)

    def _analyse(
        self, sample: Sample, state: _Followed, analyzer: Analyzer
    ) -> dict[str, Any] | None:
        """Let our analysis take a sample; return what it says beyond the contract."""
        analysis = analyzer.add(sample)
        state.samples = analyzer.samples_seen
        if analysis is not None:
            self.counts.predictions += 1
            state.prediction = wire.encode_prediction(analysis.prediction)
            state.status = status_of(analysis.prediction.hypoxia_probability)
            if self.settings.analysis.profile != "original":
                return analysis.members()
        elif analyzer.latest is None and state.prediction is not None:
            state.prediction, state.status = None, "ok"  # a new examination began
        return None

    def _count_rejected(self, error: WireError) -> None:
        rejected = self.counts.rejected
        rejected[error.code] = rejected.get(error.code, 0) + 1
        if rejected[error.code].bit_count() == 1:  # 1st, 2nd, 4th, 8th …: a burst stays readable
            logger.warning("request rejected (%d): %s", rejected[error.code], error)

    # --- HTTP -----------------------------------------------------------------------------------

    def _route(self, _connection: ServerConnection, asked: Asked) -> Answer | None:
        if asked.path.rstrip("/") == PATH:
            full = len(self._clients) >= CLIENTS_MAX
            return problem(503, "too many clients") if full else None
        return self._page(asked)

    def _page(self, asked: Asked) -> Answer:
        path = asked.path
        if path.startswith("/reset/") and asked.method == "POST":
            return _json(self._reset(path.removeprefix("/reset/").lower()))
        pages: dict[str, Callable[[], dict[str, Any] | Answer]] = {
            "/": self._about,
            "/health": self._health,
            "/sensors": self._sensors,
            "/metrics": self._metrics,
        }
        if path not in pages and not path.startswith("/reset/"):
            return _json({"error": "not found"}, 404)
        if path not in pages or not asked.reads:
            allowed = ("Allow", "GET, HEAD" if path in pages else "POST")
            return _json({"error": "method not allowed"}, 405, allowed)
        page = pages[path]()
        return page if isinstance(page, Answer) else _json(page)

    def _about(self) -> dict[str, Any]:
        return {
            "service": "ctgkit ml (simulated analysis, not a medical device)",
            "status": "online",
            "version": __version__,
            "active_sensors": self.sensors,
        }

    def _health(self) -> dict[str, Any]:
        return {
            "status": "healthy",
            "active_analyzers": self.sensors,
            "clients": len(self._clients),
            "flooders_closed": self.counts.closed["flood"],
            "timestamp": utc_timestamp(),
        }

    def _sensors(self) -> dict[str, Any]:
        return {
            sensor_id: {
                "data_points": state.samples,
                "has_prediction": state.prediction is not None,
            }
            for followed in self._clients.values()
            for sensor_id, state in followed.items()
        }

    def _reset(self, sensor_id: str) -> dict[str, Any]:
        found = [f.pop(sensor_id, None) for f in self._clients.values()]
        return {"status": "reset" if any(found) else "not_found", "sensor_id": sensor_id}

    def _metrics(self) -> Answer:
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.exposition import CONTENT_TYPE_LATEST

        registry = CollectorRegistry()
        registry.register(self)
        return Answer(200, generate_latest(registry), CONTENT_TYPE_LATEST, (_READABLE,))

    def collect(self) -> Iterable[Any]:
        """Yield the metrics: counted as plain integers, dressed when somebody asks."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        counts = self.counts
        yield CounterMetricFamily("ctgkit_ml_requests", "Requests", value=counts.requests)
        yield CounterMetricFamily("ctgkit_ml_predictions", "Predictions", value=counts.predictions)
        yield CounterMetricFamily("ctgkit_ml_failures", "Failed analyses", value=counts.failures)
        closed = CounterMetricFamily(
            "ctgkit_ml_connections_closed", "Clients closed for what they did", labels=["reason"]
        )
        for reason, count in counts.closed.items():
            closed.add_metric([reason], count)
        yield closed
        rejected = CounterMetricFamily("ctgkit_ml_rejected", "Rejected requests", labels=["reason"])
        for reason, count in counts.rejected.items():
            rejected.add_metric([reason], count)
        yield rejected
        yield GaugeMetricFamily("ctgkit_ml_sensors", "Sensors followed", value=self.sensors)
        yield GaugeMetricFamily("ctgkit_ml_clients", "Open connections", value=len(self._clients))


async def _write(
    connection: ServerConnection,
    replies: list[bytes],
    wanted: asyncio.Event,
    taken: asyncio.Event,
) -> None:
    """Send what has gathered since the last wake-up, in one write."""
    while True:
        await wanted.wait()
        wanted.clear()
        group = replies.copy()
        replies.clear()
        taken.set()
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await send_texts(connection, group)
        except TimeoutError:
            logger.warning("client %s doesn't read: disconnected", connection.remote_address)
            connection.transport.abort()
            raise


async def _until(event: asyncio.Event) -> None:
    await event.wait()


_READABLE = ("Access-Control-Allow-Origin", "*")
"""By every page that was let in."""


def _json(body: dict[str, Any], status: int = 200, *headers: tuple[str, str]) -> Answer:
    return json_answer(body, status, (_READABLE, *headers))
