"""A small real backend to try sensors against: acknowledges, or not, refuses, drops."""

import asyncio
import contextlib
import json
from http import HTTPStatus

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


class Backend:
    """What it received, and how it behaves; change the attributes while it runs."""

    def __init__(self):
        self.received = []
        """(sensor id, decoded sample), in order of arrival, repetitions included."""
        self.connections = 0
        self.refuse_with = None
        self.token = None
        self.drop_after = None
        """Abort each connection after so many samples, unacknowledged."""
        self.close_code = None
        """Close each connection with it at its first sample."""
        self.chokes_on = None
        """(`seq`, close code): close with it at this sample."""
        self.reject_every = None
        """Reject samples whose position in the connection is a multiple of it."""
        self.silent = False
        """Read, but acknowledge nothing."""
        self.live = set()
        self.close_codes = []

    async def handle(self, connection):
        self.connections += 1
        self.live.add(connection)
        sensor_id = connection.request.path.partition("sensor_id=")[2]
        n = 0
        try:
            async for frame in connection:
                n += 1
                sample = json.loads(frame)
                self.received.append((sensor_id, sample))
                if self.chokes_on and sample["seq"] == self.chokes_on[0]:
                    await connection.close(self.chokes_on[1])
                elif self.close_code:
                    await connection.close(self.close_code)
                elif self.drop_after and n >= self.drop_after:
                    connection.transport.abort()
                elif connection.subprotocol and not self.silent:
                    await self.reply(connection, sample, n)
        except ConnectionClosed:
            pass
        finally:
            self.live.discard(connection)
            self.close_codes.append(connection.close_code)

    async def reply(self, connection, sample, n):
        if self.reject_every and n % self.reject_every == 0:
            await connection.send(json.dumps({"error": "range", "seq": sample["seq"]}))
        else:
            await connection.send(json.dumps({"ack": sample["seq"]}))

    def gate(self, connection, request):
        if self.refuse_with:
            return connection.respond(HTTPStatus(self.refuse_with), "no\n")
        if self.token and request.headers.get("X-Auth-Sensor-Token") != self.token:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "no\n")
        return None

    def samples(self):
        """Return what arrived, each ``seq`` once, in order of first arrival."""
        unique = {}
        for sensor_id, sample in self.received:
            unique.setdefault((sensor_id, sample["seq"]), sample)
        return list(unique.values())


@contextlib.asynccontextmanager
async def running(backend, *, acks=True, port=0):
    """Serve *backend*; yield its URL for sensors."""
    async with serve(
        backend.handle,
        "127.0.0.1",
        port,
        subprotocols=["ctgkit.v1"] if acks else None,
        process_request=backend.gate,
        compression=None,
        close_timeout=0.2,
    ) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"ws://127.0.0.1:{port}/ws/sensor"


async def until(condition, what, deadline_s=60.0):
    """Wait until *condition* holds."""
    try:
        async with asyncio.timeout(deadline_s):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"still waiting for {what}") from None
