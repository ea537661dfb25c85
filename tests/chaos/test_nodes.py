"""Several nodes on one PostgreSQL: killed, paused, their database killed. Nothing acked is lost.

Sensors are clients of their own that know all nodes, as behind a balancer, and keep what isn't
acknowledged. What was stored is read with the driver, not with ours.
"""

import asyncio
import contextlib
import json
import random
import signal
from dataclasses import replace

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from ctgkit.config import write_config
from ctgkit.wire import STREAM_HEADER, SUBPROTOCOL, TOKEN_HEADER
from tests.flow.processes import ask, free_port, until, until_reports
from tests.postgres import PASSWORD, clusters, query

pytestmark = pytest.mark.chaos
BEDS = 4


class Roaming:
    """A sensor that goes to the next node when one fails it."""

    def __init__(self, entry, urls, luck, stream):
        self.entry, self._urls, self._luck, self._stream = entry, urls, luck, stream
        self.next, self.acked = 0, -1
        self._sent = -1
        self.longest_s = 0.0
        """Longest time without an acknowledgement."""
        self.stop = False

    async def live(self):
        at = asyncio.get_running_loop().time()
        while not self.stop or self.acked < self.next - 1:
            url = self._luck.choice(self._urls).replace("http", "ws", 1)
            headers = {TOKEN_HEADER: self.entry.token}
            if self._stream:
                headers[STREAM_HEADER] = self._stream
            with contextlib.suppress(OSError, TimeoutError, WebSocketException, InvalidHandshake):
                async with connect(
                    f"{url}/ws/sensor?sensor_id={self.entry.id}", additional_headers=headers,
                    subprotocols=[SUBPROTOCOL], compression=None, open_timeout=5, ping_interval=2,
                    ping_timeout=4, close_timeout=0.5,
                ) as line:  # fmt: skip
                    self._sent = self.acked
                    async with asyncio.TaskGroup() as tasks:
                        talking = tasks.create_task(self._talk(line))
                        with contextlib.suppress(WebSocketException):
                            async for text in line:
                                seq = json.loads(text).get("ack", -1)
                                if seq > self.acked:
                                    now = asyncio.get_running_loop().time()
                                    self.longest_s = max(self.longest_s, now - at)
                                    self.acked, at = seq, now
                        talking.cancel()
            await asyncio.sleep(0.05 * self._luck.random())

    async def _talk(self, line):
        with contextlib.suppress(WebSocketException):  # its reader says so too
            await self._send(line)

    async def _send(self, line):
        """Send what isn't acknowledged, then 20 a second."""
        while True:
            while self._sent < self.next - 1:
                self._sent += 1
                data = {"BPMChild": 140.0, "uterus": 10.0, "spasms": 0.0}
                await line.send(json.dumps(
                    {"sensorID": "", "secFromStart": self._sent / 20, "seq": self._sent,
                     "data": data}
                ))  # fmt: skip
            await asyncio.sleep(0.05)
            if not self.stop:
                self.next += 1
            elif self.acked == self.next - 1:
                await line.close()


class Ward:
    """Nodes, and sensors that live through what happens to them."""

    def __init__(self, system, dsn, nodes, seed, **environment):
        self.system, self.dsn, self.luck = system, dsn, random.Random(seed)
        self._environment = environment
        self.ports = [free_port() for _ in range(1)]
        while len(self.ports) < nodes:
            port = self.ports[-1] + 7
            self.ports.append(port)
        self.nodes = [None] * nodes
        entries = system.configure(12)
        entries = [replace(one, bed=f"bed-{n % BEDS}") for n, one in enumerate(entries)]
        write_config(system.directory / "ctgkit.toml", entries, replace=True)
        urls = [f"http://127.0.0.1:{port}" for port in self.ports]
        self.sensors = [
            Roaming(entry, urls, self.luck, f"run-{n}" if n % 2 else None)
            for n, entry in enumerate(entries)
        ]

    async def start(self, number):
        process = self.system.start(
            "serve", "--port", self.ports[number], "--store", self.dsn, "--node", f"n{number}",
            "--ml", "none", env=self._environment,
        )  # fmt: skip
        self.nodes[number] = await process.announced()

    async def life(self, tasks):
        for number in range(len(self.nodes)):
            await self.start(number)
        living = [tasks.create_task(one.live()) for one in self.sensors]
        await until(lambda: all(one.acked > 20 for one in self.sensors), "all are acked", 60)
        return living

    async def end(self, living):
        for one in self.sensors:
            one.stop = True
        async with asyncio.timeout(120):
            await asyncio.gather(*living)

    async def lost(self, dsn):
        """Return how many acknowledged samples are not stored; nothing may be stored twice."""
        rows = await query(
            dsn, "SELECT uuid, seq, count(*) FROM ctg WHERE seq IS NOT NULL GROUP BY uuid, seq"
        )
        assert [row for row in rows if row[2] > 1] == []
        stored = {(uuid, seq) for uuid, seq, _ in rows}
        return sum(
            (one.entry.id, seq) not in stored
            for one in self.sensors
            for seq in range(one.acked + 1)
        )


@pytest.mark.parametrize("kills", [5])
async def test_nodes_are_killed(system, kills, postgres):
    """`kill -9`, the next one at once: acked lost 0, twice 0, one examination per bed."""
    dsn = await postgres.database()
    ward = Ward(system, dsn, 3, seed=kills)
    async with asyncio.TaskGroup() as tasks:
        living = await ward.life(tasks)
        for _ in range(kills):
            number = ward.luck.randrange(3)
            ward.nodes[number].kill()
            await asyncio.sleep(ward.luck.random())
            before = [one.acked for one in ward.sensors]
            await until(
                lambda before=before: all(
                    one.acked > was for one, was in zip(ward.sensors, before, strict=True)
                ),
                "all are acknowledged by the others", 20,
            )  # fmt: skip
            await ward.start(number)
        await ward.end(living)
    assert await ward.lost(dsn) == 0
    beds = await query(dsn, "SELECT bed, count(*) FROM examinations GROUP BY bed ORDER BY bed")
    assert beds == [(f"bed-{n}", 1) for n in range(BEDS)]
    assert max(one.longest_s for one in ward.sensors) < 15


async def test_a_node_sleeps_longer_than_its_lease(system, postgres):
    """SIGSTOP: the others take over; when it wakes it is fenced, and stores nothing of before."""
    dsn = await postgres.database()
    ward = Ward(system, dsn, 2, seed=1)
    async with asyncio.TaskGroup() as tasks:
        living = await ward.life(tasks)
        ward.nodes[0].send(signal.SIGSTOP)
        await asyncio.sleep(14)
        before = [one.acked for one in ward.sensors]
        ward.nodes[0].send(signal.SIGCONT)
        await until_reports(ward.nodes[0].url, {"fenced": 1}, "it is fenced", 10)
        await until(
            lambda: all(one.acked > was for one, was in zip(ward.sensors, before, strict=True)),
            "all are acknowledged", 20,
        )  # fmt: skip
        await ward.end(living)
    assert await ward.lost(dsn) == 0
    assert await query(dsn, "SELECT count(*) FROM examinations") == [(BEDS,)]


async def test_nobody_is_sent_away_while_the_table_is_locked(system, postgres):
    """Acknowledgements wait as long as it takes; commits are heartbeats, none is cancelled."""
    dsn = await postgres.database()
    ward = Ward(system, dsn, 1, seed=2)
    async with asyncio.TaskGroup() as tasks:
        living = await ward.life(tasks)
        await query(
            dsn, "DO $$ BEGIN LOCK TABLE samples IN ACCESS EXCLUSIVE MODE; PERFORM pg_sleep(14);"
            " END $$",
        )  # fmt: skip
        await ward.end(living)
        left = [one for one in ward.nodes[0].err.splitlines() if "sensor disconnected" in one]
        assert all("code=1000" in one for one in left), left
    assert await ward.lost(dsn) == 0


@pytest.mark.parametrize("synchronous", [True, False], ids=["synchronous", "asynchronous"])
async def test_the_primary_dies(system, synchronous):
    """The standby is behind when the primary dies: with a synchronous one nothing acked is lost.

    Without, acknowledged samples are: a test that can't see that would prove nothing.
    """
    with clusters() as make:
        primary = make()
        with (primary.data / "pg_hba.conf").open("a") as rules:
            rules.write("host replication all 127.0.0.1/32 scram-sha-256\n")
        primary.start()
        standby = await asyncio.to_thread(make, like=primary)
        await asyncio.to_thread(standby.start)
        if synchronous:
            await query(primary.dsn("postgres"), "ALTER SYSTEM SET synchronous_standby_names = '*'")
            await query(primary.dsn("postgres"), "SELECT pg_reload_conf()")
        dsn = (
            f"postgresql://ctg@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/postgres"
            "?sslmode=disable"
        )
        ward = Ward(system, dsn, 2, seed=3, PGPASSWORD=PASSWORD)
        async with asyncio.TaskGroup() as tasks:
            living = await ward.life(tasks)
            await asyncio.to_thread(standby.stop)
            await asyncio.sleep(1.5)
            await asyncio.to_thread(primary.kill)
            await asyncio.to_thread(standby.start)
            await asyncio.to_thread(standby.promote)
            if synchronous:
                await query(
                    standby.dsn("postgres"), "ALTER SYSTEM SET synchronous_standby_names = ''"
                )
                await query(standby.dsn("postgres"), "SELECT pg_reload_conf()")
            before = [one.acked for one in ward.sensors]
            await until(
                lambda: all(one.acked > was for one, was in zip(ward.sensors, before, strict=True)),
                "all are acknowledged again", 30,
            )  # fmt: skip
            await ward.end(living)
        lost = await ward.lost(standby.dsn("postgres"))
        for node in ward.nodes:
            assert "Traceback" not in node.err
            assert await node.stopped() == 0
    assert (lost == 0) is synchronous, lost


async def test_the_database_is_gone(system):
    """Not ready after 3 s, nothing is acknowledged; when it is back all goes on; else it ends."""
    with clusters() as make:
        server = make().start()
        dsn = server.dsn("postgres", host=False)
        ward = Ward(system, dsn, 1, seed=4)
        async with asyncio.TaskGroup() as tasks:
            living = await ward.life(tasks)
            node = ward.nodes[0]
            await asyncio.to_thread(server.kill)
            before = [one.next for one in ward.sensors]

            async def refuses():
                return (await ask(node.url, "/readyz")).status == 503

            async with asyncio.timeout(20):
                while not await refuses():
                    await asyncio.sleep(0.1)
            assert all(one.acked < was for one, was in zip(ward.sensors, before, strict=True)), (
                "nobody is told that something is stored"
            )
            await asyncio.to_thread(server.start)
            await until(
                lambda: all(one.acked > was for one, was in zip(ward.sensors, before, strict=True)),
                "all are acknowledged again", 30,
            )  # fmt: skip
            await ward.end(living)
        assert await ward.lost(dsn) == 0
        assert "Traceback" not in node.err
        await asyncio.to_thread(server.kill)
        assert await node.stopped(20) == 0
        assert "Traceback" not in node.err
