"""Targets that answer as nobody should, behind `proxy` and `record`, over raw sockets."""

import asyncio
import contextlib

import pytest

from ctgkit.faults.schema import parse_fault
from tests.net.servers import LOOPS, proxy, record, run_on
from tests.net.test_hostile_handshakes import exchange, status, upgrade

ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""To the key that these handshakes send; a relay sends another one, so it is wrong there."""


def answer(code, *headers, body=b"no\n", phrase="Whatever"):
    lines = [f"HTTP/1.1 {code} {phrase}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


TARGETS = {
    520: answer(520), 299: answer(299), 599: answer(599, phrase=""), 418: answer(418),
    401: answer(401, "WWW-Authenticate: café"), 302: answer(302, "Location: http://evil.example/"),
    204: b"HTTP/1.1 204 No Content\r\n\r\n",
    503: answer(503, "Transfer-Encoding: chunked", body=b"2\r\nno\r\n0\r\n\r\n").replace(
        b"Content-Length: 12\r\n", b""
    ),
}  # fmt: skip
BROKEN = {
    "100": answer(100), "000": answer(0), "999": answer(999), "words": b"HTTP/1.1 abc Bad\r\n\r\n",
    "noise": b"\x00\xff\x00" * 100, "nothing": b"", "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "endless": b"HTTP/1.1 500 x\r\nX: " + b"x" * 20_000,
    "wrong key": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade"
    b"\r\nSec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n",
}  # fmt: skip


@contextlib.asynccontextmanager
async def target(reply):
    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("make", [proxy, record], ids=lambda make: make.__name__)
def test_any_answer_of_a_target_is_passed_on_or_named(make, loop, tmp_path):
    """A refusal comes through with its status, whatever that is; anything else is 502."""

    async def main(logs):
        for expected, reply in [*TARGETS.items(), *((502, reply) for reply in BROKEN.values())]:
            async with target(reply) as url, make(tmp_path, url) as server:
                got = await asyncio.to_thread(exchange, server, upgrade(server))
                assert status(got) == expected, (reply, got)
                assert not logs.ugly, reply

    logs = run_on(loop, main)
    assert not logs.ugly, logs.ugly[0]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_failed_handshake_leaves_nothing_ugly(loop, tmp_path):
    """The fault cuts the client off; no traceback, and the next one may come."""

    async def main(logs):
        faults = (parse_fault("handshake_failure:at=0"),)
        async with proxy(tmp_path, faults=faults) as server:
            cut = await asyncio.to_thread(exchange, server, upgrade(server))
            assert status(cut) is None, "no answer: it was cut off"
            assert not logs.ugly
            deadline_s = asyncio.get_running_loop().time() + 60
            while status(await asyncio.to_thread(exchange, server, upgrade(server))) != 101:
                assert asyncio.get_running_loop().time() < deadline_s

    logs = run_on(loop, main)
    assert not logs.ugly, logs.ugly[0]
