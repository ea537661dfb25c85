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
from typing import TYPE_CHECKING

from ctgkit.bench.knee import Level
from ctgkit.bench.load import CONNECTING_MAX
from ctgkit.bench.schedule import milliseconds
from ctgkit.errors import CtgkitError, Unreachable
from ctgkit.profile.connected import connected, made_up
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

if TYPE_CHECKING:
    import httpx

CONNECT_S = 10.0
"""How long the other side may take to answer first, seconds."""


@dataclass(slots=True)
class ForeignBackend:
    """The target of a benchmark, and how it is spoken to."""

    renderer: Renderer
    secrets: dict[str, str] = field(repr=False)
    next_sec: float = 0.0
    """Data time never goes back."""


async def measure(
    backend: ForeignBackend, sensors: int, *, rate_hz: float, warm_up_s: float, window_s: float
) -> Level:
    """Put a service under the load of so many sensors, and say what happened."""
    async with AsyncExitStack() as stack:
        client = None
        if backend.renderer.profile.needs_http:
            client = await stack.enter_async_context(http_client(sensors + CONNECTING_MAX))
        return await _Run(backend, sensors, rate_hz, warm_up_s, window_s, client).play()


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
        client: "httpx.AsyncClient | None",
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
        self._client = client
        self._gate = asyncio.Semaphore(CONNECTING_MAX)
        self._together = asyncio.Barrier(sensors + 1)
        self._failures: list[CtgkitError] = []
        self._began_s = 0.0

    async def play(self) -> Level:
        """Connect all sensors, send everything when it is due, and let all leave together."""
        async with asyncio.TaskGroup() as playing:
            for number in range(self._sensors):
                playing.create_task(self._sensor(number))
            await self._together.wait()
            self._began_s = self._began_s or time.monotonic()
            began_cpu_s = time.process_time()
            await self._together.wait()
            took_s = time.monotonic() - self._began_s
            cpu = (time.process_time() - began_cpu_s) / max(took_s, 1e-3)
        if self._failures:
            many = f"{len(self._failures)} setups failed: " if len(self._failures) > 1 else ""
            refused = f"{many}{self._failures[0]}"
            return Level(sensors=self._sensors, due=0, samples_per_s=0.0, refused=refused)
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

    async def _sensor(self, number: int) -> None:
        """Be a sensor: nobody starts before all are connected, or leaves while others send."""
        backend = self._backend
        epoch_s = datetime.now(UTC).timestamp() - backend.next_sec
        session = Session(str(uuid.uuid4()), epoch_s, dict(backend.secrets))
        async with AsyncExitStack() as stack:
            link = None
            try:
                async with self._gate:
                    entering = connected(
                        backend.renderer, session, self._tally, self._client, CONNECT_S
                    )
                    link = await stack.enter_async_context(entering)
            except CtgkitError as error:
                self._failures.append(error)
            await self._together.wait()
            self._began_s = self._began_s or time.monotonic()  # whoever wakes first
            if link is not None and not self._failures:
                await self._play(number, session, link)
            await self._together.wait()

    async def _play(self, number: int, session: Session, link: HttpLink | SocketLinks) -> None:
        phase_s = self._period_s * number / self._sensors
        free_s = began_s = self._began_s
        for turn in range(self._warm_up + self._measured):
            due_s = began_s + phase_s + turn * self._period_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            late_s = time.monotonic() - max(due_s, free_s)
            seen = await self._send(session, link, turn)
            free_s = time.monotonic()
            if turn < self._warm_up:
                continue
            self._lateness_s.append(late_s)
            if seen:
                self._latencies_s.append(free_s - due_s)
            else:
                self._lost += 1

    async def _send(self, session: Session, link: HttpLink | SocketLinks, turn: int) -> bool:
        """Send what is due at a turn; return whether it arrived."""
        first_s = self._backend.next_sec + turn * self._period_s
        renderer = self._backend.renderer
        try:
            for outgoing in made_up(renderer, session, first_s, self._rate_hz, self._group):
                if isinstance(link, SocketLinks):
                    async with asyncio.timeout(READ_MAX_S):  # one that is gone is dialled for ever
                        await link.send(outgoing)
                        await link.read_so_far(outgoing.url)
                    continue
                status, _ = await link.ask(outgoing)
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
