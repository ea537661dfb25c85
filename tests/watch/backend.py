"""A backend's viewer side for tests: a real WebSocket server that sends what a test says."""

import asyncio
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import msgspec
from websockets.asyncio.server import serve

from ctgkit.samples import Sample
from ctgkit.wire import Result, decode_result, encode_result

SENSOR = "3f2a91c0-0000-4000-8000-000000000001"
OTHER = "7be10d55-0000-4000-8000-000000000002"


def frame(t_s=0.0, fhr_bpm=140.0, uterus=10.0, sensor_id=SENSOR, **more):
    """Return a result as a backend sends it; *more* are ``prediction``, ``status`` and extras."""
    prediction, status = more.pop("prediction", None), more.pop("status", "ok")
    timestamp = more.pop("timestamp", "2026-11-23T00:00:00Z")
    sample = Sample(sensor_id, t_s, fhr_bpm, uterus, 0.0)
    return encode_result(sample, prediction, status, timestamp, more or None)


def result(t_s=0.0, fhr_bpm=140.0, uterus=10.0, **more) -> Result:
    """Return a decoded result; fields by name in *more* are put in after decoding."""
    return msgspec.structs.replace(decode_result(frame(t_s, fhr_bpm, uterus)), **more)


class Backend:
    """Sends *greeting* to each new viewer, and what :meth:`send` is given to all."""

    def __init__(self, *greeting):
        self.greeting = greeting
        self.viewers = set()
        self.queries = []
        self.tokens = []
        self.codes = []

    @asynccontextmanager
    async def serving(self, port=0):
        """Listen on *port* while the context lasts; gives the URL."""
        async with serve(self._viewer, "127.0.0.1", port, close_timeout=1) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _viewer(self, connection):
        parts = urlsplit(connection.request.path)
        self.queries.append((parts.path, parse_qs(parts.query)))
        self.tokens.append(connection.request.headers.get("Authorization"))
        for message in self.greeting:
            await connection.send(message)
        self.viewers.add(connection)
        await connection.wait_closed()
        self.codes.append(connection.close_code)
        self.viewers.discard(connection)

    async def send(self, *frames):
        """Send to everyone who is connected."""
        for viewer in list(self.viewers):
            for message in frames:
                await viewer.send(message)


async def until(condition, what, deadline_s=60.0):
    """Wait until *condition* holds; say *what* was awaited when it never does."""
    try:
        async with asyncio.timeout(deadline_s):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what() if callable(what) else what}") from None
