"""Servers as they are opened: addresses, refusals that say why, TLS where there is none."""

import asyncio
import contextlib
import socket

import pytest

from ctgkit.errors import ConfigError
from ctgkit.net import refusals
from ctgkit.net.http import Answer, split_target
from ctgkit.net.origins import Rules
from ctgkit.net.server import listen, open_server
from tests.net.servers import LOOPS, SERVERS, backend, run_on
from tests.net.test_hostile_handshakes import exchange, plain, status, upgrade

HAS_IPV6 = socket.has_ipv6 and not socket.socket(socket.AF_INET6).close()


def closed(sockets):
    for sock in sockets:
        sock.close()


def test_localhost_is_every_address_that_it_means():
    """A client that turns the name into ::1 first finds us, at the same port."""
    bound = listen("localhost", 0)
    names = [sock.getsockname()[:2] for sock in bound]
    closed(bound)
    assert {host for host, _ in names} == ({"127.0.0.1", "::1"} if HAS_IPV6 else {"127.0.0.1"})
    assert len({port for _, port in names}) == 1


@pytest.mark.parametrize("host", ["::1", "[::1]", "127.0.0.1"])
def test_an_address_with_or_without_brackets(host):
    bound = listen(host, 0)
    assert [sock.getsockname()[0] for sock in bound] == [host.strip("[]")]
    closed(bound)


def test_what_is_written_leaves_at_once():
    """A small write must not wait for an ACK of the one before, on asyncio's loop either."""
    accepted = []

    async def knock():
        closed = asyncio.Event()

        async def note(_, writer):
            sock = writer.get_extra_info("socket")
            accepted.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()
            await writer.wait_closed()
            closed.set()

        (listener,) = listen("127.0.0.1", 0)
        async with await asyncio.start_server(note, sock=listener) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            await reader.read()
            writer.close()
            await writer.wait_closed()
            await closed.wait()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(knock())
    assert accepted == [1]


def test_what_cannot_be_bound_is_named():
    """Taken, of another machine, unknown, impossible: one line with the address."""
    (taken,) = listen("127.0.0.1", 0)
    port = taken.getsockname()[1]
    for host, number, reason in (
        ("127.0.0.1", port, "in use"), ("192.0.2.1", 0, "assign"), ("no.such.host.invalid", 0, ""),
        ("127.0.0.1", 99_999, "invalid port"), ("127.0.0.1", -1, "invalid port"), ("\x00", 0, ""),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=f"cannot listen: .*{reason}"):
            listen(host, number)
    taken.close()


def test_one_of_two_addresses_is_taken():
    """Then neither is bound: half a server would be worse."""
    (taken,) = listen("127.0.0.1", 0)
    port = taken.getsockname()[1]
    with pytest.raises(ConfigError, match="in use"):
        listen("localhost", port)
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", port))
    taken.close()


@pytest.mark.parametrize(
    ("target", "parsed"),
    [
        ("/", ("/", {})),
        ("/ws?backfill=600", ("/ws", {"backfill": ["600"]})),
        ("/a//b;c=1", ("/a//b;c=1", {})),
        ("/ws?x=%2F%2F&y={}|\\", ("/ws", {"x": ["//"], "y": ["{}|\\"]})),
        *((target, None) for target in (
            "", "*", "ws", "//x/ws", "///ws", "http://x/ws", "x:/ws", "/ws#x", "/ws?#x", "/w s",
            "\t/ws", "/w\ts", "/ws?\t", "/ws\r", "/\\ws", "/ws\x00", "/ws\x7f", "/%zz", "/%2",
            "/wś", "/ws?ś", "/ws\n", "/[x", "/\xa0ws",
        )),
    ],
)  # fmt: skip
def test_targets(target, parsed):
    """A path with an optional query; everything else is refused, not interpreted."""
    try:
        assert split_target(target) == parsed
    except ValueError:
        assert parsed is None


CASE_26 = [
    ({"host": "127.0.0.1:80", "origin": "https://ctg.example"}, "--origin https://ctg.example"),
    ({"host": "ctg.example", "origin": "https://ctg.example"}, None),
    ({"host": "ctg.example:443", "origin": "https://ctg.example"}, None),
    ({"host": "ctg.example", "origin": "http://ctg.example:8000"}, "--origin http://ctg.example:8"),
    ({"host": "ctg.example", "origin": "null"}, "file:// page"),
    ({"host": "other.example:8080"}, "--allow-host other.example"),
]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_refusal_behind_a_reverse_proxy_says_what_lets_it_in(loop, tmp_path):
    """With what was compared, once in a while."""

    async def main(logs):
        async with backend(tmp_path, hosts=frozenset({"ctg.example"})) as server:
            for asked, hint in CASE_26:
                origin = [("Origin", asked["origin"])] if "origin" in asked else []
                request = upgrade(server, "/ws", *origin, host=asked["host"])
                before = len(logs.lines)
                got = await asyncio.to_thread(exchange, server, request)
                lines = [line for line in logs.lines[before:] if line.startswith("refused 403")]
                assert (status(got), len(lines)) == ((403, 1) if hint else (101, 0)), asked
                if hint:
                    assert hint in lines[0]
                    assert "GET /ws peer=127.0.0.1:" in lines[0]
                    assert asked.get("origin", asked["host"].partition(":")[0]) in lines[0]
            before = len(logs.lines)
            for _ in range(50):
                await asyncio.to_thread(exchange, server, upgrade(server, "/ws", host="x.example"))
            lines = [line for line in logs.lines[before:] if line.startswith("refused")]
            assert 0 < len(lines) < refusals.LOG_BURST
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(refusals, "LOG_EVERY_S", 0.0)
                await asyncio.to_thread(exchange, server, upgrade(server, "/ws", host="y.example"))
            lines = [line for line in logs.lines if line.startswith("refused")]
            assert lines[-1].endswith("more like it before)")

    run_on(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_tls_on_a_plain_port_is_named(loop, tmp_path):
    """In one line of the log, and at once to whoever knocks, instead of a timeout."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)

    async def main(logs):
        async with backend(tmp_path) as server:
            for _ in range(3):
                assert b"does not use TLS" in await asyncio.to_thread(exchange, server, hello)
            named = [line for line in logs.lines if "uses TLS (wss:// or https://)" in line]
            assert len(named) == 3

    run_on(loop, main)


@pytest.mark.parametrize(
    "make", [m for m in SERVERS if m.__name__ not in ("proxy", "record", "bench_ml")]
)
def test_head_is_get_without_the_body(make, tmp_path):
    """As health checks of containers ask."""

    async def main(_logs):
        async with make(tmp_path) as server:
            got, head = [
                await asyncio.to_thread(
                    exchange, server, plain(server, server.health, method=method)
                )
                for method in ("GET", "HEAD")
            ]
            assert status(got) == status(head) == 200
            assert head.endswith(b"\r\n\r\n")
            assert not got.endswith(b"\r\n\r\n")
            assert b"Content-Length: 0" not in head

    run_on("asyncio", main)


@pytest.mark.parametrize("make", SERVERS, ids=lambda make: make.__name__)
@pytest.mark.parametrize(
    ("host", "admitted"),
    [
        ("localhost", True), ("LOCALHOST:1", True), ("[::1]:80", True), ("[0:0::1]", True),
        ("127.0.0.9:1", True), ("[::ffff:127.0.0.1]", True),
        ("evil.example", False), ("evil\\@127.0.0.1", False), ("[::1%evil]", False),
        ("user@127.0.0.1", False), ("127.0.0.1:99999", False), ("127.0.0.1:x", False),
        ("[::1", False), ("0x7f.1", False), ("2130706433", False), ("127.0.0.1,evil", False),
        ("127.0.0.1.", False), ("127.0.0.1:٨٠", False), ("", False),
    ],
)  # fmt: skip
def test_hosts_at_every_server(make, host, admitted, tmp_path):
    """One parser, one rule, in all of them."""

    async def main(_logs):
        async with make(tmp_path) as server:
            asked = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
            got = await asyncio.to_thread(exchange, server, asked)
            assert (status(got) == 403) is not admitted, got

    run_on("asyncio", main)


async def test_a_slow_answer_to_a_peer_that_left():
    """Nothing is written, nothing is raised, and the server stops."""
    asked, left = asyncio.Event(), asyncio.Event()

    async def answer(_connection, _asked):
        asked.set()
        await left.wait()
        return Answer(200)

    async def never(_connection):
        raise AssertionError

    async with await open_server(never, answer, listen("127.0.0.1", 0), rules=Rules()) as server:
        with contextlib.closing(socket.create_connection(server.sockets[0].getsockname())) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await asked.wait()
        left.set()
