"""The bus over NATS: best effort, and never in anybody's way.

Whatever NATS does, this node stores, acknowledges and shows its own sensors' results as before.
When it is away, or slower than what there is to say, groups are dropped; the others notice by their
numbers (:mod:`ctgkit.server.bus.message`) and look into the database.
"""

import asyncio
import contextlib
import logging
import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from nats.aio.client import Client
from nats.errors import AuthorizationError, MaxPayloadError, SlowConsumerError
from nats.errors import Error as NatsError

from ctgkit.errors import Unreachable, excerpt
from ctgkit.net.backoff import Backoff
from ctgkit.server.bus.message import (
    VERSION,
    Heard,
    Results,
    Taken,
    decode_results,
    decode_taken,
    encode,
)
from ctgkit.server.settings import without_password

log = logging.getLogger(__name__)

GATHER_S = 0.01
"""How long a group grows before it is sent, seconds: viewers don't see a hundredth of a second."""
GROUP_MAX, GROUP_MAX_BYTES = 256, 256 << 10
"""Results and bytes of one message, or a single result."""
QUEUE_MAX, QUEUE_MAX_BYTES = 8_192, 4 << 20
"""Results and bytes that wait to be sent; when full, the oldest are dropped and counted."""
UNSENT_MAX_BYTES = 1 << 20
"""Bytes that the client holds before no more is given to it."""
INBOX_MAX, INBOX_MAX_BYTES = 1_024, 16 << 20
"""Messages and bytes that wait to be shown; when full, later ones are missed."""
BEAT_EVERY_S = 1.0
"""How often a node says how far its numbers are, seconds."""
CONNECT_TIMEOUT_S = 2
PING_EVERY_S, PINGS_OUTSTANDING = 1, 2
"""A server that doesn't answer for some 3 s is lost."""
RETRY_S = (0.25, 2.0)
"""First and longest pause between attempts to connect, seconds: with each that fails this node
looks into the database for what its viewers miss."""
RESULT_MAX_BYTES = 900 << 10
"""Longest result that travels: NATS takes 1 MB by default."""


class NatsBus:
    """A node's place on the bus.

    Parameters
    ----------
    url : str
        ``nats://[USER:PASSWORD@]HOST[:PORT][/NAME]``, or ``tls://``; several of them with commas
        between. NAME tells clusters on one NATS from one another.
    node : str
        This node's name.
    on_results : callable
        Gets other nodes' results, each with its sensor's id.
    on_missed : callable
        Hears that some may have been missed for so many seconds, and why.
    """

    def __init__(
        self,
        url: str,
        node: str,
        on_results: Callable[[Sequence[tuple[str, bytes]]], None],
        on_missed: Callable[[float, str], None],
    ) -> None:
        parts = urlsplit(url.partition(",")[0])
        self._servers = [_server(one) for one in url.split(",")]
        self._shown = ",".join(without_password(one) for one in self._servers)
        name = unquote(parts.path.strip("/")) or "ctgkit"
        self._subjects = {kind: f"{name}.v{VERSION}.{kind}" for kind in ("results", "taken")}
        self._node, self._run = node, uuid.uuid4().hex
        self._on_results, self._on_missed = on_results, on_missed
        self.on_taken: Callable[[Sequence[int]], None] = lambda epochs: None
        """Hears of connections of this node whose sensors others have now."""
        self._queue: deque[tuple[Sequence[tuple[str, bytes]], int]] = deque()
        """Turns, and the bytes of each."""
        self._queued = self._queued_bytes = 0
        self._number = 0
        self._heard = Heard()
        self._taken: deque[Taken] = deque(maxlen=QUEUE_MAX)
        self._wake = asyncio.Event()
        self._client: Client | None = None
        self._since_s = time.monotonic()
        """When the bus was joined or lost, monotonic, seconds."""
        self._said = ""
        self.dropped = self.missed = self.strange = self.sent = self.received = 0
        """Results that were not sent; times that others' were missed; messages that are none;
        results sent, and received."""

    @property
    def state(self) -> Literal["up", "down"]:
        """Whether other nodes can be heard."""
        return "up" if self._client is not None else "down"

    # Saying

    def publish(self, texts: Sequence[tuple[str, bytes]]) -> None:
        """Queue results for the viewers of other nodes; never waits."""
        size = sum([len(text) for _, text in texts])
        if size > RESULT_MAX_BYTES:  # a turn is half a megabyte at most, or a single result
            self._drop(len(texts))
            return
        self._queue.append((texts, size))
        self._queued += len(texts)
        self._queued_bytes += size
        while self._queued > QUEUE_MAX or self._queued_bytes > QUEUE_MAX_BYTES:
            self._drop(len(self._next()))
        self._wake.set()

    def _next(self) -> Sequence[tuple[str, bytes]]:
        texts, size = self._queue.popleft()
        self._queued -= len(texts)
        self._queued_bytes -= size
        return texts

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._number += 1  # a number that nobody hears: so others know that something is missing

    def taken(self, node: str, epoch: int) -> None:
        """Tell a node that one of its connections is over; it would find out by itself, later."""
        self._taken.append(Taken(node, epoch))
        self._wake.set()

    def _group(self) -> list[tuple[str, bytes]]:
        """Take some turns from the queue, one at least."""
        group: list[tuple[str, bytes]] = []
        size = 0
        while self._queue and len(group) < GROUP_MAX:
            size += self._queue[0][1]
            if group and size > GROUP_MAX_BYTES:
                break
            group.extend(self._next())
        return group

    async def _say(self, client: Client) -> None:
        """Send what there is, for as long as the connection stands."""
        while client.is_connected:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(GATHER_S)
            while self._taken:
                await client.publish(self._subjects["taken"], encode(self._taken.popleft()))
            while self._queue and client.is_connected:
                group = self._group()
                if client.pending_data_size > UNSENT_MAX_BYTES:
                    self._drop(len(group))
                    continue
                self._number += 1
                await self._send(client, group)

    async def _send(self, client: Client, group: list[tuple[str, bytes]]) -> None:
        message = Results(self._node, self._run, self._number, group)
        try:
            await client.publish(self._subjects["results"], encode(message))
        except MaxPayloadError:  # this NATS takes less than others
            self.dropped += len(group)
        else:
            self.sent += len(group)

    async def _beat(self, client: Client) -> None:
        while client.is_connected:
            await self._send(client, [])
            await asyncio.sleep(BEAT_EVERY_S)

    # Hearing

    async def _take(self, message: Any) -> None:
        results = decode_results(message.data)
        if results is None:
            self._note_strange(message.subject)
            return
        if results.node == self._node and results.run != self._run and not self.strange:
            log.warning("another node on the bus is called %s too", self._node)
            self.strange += 1
        if self._heard.missed(results):
            self._miss(BEAT_EVERY_S, f"node {excerpt(results.node)} was not heard of")
        if results.texts:
            self.received += len(results.texts)
            self._on_results(results.texts)
            await asyncio.sleep(0)  # others have their turn between two groups

    async def _take_over(self, message: Any) -> None:
        taken = decode_taken(message.data)
        if taken is None:
            self._note_strange(message.subject)
        elif taken.node == self._node:
            self.on_taken((taken.epoch,))

    def _note_strange(self, subject: str) -> None:
        if not self.strange:
            log.warning(
                "a message on %s is not ours; further ones are only counted", excerpt(subject)
            )
        self.strange += 1

    def _miss(self, seconds: float, why: str) -> None:
        self.missed += 1
        self._on_missed(seconds, why)

    # Coming and going

    async def check(self) -> None:
        """Connect once, to refuse what can't get better by waiting.

        Raises
        ------
        Unreachable
            When NATS answers and doesn't let us in, or something else does. One that is away is no
            reason not to serve.
        """
        closed = asyncio.Event()
        try:
            client = await self._connect(closed)
        except _Refused as error:
            raise Unreachable(self._shown, str(error)) from None
        except _Away:
            pass  # for now: `run` says so, and tries again
        else:
            await _close(client)

    async def run(self) -> None:
        """Be on the bus, and come back whenever that ends, for ever."""
        backoff = Backoff(*RETRY_S, jitter=lambda: random.uniform(0.5, 1.0))
        while True:
            closed = asyncio.Event()
            try:
                client = await self._connect(closed)
            except (_Away, _Refused) as error:
                self._mention(str(error))
                self._miss(time.monotonic() - self._since_s, "this node is not on the bus")
                await asyncio.sleep(backoff.next_s())
                continue
            try:
                await self._attend(client, closed)
                backoff.reset()
            finally:
                await _close(client)
            self._mention("connection lost")
            await asyncio.sleep(backoff.next_s())

    async def _attend(self, client: Client, closed: asyncio.Event) -> None:
        """Say and hear until the connection ends."""
        try:
            self._heard.begin_anew()
            for kind, take in (("results", self._take), ("taken", self._take_over)):
                await client.subscribe(
                    self._subjects[kind],
                    cb=take,
                    pending_msgs_limit=INBOX_MAX,
                    pending_bytes_limit=INBOX_MAX_BYTES,
                )
            await client.flush(CONNECT_TIMEOUT_S)
            away_s, self._since_s = time.monotonic() - self._since_s, time.monotonic()
            self._client, self._said = client, ""
            log.info("connected to the bus url=%s node=%s", self._shown, self._node)
            self._miss(away_s, "this node has just joined the bus")
            async with asyncio.TaskGroup() as tasks:
                parts = (self._say(client), self._beat(client))
                running = [tasks.create_task(_until_lost(part, closed)) for part in parts]
                await closed.wait()
                for task in running:
                    task.cancel()
        except (NatsError, OSError, TimeoutError) as error:
            log.debug("bus: %s", error)
        finally:
            self._client, self._since_s = None, time.monotonic()

    async def _connect(self, closed: asyncio.Event) -> Client:
        reasons: list[Exception] = []
        for server in random.sample(self._servers, len(self._servers)):
            try:
                return await self._connect_to(server, closed)
            except (_Away, _Refused) as error:
                reasons.append(error)
        raise next((r for r in reasons if isinstance(r, _Away)), reasons[0])

    async def _connect_to(self, server: str, closed: asyncio.Event) -> Client:
        client, errors = Client(), list[Exception]()

        async def on_error(error: Exception) -> None:
            errors.append(error)
            del errors[:-1]
            if isinstance(error, SlowConsumerError):
                self._miss(BEAT_EVERY_S, "this node was too slow")

        async def on_closed() -> None:
            closed.set()

        connected = False
        try:
            async with asyncio.timeout(3 * CONNECT_TIMEOUT_S):
                await client.connect(
                    server,
                    error_cb=on_error,
                    closed_cb=on_closed,
                    disconnected_cb=on_closed,
                    name=f"ctgkit {self._node}",
                    no_echo=True,
                    allow_reconnect=False,  # we come back ourselves: it would hold what is stale
                    connect_timeout=CONNECT_TIMEOUT_S,
                    ping_interval=PING_EVERY_S,
                    max_outstanding_pings=PINGS_OUTSTANDING,
                )
            connected = True
        except Exception as error:  # the library raises whatever its parts raise
            raise _why(errors[-1] if errors else error) from error
        finally:
            if not connected:  # also when we are told to stop meanwhile
                await _close(client)
        return client

    def _mention(self, reason: str) -> None:
        if reason != self._said:
            self._said = reason
            log.warning("cannot connect to the bus url=%s: %s", self._shown, reason)


class _Away(Exception):
    """NATS isn't there, for now."""


class _Refused(Exception):
    """NATS is there, and waiting won't help."""


def _why(error: Exception) -> _Away | _Refused:
    """Return in one sentence why we are not on the bus."""
    text = excerpt(str(error).removeprefix("nats: ").strip("'\" \r\n")) or type(error).__name__
    if isinstance(error, AuthorizationError) or "authoriz" in text.lower():
        return _Refused("the user name, password or token is wrong, or none was given")
    if "permissions" in text.lower():
        return _Refused(text)
    if isinstance(error, TimeoutError):
        return _Away(f"no answer within {CONNECT_TIMEOUT_S:g} s")
    if isinstance(error, OSError) and not isinstance(error, ConnectionError):
        return _Away(text)
    if isinstance(error, ConnectionError):
        return _Away("connection refused, or lost at once")
    return _Refused(f"what answers there is not a NATS server of a known version: {text}")


async def _close(client: Client) -> None:
    """Close a connection, whatever state it is in."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await client.close()
        await asyncio.sleep(0)  # the library doesn't wait until its socket is closed


async def _until_lost(part: Coroutine[Any, Any, None], closed: asyncio.Event) -> None:
    """Run a part; whatever of the connection's ends it ends the connection too."""
    with contextlib.suppress(NatsError, OSError):
        await part
    closed.set()


def _server(url: str) -> str:
    """Return a server's address without the name of the cluster."""
    return urlunsplit(urlsplit(url)._replace(path="", query="", fragment=""))
