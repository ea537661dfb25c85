"""Handshakes as nobody should make them, over raw sockets, against each of our servers."""

import asyncio
import contextlib
import socket
import struct
import time

import pytest

from tests.net.servers import LOOPS, SERVERS, run_on

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
TEXT = b"\x81\x82\x00\x00\x00\x00{}"
"""A masked text frame."""


def upgrade(server, path=None, *headers, method="GET", host=None, version="HTTP/1.1"):
    """Return the bytes of a handshake, well-formed unless told otherwise."""
    wanted = path or server.path or "/api/health"
    lines = [
        f"{method} {wanted} {version}",
        f"Host: {host or f'{server.host}:{server.port}'}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        *(f"{name}: {value}" for name, value in (*server.headers, *headers)),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def plain(server, path, *headers, method="GET"):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {server.host}:{server.port}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def dialled(server):
    return socket.create_connection((server.host, server.port), 5)


def reset(sock):
    """Close with a TCP RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def exchange(server, sent, timeout_s=30.0):
    """Send bytes, return what comes back until the server closes or answers."""
    with dialled(server) as sock:
        sock.settimeout(timeout_s)
        got = b""
        with contextlib.suppress(OSError):
            sock.sendall(sent)
            while piece := sock.recv(65_536):
                got += piece
                if b" 101 " in got:
                    break
        return got


def status(answer):
    words = answer.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None


def reset_after_request(server):
    for sent in (upgrade(server), plain(server, "/"), plain(server, "/api/health")):
        for _ in range(15):
            sock = dialled(server)
            sock.sendall(sent)
            reset(sock)


def reset_at_once(server):
    for _ in range(20):
        reset(dialled(server))


def half_close(server):
    for sent in (b"", b"GET / HT", plain(server, "/api/health"), upgrade(server)):
        sock = dialled(server)
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(30)
        with contextlib.suppress(OSError):
            while sock.recv(4096):
                pass
        sock.close()


def pipelined(server):
    for sent in (
        plain(server, "/api/health") * 3,
        upgrade(server) + plain(server, "/api/health"),
        upgrade(server) * 2,
        upgrade(server) + b"\xff" * 40,
        upgrade(server) + TEXT * 5,
        plain(server, "/", "Content-Length: 40") + plain(server, "/api/off"),
        plain(server, "/", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
        plain(server, "/", "Content-Length: 0") + b"GET /api/off HTTP/1.1\r\n\r\n",
    ):
        exchange(server, sent, 0.3)


def bad_subprotocols(server):
    for value in ("", ",", "é", "a b", '"', "ctgkit.v1,,x", "x" * 3000, ", ctgkit.v1"):
        answer = exchange(server, upgrade(server, None, ("Sec-WebSocket-Protocol", value)), 2)
        assert status(answer) != 500, (value, answer)


def bad_targets(server):
    for target in (
        "//[", "//x/api/sensors/stop", "///", "http://x/api/off", "x:/api/off", "*", "",
        "/a\tb", "\t/ws", "/ws#x", "/%", "/%zz", "/\\ws", "/ws\x7f", "/w\x00s", "/é",
    ):  # fmt: skip
        answer = exchange(server, f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), 2)
        assert status(answer) in (400, None), (target, answer)
    exchange(server, b"GET /\xff\xfe HTTP/1.1\r\n\r\n", 2)


def odd_requests(server):
    eight_bit = ("X-Name", "café \xff\x80")
    for sent in (
        upgrade(server, None, eight_bit),
        upgrade(server, None, ("Origin", "http://café.example")),
        upgrade(server, host="\xff\xfe"),
        upgrade(server, method="HEAD"), upgrade(server, method="POST"), upgrade(server, method="É"),
        upgrade(server, version="HTTP/1.0"), upgrade(server, version="HTTP/2"),
        upgrade(server).replace(KEY.encode(), b"!!"),
        upgrade(server).replace(b"Version: 13", b"Version: 12"),
        upgrade(server, None, ("Sec-WebSocket-Extensions", "é;;;")),
        upgrade(server, None, ("Sec-WebSocket-Key", "again")),
        upgrade(server, None, ("Upgrade", "h2c")),
        upgrade(server, None, ("Host", "again")),
        upgrade(server, None, ("Expect", "100-continue"), ("TE", "trailers")),
        upgrade(server, None, *((f"X-{n}", "x") for n in range(200))),
        b"GET " + b"/" * 9000 + b" HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"\x00" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    ):  # fmt: skip
        answer = exchange(server, sent, 1 if b"\n" in sent else 0.1)  # no line: no answer is due
        assert status(answer) != 500, (sent, answer)


def close_races(server):
    """Opened, used and left in every order that a network can make."""
    if server.path is None:
        return
    leave = b"\x88\x82\x00\x00\x00\x00\x03\xe8"
    for after in (b"", TEXT, TEXT * 50, leave, leave + TEXT, TEXT + leave, b"\x8a\x80\0\0\0\0" * 9):
        for how in ("rst", "rst after 101", "fin", "half"):
            sock = dialled(server)
            sock.settimeout(30)
            sock.sendall(upgrade(server))
            if how == "rst after 101":
                with contextlib.suppress(OSError):
                    sock.recv(4096)
            with contextlib.suppress(OSError):
                sock.sendall(after)
            if how == "half":
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_WR)
                    sock.settimeout(0.2)
                    while sock.recv(4096):
                        pass
            (sock.close if how in ("fin", "half") else lambda s=sock: reset(s))()


ATTACKS = (
    reset_after_request, reset_at_once, half_close, pipelined, bad_subprotocols, bad_targets,
    odd_requests, close_races,
)  # fmt: skip


def still_serves(server):
    """A well-behaved client is served as before."""
    if server.health:
        assert status(exchange(server, plain(server, server.health))) == 200
    if server.path:
        deadline_s = time.monotonic() + 60
        while status(exchange(server, upgrade(server))) != 101:
            assert time.monotonic() < deadline_s, "nobody is let in any more"


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("make", SERVERS, ids=lambda make: make.__name__)
def test_no_handshake_leaves_a_traceback(make, loop, tmp_path):
    """Whatever a stranger's handshake does: no traceback in any log, and the next is served."""

    async def main(logs):
        async with make(tmp_path) as server:
            for attack in ATTACKS:
                await asyncio.to_thread(attack, server)
                assert not logs.ugly, attack.__name__
            await asyncio.to_thread(still_serves, server)

    logs = run_on(loop, main)
    assert not logs.ugly, logs.ugly[0]
