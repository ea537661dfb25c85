"""What happens to the database under several nodes: killed, promoted, frozen, full, gone.

Those marked slow are the long ones of docs/scale.md; they print their figures (``-s``).
"""

import asyncio
import contextlib
import os
import signal
import subprocess

import pytest

from tests.chaos.ward import Ward, health
from tests.flow.processes import ask, until_reports
from tests.postgres import PASSWORD, clusters, query

pytestmark = pytest.mark.chaos


class Pair:
    """A primary, its standby, and an address that names both."""

    def __init__(self, make, *, synchronous):
        self._make, self._synchronous = make, synchronous
        self.primary = make()
        with (self.primary.data / "pg_hba.conf").open("a") as rules:
            rules.write("host replication all 127.0.0.1/32 scram-sha-256\n")
        self.primary.start()
        self.standby = None

    async def begin(self):
        await self._add_standby()
        ports = self.primary.port, self.standby.port
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        self.dsn = f"postgresql://ctg@{hosts}/postgres?sslmode=disable"

    async def _add_standby(self, port=None):
        self.standby = await asyncio.to_thread(self._make, like=self.primary)
        self.standby.port = port or self.standby.port
        await asyncio.to_thread(self.standby.start)
        if self._synchronous:
            await self._wait_for("'*'")
        states = "SELECT sync_state FROM pg_stat_replication"
        wanted = [("sync" if self._synchronous else "async",)]
        async with asyncio.timeout(30):
            while await query(self.primary.dsn("postgres"), states) != wanted:
                await asyncio.sleep(0.05)

    async def _wait_for(self, names):
        """Let commits wait for these standbys."""
        where = self.primary.dsn("postgres")
        await query(where, f"ALTER SYSTEM SET synchronous_standby_names = {names}")
        await query(where, "SELECT pg_reload_conf()")

    async def fail_over(self, behind_s):
        """Kill the primary; the standby, which heard nothing for a while, takes its place."""
        if behind_s:
            await asyncio.to_thread(self.standby.stop)
            await asyncio.sleep(behind_s)
        await asyncio.to_thread(self.primary.kill)
        if behind_s:
            await asyncio.to_thread(self.standby.start)
        await asyncio.to_thread(self.standby.promote)
        self.primary, gone = self.standby, self.primary
        await self._wait_for("''")
        return gone.port

    async def restore(self, port):
        """Put a new standby where the primary was that is gone."""
        await self._add_standby(port)


@pytest.mark.parametrize(
    ("synchronous", "failovers"),
    [(True, 1), (False, 1), pytest.param(True, 20, marks=pytest.mark.slow)],
    ids=["synchronous", "asynchronous", "synchronous, 20"],
)
async def test_the_primary_dies(system, synchronous, failovers):
    """The standby is behind when the primary dies: with a synchronous one nothing acked is lost.

    Without, acknowledged samples are: a test that can't see that would prove nothing.
    """
    with clusters() as make:
        pair = Pair(make, synchronous=synchronous)
        await pair.begin()
        ward = Ward(system, pair.dsn, 2, seed=3, PGPASSWORD=PASSWORD)
        writing_s = []
        async with asyncio.TaskGroup() as tasks:
            living = await ward.life(tasks)
            for number in range(failovers):
                port = await pair.fail_over(0.0 if number % 2 else 1.5)
                writing_s.append(await ward.goes_on("all are acknowledged again", 60))
                if number < failovers - 1:
                    await pair.restore(port)
            await ward.end(living)
        where = pair.primary.dsn("postgres")
        lost = await ward.lost(where)
        ambiguous = 0
        for node in ward.nodes:
            ambiguous += (await health(node))["ambiguous"]
            assert "Traceback" not in node.err
            assert await node.stopped() == 0
        beds = await query(where, "SELECT count(*), count(DISTINCT bed) FROM examinations")
        if synchronous:
            assert beds == [(ward.beds, ward.beds)]
    longest_s = max(writing_s)
    print(f"\n{failovers} failovers: {ward.acked} acked, {lost} lost, {ambiguous} unknown outcomes,"
          f" all acknowledged within {longest_s:.1f} s of the promotion")  # fmt: skip
    assert (lost == 0) is synchronous, lost


@pytest.mark.parametrize("deadline_s", [3.0])
async def test_the_standby_is_frozen(system, deadline_s):
    """No acknowledgement, also after the node gave up waiting and asked again; then it is promoted.

    A commit that isn't waited for any more is there without a copy: asked again, it must not count.
    """
    hook = system.directory / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import ctgkit.server.store.postgres.engine as engine\n"
        f"engine.COMMIT_DEADLINE_S = {deadline_s}\n"
    )
    with clusters() as make:
        pair = Pair(make, synchronous=True)
        await pair.begin()
        ward = Ward(system, pair.dsn, 2, seed=9, PGPASSWORD=PASSWORD, PYTHONPATH=str(hook))
        async with asyncio.TaskGroup() as tasks:
            living = await ward.life(tasks)
            pair.standby.signal(signal.SIGSTOP)
            await asyncio.sleep(1.0)  # what was on its way has come
            before = [one.acked for one in ward.sensors]
            asked = [await health(node) for node in ward.nodes]
            await asyncio.sleep(10.0)
            assert [one.acked for one in ward.sensors] == before
            later = [await health(node) for node in ward.nodes]
            assert all(
                now["ambiguous"] > was["ambiguous"] for now, was in zip(later, asked, strict=True)
            )
            await asyncio.to_thread(pair.primary.kill)
            pair.standby.signal(signal.SIGCONT)
            await asyncio.to_thread(pair.standby.promote)
            await ward.goes_on("all are acknowledged again", 60)
            await ward.end(living)
        await ward.assert_whole(pair.standby.dsn("postgres"))


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
            await ward.goes_on("all are acknowledged again", 30)
            await ward.end(living)
        assert await ward.lost(dsn) == 0
        assert "Traceback" not in node.err
        await asyncio.to_thread(server.kill)
        assert await node.stopped(20) == 0
        assert "Traceback" not in node.err


@contextlib.contextmanager
def small_disk(folder, megabytes):
    """Mount a file system of a few megabytes; skip where that isn't allowed."""
    folder.mkdir()
    size = f"size={megabytes}m"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


async def test_a_full_tablespace(system):
    """Nothing is acknowledged while nothing can be written; with room again all of it is stored."""
    with clusters() as make:
        server = make().start()
        with small_disk(server.folder / "small", 60) as disk:
            if server.user is not None:
                os.chown(disk, server.user.pw_uid, server.user.pw_gid)
            root = server.dsn("postgres", host=False)
            await query(root, f"CREATE TABLESPACE small LOCATION '{disk}'")
            await query(root, "CREATE DATABASE ward TABLESPACE small")
            dsn = server.dsn("ward", host=False)
            ward = Ward(system, dsn, 2, seed=10)
            async with asyncio.TaskGroup() as tasks:
                living = await ward.life(tasks)
                filler = disk / "filler"
                with filler.open("wb") as file, contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(1 << 16))
                        file.flush()
                for node in ward.nodes:
                    await until_reports(node.url, {"status": "degraded"}, "it says so", 60)
                before = [one.acked for one in ward.sensors]
                await asyncio.sleep(3.0)
                assert [one.acked for one in ward.sensors] == before
                assert "No space left on device" in (await health(ward.nodes[0]))["store"]
                filler.unlink()
                await ward.goes_on("all are acknowledged again", 30)
                for node in ward.nodes:
                    await until_reports(node.url, {"status": "ok"}, "it is well")
                await ward.end(living)
            await ward.assert_whole(dsn)
            for node in ward.nodes:
                assert "Traceback" not in node.err
                told = [one for one in node.err.splitlines() if "No space left" in one]
                assert 0 < len(told) < 30, told[:3]
                assert await node.stopped() == 0
