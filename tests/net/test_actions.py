"""Whatever a request's bytes: something is switched only when the gate asked what it must ask."""

import asyncio
import contextlib
import socket
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctgkit.config import SensorEntry
from ctgkit.net.server import listen
from ctgkit.sensor.control import serve_control
from ctgkit.server import door
from ctgkit.server.app import run_backend
from ctgkit.server.settings import BackendSettings
from tests.net.servers import Switch

TOKEN = "a-viewers-token-of-some-length"
ID = "0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d00"


class Running:
    """A backend that asks viewers for a token, and the control address that it switches."""

    def __init__(self, backend_port, control_port, heard, switch):
        self.ports = {"backend": backend_port, "control": control_port}
        self.heard, self.switch = heard, switch

    def acted(self):
        """Return how often anything was switched."""
        return len(self.heard) + len(self.switch.calls)


async def _serve(directory, ready, stop):
    heard, switch = [], Switch()

    async def control(reader, writer):
        heard.append(await reader.readline())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(control, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    chosen = BackendSettings(
        sensors=(SensorEntry(id=ID, token="x" * 20, control=address),),
        database=directory / "ctg.db", port=0, ml_url=None, viewer_token=TOKEN,
    )  # fmt: skip
    async with (
        server,
        run_backend(chosen) as backend,
        await serve_control(listen("127.0.0.1", 0), switch) as own,
    ):
        ports = (int(url.rpartition(":")[2]) for url in (backend.url, own.url("http")))
        ready.set_result(Running(*ports, heard, switch))
        await asyncio.to_thread(stop.wait)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(door, "WRONG_BURST", 1e9)  # thousands of wrong tokens, none slowed down
        import concurrent.futures

        ready, stop = concurrent.futures.Future(), threading.Event()
        main = _serve(tmp_path_factory.mktemp("actions"), ready, stop)
        thread = threading.Thread(target=asyncio.run, args=(main,))
        thread.start()
        yield ready.result(60)
        stop.set()
        thread.join(60)


def ask(port, request):
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        sock.settimeout(30)
        got = b""
        with contextlib.suppress(OSError):
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR) if b"\r\n\r\n" not in request else None
            while piece := sock.recv(65_536):
                got += piece
    return got


PATHS = {
    "backend": [b"/api/sensors/stop", b"/api/sensors/start?count=1"],
    "control": [b"/api/off", b"/api/on", b"/api/inject?event=x"],
}
BITS = st.sampled_from(
    [b"/", b"//", b"x", b"http://x", b"http://127.0.0.1", b"x:", b"\t", b"\x0b", b"\\", b"#", b"?",
     b"%2f", b"%00", b"..", b".", b";", b"@", b"\xff", b"\x00", b" ", b"\r", b"*", b"/ws", b"&"]
)  # fmt: skip
HEADERS = st.lists(
    st.sampled_from(
        [b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Site: same-origin", b"Origin: null",
         b"Origin: https://evil.example", b"Origin: http://localhost:5173",
         b"Origin: http://localhost@evil.example", b"Authorization: Bearer wrong",
         b"Authorization: Bearer " + TOKEN.encode(), b"authorization: " + TOKEN.encode(),
         b"X-HTTP-Method-Override: GET", b"Content-Length: 0", b"Upgrade: websocket"]
    ),
    max_size=3,
)  # fmt: skip
HOSTS = st.sampled_from(
    [b"127.0.0.1:1", b"localhost", b"[::1]:80", b"evil.example", b"evil\\@127.0.0.1", b"[::1%evil]",
     b"127.0.0.1@evil.example", b"127.0.0.1, evil", b"localhost#.evil", b""]
)  # fmt: skip
GOOD_HOSTS = {b"127.0.0.1:1", b"localhost", b"[::1]:80"}


@st.composite
def targets(draw, paths):
    """Return an action's path, or something that a careless parser takes for it."""
    path = draw(st.sampled_from(paths))
    before = b"".join(draw(st.lists(BITS, max_size=2)))
    inside = draw(st.integers(0, len(path)))
    middle = draw(BITS | st.just(b"") | st.binary(max_size=2))
    if not draw(st.booleans()):
        return draw(st.just(path) | st.just(before + path))
    return before + path[:inside] + middle + path[inside:] + draw(BITS | st.just(b""))


def may_act(which, method, target, host, headers):
    """Say whether the rules of SECURITY.md admit the action: written from them, not from ours."""
    if method != b"GET" or host not in GOOD_HOSTS:
        return False
    origins = [h for h in headers if h.startswith(b"Origin")]
    if any(h != b"Origin: http://localhost:5173" for h in origins):
        return False
    if b"Sec-Fetch-Site: cross-site" in headers and not origins:
        return False
    shown = b",".join(
        h.partition(b": ")[2].removeprefix(b"Bearer ") for h in headers if h[:1] in b"Aa"
    )
    if which == "backend" and shown != TOKEN.encode():
        return False
    path = target.partition(b"?")[0]
    return path in {known.partition(b"?")[0] for known in PATHS[which]}


@pytest.mark.parametrize("which", ["backend", "control"])
@given(data=st.data())
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_switched_by_who_may_not(which, data, running):
    """A path that bypasses the token, a page that isn't ours, a name that isn't ours."""
    target = data.draw(targets(PATHS[which]) | st.binary(max_size=20))
    method = data.draw(st.sampled_from([b"GET"] * 5 + [b"HEAD", b"POST", b"get", b"OPTIONS"]))
    host, headers = data.draw(HOSTS), data.draw(HEADERS)
    check(running, which, method, target, host, headers)


def check(running, which, method, target, host, headers):
    before = running.acted()
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: " + host, *headers, b"", b""]
    answer = ask(running.ports[which], b"\r\n".join(lines))
    assert running.acted() == before or may_act(which, method, target, host, headers), answer


@pytest.mark.parametrize("which", ["backend", "control"])
@pytest.mark.parametrize(
    "before", [b"//x", b"///", b"http://x", b"x:", b"\t", b"http://127.0.0.1", b"/.", b"/x/.."]
)
def test_the_path_that_bypassed_the_token(which, before, running):
    """Each of these was once one path for the rule and another for the deed."""
    for path in PATHS[which]:
        headers = [b"Sec-Fetch-Site: cross-site"]
        assert not may_act(which, b"GET", before + path, b"localhost", headers)
        check(running, which, b"GET", before + path, b"localhost", headers)
        check(running, which, b"GET", path[:4] + b"\t" + path[4:], b"localhost", headers)


@pytest.mark.parametrize("which", ["backend", "control"])
def test_who_may_does(which, running):
    """Otherwise the tests above could not fail."""
    for path in PATHS[which]:
        before = running.acted()
        token = b"Authorization: Bearer " + TOKEN.encode()
        lines = [b"GET " + path + b" HTTP/1.1", b"Host: localhost", token, b"", b""]
        ask(running.ports[which], b"\r\n".join(lines))
        assert running.acted() == before + 1, path
