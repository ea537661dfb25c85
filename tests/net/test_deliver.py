"""Messages that are handed over together: in order, and none while their consumer waits."""

import asyncio
import logging

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from ctgkit.net.newcomers import BoundedConnection
from tests.server.parties import until


async def consumed(handle, send):
    """Serve *handle* to a client that does what *send* says."""
    over = asyncio.Event()

    async def handled(connection):
        try:
            await handle(connection)
        finally:
            over.set()

    async with serve(
        handled, "127.0.0.1", 0, create_connection=BoundedConnection, compression=None
    ) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}", compression=None) as client:
            await send(client)
        await over.wait()


async def test_what_came_before_and_in_pieces_keeps_its_place():
    """Messages that waited, whole ones, fragments, binary ones: all in order, each once."""
    got = []

    async def handle(connection):
        while not len(connection.recv_messages.frames):
            await asyncio.sleep(0.005)
        await connection.deliver(got.extend)

    async def send(client):
        for n in range(300):
            text = b"message %03d" % n
            if n % 7 == 3:
                await client.send([text[:5].decode(), text[5:].decode()])
            else:
                await client.send(text, text=n % 5 > 0)
        await client.close()

    await consumed(handle, send)
    assert got == [b"message %03d" % n for n in range(300)]


async def test_nothing_comes_while_the_consumer_waits():
    """Neither whole messages nor others; afterwards everything does, also what the end cut off."""
    got, waiting, most = [], 0, 0

    async def wait():
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await asyncio.sleep(0.001)
        waiting -= 1

    def sink(messages):
        assert not waiting
        got.extend(messages)
        return wait()

    async def send(client):
        for n in range(200):
            await client.send(b"message %03d" % n, text=n % 3 > 0)

    await consumed(lambda connection: connection.deliver(sink), send)
    assert got == [b"message %03d" % n for n in range(200)]
    assert most == 1


async def test_a_consumer_that_waits_holds_the_sender_back():
    """TCP does, as the socket isn't read."""
    go_on, got = asyncio.Event(), 0

    async def wait():
        await go_on.wait()

    def sink(messages):
        nonlocal got
        got += len(messages)
        return None if go_on.is_set() else wait()

    async def send(client):
        text = "x" * 1000
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(send_all(client, text))
            await until(lambda: client.transport.get_write_buffer_size() > 0)
            assert got <= 64
            go_on.set()
            await sending

    async def send_all(client, text):
        for _ in range(20_000):
            await client.send(text)

    await consumed(lambda connection: connection.deliver(sink), send)
    assert got == 20_000


@pytest.mark.parametrize("late", [False, True])
async def test_an_error_of_the_consumer_ends_its_handler(late, caplog):
    """At once, or while it waits; others notice nothing, and the log says what it was."""

    async def fail():
        await asyncio.sleep(0)
        raise ZeroDivisionError

    def sink(messages):
        if late:
            return fail()
        raise ZeroDivisionError

    async def send(client):
        await client.send("message one")
        await client.wait_closed()

    caplog.set_level(logging.CRITICAL, "websockets.server")
    with pytest.raises(ZeroDivisionError):
        await consumed_with_errors(sink, send)


async def consumed_with_errors(sink, send):
    errors = []

    async def handle(connection):
        try:
            await connection.deliver(sink)
        except ZeroDivisionError as error:
            errors.append(error)

    await consumed(handle, send)
    raise errors[0]
