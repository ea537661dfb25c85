"""A bad network is bounded, keeps the order, and lets what it holds out before the close."""

import contextlib

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from ctgkit.faults.fault import Impairment
from ctgkit.net.impaired import HELD_MAX_BYTES, Impaired

FRAME = "x" * 10_000


class Client(Impaired, ClientConnection):
    pass


@contextlib.asynccontextmanager
async def listener():
    """Serve; yield the address and what was received, the close code at the end."""
    heard = []

    async def listen(connection):
        with contextlib.suppress(ConnectionClosed):
            while True:
                heard.append(await connection.recv())
        heard.append(connection.close_code)

    async with serve(listen, "127.0.0.1", 0, compression=None) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard


async def flood(client):
    while True:
        await client.send(FRAME)


async def test_senders_wait_for_a_narrow_network():
    """No more than the limit is held, and everything arrives before the close."""
    held = []
    async with listener() as (url, heard):
        client = await connect(url, create_connection=Client, compression=None)
        client.network.impair(Impairment(bytes_per_s=4e6))
        for n in range(100):
            await client.send(f"{n} {FRAME}")
            held.append(client.network.get_write_buffer_size())
        await client.close()
    assert HELD_MAX_BYTES - 2 * len(FRAME) < max(held) <= HELD_MAX_BYTES
    assert [text.partition(" ")[0] for text in heard[:-1]] == [str(n) for n in range(100)]
    assert heard[-1] == 1000


async def test_jitter_keeps_the_order():
    """A message that is held less doesn't pass one that is held longer."""
    async with listener() as (url, heard), connect(url, create_connection=Client) as client:
        for n, hold_s in enumerate((0.2, 0.0, 0.1, 0.0)):
            client.network.impair(Impairment(hold_s=hold_s))
            await client.send(str(n))
    assert heard == ["0", "1", "2", "3", 1000]


@pytest.mark.parametrize("held", [False, True])
async def test_a_lost_connection_frees_its_senders(held):
    """Whoever waits for room learns that the connection is gone."""
    async with listener() as (url, heard):
        client = await connect(url, create_connection=Client, compression=None)
        client.network.impair(Impairment(bytes_per_s=1000.0 if held else float("inf")))
        client.loop.call_later(0.05, client.network.reset)
        with pytest.raises(ConnectionClosed):
            await flood(client)
        await client.wait_closed()
    assert heard[-1] == 1006
