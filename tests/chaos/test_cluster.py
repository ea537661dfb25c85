"""Two nodes behind HAProxy, PostgreSQL and NATS, with the files of deploy/: one after another ends.

`CTGKIT_ROUNDS` says how often (6 unless told).
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from ctgkit.config import new_sensors
from tests.flow.clients import RawSensor, Viewer
from tests.flow.clients import values as values_of
from tests.flow.processes import ask, until, until_reports
from tests.postgres import query
from tests.server.natsserver import nats_server, needs_nats

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")
CONFIG = Path(__file__).parent.parent.parent / "deploy" / "haproxy.cfg"
ROUNDS = int(os.environ.get("CTGKIT_ROUNDS", "6"))
SENSORS, BEDS = 12, 4

pytestmark = [
    pytest.mark.chaos,
    needs_nats,
    pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed"),
]


def free_ports(count):
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(contextlib.closing(socket.socket())) for _ in range(count)]
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in socks]


class Cluster:
    """The nodes, and what is in front of them."""

    def __init__(self, system, dsn, bus):
        self._system, self._dsn, self._bus = system, dsn, bus
        *self.ports, self.port = free_ports(3)
        self.url = f"http://127.0.0.1:{self.port}"
        self.nodes = [None, None]
        self.entries = new_sensors(SENSORS)
        lines = []
        for n, entry in enumerate(self.entries):
            lines += ["[[sensors]]", f'id = "{entry.id}"', f'token = "{entry.token}"']
            lines += [f'bed = "bed {n % BEDS}"']
        path = system.directory / "ctgkit.toml"
        path.write_text("\n".join(lines))
        path.chmod(0o600)

    @contextlib.contextmanager
    def balanced(self):
        """Run HAProxy with the file that people get."""
        addresses = [f"127.0.0.1:{port}" for port in (self.port, *self.ports)]
        names = ("CTGKIT_BIND", "CTGKIT_NODE_1", "CTGKIT_NODE_2")
        env = os.environ | dict(zip(names, addresses, strict=True))
        proxy = subprocess.Popen(
            [HAPROXY, "-db", "-f", CONFIG], env=env, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield proxy
        finally:
            proxy.kill()
            proxy.wait()

    async def start(self, n):
        process = self._system.start(
            *("serve", "--port", self.ports[n], "--node", f"node-{n}", "--ml", "none"),
            env={"CTGKIT_SERVE_STORE": self._dsn, "CTGKIT_SERVE_BUS": self._bus},
        )
        self.nodes[n] = await process.announced()

    async def end(self, n, number):
        """End a node by a signal, and start it again."""
        if number == signal.SIGTERM:
            assert await self.nodes[n].stopped() == 0
        else:
            self.nodes[n].kill()
        assert "Traceback" not in self.nodes[n].err
        await asyncio.sleep(random.uniform(0.5, 2.0))  # somebody notices, and acts
        await self.start(n)


async def ready(url):
    """Wait until the balancer has somebody."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(OSError, EOFError, ValueError):
                if (await ask(url, "/readyz")).status == 200:
                    return
            await asyncio.sleep(0.05)


async def assert_stored(dsn, raws):
    """Assert that what was acknowledged is there once, and each bed has one examination."""
    sql = "SELECT seq, sec_from_start, bpm, uterus FROM ctg WHERE uuid = $1 ORDER BY seq"
    for raw in raws:
        rows = await query(dsn, sql, raw.entry.id)
        assert [r[0] for r in rows] == sorted({r[0] for r in rows}), "twice"
        stored = {r[0]: r[1:] for r in rows}
        for seq in range(raw.first, raw.acked + 1):
            assert stored.get(seq) == (seq / 4, *values_of(seq)), f"lost: {seq}"
    beds = await query(dsn, "SELECT bed, count(*) FROM examinations GROUP BY bed ORDER BY bed")
    assert beds == [(f"bed {n}", 1) for n in range(BEDS)]


async def test_nodes_end_one_after_another_behind_haproxy(system, postgres):
    """Stopped and killed in turn: nothing lost, nothing twice, one examination per bed."""
    dsn = await postgres.database()
    with nats_server() as server:
        cluster = Cluster(system, dsn, server.url)
        for n in (0, 1):
            await cluster.start(n)
        raws = [RawSensor(entry, pause_s=0.1, window=5) for entry in cluster.entries]
        viewer = Viewer()
        with cluster.balanced():
            await ready(cluster.url)
            async with asyncio.TaskGroup() as tasks:
                playing = [tasks.create_task(raw.play(cluster.url)) for raw in raws]
                viewing = tasks.create_task(viewer.watch_for_ever(cluster.url))
                await until(lambda: all(raw.acked > raw.first for raw in raws), "all are served")
                for number in range(ROUNDS):
                    how = signal.SIGKILL if number % 2 else signal.SIGTERM
                    before = [raw.acked for raw in raws]
                    await cluster.end(number // 2 % 2, how)
                    await until(
                        lambda before=before: all(
                            raw.acked > acked + 5 for raw, acked in zip(raws, before, strict=True)
                        ),
                        "every sensor is acknowledged again",
                        25,
                    )
                for port in cluster.ports:
                    await until_reports(
                        f"http://127.0.0.1:{port}", {"status": "ok"}, "the node is well"
                    )
                for raw in raws:
                    raw.stop.set()
                await asyncio.gather(*playing)
                ids = {raw.entry.id for raw in raws}
                await until(lambda: {s["sensorID"] for s in viewer.seen} == ids, "all are shown")
                viewing.cancel()
        await assert_stored(dsn, raws)
        for node in cluster.nodes:
            assert await node.stopped() == 0
            assert "Traceback" not in node.err
