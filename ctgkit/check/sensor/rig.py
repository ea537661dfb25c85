"""What a check of a sensor may use: the backend that the checker is, and what came to it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from ctgkit.check.checks import Mismatch
from ctgkit.check.connection import Pulse, Target, until
from ctgkit.check.launched import Launched
from ctgkit.check.messages import STREAM_HEADER, SUBPROTOCOL, TOKEN_HEADER, excerpt, parsed
from ctgkit.errors import ConfigError
from ctgkit.net.server import why_not_bound

FRAME_MAX_BYTES = 16 * 1024
COMES_WITHIN_S = 40.0
"""How long a sensor may stay away between checks, seconds: the longest pause, and some."""


@dataclass(slots=True)
class Visit:
    """One attempt of the sensor to connect, and what it sent."""

    at_s: float
    """Loop time, seconds."""
    path: str
    token: str
    stream: str
    offers: str
    link: ServerConnection | None = None
    """None where it was refused."""
    samples: list[Any] = field(default_factory=list)
    """What was sent, parsed; each sample of an array by itself."""
    choked: bool = False
    """Whether it ended as :attr:`SensorBench.chokes` says."""
    ended_s: float | None = None

    @property
    def numbers(self) -> list[Any]:
        """The samples' numbers."""
        return [_number(sample) for sample in self.samples]


class SensorBench:
    """A sensor under test, and the backend that it is connected to."""

    def __init__(
        self,
        timeout_s: float,
        launched: Launched | None,
        control: Target | None,
        wait_s: float = 0.0,
    ) -> None:
        self.timeout_s, self.launched, self.control = timeout_s, launched, control
        self._wait_s = wait_s
        """How long the first samples may take, seconds; 0: as long as any later ones."""
        self.pulse = Pulse()
        self.visits: list[Visit] = []
        self.lacks: dict[str, str] = {}
        if control is None:
            self.lacks["control"] = "needs --control, the sensor's control address"
        self.behave()

    @property
    def offered(self) -> frozenset[str]:
        """What was given: a sensor, which never came or came no more, and maybe its address."""
        return frozenset({"sensor", *(["control"] if self.control else [])})

    @property
    def moved_at_s(self) -> float:
        """When something last came from the sensor, loop time in seconds."""
        return self.pulse.at_s

    @property
    def visit(self) -> Visit:
        """The last attempt to connect."""
        return self.visits[-1]

    def behave(self) -> None:
        """Be a healthy backend."""
        self.refuses = 0
        """Status with which connections are refused; 0: none is."""
        self.chooses = True
        """Whether ``ctgkit.v1`` is chosen where it is offered."""
        self.acknowledges = True
        self.chokes: tuple[int, int] | None = None
        """(number, close code): what happens when a sample with this number comes."""

    @property
    def _was_well(self) -> bool:
        """Whether the connection is one to a healthy backend."""
        return self.chooses and self.acknowledges and not (self.refuses or self.chokes)

    async def alive(self) -> bool:
        """Return True: a sensor that stays away is missed by :meth:`prepare`."""
        return True

    async def ailment(self) -> str:
        """Return nothing, as above."""
        return ""

    async def revive(self) -> bool:
        """Start the sensor anew, where the user said how; return whether it came."""
        if self.launched is None:
            return False
        await self.launched.kill()
        await self.launched.start()
        return await self._sends()

    async def prepare(self) -> None:
        """Be a healthy backend again, and wait until the sensor sends samples."""
        if self._was_well and self.visits and self.visit.link and self.visit.ended_s is None:
            return
        self.behave()
        if self.visits and self.visit.link is not None:
            self.visit.link.transport.abort()  # what was chosen for it isn't what is needed
        if not await self._sends() and not await self.revive():
            self.lacks["sensor"] = "no sensor connects and sends samples" + (
                f": {self.launched.excerpt()}" if self.launched else " (any more?)"
            )
        elif SUBPROTOCOL not in self.visit.offers:
            self.lacks["v1"] = "the sensor doesn't offer ctgkit.v1"

    async def _sends(self) -> bool:
        known = len(self.visits)

        def sent() -> bool:
            return len(self.visits) > known and bool(self.visit.samples)

        def failed() -> bool:
            return self.launched is not None and self.launched.has_failed

        first_s = 0.0 if self.visits else self._wait_s
        patience_s = first_s or max(COMES_WITHIN_S, 10 * self.timeout_s)
        with contextlib.suppress(Mismatch):
            await until(lambda: sent() or failed(), "", str, patience_s)
        return sent()

    # What checks do

    async def comes_again(self, within_s: float, after: str, known: int | None = None) -> Visit:
        """Wait for the first attempt to connect after the *known* ones; return it."""
        known = len(self.visits) if known is None else known
        await until(
            lambda: len(self.visits) > known,
            f"it dials again {after}",
            lambda: "it doesn't",
            within_s,
        )
        return self.visits[known]

    async def sends(self, visit: Visit, count: int) -> None:
        """Wait until so many samples have come over a connection."""
        await until(
            lambda: len(visit.samples) >= count,
            f"{count} samples over a connection",
            lambda: f"{len(visit.samples)}",
            max(10.0, 3 * self.timeout_s),
        )

    async def close(self, code: int) -> int:
        """End the connection: with a close code, or 1006 without a word.

        Returns
        -------
        int
            The attempts to connect so far: the next may come before the closing has ended.
        """
        known, link = len(self.visits), self.visit.link
        assert link is not None
        if code == 1006:
            link.transport.abort()
        else:
            await link.close(code)
        return known

    # The backend

    @asynccontextmanager
    async def serving(self, host: str, port: int) -> AsyncIterator[None]:
        """Listen for the sensor, and start it where the user said how.

        Raises
        ------
        ConfigError
            When the address cannot be bound, or the command can't be started.
        """
        try:
            server = await serve(
                self._converse,
                host,
                port,
                process_request=self._meet,
                select_subprotocol=self._choose,
                compression=None,
                max_size=FRAME_MAX_BYTES,
                close_timeout=1.0,
                ping_interval=None,
            )
        except OSError as error:
            raise ConfigError(
                f"--listen {host}:{port}", f"cannot listen: {why_not_bound(error)}"
            ) from error
        async with server, self.launched.running() if self.launched else nullcontext():
            yield

    def _meet(self, link: ServerConnection, request: Request) -> Response | None:
        headers = request.headers
        visit = Visit(
            asyncio.get_running_loop().time(),
            request.path,
            headers.get(TOKEN_HEADER, ""),
            headers.get(STREAM_HEADER, ""),
            headers.get("Sec-WebSocket-Protocol", ""),
        )
        self.visits.append(visit)
        self.pulse.beat()
        if self.refuses:
            return link.respond(self.refuses, "by ctgkit check\n")
        visit.link = link
        return None

    def _choose(self, _link: ServerConnection, offers: Sequence[Subprotocol]) -> Subprotocol | None:
        return Subprotocol(SUBPROTOCOL) if self.chooses and SUBPROTOCOL in offers else None

    async def _converse(self, link: ServerConnection) -> None:
        visit = next(v for v in self.visits if v.link is link)
        with contextlib.suppress(ConnectionClosed):
            async for frame in link:
                said = parsed(frame)
                samples = (
                    said if isinstance(said, list) else [excerpt(frame) if said is None else said]
                )
                visit.samples += samples
                self.pulse.beat()
                numbers = [_number(sample) for sample in samples]
                if self.chokes and self.chokes[0] in numbers:
                    visit.choked = True
                    await link.close(self.chokes[1])
                    break  # nothing that comes behind it is read
                last = numbers[-1] if numbers else None
                if self.acknowledges and link.subprotocol and isinstance(last, int):
                    await link.send(json.dumps({"ack": last}))
        visit.ended_s = asyncio.get_running_loop().time()


def _number(sample: Any) -> Any:
    return sample.get("seq") if isinstance(sample, dict) else None
