"""One level of load on a wire that isn't ours: what a profile makes of samples, sent when due.

Over HTTP a message is seen when it is answered with 2xx; over WebSocket the pong of a ping behind
it says that it has been read.
"""

import asyncio
import math
import time
import uuid
from array import array
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ctgkit.bench.knee import Level
from ctgkit.bench.load import CONNECTING_MAX
from ctgkit.bench.schedule import milliseconds
from ctgkit.errors import CtgkitError, Unreachable
from ctgkit.profile.client import prepare
from ctgkit.profile.links import (
    READ_MAX_S,
    HttpLink,
    Refused,
    SocketLinks,
    Tally,
    http_client,
)
from ctgkit.profile.render import Renderer
from ctgkit.profile.session import Session
from ctgkit.samples import Sample

CONNECT_S = 10.0
"""How long the other side may take to answer first, seconds."""


@dataclass(slots=True)
class ForeignBackend:
    """The target of a benchmark, and how it is spoken to."""

    renderer: Renderer
    secrets: dict[str, str] = field(repr=False)
    next_sec: float = 0.0
    """Data time never goes back."""

    @property
    def is_web(self) -> bool:
        """Whether messages are HTTP requests."""
        return self.renderer.profile.url.startswith("http")


async def measure(
    backend: ForeignBackend, sensors: int, *, rate_hz: float, warm_up_s: float, window_s: float
) -> Level:
    """Put a service under the load of so many sensors, and say what happened."""
    run = _Run(backend, sensors, rate_hz, warm_up_s, window_s)
    async with AsyncExitStack() as stack:
        if refused := await run.connect(stack):
            return Level(sensors=sensors, due=0, samples_per_s=0.0, refused=refused)
        return await run.play()


async def probe(backend: ForeignBackend, rate_hz: float) -> None:
    """See whether one message gets through.

    Raises
    ------
    Unreachable
        When none does.
    """
    level = await measure(backend, 1, rate_hz=rate_hz, warm_up_s=0, window_s=1 / rate_hz)
    if level.refused or level.lost:
        why = level.refused or next(iter(level.statuses), "nothing came back")
        raise Unreachable(backend.renderer.profile.url, why)


class _Run:
    """One level."""

    def __init__(
        self,
        backend: ForeignBackend,
        sensors: int,
        rate_hz: float,
        warm_up_s: float,
        window_s: float,
    ) -> None:
        self._backend, self._sensors = backend, sensors
        profile = backend.renderer.profile
        self._group = max(1, round(profile.batch_s * rate_hz)) if profile.per == "batch" else 1
        self._rate_hz, self._period_s = rate_hz, self._group / rate_hz
        self._warm_up = math.ceil(warm_up_s / self._period_s)
        self._measured = max(1, round(window_s / self._period_s))
        self._latencies_s, self._lateness_s = array("d"), array("d")
        self._lost = self._rejected = 0
        self._tally = Tally()
        self._lines: list[tuple[Session, HttpLink | None, SocketLinks | None]] = []

    async def connect(self, stack: AsyncExitStack) -> str:
        """Make the setup requests of all sensors; return why some failed, or nothing."""
        backend, gate = self._backend, asyncio.Semaphore(CONNECTING_MAX)
        profile, client = backend.renderer.profile, None
        if backend.is_web or profile.setup:
            client = await stack.enter_async_context(http_client(self._sensors + CONNECTING_MAX))
        epoch_s = datetime.now(UTC).timestamp() - backend.next_sec
        for _ in range(self._sensors):
            session = Session(str(uuid.uuid4()), epoch_s, dict(backend.secrets))
            web = (
                HttpLink(client, session, self._tally, CONNECT_S, profile.timeout_s)
                if client
                else None
            )
            sockets = None
            if not backend.is_web:
                links = SocketLinks(session, self._tally, CONNECT_S)
                sockets = await stack.enter_async_context(links)
            self._lines.append((session, web, sockets))
        failures: list[CtgkitError] = []

        async def enter(session: Session, web: HttpLink | None) -> None:
            async with gate:
                try:
                    if web is not None:
                        await prepare(backend.renderer, session, web)
                except CtgkitError as error:
                    failures.append(error)

        async with asyncio.TaskGroup() as entering:
            for session, web, _ in self._lines:
                entering.create_task(enter(session, web))
        many = f"{len(failures)} setups failed: " if len(failures) > 1 else ""
        return f"{many}{failures[0]}" if failures else ""

    async def play(self) -> Level:
        """Send everything when it is due."""
        began_cpu_s, began_s = time.process_time(), time.monotonic()
        async with asyncio.TaskGroup() as playing:
            for number in range(self._sensors):
                playing.create_task(self._play(number, began_s))
        took_s = time.monotonic() - began_s
        cpu = (time.process_time() - began_cpu_s) / max(took_s, 1e-3)
        messages, seen_s = self._warm_up + self._measured, sorted(self._latencies_s)
        self._backend.next_sec += messages * self._period_s
        late_s = sorted(self._lateness_s)
        return Level(
            sensors=self._sensors,
            due=self._sensors * self._measured * self._group,
            samples_per_s=round(len(seen_s) * self._group / (self._measured * self._period_s), 1),
            lost=self._lost * self._group,
            rejected=self._rejected * self._group,
            cut=self._tally.reconnects,
            lateness_p99_ms=milliseconds(late_s, 0.99) or 0.0,
            generator_cpu=round(cpu, 3),
            statuses=dict(self._tally.rejected),
            p50_ms=milliseconds(seen_s, 0.5),
            p99_ms=milliseconds(seen_s, 0.99),
            p999_ms=milliseconds(seen_s, 0.999),
            max_ms=milliseconds(seen_s, 1.0),
        )

    async def _play(self, number: int, began_s: float) -> None:
        phase_s = self._period_s * number / self._sensors
        free_s = began_s
        for turn in range(self._warm_up + self._measured):
            due_s = began_s + phase_s + turn * self._period_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            late_s = time.monotonic() - max(due_s, free_s)
            seen = await self._send(number, turn)
            free_s = time.monotonic()
            if turn < self._warm_up:
                continue
            self._lateness_s.append(late_s)
            if seen:
                self._latencies_s.append(free_s - due_s)
            else:
                self._lost += 1

    async def _send(self, number: int, turn: int) -> bool:
        """Send what is due at a turn; return whether it arrived."""
        session, web, sockets = self._lines[number]
        first = self._backend.next_sec + turn * self._period_s
        samples = [
            Sample(
                session.sensor_id,
                sec := first + n / self._rate_hz,
                120.0 + sec % 40 / 4,
                sec % 100 / 2,
                0.0,
            )
            for n in range(self._group)
        ]
        try:
            for outgoing in self._backend.renderer.render(samples, session):
                if sockets is not None:
                    async with asyncio.timeout(READ_MAX_S):  # one that is gone is dialled for ever
                        await sockets.send(outgoing)
                        await sockets.read_so_far(outgoing.url)
                    continue
                assert web is not None
                status, _ = await web.ask(outgoing)
                if not 200 <= status < 300:
                    self._rejected += 1
                    self._tally.rejected[f"status {status}"] += 1
                    return False
        except (Refused, Unreachable) as error:
            self._tally.rejected[error.reason] += 1
            return False
        except TimeoutError:
            self._tally.rejected[f"no answer within {READ_MAX_S:g} s"] += 1
            return False
        return True
