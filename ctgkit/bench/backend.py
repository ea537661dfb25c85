"""The backend under load: where it listens, and what it lets a load generator see."""

import asyncio
import json
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.protocol import Event

from ctgkit.config import SensorEntry
from ctgkit.errors import excerpt
from ctgkit.net.addresses import websocket_url
from ctgkit.net.client import dial
from ctgkit.wire import SENSOR_ID_PARAMETER, SUBPROTOCOL, TOKEN_HEADER

HEALTH_TIMEOUT_S = 3.0
RESULT_MAX_BYTES = 1 << 20

SeenAt = Literal["viewer", "ack", "pong", "answer"]
"""Where a sample shows up again: at a viewer, as an acknowledgement, or not at all; then a ping
that follows it tells when the backend had read so far. With a profile over HTTP: its answer."""


class Line(ClientConnection):
    """A connection whose messages are handled as they come, without a queue and a task.

    A load generator has thousands, and each would wake a task for every acknowledgement.
    """

    hear: Callable[[bytes], None] = staticmethod(lambda text: None)
    """Gets each message."""
    hear_pong: Callable[[bytes], None] = staticmethod(lambda payload: None)
    """Gets the payload of each pong."""
    _parts = b""

    def process_event(self, event: Event) -> None:
        """Pass on a message when it is complete; the rest is websockets' own."""
        if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            self._parts += event.data
            if event.fin:
                text, self._parts = self._parts, b""
                self.hear(text)
            return
        if isinstance(event, Frame) and event.opcode is Opcode.PONG:
            self.hear_pong(bytes(event.data))
        super().process_event(event)


def socket_base(url: str) -> str:
    """Return ``ws://HOST:PORT/PREFIX`` of a backend; the endpoints' own paths are cut off.

    Raises
    ------
    ValueError
        When it is no address of a server.

    Examples
    --------
    >>> socket_base("https://ctg.example/live/ws/sensor"), socket_base("ws://127.0.0.1:8080/")
    ('wss://ctg.example/live', 'ws://127.0.0.1:8080')
    """
    parts = urlsplit(websocket_url(url, "/"))
    path = parts.path.rstrip("/")
    for endpoint in ("/ws/sensor", "/ws"):
        path = path.removesuffix(endpoint)
    return f"{parts.scheme}://{parts.netloc}{path}"


@dataclass(slots=True, kw_only=True)
class Backend:
    """The target of a benchmark."""

    base: str
    """What :func:`socket_base` returned."""
    sensors: tuple[SensorEntry, ...]
    """Credentials that it knows and nobody else uses meanwhile."""
    viewer_token: str | None = None
    seen_at: SeenAt = "viewer"
    acks: bool = False
    """Whether it chose ``ctgkit.v1``."""
    next_index: int = 0
    """Of the next sample of every sensor: data time never goes back."""
    health: dict[str, Any] = field(default_factory=dict)
    """What ``/api/health`` says, as far as it is one."""

    async def sensor(self, number: int) -> Line:
        """Connect a sensor.

        Raises
        ------
        NotConnected
            When that fails.
        """
        entry = self.sensors[number]
        query = urlencode({SENSOR_ID_PARAMETER: entry.id})
        line = await _dial(
            f"{self.base}/ws/sensor?{query}", {TOKEN_HEADER: entry.token}, [SUBPROTOCOL]
        )
        self.acks = line.subprotocol == SUBPROTOCOL
        return line

    async def viewer(self) -> Line:
        """Connect a viewer; see :meth:`sensor` for the errors."""
        token = {"Authorization": f"Bearer {self.viewer_token}"} if self.viewer_token else {}
        return await _dial(f"{self.base}/ws", token)

    async def ask_health(self) -> None:
        """Read ``/api/health``; a backend without one is measured all the same."""
        url = f"http{self.base.removeprefix('ws')}/api/health"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def read() -> Any:
            with opener.open(url, timeout=HEALTH_TIMEOUT_S) as answer:
                return json.load(answer)

        try:
            health = await asyncio.to_thread(read)
        except (OSError, ValueError):
            return
        if isinstance(health, dict):
            self.health = {
                excerpt(str(key)): excerpt(value) if isinstance(value, str) else value
                for key, value in health.items()
                if isinstance(value, str | int | float | None)
            }


async def _dial(url: str, headers: dict[str, str], offers: Sequence[str] = ()) -> Line:
    return await dial(
        url,
        kind=Line,
        headers=headers,
        offers=offers,
        max_bytes=RESULT_MAX_BYTES,
        pings=False,  # answering the backend's pings is enough
    )
