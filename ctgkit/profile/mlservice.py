"""An ML service behind HTTP, as one of PROTOCOL.md: samples in, a result for each.

It listens on loopback for the backend or ``ctgkit score`` of this process, keeps each sensor's
window, asks the service every few seconds of data time, and repeats the last prediction in
between. Nothing of the two clients has to know that there is HTTP behind it.

A service that fails leaves samples unanswered: each gets an error result, which the backend shows
as a sample with status ``error`` (V-2.2), until a request succeeds again. A stale prediction is
never repeated.
"""

import asyncio
import hmac
import logging
import secrets
from base64 import b64encode
from collections import Counter, deque
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from ctgkit import wire
from ctgkit.clock import utc_timestamp
from ctgkit.errors import ConfigError, CtgkitError, Unreachable, WireError
from ctgkit.net.frames import send_texts
from ctgkit.net.http import Answer, Asked, problem
from ctgkit.net.origins import Rules
from ctgkit.net.server import OpenServer, listen, open_server
from ctgkit.profile.connected import prepare
from ctgkit.profile.links import HttpLink, Refused, Tally, http_client, shown_url
from ctgkit.profile.render import Renderer
from ctgkit.profile.reply import read_reply
from ctgkit.profile.session import Session
from ctgkit.samples import Sample, Status, status_of

log = logging.getLogger(__name__)

PATH = "/ws/ctg"
WAITING_MAX = 1024
"""Requests of the backend that wait for their replies; when full, it isn't read."""
GROUP = 64
"""Replies sent in one write."""
SEND_TIMEOUT_S = 30.0
REQUESTS_MAX = 8
"""Windows that are rendered and asked about at a time, of all sensors; others wait. Chosen: bounds
the bytes (a window of ten minutes has some 100 KB) and what a small service has to bear."""
SENSORS_MAX = 500
"""Sensors whose windows are kept; of more, the one not heard of for longest is dropped."""
WINDOW_SAMPLES_MAX = 20_000
"""Samples of a window that are kept. Chosen: ten minutes at 33 Hz, 3 MB; older ones are dropped."""
RESTART_S = 60.0
"""A sample this much earlier than the latest one begins another examination, seconds."""
FORBIDDEN = (401, 403)
"""Statuses after which the setup requests are made again: a session has expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettings:
    """Which service is asked, and how."""

    renderer: Renderer
    secrets: dict[str, str] = field(repr=False)
    waits: bool = False
    """Whether the sample that completes a window waits for its answer, so that results are the
    same at any speed; otherwise an answer counts from the first sample after it."""


class _Outcome(msgspec.Struct, frozen=True):
    """What is said of samples until the next window."""

    prediction: msgspec.Raw | None = None
    status: Status = "ok"
    events: tuple[dict[str, Any], ...] | None = None
    failed: str = ""


class _Followed:
    """A sensor: its window, and what was said of it last."""

    def __init__(self, sample: Sample, session: Session, every_s: float) -> None:
        self.session = session
        self.prepared = False
        self.window: deque[Sample] = deque(maxlen=WINDOW_SAMPLES_MAX)
        self.latest_s = -1.0
        self.next_s = sample.sec_from_start + every_s
        self.asking: asyncio.Task[_Outcome | None] | None = None
        self.unread: asyncio.Task[_Outcome | None] | None = None
        """An answer that the replies have yet to take over."""
        self.outcome = _Outcome()


class _Entry(msgspec.Struct, frozen=True):
    """A request that waits for its reply."""

    sample: Sample | None
    followed: _Followed | None = None
    asked: asyncio.Task[_Outcome | None] | None = None
    error: str = ""


class HttpMlService:
    """Serves from ``async with`` to its end.

    Parameters
    ----------
    settings : WindowSettings
        Which service is asked.

    Raises
    ------
    ConfigError
        When the profile doesn't describe an ML service behind HTTP.
    """

    def __init__(self, settings: WindowSettings) -> None:
        self._settings, self._renderer = settings, settings.renderer
        self._profile = settings.renderer.profile
        for wanted, given in (
            ("reply: says where the probability is", self._profile.reply is not None),
            ('per: is "batch"', self._profile.per == "batch"),
            ("url: begins with http:// or https://", self._profile.is_web),
        ):
            if not given:
                reason = f"of a profile for an ML service {wanted}"
                raise ConfigError(self._renderer.where, reason)
        self._password = secrets.token_urlsafe(24)
        self._slots = asyncio.Semaphore(REQUESTS_MAX)
        self._stack = AsyncExitStack()
        self.counts: Counter[str] = Counter()
        """Windows by what became of them: ``answered``, ``early`` (no result yet), ``failed``."""
        self.unreachable = ""
        """Why the service was never reached, if so."""

    @property
    def url(self) -> str:
        """Where it listens; the password keeps other users of this machine out."""
        return self._server.url("ws", PATH).replace("://", f"://ctgkit:{self._password}@")

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._client = await stack.enter_async_context(http_client())
            self._server: OpenServer = await stack.enter_async_context(
                await open_server(
                    self._converse, self._admit, listen("127.0.0.1", 0), rules=Rules(),
                    ping_every_s=None,
                )
            )  # fmt: skip
            self._stack = stack.pop_all()
        profile = self._profile
        log.info(
            "ML service behind HTTP: %s, %g s every %g s, at most %d requests at a time",
            shown_url(profile.url), profile.window_s, profile.every_s, REQUESTS_MAX,
        )  # fmt: skip
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()
        if self.counts:
            told = ", ".join(f"{n} {what}" for what, n in self.counts.items())
            log.info("windows sent to the ML service: %s", told)

    def _admit(self, _connection: ServerConnection, asked: Asked) -> Answer | None:
        expected = "Basic " + b64encode(f"ctgkit:{self._password}".encode()).decode()
        given = asked.header("Authorization")
        if len(given) == 1 and hmac.compare_digest(given[0].encode(), expected.encode()):
            return None
        return problem(401, "not for you")

    # --- one connection -------------------------------------------------------------------------

    async def _converse(self, connection: ServerConnection) -> None:
        followed: dict[str, _Followed] = {}
        waiting: asyncio.Queue[_Entry] = asyncio.Queue(WAITING_MAX)
        windows: set[asyncio.Task[_Outcome | None]] = set()
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._answer(connection, waiting))
                async for message in connection:
                    entry = await self._take(message, followed, tasks, connection)
                    if entry.asked is not None:
                        windows.add(entry.asked)
                        entry.asked.add_done_callback(windows.discard)
                    await waiting.put(entry)
                for task in (writer, *windows):
                    task.cancel()
        except* (ConnectionClosed, TimeoutError):
            pass

    async def _take(
        self,
        message: str | bytes,
        followed: dict[str, _Followed],
        tasks: asyncio.TaskGroup,
        connection: ServerConnection,
    ) -> _Entry:
        try:
            sample = wire.decode_request(message)
        except WireError as error:
            return _Entry(None, error=str(error))
        state = self._follow(sample, followed)
        if sample.sec_from_start <= state.latest_s:
            return _Entry(sample, state)  # late or repeated: windows are in order
        state.latest_s = sample.sec_from_start
        state.window.append(sample)
        while state.window[0].sec_from_start <= sample.sec_from_start - self._profile.window_s:
            state.window.popleft()
        if sample.sec_from_start < state.next_s:
            return _Entry(sample, state)
        if state.asking is not None and not state.asking.done():
            if not self._settings.waits:
                return _Entry(
                    sample, state
                )  # slower than every_s: asked again when it has answered
            await asyncio.wait((state.asking,))
        while state.next_s <= sample.sec_from_start:
            state.next_s += self._profile.every_s
        state.asking = tasks.create_task(self._ask(state, tuple(state.window), connection))
        return _Entry(sample, state, state.asking)

    def _follow(self, sample: Sample, followed: dict[str, _Followed]) -> _Followed:
        state = followed.pop(sample.sensor_id, None)
        if state is None or sample.sec_from_start < state.latest_s - RESTART_S:
            start_s = datetime.now(UTC).timestamp() - sample.sec_from_start
            session = Session(sample.sensor_id, start_s, dict(self._settings.secrets))
            state = _Followed(sample, session, self._profile.every_s)
        followed[sample.sensor_id] = state  # the last one is the latest heard of
        if len(followed) > SENSORS_MAX:
            del followed[next(iter(followed))]
        return state

    # --- the service ----------------------------------------------------------------------------

    async def _ask(
        self, state: _Followed, window: tuple[Sample, ...], connection: ServerConnection
    ) -> _Outcome | None:
        """Ask about a window; return what is said from now on, None when nothing new is."""
        async with self._slots:
            try:
                outcome = await self._asked(state, window)
            except Unreachable as error:
                if not self.counts["answered"] and not self.counts["early"]:
                    self.unreachable = self.unreachable or error.reason
                    if self._settings.waits:  # it was never there: no need to play to the end
                        await connection.close(1011, "the service is not reached")
                return self._failed(state, str(error))
            except CtgkitError as error:
                return self._failed(state, str(error))
        self.unreachable = ""
        if state.outcome.failed:
            log.info("the ML service answers again for sensor %s", state.session.sensor_id)
        return outcome

    async def _asked(self, state: _Followed, window: tuple[Sample, ...]) -> _Outcome | None:
        session, profile = state.session, self._profile
        assert profile.reply is not None
        link = HttpLink(self._client, session, Tally(), 0.0, profile.timeout_s)
        if not state.prepared:
            await prepare(self._renderer, session, link)
            state.prepared = True
        # in a thread: the tens of milliseconds that a window takes are not the others'
        (request,) = await asyncio.to_thread(self._renderer.render, window, session)
        status, body = await link.ask(request)
        if status in FORBIDDEN:
            state.prepared = False
        try:
            said = read_reply(status, session.hidden(body), profile.reply, window[0].sec_from_start)
        except WireError as error:
            raise Refused(str(error)) from None
        if said is None:
            self.counts["early"] += 1
            return None
        self.counts["answered"] += 1
        return _Outcome(
            wire.encode_prediction(said.prediction),
            status_of(said.prediction.hypoxia_probability),
            said.events if profile.reply.events else None,
        )

    def _failed(self, state: _Followed, reason: str) -> _Outcome:
        self.counts["failed"] += 1
        if self.counts["failed"].bit_count() == 1:  # 1st, 2nd, 4th, 8th …
            sensor_id, count = state.session.sensor_id, self.counts["failed"]
            log.warning("no prediction for sensor %s (%d): %s", sensor_id, count, reason)
        return _Outcome(failed=reason)

    # --- replies --------------------------------------------------------------------------------

    async def _answer(self, connection: ServerConnection, waiting: asyncio.Queue[_Entry]) -> None:
        group: list[bytes] = []
        while True:
            if group and (waiting.empty() or len(group) >= GROUP):
                await _send(connection, group)
                group = []
            entry = await waiting.get()
            if self._settings.waits and entry.asked is not None and not entry.asked.done():
                if group:
                    await _send(connection, group)
                    group = []
                await asyncio.wait((entry.asked,))
            group.append(_reply(entry))


async def _send(connection: ServerConnection, group: list[bytes]) -> None:
    try:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await send_texts(connection, group)
    except TimeoutError:
        connection.transport.abort()
        raise


def _reply(entry: _Entry) -> bytes:
    timestamp = utc_timestamp()
    if entry.sample is None or entry.followed is None:
        return wire.encode_error_result(entry.error, timestamp)
    state, events = entry.followed, None
    if entry.asked is not None:
        state.unread = entry.asked
    if state.unread is not None and state.unread.done():
        outcome, state.unread = state.unread.result(), None
        if outcome is not None:
            state.outcome, events = outcome, outcome.events
        elif state.outcome.failed:
            state.outcome = _Outcome()
    told = state.outcome
    if told.failed:
        return wire.encode_error_result("the ML service behind HTTP failed", timestamp)
    extra = None if events is None else {"events": list(events)}
    return wire.encode_result(entry.sample, told.prediction, told.status, timestamp, extra)
