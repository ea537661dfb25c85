"""The proxy on real connections: each fault is seen by whoever it is meant for."""

import asyncio
import contextlib
import json
import time

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from ctgkit.faults.schema import parse_fault
from ctgkit.proxy.parties import PARTIES_MAX, Parties
from ctgkit.proxy.passage import Report, faulty_relay
from tests.server.parties import until


@contextlib.asynccontextmanager
async def between(handler, *faults, seed=1):
    """Run a target and a proxy before it; yield the proxy's address and its report."""
    strikes = []
    report = Report(strikes.append)
    report.strikes = strikes
    parties = Parties([parse_fault(f) for f in faults], seed)
    async with (
        serve(handler, "127.0.0.1", 0, compression=None, close_timeout=1) as server,
        faulty_relay(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", parties, report).serve(
            "127.0.0.1", 0
        ) as address,
    ):
        yield address.rstrip("/"), report


async def echo(connection):
    with contextlib.suppress(ConnectionClosed):
        while True:
            await connection.send(await connection.recv(decode=False), text=True)


def text(n):
    return json.dumps({"sensorID": "a", "secFromStart": n / 4, "data": {"BPMChild": 140}})


async def talk(address, count=40):
    """Send messages and a last word through the proxy; return what the echo says."""
    async with connect(f"{address}/ws/sensor?sensor_id=a", compression=None) as client:
        for n in range(count):
            await client.send(text(n))
        await client.send("end")
        heard = []
        while (message := await client.recv()) != "end":
            heard.append(message)
        return heard


async def test_without_faults_everything_passes():
    """As it came, both ways."""
    async with between(echo) as (address, report):
        assert await talk(address) == [text(n) for n in range(40)]
    assert dict(report.messages) == {"up": 41, "down": 41}
    assert not report.strikes


@pytest.mark.parametrize("direction", ["up", "down", "both"])
async def test_directions(direction):
    """Faults strike the messages of the side that was asked for, and say so."""
    async with between(echo, f"drop:from=2,to=3,direction={direction}") as (address, report):
        heard = await talk(address)
    assert heard == [text(n) for n in range(40) if not 8 <= n < 12]
    assert {s["direction"] for s in report.strikes} == {"up" if direction == "both" else direction}
    assert [s["message"] for s in report.strikes] == [8, 9, 10, 11]
    assert {s["party"] for s in report.strikes} == {"/ws/sensor a"}


async def test_the_same_seed_strikes_the_same_messages():
    """Twice the same run, once another."""
    struck = []
    for seed in (1, 1, 2):
        async with between(echo, "drop:rate=0.3", seed=seed) as (address, report):
            await talk(address)
            struck.append([s["message"] for s in report.strikes])
    assert struck[0] == struck[1] != struck[2]
    assert report.faults["drop"] == len(struck[2])


async def test_late_messages_are_sent_before_the_close():
    """What still waits when the client leaves arrives."""
    heard = asyncio.Queue()

    async def listen(connection):
        with contextlib.suppress(ConnectionClosed):
            while True:
                heard.put_nowait(await connection.recv())
        heard.put_nowait("closed")

    async with between(listen, "reorder:by=100") as (address, _):
        async with connect(address) as client:
            for n in range(3):
                await client.send(text(n))
        assert [await heard.get() for _ in range(4)] == [*map(text, range(3)), "closed"]


async def test_reset_is_a_reset_for_both_sides():
    """Neither gets a close frame; it strikes once, and the party that comes back isn't struck."""
    codes = asyncio.Queue()

    async def listen(connection):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.recv()
        codes.put_nowait(connection.close_code)

    async with between(listen, "reset:at=1", "drop:at=2") as (address, report):
        client = await connect(f"{address}/ws/sensor?sensor_id=a")
        with contextlib.suppress(ConnectionClosed):
            for n in range(40):
                await client.send(text(n))
        await client.wait_closed()
        assert client.close_code == await codes.get() == 1006
        assert isinstance(client.close_exc.__cause__, ConnectionResetError | None)
        async with connect(f"{address}/ws/sensor?sensor_id=a") as client:
            for n in range(40):
                await client.send(text(n))
        assert await codes.get() == 1000
    assert [(s["fault"], s["t_s"]) for s in report.strikes] == [("reset", 1.0), ("drop", 2.0)]
    assert report.strikes[1]["message"] == 4 + 1 + 8, "of the second connection"


async def test_half_open_is_silence_until_the_reset():
    """Nothing arrives, not even a pong; then both sides are reset."""
    async with (
        between(echo, "half_open:at=1,for=0.5") as (address, report),
        connect(address, ping_interval=None) as client,
    ):
        await client.send(text(0))
        assert await client.recv() == text(0)
        began = time.monotonic()  # before it strikes: whatever comes late only adds to it
        await client.send(text(4))
        await until(lambda: report.strikes)
        pong = await client.ping()
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert time.monotonic() - began >= 0.5
        assert pong.exception() is not None
        assert client.close_code == 1006


async def test_partition_holds_everything_of_one_party_and_its_new_connections_too():
    """Then what waited arrives, in order; another party isn't cut off."""
    async with (
        between(echo, "partition:at=1,for=3") as (address, report),
        connect(f"{address}/a", ping_interval=None) as client,
        asyncio.TaskGroup() as tasks,
    ):
        began = time.monotonic()
        for n in range(8):
            await client.send(text(n))
        await until(lambda: report.strikes)
        later = tasks.create_task(client.recv())
        async with connect(f"{address}/b") as other:
            await other.send(text(0))
            assert await other.recv() == text(0)
            assert not later.done()
        assert [await later, *[await client.recv() for _ in range(7)]] == [*map(text, range(8))]
        assert time.monotonic() - began >= 3


async def test_a_party_that_was_reset_in_a_partition_waits_for_its_end():
    async with between(echo, "partition:at=1,for=0.6", "reset:at=1.1") as (address, report):
        client = await connect(f"{address}/a", ping_interval=None)
        began = time.monotonic()
        await client.send(text(4))
        await client.send(text(5))
        await until(lambda: len(report.strikes) == 2)
        async with connect(f"{address}/a"):
            assert time.monotonic() - began >= 0.6
        await client.wait_closed()


async def test_latency_bandwidth_and_slow_close_take_time():
    """Each at least as long as it was told."""
    for fault, least_s in (
        ("latency:by=0.2,direction=both", 0.4),
        ("bandwidth:bytes_per_s=10000", 0.25),
        ("slow_close:by=0.3", 0.3),
    ):
        async with between(echo, fault) as (address, report):
            began = time.monotonic()
            assert len(await talk(address)) == 40
            if fault.startswith("slow"):
                assert time.monotonic() - began < 40 * least_s  # no message waits
                began = time.monotonic()
        assert time.monotonic() - began >= 0.95 * least_s, fault
        assert report.faults.total() > 0


async def test_failed_handshakes_are_cut_off():
    """The client gets no answer, and the next one is let through."""
    async with between(echo, "handshake_failure:at=0") as (address, report):
        with pytest.raises((InvalidHandshake, OSError)):
            await connect(f"{address}/ws")
        async with connect(f"{address}/ws") as client:
            await client.send("hello")
            assert await client.recv() == "hello"
    assert [(s["fault"], s["connection"]) for s in report.strikes] == [("handshake_failure", 0)]


def test_parties_are_numbered_and_remembered():
    """Two at once have two names; who comes back is the same one; not without end."""
    parties = Parties([], 1)
    first, second = parties.come("/ws"), parties.come("/ws?x=1")
    assert (first.name, second.name) == ("/ws", "/ws #2")
    parties.go(first)
    assert parties.come("/ws") is first
    for n in range(PARTIES_MAX + 1):
        parties.go(parties.come(f"/{n}"))
    assert parties.come("/1").name == "/1"
    assert len(parties._gone) == PARTIES_MAX - 1
