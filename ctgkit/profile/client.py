"""Sends what a profile renders, over WebSocket or HTTP.

There is no acknowledgement on a foreign wire: a message is delivered at least once where the other
side answers (HTTP), and at most once where it doesn't (WebSocket). Exactly once is ``ctgkit.v1``
only.
"""

import asyncio
import json
import logging
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, WebSocketException

from ctgkit.errors import CtgkitError, Unreachable, WireError, excerpt
from ctgkit.net.client import DirectConnect
from ctgkit.profile.batches import batches
from ctgkit.profile.model import Profile, Setup
from ctgkit.profile.render import Outgoing, Renderer, Session
from ctgkit.profile.reply import pointed, read_document
from ctgkit.sensor.pacing import backoff_s
from ctgkit.simulate.source import Source

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

TRIES_MAX = 5
"""How often one request is sent before it counts as failed: after that it is the service."""
ANSWER_MAX_BYTES = 1 << 20
"""Of an answer that is read."""
REQUEST_TIMEOUT_S = 30.0
"""How long a request may take, seconds. Chosen: slow ML services take seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSettings:
    """Sensors of a foreign wire, and what they play."""

    renderer: Renderer
    sensor_ids: Sequence[str]
    make_source: Callable[[int], Source]
    """Sensor number, from 0 -> its samples from the start."""
    secrets: dict[str, str] = field(repr=False)
    start_epoch_s: float
    """Wall time of data time 0, Unix seconds."""
    speed: float = 1.0
    """Data seconds per second, > 0; ``inf`` for as fast as the other side takes it."""
    duration_s: float = math.inf
    connect_timeout_s: float = 10.0
    """How long to try to reach the other side, at first and after each loss, seconds."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)


class Summary(msgspec.Struct, kw_only=True):
    """What was sent."""

    sensors: int
    samples: int = 0
    messages: int = 0
    accepted: int | None = None
    """Messages that the other side accepted; None over WebSocket, which doesn't say."""
    rejected: dict[str, int] = {}
    """Messages that it refused, by reason."""
    reconnects: int = 0
    failures: list[str] = []
    """Why sensors gave up, each reason once."""


class _Link(Protocol):
    async def send(self, outgoing: Outgoing) -> bytes | None: ...


class Refused(CtgkitError):
    """The other side answered, and refused; *reason* is short enough to be counted by."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


async def run_profile(settings: ProfileSettings) -> Summary:
    """Send until all have played to their end, or ``settings.stop`` is set.

    Returns
    -------
    Summary
        Also when sensors failed: look at ``failures``.
    """
    web = settings.renderer.profile.url.startswith("http")
    summary = Summary(sensors=len(settings.sensor_ids), accepted=0 if web else None)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(http_client()) if web else None
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        players = [
            tasks.create_task(_play(settings, number, client, tasks, summary))
            for number in range(len(settings.sensor_ids))
        ]
        stopper = tasks.create_task(settings.stop.wait())
        waiting: set[asyncio.Task[Any]] = {*players}
        while waiting and not settings.stop.is_set():
            _, waiting = await asyncio.wait(
                {*waiting, stopper}, return_when=asyncio.FIRST_COMPLETED
            )
            waiting.discard(stopper)
        for task in (*players, stopper):
            task.cancel()
    summary.failures = sorted(set(summary.failures))
    return summary


def http_client() -> "httpx.AsyncClient":
    """Return a client without redirects and without what the environment says of proxies.

    Raises
    ------
    CtgkitError
        When the extra isn't installed.
    """
    try:
        import httpx
    except ImportError as error:
        raise CtgkitError("a profile over HTTP needs httpx: pip install 'ctgkit[http]'") from error
    logging.getLogger("httpx").setLevel(logging.WARNING)  # its INFO names every address
    limits = httpx.Limits(max_connections=256, max_keepalive_connections=256)
    return httpx.AsyncClient(
        trust_env=False, follow_redirects=False, timeout=REQUEST_TIMEOUT_S, limits=limits
    )


async def _play(
    settings: ProfileSettings,
    number: int,
    client: "httpx.AsyncClient | None",
    tasks: asyncio.TaskGroup,
    summary: Summary,
) -> None:
    sensor_id = settings.sensor_ids[number]
    session = Session(sensor_id, settings.start_epoch_s, dict(settings.secrets))
    try:
        async with AsyncExitStack() as stack:
            http = HttpLink(client, settings.connect_timeout_s) if client else None
            link: _Link
            if http is not None:
                link = http
            else:
                link = await stack.enter_async_context(
                    SocketLinks(settings.connect_timeout_s, tasks, summary)
                )
            await prepare(settings.renderer, session, stack, http, settings.connect_timeout_s)
            await _send_all(settings, number, session, link, summary)
    except CtgkitError as error:
        summary.failures.append(str(error))
        log.warning("sensor %s gave up: %s", sensor_id, error)


async def prepare(
    renderer: Renderer,
    session: Session,
    stack: AsyncExitStack,
    http: "HttpLink | None",
    connect_timeout_s: float,
) -> None:
    """Make the setup requests, and put what they capture into the session."""
    if not renderer.profile.setup:
        return
    if http is None:
        http = HttpLink(await stack.enter_async_context(http_client()), connect_timeout_s)
    for setup, request in renderer.setup(session):
        session.captured |= _captured(setup, await http.send(request))


def _captured(setup: Setup, answer: bytes) -> dict[str, Any]:
    try:
        document = read_document(answer) if setup.capture else None
        return {name: pointed(document, pointer) for name, pointer in setup.capture.items()}
    except (LookupError, WireError) as error:
        reason = error.args[0] if isinstance(error, LookupError) else str(error)
        raise Refused("setup", f"{setup.url}: {reason}") from None


async def _send_all(
    settings: ProfileSettings, number: int, session: Session, link: _Link, summary: Summary
) -> None:
    renderer, loop = settings.renderer, asyncio.get_running_loop()
    zero_s: float | None = None
    first_s = 0.0
    rejected: Counter[str] = Counter()
    for batch in batches(settings.make_source(number), renderer.profile, session.sensor_id):
        sec = batch[-1].sec_from_start
        if zero_s is None:
            zero_s, first_s = loop.time(), batch[0].sec_from_start
        if sec - first_s >= settings.duration_s:
            break
        await asyncio.sleep(max(0.0, zero_s + (sec - first_s) / settings.speed - loop.time()))
        for outgoing in renderer.render(batch, session):
            try:
                await link.send(outgoing)
            except Refused as refusal:
                if not rejected[refusal.reason]:
                    log.warning("refused: %s", refusal)
                rejected[refusal.reason] += 1
                summary.rejected[refusal.reason] = summary.rejected.get(refusal.reason, 0) + 1
            else:
                if summary.accepted is not None:
                    summary.accepted += 1
            summary.messages += 1
        summary.samples += len(batch)


class HttpLink:
    """Requests to the other side, one after another."""

    def __init__(self, client: "httpx.AsyncClient", connect_timeout_s: float) -> None:
        self._client, self._timeout_s = client, connect_timeout_s

    async def send(self, outgoing: Outgoing) -> bytes:
        """Send a request; return the body of the answer.

        Raises
        ------
        Refused
            When the answer isn't 2xx.
        Unreachable
            When there is none, however often it is tried.
        """
        status, body = await self.ask(outgoing)
        if not 200 <= status < 300:
            follows = ", which is not followed" if 300 <= status < 400 else ""
            raise Refused(f"status {status}{follows}", excerpt(body))
        return body

    async def ask(self, outgoing: Outgoing) -> tuple[int, bytes]:
        """Send a request; return status and body. Answers of 502, 503 and 504 are tried again."""
        import httpx

        headers = [("Content-Type", outgoing.content_type), *outgoing.headers]
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + self._timeout_s
        for attempt in range(TRIES_MAX * 1000):
            try:
                async with self._client.stream(
                    outgoing.method, outgoing.url, content=outgoing.body, headers=headers
                ) as answer:
                    body = await _bounded(answer)
                    if answer.status_code not in (502, 503, 504) or attempt >= TRIES_MAX:
                        return answer.status_code, body
                    reason = f"status {answer.status_code}"
            except httpx.InvalidURL as error:
                raise Unreachable(_shown(outgoing.url), str(error)) from None
            except httpx.HTTPError as error:
                reason = str(error) or type(error).__name__
            if loop.time() > give_up_s:
                raise Unreachable(_shown(outgoing.url), excerpt(reason))
            await asyncio.sleep(backoff_s(attempt, random.random()))
        raise Unreachable(_shown(outgoing.url), "no answer")


async def _bounded(answer: "httpx.Response") -> bytes:
    body = b""
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > ANSWER_MAX_BYTES:
            raise Refused("answer too large", f"more than {ANSWER_MAX_BYTES} bytes")
    return body


def _shown(url: str) -> str:
    return excerpt(url.partition("?")[0])


class SocketLinks:
    """WebSockets to the other side, one per distinct address; what they say is read and dropped."""

    def __init__(
        self, connect_timeout_s: float, tasks: asyncio.TaskGroup, summary: Summary
    ) -> None:
        self._timeout_s, self._tasks, self._summary = connect_timeout_s, tasks, summary
        self._open: dict[str, ClientConnection] = {}

    async def __aenter__(self) -> "SocketLinks":
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._open.values():
            await connection.close()

    async def send(self, outgoing: Outgoing) -> None:
        """Send a message; a lost connection is made again.

        Raises
        ------
        Unreachable
            When the other side cannot be reached for too long.
        """
        while True:
            connection = self._open.get(outgoing.url) or await self._dial(outgoing)
            try:
                await connection.send(outgoing.body.decode())
            except ConnectionClosed:
                del self._open[outgoing.url]
                self._summary.reconnects += 1
            else:
                return

    async def _dial(self, outgoing: Outgoing) -> ClientConnection:
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + self._timeout_s
        attempt = 0
        while True:
            try:
                connection = await DirectConnect(
                    outgoing.url,
                    additional_headers=list(outgoing.headers),
                    proxy=None,
                    open_timeout=self._timeout_s,
                    close_timeout=1.0,
                )
            except (OSError, EOFError, TimeoutError, WebSocketException, ValueError) as error:
                reason = str(error) or type(error).__name__
            else:
                self._open[outgoing.url] = connection
                self._tasks.create_task(_drain(connection))
                return connection
            if loop.time() > give_up_s:
                raise Unreachable(_shown(outgoing.url), excerpt(reason))
            await asyncio.sleep(backoff_s(attempt, random.random()))
            attempt += 1


async def _drain(connection: ClientConnection) -> None:
    try:
        async for _ in connection:
            pass
    except ConnectionClosed as closed:
        log.info("connection closed: %s", closed)


def summary_text(summary: Summary, profile: Profile) -> str:
    """Return what was sent, in one line."""
    refused = ", ".join(f"{n} x {reason}" for reason, n in summary.rejected.items()) or "none"
    accepted = "" if summary.accepted is None else f", {summary.accepted} accepted"
    return (
        f"{profile.name or 'profile'}: {summary.samples} samples of {summary.sensors} sensors in"
        f" {summary.messages} messages{accepted}; refused: {refused};"
        f" {summary.reconnects} reconnects. Delivery is not guaranteed on this wire."
    )


def summary_json(summary: Summary) -> str:
    """Return what was sent as one JSON object."""
    return json.dumps(msgspec.to_builtins(summary))
