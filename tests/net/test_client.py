"""Dialling: what goes wrong on the way, told in one sentence."""

import asyncio
import contextlib
import os
import ssl
import urllib.request

import pytest
import trustme
from websockets.asyncio.client import connect

from ctgkit.net.backoff import Backoff
from ctgkit.net.client import NotConnected, dial
from tests.net.servers import LOOPS, run_on
from tests.ports import free_port

UNKNOWN = "ws://no-such-host.invalid:80/ws"


@contextlib.asynccontextmanager
async def server(reply, *, reads=True, holds=False):
    """Answer every connection with some bytes; yield the port."""

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            if reads:
                await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            await writer.drain()
            if holds:
                await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as running:
        yield running.sockets[0].getsockname()[1]


async def failure(url, **more):
    with pytest.raises(NotConnected) as caught:
        await dial(url, **more)
    assert caught.value.reason.isprintable()
    assert "Errno" not in caught.value.reason
    return caught.value


ANSWERS = [
    (b"HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\nforbidden", "answered 401: forbidden", True),
    (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "answered 503", False),
    (b"HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n", "answered 429", False),
    (b"HTTP/1.1 302 No\r\nLocation: ws://evil/\r\nContent-Length: 0\r\n\r\n",
     "answered 302, to ws://evil/: redirects aren't followed", True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\x1b[", "answered 200: �[", True),
    (b"HTTP/1.1 101 Go\r\n\r\n", "it is not a WebSocket server: ", False),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "its answer was not HTTP", False),
    (b"", "it hung up during the handshake: if it uses TLS, use wss:// or https://", False),
]  # fmt: skip


@pytest.mark.parametrize(("reply", "reason", "final"), ANSWERS)
async def test_an_answer_that_is_no_websocket(reply, reason, final):
    async with server(reply) as port:
        error = await failure(f"ws://127.0.0.1:{port}/ws")
    assert error.reason.startswith(reason)
    assert error.is_final is final
    assert not error.refused


async def test_nobody_listens():
    """At one address or at several that a name means."""
    port = free_port()
    for host in ("127.0.0.1", "localhost"):
        error = await failure(f"ws://{host}:{port}/ws")
        assert (error.reason, error.refused) == ("connection refused: nothing listens there", True)
        assert not error.is_final


async def test_no_answer_and_no_such_host():
    async with server(b"", holds=True) as port:
        error = await failure(f"ws://127.0.0.1:{port}", open_timeout_s=0.05)
        assert error.reason == "no answer within 0.05 s"
    assert (await failure(UNKNOWN)).reason.startswith("the host name is unknown: ")


@pytest.mark.parametrize("url", ["ws://127.0.0.1:80/ws#x", "http://x", "ws://", "nonsense", ""])
async def test_no_address_at_all(url):
    await failure(url)


@pytest.mark.parametrize("offers", [["a b"], [""]])
async def test_offers_that_are_no_names(offers):
    await failure("ws://127.0.0.1:9/ws", offers=offers)


async def test_tls_where_there_is_none_and_the_other_way_round():
    """The usual slip: wss:// for ws://, and ws:// for wss://."""
    async with server(b"HTTP/1.1 400 Bad Request\r\n\r\n", reads=False) as port:
        plain = await failure(f"wss://127.0.0.1:{port}/ws")
    async with server(b"", reads=False) as port:
        hung_up = await failure(f"wss://127.0.0.1:{port}/ws")
    assert "it does not use TLS" in plain.reason
    assert "if it does not use TLS, use ws:// or http://" in hung_up.reason

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with await asyncio.start_server(
        lambda reader, writer: None, "127.0.0.1", 0, ssl=context
    ) as secure:
        port = secure.sockets[0].getsockname()[1]
        to_tls = await failure(f"ws://127.0.0.1:{port}/ws")
        untrusted = await failure(f"wss://127.0.0.1:{port}/ws")
    assert "if it uses TLS, use wss://" in to_tls.reason
    assert untrusted.reason.startswith("its certificate isn't trusted: ")


async def test_no_proxy_from_the_environment(monkeypatch):
    """An office's proxy is not one of ours: it would be asked for 127.0.0.1."""
    asked = []

    async def proxy(_reader, writer):
        asked.append(writer)
        writer.close()

    monkeypatch.setattr(urllib.request, "getproxies", urllib.request.getproxies_environment)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with (
        await asyncio.start_server(proxy, "127.0.0.1", 0) as office,
        server(b"HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n") as port,
    ):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setitem(
                os.environ, name, f"http://127.0.0.1:{office.sockets[0].getsockname()[1]}"
            )
        with pytest.raises(Exception, match="proxy"):  # otherwise this test could not fail
            await connect(f"ws://127.0.0.1:{port}/ws")
        assert len(asked) == 1
        assert (await failure(f"ws://127.0.0.1:{port}/ws")).status == 418
        assert len(asked) == 1


@pytest.mark.skipif("uvloop" not in LOOPS, reason="uvloop is not installed")
def test_the_same_on_uvloop():
    """It raises otherwise than asyncio here and there; the sentences are the same."""

    async def main(logs):
        await test_nobody_listens()
        await test_no_answer_and_no_such_host()
        await test_tls_where_there_is_none_and_the_other_way_round()
        for reply, reason, final in ANSWERS:
            await test_an_answer_that_is_no_websocket(reply, reason, final)

    assert not run_on("uvloop", main).ugly


async def test_backoff():
    """Grows to its cap, begins again after a success."""
    backoff = Backoff(0.25, 1.0)
    assert [backoff.next_s() for _ in range(4)] == [0.25, 0.5, 1.0, 1.0]
    backoff.reset()
    assert backoff.next_s() == 0.25
