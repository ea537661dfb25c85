"""Keep-alive: servers that keep C-2, and others that don't, judged in fractions of a second."""

import asyncio
import contextlib
import threading
import time

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode
from websockets.sync.server import serve as serve_in_a_thread

from ctgkit.check import liveness
from ctgkit.check.backend.liveness import CHECKS as BACKEND
from ctgkit.check.connection import target_of
from ctgkit.check.service.liveness import CHECKS as SERVICE
from ctgkit.check.service.rig import ServiceBench
from ctgkit.config import SensorEntry
from tests.check.benches import judge

PING_WITHIN_S, GONE_WITHIN_S, SILENT_S = 1.2, 4.0, 3.5
"""What the checks wait for here instead of a minute, seconds."""
PONG_WITHIN_S, SOON_S, HANG_UP_S = 1.0, 1.0, 2.2
"""What the servers wait for: a busy machine needs some tenths for an answer."""
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
        async with asyncio.timeout(HANG_UP_S):  # later than an unanswered ping ends it
            await connection.recv()
        await listen(connection)
    except TimeoutError:
        await connection.close(1001)
    except ConnectionClosed:
        pass


async def other_code(connection):
    with contextlib.suppress(TimeoutError, ConnectionClosed):
        async with asyncio.timeout(SOON_S):
            await listen(connection)
    await connection.close(1002)


KEEPS = {"ping_interval": 0.15, "ping_timeout": PONG_WITHIN_S}
SERVERS = {
    "keeps all": (listen, KEEPS, set()),
    "never pings": (listen, {"ping_interval": None}, {"C-2.2", "C-2.3"}),
    "pings and doesn't mind": (listen, {"ping_interval": 0.15, "ping_timeout": None}, {"C-2.3"}),
    "answers no ping": (listen, KEEPS | {"create_connection": NoPongs}, {"C-2.1"}),
    "closes who says nothing": (hang_up, KEEPS, {"C-2.4"}),
    "closes with another code": (other_code, {"ping_interval": 0.15, "ping_timeout": 30},
                                 {"C-2.3", "C-2.4"}),
}  # fmt: skip
CHECKED = [c for c in BACKEND.checks.values() if c.clause != "C-2.5"]  # the mutants show that one


async def of_a_backend(url):
    """Judge it as one, for sensor and viewer."""
    verdicts = await judge(url, SENSORS, CHECKED, timeout_s=2.5)
    assert {v.outcome for v in verdicts} <= {"pass", "fail", "warn"}
    return {v.check.clause for v in verdicts if v.outcome in ("fail", "warn")}


async def of_a_service(url):
    """Judge it as an ML service, for its client."""
    found = set()
    async with asyncio.TaskGroup() as tasks:
        bench = ServiceBench(target=target_of(url + "/ws/ctg"), tasks=tasks, timeout_s=2.5)
        for check in SERVICE.checks.values():
            try:
                await check.run(bench)
            except liveness.Mismatch:
                found.add(check.clause)
    return found


async def of_both(name):
    handle, options, _ = SERVERS[name]
    async with serve(handle, "127.0.0.1", 0, close_timeout=0.5, **options) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return await asyncio.gather(of_a_backend(url), of_a_service(url))


async def test_each_fault_is_found_by_its_check(monkeypatch):
    """All servers at a time: everybody mostly waits."""
    monkeypatch.setattr(liveness, "PING_WITHIN_S", PING_WITHIN_S)
    monkeypatch.setattr(liveness, "GONE_WITHIN_S", GONE_WITHIN_S)
    monkeypatch.setattr(liveness, "SILENT_S", SILENT_S)
    found = await asyncio.gather(*map(of_both, SERVERS))
    wanted = [[faults, faults - {"C-2.2"}] for _, _, faults in SERVERS.values()]
    assert dict(zip(SERVERS, found, strict=True)) == dict(zip(SERVERS, wanted, strict=True))


SOON = 0.3
"""When a server acts that the checker's machine stands still for, seconds."""


def leave(code):
    def act(connection):
        time.sleep(SOON)
        connection.close(code)

    return act


def ping(connection):
    time.sleep(SOON)
    connection.ping().wait()
    connection.recv()


STOOD_STILL = {
    "closes who says nothing": (leave(1001), liveness.Pinged, liveness.stays_open, "1001"),
    "closes who answers no ping": (leave(1011), liveness.Mute, liveness.is_closed, ""),
    "pings": (ping, liveness.Pinged, liveness.is_pinged, ""),
}


@pytest.mark.parametrize("name", STOOD_STILL)
async def test_what_came_while_the_checker_stood_still_counts(monkeypatch, name):
    """Its deadline passes meanwhile, too: what lies in its socket is read before it judges."""
    act, kind, judge_it, wanted = STOOD_STILL[name]
    for limit in ("PING_WITHIN_S", "GONE_WITHIN_S", "SILENT_S"):
        monkeypatch.setattr(liveness, limit, 2 * SOON)
    with serve_in_a_thread(act, "127.0.0.1", 0, ping_interval=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        async with connect(url, create_connection=kind, ping_interval=None) as connection:
            asyncio.get_running_loop().call_later(SOON / 3, time.sleep, 3 * SOON)
            seen = ""
            try:
                await judge_it(connection)
            except liveness.Mismatch as mismatch:
                seen = mismatch.actual
            assert seen == (wanted and f"closed with {wanted}")
        server.shutdown()
