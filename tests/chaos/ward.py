"""Several nodes on one PostgreSQL, and sensors that live through what happens to them.

Sensors are clients of their own that know all nodes, as behind a balancer, and keep what isn't
acknowledged. What was stored is read with the driver, not with ours.
"""

import asyncio
import contextlib
import json
import random
from dataclasses import replace

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from ctgkit.config import write_config
from ctgkit.wire import STREAM_HEADER, SUBPROTOCOL, TOKEN_HEADER
from tests.flow.clients import values
from tests.flow.processes import ask, until
from tests.ports import free_port
from tests.postgres import query

BEDS = 4


def now_s():
    return asyncio.get_running_loop().time()


class Roaming:
    """A sensor that goes to the next node when one fails it."""

    def __init__(self, entry, urls, luck, stream=None, rate_hz=20.0, *, pings=True):
        self.entry, self.urls, self._luck, self._stream = entry, urls, luck, stream
        self._pause_s, self._ping_s = 1 / rate_hz, 2 if pings else None
        self.next, self.acked = 0, -1
        self.acked_s = 0.0
        """When the last acknowledgement came."""
        self.longest_s = 0.0
        """Longest time without an acknowledgement."""
        self.waits_s = []
        """From sending a sample to its acknowledgement."""
        self._sent_s = {}
        self.stop = False

    async def live(self):
        self.acked_s, url = now_s(), ""
        while not self.stop or self.acked < self.next - 1:
            # As a balancer does, one doesn't go where it just failed.
            url = self._luck.choice([one for one in self.urls if one != url] or self.urls)
            with contextlib.suppress(OSError, TimeoutError, WebSocketException, InvalidHandshake):
                async with self.dial(url) as line:
                    await self.converse(line)
            await asyncio.sleep(0.05 * self._luck.random())

    def dial(self, url):
        headers = {TOKEN_HEADER: self.entry.token}
        if self._stream:
            headers[STREAM_HEADER] = self._stream
        return connect(
            f"{url.replace('http', 'ws', 1)}/ws/sensor?sensor_id={self.entry.id}",
            additional_headers=headers, subprotocols=[SUBPROTOCOL], compression=None,
            open_timeout=5, ping_interval=self._ping_s, ping_timeout=4, close_timeout=0.5,
            proxy=None,
        )  # fmt: skip

    async def converse(self, line):
        """Send and hear until the connection ends."""
        async with asyncio.TaskGroup() as tasks:
            talking = tasks.create_task(self._talk(line))
            with contextlib.suppress(WebSocketException):
                async for text in line:
                    self._hear(json.loads(text).get("ack", -1))
            talking.cancel()

    def _hear(self, seq):
        now = now_s()
        for number in [n for n in self._sent_s if n <= seq]:
            self.waits_s.append(now - self._sent_s.pop(number))
        if seq > self.acked:
            self.longest_s = max(self.longest_s, now - self.acked_s)
            self.acked, self.acked_s = seq, now

    async def _talk(self, line):
        with contextlib.suppress(WebSocketException):  # its reader says so too
            await self._send(line)

    async def _send(self, line):
        """Send what isn't acknowledged, then on at its rate."""
        sent = self.acked
        while True:
            while sent < self.next - 1:
                sent += 1
                bpm, uterus = values(sent)
                data = {"BPMChild": bpm, "uterus": uterus, "spasms": 0.0}
                self._sent_s.setdefault(sent, now_s())
                await line.send(json.dumps(
                    {"sensorID": "", "secFromStart": sent / 20, "seq": sent, "data": data}
                ))  # fmt: skip
            await asyncio.sleep(self._pause_s)
            if not self.stop:
                self.next = max(self.next, sent + 2)
            elif self.acked == self.next - 1:
                await line.close()


class Ward:
    """Nodes, and sensors that live through what happens to them."""

    def __init__(
        self, system, dsn, nodes, seed, *, sensors=12, beds=BEDS, rate_hz=20.0, pings=True, **more
    ):
        self.system, self.dsn, self.luck = system, dsn, random.Random(seed)
        self.options = more.pop("options", ())
        self.environment = more
        self.beds = beds
        self.ports = [free_port() for _ in range(nodes)]
        self.nodes = [None] * nodes
        entries = system.configure(sensors)
        entries = [replace(one, bed=f"bed-{n % beds}") for n, one in enumerate(entries)]
        write_config(system.directory / "ctgkit.toml", entries, replace=True)
        urls = [f"http://127.0.0.1:{port}" for port in self.ports]
        self.sensors = [
            Roaming(entry, urls, self.luck, f"run-{n}" if n % 2 else None, rate_hz, pings=pings)
            for n, entry in enumerate(entries)
        ]

    async def start(self, number, *options, **more):
        ml = () if "--ml" in self.options else ("--ml", "none")
        process = self.system.start(
            "serve", "--port", self.ports[number], "--store", self.dsn, "--node", f"n{number}",
            *ml, *self.options, *options,
            env=self.environment | more.pop("env", {}), **more,
        )  # fmt: skip
        self.nodes[number] = await process.announced()

    async def life(self, tasks):
        for number in range(len(self.nodes)):
            if self.nodes[number] is None:
                await self.start(number)
        living = [tasks.create_task(one.live()) for one in self.sensors]
        await until(lambda: all(one.acked > 20 for one in self.sensors), "all are acked", 60)
        return living

    async def goes_on(self, what, deadline_s=20.0):
        """Wait until every sensor is acknowledged more than now; return how long it took."""
        before, begun_s = [one.acked for one in self.sensors], now_s()
        await until(
            lambda: all(one.acked > was for one, was in zip(self.sensors, before, strict=True)),
            what, deadline_s,
        )  # fmt: skip
        return now_s() - begun_s

    async def end(self, living):
        for one in self.sensors:
            one.stop = True
        async with asyncio.timeout(120):
            await asyncio.gather(*living)

    async def lost(self, dsn):
        """Return how many acknowledged samples are not stored; each is stored once, as it was."""
        rows = await query(
            dsn, "SELECT uuid, seq, sec_from_start, bpm, uterus FROM ctg WHERE seq IS NOT NULL"
        )
        stored = {(uuid, seq) for uuid, seq, *_ in rows}
        assert len(rows) == len(stored), "twice"
        assert [row for row in rows if tuple(row[2:]) != (row[1] / 20, *values(row[1]))] == []
        return sum(
            (one.entry.id, seq) not in stored
            for one in self.sensors
            for seq in range(one.acked + 1)
        )

    async def assert_whole(self, dsn):
        """Assert that nothing acknowledged is lost, and that each bed has one examination."""
        assert await self.lost(dsn) == 0
        beds = await query(dsn, "SELECT bed, count(*) FROM examinations GROUP BY bed ORDER BY bed")
        assert beds == sorted((f"bed-{n}", 1) for n in range(self.beds))

    @property
    def acked(self):
        return sum(one.acked + 1 for one in self.sensors)


async def health(node):
    """Return what a node says of itself."""
    return (await ask(node.url, "/api/health")).json()


def share(values, part):
    """Return the value below which *part* of them are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
