"""Small backends with nothing of CTGKit's own: slow, forgetful, silent or deaf ones."""

import asyncio
import contextlib
import json
from http import HTTPStatus

from websockets.asyncio.server import broadcast, serve


class Toy:
    """One queue for all sensors and one worker, which takes its time."""

    def __init__(self, *, s_per_sample=0.0, acks=False, viewers=True, forgets_every=None):
        self.s_per_sample, self.acks, self.viewers = s_per_sample, acks, viewers
        self.forgets_every = forgets_every
        self.queue = asyncio.Queue()
        self.watching = set()
        self.known = 0
        self.refuse_beyond = 10_000

    async def work(self):
        """Take one sample after another."""
        number = 0
        while True:
            connection, sample = await self.queue.get()
            if self.s_per_sample:
                await asyncio.sleep(self.s_per_sample)
            number += 1
            if not self.forgets_every or number % self.forgets_every:
                broadcast(self.watching, json.dumps(sample | {"prediction": None, "status": "ok"}))
            if connection.subprotocol:
                broadcast([connection], json.dumps({"ack": sample["seq"]}))

    async def handle(self, connection):
        if connection.request.path == "/ws":
            self.watching.add(connection)
            await connection.wait_closed()
            self.watching.discard(connection)
            return
        self.known += 1
        async for text in connection:
            self.queue.put_nowait((connection, json.loads(text)))
        self.known -= 1

    def choose(self, _connection, offered):
        """Choose the subprotocol with acknowledgements where it is offered and we have them."""
        return "ctgkit.v1" if self.acks and "ctgkit.v1" in offered else None

    def gate(self, connection, request):
        """Let in sensors with the right token, as long as there is room, and perhaps viewers."""
        if request.path == "/ws" and self.viewers:
            return None
        if not request.path.startswith("/ws/sensor?sensor_id="):
            return connection.respond(HTTPStatus.NOT_FOUND, "no such page\n")
        if request.headers.get("X-Auth-Sensor-Token") != "right":
            return connection.respond(HTTPStatus.UNAUTHORIZED, "who are you?\n")
        if self.known >= self.refuse_beyond:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "full\n")
        return None


@contextlib.asynccontextmanager
async def running(toy):
    """Serve a toy; yield its address."""
    async with asyncio.TaskGroup() as tasks:
        worker = tasks.create_task(toy.work())
        async with serve(
            toy.handle,
            "127.0.0.1",
            0,
            select_subprotocol=toy.choose,
            process_request=toy.gate,
            compression=None,
            close_timeout=0.2,
        ) as server:
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        worker.cancel()
