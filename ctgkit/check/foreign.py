"""A backend that speaks what a profile says: the clauses that don't depend on PROTOCOL's shapes.

Whether a message got through: over HTTP it was answered with 2xx, over WebSocket the pong of a ping
behind it came.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

from ctgkit.check.backend.catalogue import BACKEND
from ctgkit.check.checks import Catalogue, Check, Mismatch, Skip
from ctgkit.check.connection import Target, answers
from ctgkit.check.launched import Launched
from ctgkit.errors import ConfigError, CtgkitError, Unreachable
from ctgkit.profile.connected import connected, made_up
from ctgkit.profile.links import SocketLinks, Tally, http_client
from ctgkit.profile.render import Renderer
from ctgkit.profile.session import Session
from ctgkit.samples import RATE_HZ

FOREIGN = Catalogue()
RECONNECTS, IDLE = 50, 200
SILENT_S = 45.0
WHY_SKIPPED = "depends on the shapes of PROTOCOL.md; the profile has others"


class NoCanary:
    """Nobody keeps looking: each look is a connection of its own."""

    async def leave(self) -> None:
        """Leave nothing."""


class ForeignBench:
    """Such a backend under test."""

    def __init__(
        self,
        target: Target,
        renderer: Renderer,
        secrets: dict[str, str],
        timeout_s: float,
        launched: Launched | None,
    ) -> None:
        self.target, self.timeout_s, self.launched = target, timeout_s, launched
        self.canary = NoCanary()
        self.moved_at_s = 0.0
        self.lacks = {} if launched else {"run": "needs --run"}
        if renderer.profile.is_web:
            self.lacks["socket"] = "is about WebSockets; this profile has HTTP"
        self._renderer, self._secrets, self._sec = renderer, secrets, 0.0

    @property
    def offered(self) -> frozenset[str]:
        """What was given beside the profile."""
        return frozenset({"run"} if self.launched else ())

    @property
    def process(self) -> Launched:
        """The backend's process; only for checks that need ``run``."""
        assert self.launched is not None
        return self.launched

    async def alive(self) -> bool:
        """Return whether something listens at the target."""
        return await answers(self.target, 0.0, max(5.0, self.timeout_s))

    async def prepare(self) -> None:
        """Nothing is left from the last check."""

    async def ailment(self) -> str:
        """Return why no message gets through any more."""
        try:
            await self.gets_through()
        except Mismatch as mismatch:
            return f"messages no longer get through ({mismatch.actual})"
        return ""

    async def revive(self) -> bool:
        """Kill and start the backend, where the user said how; return whether it works."""
        if self.launched is None:
            return False
        await self.launched.kill()
        return await self.launched.start() and not await self.ailment()

    async def gets_through(self) -> None:
        """Send what the profile makes of some samples, over new connections."""
        async with self.sending():
            pass

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[SocketLinks | None]:
        """Be a sensor whose first messages got through; yield its WebSockets, if it has some.

        Raises
        ------
        Mismatch
            When they don't.
        ConfigError
            When the profile makes no message.
        """
        profile, tally = self._renderer.profile, Tally()
        session = Session(str(uuid.uuid4()), datetime.now(UTC).timestamp(), dict(self._secrets))
        length_s = profile.batch_s if profile.per == "batch" else 1.0
        count = max(1, round(RATE_HZ * length_s)) if profile.per == "batch" else 1
        first_s, self._sec = self._sec, self._sec + length_s
        async with AsyncExitStack() as stack:
            client = None
            if profile.needs_http:
                client = await stack.enter_async_context(http_client())
            try:
                link = await stack.enter_async_context(
                    connected(self._renderer, session, tally, client, self.timeout_s)
                )
                rate_hz = count / length_s
                for outgoing in made_up(self._renderer, session, first_s, rate_hz, count):
                    await link.send(outgoing)
                    if isinstance(link, SocketLinks):
                        await link.read_so_far(outgoing.url)
            except ConfigError:
                raise
            except CtgkitError as error:
                raise Mismatch("a message gets through", str(error)) from error
            if tally.reconnects:
                raise Mismatch("a message gets through", "the connection was closed before it did")
            self.moved_at_s = asyncio.get_running_loop().time()
            yield link if isinstance(link, SocketLinks) else None


def checks_for(chosen: Sequence[Check]) -> list[Check]:
    """Return those of a backend's checks that carry over, after the rest, which is skipped."""

    async def skip(_bench: object) -> None:
        raise Skip(WHY_SKIPPED)

    rest = [
        Check(id=c.id, title=c.title, run=skip, level=c.level, strict=c.strict)
        for c in chosen
        if c.id not in FOREIGN.checks
    ]
    named = {c.id for c in chosen}
    return rest + [check for check in FOREIGN.checks.values() if check.id in named]


def _carry_over(check_id: str) -> None:
    """Take a check as it is: it needs the process alone."""
    check = BACKEND.checks[check_id]
    FOREIGN.add(check.id, check.title, needs=" ".join(check.needs))(check.run)


for _id in ("C-1.2/exit", "C-1.3/port"):
    _carry_over(_id)


@FOREIGN.add("S-1.1/enters", "The messages that the profile makes of samples are accepted")
async def taken(bench: ForeignBench) -> None:
    """See that messages get through at all."""
    await bench.gets_through()


@FOREIGN.add("S-1.6/reconnects", "A sensor that reconnects 50 times at once is served each time")
async def reconnects(bench: ForeignBench) -> None:
    """Send a message over each of fifty connections."""
    for number in range(1, RECONNECTS + 1):
        try:
            await bench.gets_through()
        except Mismatch as mismatch:
            expected = f"{mismatch.expected} over connection {number} of {RECONNECTS}"
            raise Mismatch(expected, mismatch.actual) from None


@FOREIGN.add("S-2.4/half-open", "200 silent connections delay no one", strict=True)
async def half_open(bench: ForeignBench) -> None:
    """Send a message beside two hundred silent connections."""
    async with AsyncExitStack() as stack:
        for _ in range(IDLE):
            _, writer = await bench.target.open()
            stack.callback(writer.transport.abort)
        await bench.gets_through()


@FOREIGN.add("S-5.4/starts", "After kill -9 it starts and serves again", needs="run")
async def starts_again(bench: ForeignBench) -> None:
    """Kill it while a sensor is connected."""
    async with bench.sending():
        await bench.process.kill()
    if not await bench.process.start():
        raise Mismatch("it starts after kill -9", bench.process.excerpt())
    await bench.gets_through()


@FOREIGN.add("C-2.1/pong", "Pings of sensors are answered", needs="socket")
async def pongs(bench: ForeignBench) -> None:
    """See the pong behind the first message."""
    await bench.gets_through()


@FOREIGN.add(
    "C-2.4/silent", "A client that answers pings but sends nothing stays connected",
    needs="socket", strict=True,
)  # fmt: skip
async def silent(bench: ForeignBench) -> None:
    """Say nothing for longer than a server's pings take."""
    async with bench.sending() as sockets:
        assert sockets is not None
        await asyncio.sleep(SILENT_S)
        try:
            await sockets.all_read_so_far()
        except Unreachable as error:
            raise Mismatch(f"it is connected after {SILENT_S:g} s", error.reason) from error
