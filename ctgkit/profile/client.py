"""Plays sensors on a foreign wire: sources in, what a profile makes of them out."""

import asyncio
import json
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ctgkit.errors import ConfigError, CtgkitError
from ctgkit.profile.batches import batches, beside
from ctgkit.profile.connected import connected
from ctgkit.profile.links import Refused, Tally, http_client
from ctgkit.profile.render import Renderer
from ctgkit.profile.session import Outgoing, Session
from ctgkit.simulate.sensor import Sensor
from ctgkit.simulate.source import Source

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 5.0
"""How long a stop waits for messages that are on their way, seconds."""


class Clock:
    """Waits until samples are due; :meth:`ring` ends all waits, at a stop."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()
        self._rung = False

    async def until(self, due_s: float) -> None:
        """Wait for a time of the event loop."""
        loop = asyncio.get_running_loop()
        if due_s <= loop.time() or self._rung:
            await asyncio.sleep(0)
            return
        due = loop.create_future()
        alarm = loop.call_at(due_s, _wake, due)
        self._waiting.add(due)
        try:
            await due
        finally:
            alarm.cancel()
            self._waiting.discard(due)

    def ring(self) -> None:
        """Let nobody wait any more."""
        self._rung = True
        for due in self._waiting:
            _wake(due)


def _wake(due: asyncio.Future[None]) -> None:
    if not due.done():
        due.set_result(None)


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
    """How long to try to reach the other side at first, seconds; later it is tried indefinitely."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    clock: Clock = field(default_factory=Clock)
    write: Callable[[bytes], None] | None = None
    """Gets each message instead of the other side: for a pipe."""


class Summary(msgspec.Struct, kw_only=True):
    """What was sent."""

    sensors: int
    samples: int = 0
    messages: int = 0
    accepted: int | None = None
    """Messages that the other side accepted; None where it doesn't say: over WebSocket."""
    rejected: dict[str, int] = {}
    """Messages that it refused, and WebSockets that it closed as wrong, by reason."""
    retries: int = 0
    """Requests that were sent again."""
    reconnects: int = 0
    duration_s: float = 0.0
    failures: list[str] = []
    """Why sensors gave up, each reason once."""


class _Link(Protocol):
    async def send(self, outgoing: Outgoing) -> bytes | None: ...


class _Pipe:
    """Messages to whoever reads a pipe, one per line."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    async def send(self, outgoing: Outgoing) -> None:
        self._write(outgoing.body + b"\n")


async def run_profile(settings: ProfileSettings) -> Summary:
    """Send until all have played to their end, or ``settings.stop`` is set.

    Returns
    -------
    Summary
        Also when sensors failed: look at ``failures``.

    Raises
    ------
    ConfigError
        When the profile turns out to be wrong at a sample.
    """
    renderer, loop = settings.renderer, asyncio.get_running_loop()
    profile, piped = renderer.profile, settings.write is not None
    accepted = 0 if profile.is_web and not piped else None
    summary, tally = Summary(sensors=len(settings.sensor_ids), accepted=accepted), Tally()
    began_s = loop.time()
    async with AsyncExitStack() as stack:
        client = None
        if profile.needs_http and not piped:
            client = await stack.enter_async_context(http_client())
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        players = {
            tasks.create_task(_play(settings, number, client, tally, summary))
            for number in range(len(settings.sensor_ids))
        }
        stopper = tasks.create_task(settings.stop.wait())
        waiting: set[asyncio.Task[Any]] = {*players}
        while waiting and not settings.stop.is_set():
            _, waiting = await asyncio.wait({*waiting, stopper}, return_when="FIRST_COMPLETED")
            waiting.discard(stopper)
        settings.clock.ring()
        if waiting:
            await asyncio.wait(waiting, timeout=STOP_TIMEOUT_S)
        for task in (*players, stopper):
            task.cancel()
    summary.failures = sorted(set(summary.failures))
    summary.rejected, summary.retries = dict(tally.rejected), tally.retries
    summary.reconnects, summary.duration_s = tally.reconnects, loop.time() - began_s
    return summary


async def _play(
    settings: ProfileSettings,
    number: int,
    client: "httpx.AsyncClient | None",
    tally: Tally,
    summary: Summary,
) -> None:
    sensor_id, renderer = settings.sensor_ids[number], settings.renderer
    session = Session(sensor_id, settings.start_epoch_s, dict(settings.secrets))
    try:
        async with AsyncExitStack() as stack:
            link: _Link
            if settings.write is not None:
                link = _Pipe(settings.write)
            else:
                timeout_s = settings.connect_timeout_s
                link = await stack.enter_async_context(
                    connected(renderer, session, tally, client, timeout_s)
                )
            await _send_all(settings, number, session, link, tally, summary)
    except ConfigError:
        raise
    except CtgkitError as error:
        summary.failures.append(str(error))
        log.warning("sensor %s gave up: %s", sensor_id, error)


async def _send_all(
    settings: ProfileSettings,
    number: int,
    session: Session,
    link: _Link,
    tally: Tally,
    summary: Summary,
) -> None:
    renderer, loop = settings.renderer, asyncio.get_running_loop()
    source = settings.make_source(number)
    zero_s: float | None = None
    first_s, sent = 0.0, 0
    for batch in batches(source, renderer.profile, session.sensor_id, settings.duration_s):
        if zero_s is None:
            zero_s, first_s = loop.time(), batch[0].sec_from_start
        due_s = zero_s + (batch[-1].sec_from_start - first_s) / settings.speed
        await settings.clock.until(due_s)
        if settings.stop.is_set():
            break
        if renderer.looks_beside:
            session.beside = beside(source, batch, second=renderer.names_second)
        for outgoing in renderer.render(batch, session):
            try:
                await link.send(outgoing)
            except Refused as refusal:
                if not tally.rejected[refusal.reason]:
                    log.warning("refused: %s", refusal)
                tally.rejected[refusal.reason] += 1
            else:
                if summary.accepted is not None:
                    summary.accepted += 1
            summary.messages += 1
        summary.samples += len(batch)
        sent += len(batch)
    if isinstance(source, Sensor):
        source.seek(sent)  # it was read ahead; its truth ends with what was sent


def summary_text(summary: Summary, name: str) -> str:
    """Return what was sent, in two lines."""
    s = summary
    refused = ", ".join(f"{n} x {reason}" for reason, n in s.rejected.items()) or "none"
    said = "not confirmed on this wire" if s.accepted is None else f"{s.accepted} accepted"
    return (
        f"sent {s.samples} samples in {s.messages} messages: {said}, refused: {refused};"
        f" {s.retries} requests sent again, {s.reconnects} reconnects\n"
        f"{s.sensors} sensor{'s' if s.sensors > 1 else ''}, {s.duration_s:.1f} s,"
        f" profile {name}: messages may be lost or arrive twice"
    )


def summary_json(summary: Summary) -> str:
    """Return what was sent as one JSON object."""
    return json.dumps(msgspec.to_builtins(summary))
