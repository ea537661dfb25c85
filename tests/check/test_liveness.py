"""Keep-alive: servers that keep C-2, and others that don't, judged in fractions of a second."""

import asyncio
import contextlib

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode

from ctgkit.check import liveness
from ctgkit.check.backend.liveness import CHECKS as BACKEND
from ctgkit.check.connection import target_of
from ctgkit.check.service.liveness import CHECKS as SERVICE
from ctgkit.check.service.rig import ServiceBench
from ctgkit.config import SensorEntry
from tests.check.benches import judge

SENSORS = (SensorEntry(id="0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d00", token="token"),)


class NoPongs(ServerConnection):
    """Leaves pings unanswered."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        send = self.protocol.send_frame
        self.protocol.send_frame = lambda f: None if f.opcode is Opcode.PONG else send(f)


async def listen(connection):
    with contextlib.suppress(ConnectionClosed):
        async for _ in connection:
            pass


async def hang_up(connection):
    try:
        async with asyncio.timeout(0.45):  # later than an unanswered ping ends it
            await connection.recv()
        await listen(connection)
    except TimeoutError:
        await connection.close(1001)
    except ConnectionClosed:
        pass


async def other_code(connection):
    with contextlib.suppress(TimeoutError, ConnectionClosed):
        async with asyncio.timeout(0.2):
            await listen(connection)
    await connection.close(1002)


KEEPS = {"ping_interval": 0.03, "ping_timeout": 0.2}
SERVERS = {
    "keeps all": (listen, KEEPS, set()),
    "never pings": (listen, {"ping_interval": None}, {"C-2.2", "C-2.3"}),
    "pings and doesn't mind": (listen, {"ping_interval": 0.05, "ping_timeout": None}, {"C-2.3"}),
    "answers no ping": (listen, KEEPS | {"create_connection": NoPongs}, {"C-2.1"}),
    "closes who says nothing": (hang_up, KEEPS, {"C-2.4"}),
    "closes with another code": (other_code, {"ping_interval": 0.05, "ping_timeout": 5},
                                 {"C-2.3", "C-2.4"}),
}  # fmt: skip


@pytest.mark.parametrize("name", SERVERS)
async def test_each_fault_is_found_by_its_check(name, monkeypatch):
    """At the backend for sensor and viewer, at the ML service for its client."""
    monkeypatch.setattr(liveness, "PING_WITHIN_S", 0.3)
    monkeypatch.setattr(liveness, "GONE_WITHIN_S", 0.8)
    monkeypatch.setattr(liveness, "SILENT_S", 0.7)
    handle, options, faults = SERVERS[name]
    async with serve(handle, "127.0.0.1", 0, close_timeout=0.2, **options) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        verdicts = await judge(url, SENSORS, list(BACKEND.checks.values()))
        assert {v.check.clause for v in verdicts if v.outcome in ("fail", "warn")} == faults
        assert {v.outcome for v in verdicts} <= {"pass", "fail", "warn"}
        found = set()
        async with asyncio.TaskGroup() as tasks:
            bench = ServiceBench(target=target_of(url + "/ws/ctg"), tasks=tasks, timeout_s=0.5)
            for check in SERVICE.checks.values():
                try:
                    await check.run(bench)
                except liveness.Mismatch:
                    found.add(check.clause)
    assert found == faults - {"C-2.2"}
