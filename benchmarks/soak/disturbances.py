"""What goes wrong on purpose while the system runs; each is counted."""

import asyncio
import contextlib
import os
import signal
from collections import Counter
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from benchmarks.soak.system import GROUPS, STEADY

GONE = (ConnectionClosed, InvalidHandshake, OSError, EOFError)
BITE_BYTES = 65_536


class Link:
    """A byte pipe between the backend and the ML service, which can be cut."""

    def __init__(self):
        self.url = ""
        self._target = ("127.0.0.1", 0)
        self._writers = set()

    @contextlib.asynccontextmanager
    async def serving(self):
        """Listen for the backend."""
        server = await asyncio.start_server(self._pipe, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws/ctg"
        try:
            yield self
        finally:
            server.close()
            self.cut()

    def lead_to(self, url):
        """Pass what comes from now on to *url*."""
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)

    def cut(self):
        """Reset all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def _pipe(self, reader, writer):
        ends = {writer}
        try:
            onward_reader, onward_writer = await asyncio.open_connection(*self._target)
            ends.add(onward_writer)
            self._writers |= ends
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pump(reader, onward_writer))
                tasks.create_task(_pump(onward_reader, writer))
        except OSError:
            pass  # no ML service at the moment: the backend sees its dial fail
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()


async def _pump(reader, writer):
    with contextlib.suppress(OSError):
        while bite := await reader.read(BITE_BYTES):
            writer.write(bite)
            await writer.drain()
    writer.transport.abort()


class Disturbances:
    """Everything that disturbs one soak."""

    def __init__(self, soak, link, kill_ml_until_s):
        self.counts = Counter()
        self.silence_s = 0.0
        """The longest time without a message at a viewer that reads, seconds."""
        self._soak, self._link, self._luck = soak, link, soak.luck
        self._kill_ml_until_s = kill_ml_until_s

    def all(self):
        """Return a coroutine for each; they run until cancelled."""
        rogues = [self._misbehave(entry) for entry in self._soak.rogues]
        return [
            *rogues, self._churn_sensors(), self._churn_ml(), self._witness(), self._vanish(),
            self._never_read(),
        ]  # fmt: skip

    def _pause(self, least_s, most_s):
        return asyncio.sleep(self._luck.uniform(least_s, most_s))

    async def _churn_sensors(self):
        """Kill, or stop, a group of sensors; start it again."""
        soak = self._soak
        while True:
            await self._pause(8, 20)
            number = self._luck.randrange(STEADY, GROUPS)
            fleet = soak.fleets[number]
            if not fleet.running:
                raise RuntimeError(f"{fleet.name} ended by itself: {fleet.err[-2000:]}")
            if self._luck.random() < 0.7:
                fleet.kill()
                self.counts["groups of sensors killed"] += 1
            else:
                await fleet.stopped(60)
                soak.ended_fleets.append((number, fleet))
                self.counts["groups of sensors stopped"] += 1
            await self._pause(0, 5)
            soak.start_fleet(number)

    async def _churn_ml(self):
        """Cut the link, let the service hang, or, early on, kill it and start another."""
        soak = self._soak
        clock = asyncio.get_running_loop().time
        while True:
            await self._pause(8, 20)
            kinds = ["cut", "hang"]
            if clock() - soak.began_s < self._kill_ml_until_s:
                kinds.append("kill")
            match self._luck.choice(kinds):
                case "cut":
                    self._link.cut()
                    self.counts["ML links cut"] += 1
                case "hang":
                    os.kill(soak.ml.pid, signal.SIGSTOP)
                    try:
                        await self._pause(1, 6)
                    finally:
                        os.kill(soak.ml.pid, signal.SIGCONT)
                    self.counts["ML hangs"] += 1
                case "kill":
                    soak.ml.kill()
                    self.counts["ML services killed"] += 1
                    await self._pause(0, 5)
                    await soak.start_ml(self._link)

    async def _misbehave(self, entry):
        """Send what no sensor should, until thrown out; leave without a word; come again."""
        url = self._soak.backend.url.replace("http", "ws", 1)
        data = '{"secFromStart": 1, "data": {"BPMChild": %s}}'
        rubbish = [
            "{", "[]", "null", "x" * 300, data % "1e999", data % '"140"', data % "-3",
            b"\xff\xfe\x00", data % "140", "[" * 5000, '{"sensorID": "another"}',
        ]  # fmt: skip
        while True:
            with contextlib.suppress(*GONE):
                async with connect(
                    f"{url}/ws/sensor?sensor_id={entry.id}",
                    additional_headers={"X-Auth-Sensor-Token": entry.token},
                    subprotocols=["ctgkit.v1"],
                    proxy=None,
                    close_timeout=1,
                ) as connection:
                    for _ in range(self._luck.randrange(300)):
                        await connection.send(self._luck.choice(rubbish))
                        self.counts["malformed frames"] += 1
                        await self._pause(0, 0.1)
                    if self._luck.random() < 0.3:
                        await connection.send("x" * 20_000)
                        self.counts["oversized frames"] += 1
                    connection.transport.abort()
            await self._pause(0.5, 5)

    async def _witness(self):
        """Read as a viewer should."""
        url = self._soak.backend.url.replace("http", "ws", 1) + "/ws"
        clock = asyncio.get_running_loop().time
        while True:
            with contextlib.suppress(*GONE):
                async with connect(url, compression=None, proxy=None, close_timeout=1) as viewer:
                    self.counts["viewers that read"] += 1
                    await viewer.recv()
                    heard_s = clock()
                    while True:
                        await viewer.recv(decode=False)
                        now_s = clock()
                        self.silence_s = max(self.silence_s, now_s - heard_s)
                        heard_s = now_s
                        self.counts["messages read"] += 1
            await asyncio.sleep(0.5)

    async def _vanish(self):
        """Watch for a moment, then be gone without a close frame."""
        url = self._soak.backend.url.replace("http", "ws", 1) + "/ws?backfill=30"
        while True:
            with contextlib.suppress(*GONE):
                viewer = await connect(url, compression=None, proxy=None)
                await viewer.recv()
                await self._pause(0, 5)
                viewer.transport.abort()
                self.counts["viewers that vanished"] += 1
            await self._pause(1, 5)

    async def _never_read(self):
        """Ask for the stream and read nothing of it."""
        parts = urlsplit(self._soak.backend.url)
        request = (
            f"GET /ws HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {'A' * 22}==\r\n\r\n"
        ).encode()
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(
                    parts.hostname, parts.port, limit=1024
                )
                writer.write(request)
                self.counts["viewers that never read"] += 1
                await self._pause(20, 60)
                writer.transport.abort()
                del reader
