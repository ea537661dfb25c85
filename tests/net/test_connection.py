"""Connections that don't come to the point, or don't listen."""

import asyncio

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from ctgkit.net import connection, newcomers
from ctgkit.net.newcomers import BoundedConnection
from ctgkit.net.server import listen


async def answer(connection):
    async for text in connection:
        await connection.send(text)


async def test_the_slowest_make_room_for_others(monkeypatch):
    """Whoever says nothing is dropped once there are too many such; those who speak are not."""
    monkeypatch.setattr(newcomers, "NEWCOMERS_MAX", 20)
    monkeypatch.setattr(newcomers, "PATIENCE_S", 0.1)
    async with serve(answer, "127.0.0.1", 0, create_connection=BoundedConnection) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}") as early:
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            while len(server.handler_tasks) < 21:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)  # they have had their chance
            async with connect(f"ws://127.0.0.1:{port}") as late:
                for one in (early, late):
                    await one.send("still here")
                    assert await one.recv() == "still here"
            assert await silent[0][0].read() == b"", "the first to come is the first to go"
            for _, writer in silent:
                writer.close()


async def test_a_crowd_in_a_hurry_is_let_in(monkeypatch):
    """Sensors that all come back at once are no attack."""
    monkeypatch.setattr(newcomers, "NEWCOMERS_MAX", 5)
    async with serve(answer, "127.0.0.1", 0, create_connection=BoundedConnection) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        crowd = await asyncio.gather(*(connect(url) for _ in range(20)))
        assert len(server.connections) == 20
        await asyncio.gather(*(one.close() for one in crowd))


async def test_pings_whose_pongs_nobody_reads(monkeypatch):
    """Their sender is dropped before they fill the memory; others notice nothing."""
    monkeypatch.setattr(connection, "UNREAD_PONGS_MAX_BYTES", 1 << 17)
    (listener,) = listen("127.0.0.1", 0)
    async with serve(answer, sock=listener, create_connection=BoundedConnection) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with connect(url) as rude, connect(url) as polite:
            rude.transport.pause_reading()
            ping = bytes([0x89, 0x80 | 125, 0, 0, 0, 0]) + bytes(125)
            while len(server.connections) == 2:
                rude.transport.write(ping * 1000)
                await asyncio.sleep(0)
            await polite.send("still here")
            assert await polite.recv() == "still here"
            rude.transport.abort()


async def test_a_request_without_end_is_refused_before_it_fills_the_memory():
    """Half requests with large headers used to cost a megabyte each, and the others' time."""
    async with serve(answer, "127.0.0.1", 0, create_connection=BoundedConnection) as server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n" + (b"X: " + b"y" * 4000 + b"\r\n") * 60)
        assert (await reader.readline()).startswith(b"HTTP/1.1 431 ")
        writer.close()
        async with connect(f"ws://127.0.0.1:{port}") as other:
            await other.send("still here")
            assert await other.recv() == "still here"
