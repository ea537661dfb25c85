"""The gate: a table of requests and what becomes of them."""

import sys
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.net.http import Answer, Asked, split_target
from ctgkit.net.origins import Rules
from ctgkit.server import door
from ctgkit.server.door import (
    Attempts,
    Gate,
    Part,
    Report,
    SensorEnters,
    StartSensors,
    ViewerEnters,
    acts,
    token_digest,
)

SENSOR = "0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d11"
TOKEN = "secret-token"
GATE = Gate(
    token_digests={SENSOR: token_digest(SENSOR, TOKEN)},
    viewer_token=None,
)
RULES = Rules(
    hosts=frozenset({"ctg.example"}),
    origins=frozenset({"https://ward.example"}),
    acts=acts,
    options=True,
)


def ask(path, gate=GATE, method="GET", local="10.0.0.5", **headers):
    given_headers = {"host": "localhost:8080"} | {k.lower(): v for k, v in headers.items()}

    def values(name):
        value = given_headers.get(name.replace("-", "_").lower())
        return [] if value is None else value if isinstance(value, list) else [value]

    try:
        own_path, query = split_target(path)
    except ValueError:
        return Answer(400)
    asked = Asked(
        method=method, path=own_path, query=query, target=path, header=values, local_host=local
    )
    return RULES.refusal(asked) or gate.route(asked)


def status(route):
    return route.status if isinstance(route, Answer) else route


SENSOR_PATH = f"/ws/sensor?sensor_id={SENSOR}"
NONE = frozenset()


@pytest.mark.parametrize(
    ("path", "headers", "outcome"),
    [
        (SENSOR_PATH, {"X_Auth_Sensor_Token": TOKEN}, SensorEnters(SENSOR)),
        (SENSOR_PATH.upper().replace("/WS/SENSOR?SENSOR_ID", "/ws/sensor?sensor_id"),
         {"X_Auth_Sensor_Token": TOKEN}, SensorEnters(SENSOR)),
        (SENSOR_PATH, {"X_Auth_Sensor_Token": "wrong"}, 401),
        (SENSOR_PATH, {"X_Auth_Sensor_Token": "ünïcode"}, 401),
        (SENSOR_PATH, {"X_Auth_Sensor_Token": [TOKEN, TOKEN]}, 401),
        (SENSOR_PATH, {}, 401),
        (SENSOR_PATH + "&token=" + TOKEN, {}, 401),
        ("/ws/sensor?sensor_id=unknown", {"X_Auth_Sensor_Token": TOKEN}, 401),
        ("/ws/sensor", {"X_Auth_Sensor_Token": TOKEN}, 400),
        ("/ws/sensor?sensor_id=", {"X_Auth_Sensor_Token": TOKEN}, 400),
        ("/ws/sensor/", {}, 404),
        ("/ws", {}, ViewerEnters(0.0, True)),
        ("/ws/", {}, ViewerEnters(0.0, True)),
        ("/ws?backfill=600", {}, ViewerEnters(600.0, True)),
        ("/ws?backfill=1e9", {}, ViewerEnters(14_400.0, True)),
        ("/ws?bed=1&bed=%202", {}, ViewerEnters(0.0, True, Part(frozenset({"1", " 2"}), NONE))),
        (f"/ws?sensor={SENSOR.upper()}", {},
         ViewerEnters(0.0, True, Part(NONE, frozenset({SENSOR})))),
        ("/ws?sensor=0c7f", {}, 400),
        ("/ws?backfill=x", {}, 400),
        ("/ws?backfill=-1", {}, 400),
        ("/ws?backfill=nan", {}, 400),
        ("/ws?backfill=inf", {}, 400),
        ("/api/health", {}, Report("health")),
        ("/metrics", {}, Report("metrics")),
        ("/api/sensors/stop", {}, Report("stop")),
        ("/api/sensors/start", {}, StartSensors(1)),
        ("/api/sensors/start?count=3", {}, StartSensors(3)),
        ("/api/sensors/start?count=0", {}, 400),
        ("/api/sensors/start?count=1.5", {}, 400),
        ("/api/sensors/start?count=x", {}, 400),
        ("/nothing", {}, 404),
        ("//[", {}, 400),
    ],
)  # fmt: skip
def test_paths(path, headers, outcome):
    """Each path of the contract, and what is refused with which status."""
    assert status(ask(path, **headers)) == outcome


def test_unknown_sensor_and_wrong_token_look_the_same():
    """Nobody can find out which ids exist."""
    work = {}
    for sensor_id in 2 * (SENSOR, SENSOR.replace("0c7f", "ffff")):  # once to fill caches
        calls = []
        sys.setprofile(
            lambda frame, event, what, calls=calls: calls.append(
                (event, getattr(what, "__name__", frame.f_code.co_name))
            )
        )
        answer = ask(f"/ws/sensor?sensor_id={sensor_id}", X_Auth_Sensor_Token="wrong")
        sys.setprofile(None)
        work[sensor_id] = answer, calls
    wrong, unknown = work.values()
    assert wrong == unknown, "neither in what is answered, nor in what is done for it"
    assert ("c_call", "compare_digest") in wrong[1]


def test_a_digest_admits_one_sensor():
    """Equal tokens don't look equal, and a digest in another's place admits nobody."""
    other = SENSOR.replace("0c7f", "ffff")
    assert token_digest(SENSOR, TOKEN) != token_digest(other, TOKEN)
    moved = replace(GATE, token_digests={other: token_digest(SENSOR, TOKEN)})
    path = f"/ws/sensor?sensor_id={other}"
    assert status(ask(path, moved, X_Auth_Sensor_Token=TOKEN)) == 401


@pytest.mark.parametrize(
    "spelling",
    [f"urn:uuid:{SENSOR}", f"{{{SENSOR}}}", SENSOR.replace("-", ""), SENSOR.replace("0", "０"),
     SENSOR + "%00", " " + SENSOR, SENSOR + "%0a", SENSOR.replace("c", "ｃ")],
)  # fmt: skip
def test_other_spellings_of_an_id_are_unknown(spelling):
    """No normalisation but case: what looks like a known sensor is none."""
    path = f"/ws/sensor?sensor_id={spelling}"
    expected = 401 if spelling.isascii() and " " not in spelling else 400
    assert status(ask(path, X_Auth_Sensor_Token=TOKEN)) == expected
    escaped = f"/ws/sensor?sensor_id={quote(spelling, safe='%')}"
    assert status(ask(escaped, X_Auth_Sensor_Token=TOKEN)) == 401


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "PUT", "DELETE", "get", ""])
def test_only_get_and_head(method):
    """Other methods get 405 and are told what is allowed."""
    answer = ask("/api/health", method=method)
    assert answer.status == 405
    assert ("Allow", "GET, HEAD") in answer.headers


def test_head_is_get_where_nothing_happens():
    """A health check may ask so; what switches sensors or opens a WebSocket may not."""
    for path in ("/api/health", "/livez", "/readyz", "/metrics"):
        assert ask(path, method="HEAD") == ask(path)
    for path in ("/api/sensors/start", "/api/sensors/stop", "/ws", SENSOR_PATH):
        answer = ask(path, method="HEAD", X_Auth_Sensor_Token=TOKEN)
        assert (answer.status, ("Allow", "GET") in answer.headers) == (405, True)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("ctg.example", True),
        ("10.0.0.5:8080", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("", False),
        ("[", False),
        ([], False),
        (["localhost", "localhost"], False),
    ],
)
def test_hosts(host, allowed):
    """Only names that are ours: a page that rebinds its own name gets nothing."""
    assert (ask("/api/health", host=host) == Report("health")) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:5173", True),
        ("http://127.0.0.1", True),
        ("http://[::1]:3000", True),
        ("https://ward.example", True),
        ("http://ctg.example", True),
        ("http://ward.example", False),
        ("https://evil.example", False),
        ("https://localhost.evil.example", False),
        ("null", False),
        ("", False),
        ("http://[", False),
    ],
)
def test_origins(origin, allowed):
    """Our own pages and developers' ones on loopback, others only by name; never null."""
    route = ask("/ws", host="ctg.example", Origin=origin)
    assert (route == ViewerEnters(0.0, True)) is allowed
    assert allowed or route.status == 403


def test_remote_viewers_show_a_token():
    """In the header, or later as the first message; a wrong one is refused at once."""
    gate = Gate(token_digests={}, viewer_token="sesame")
    assert ask("/ws", gate) == ViewerEnters(0.0, False)
    assert ask("/ws", gate, Authorization="Bearer sesame") == ViewerEnters(0.0, True)
    assert status(ask("/ws", gate, Authorization="Bearer wrong")) == 401
    assert status(ask("/ws?token=sesame", gate)) == ViewerEnters(0.0, False)


def test_who_may_not_watch_may_not_switch_sensors():
    """Start and stop ask for the same token; health asks nobody."""
    gate = replace(GATE, viewer_token="sesame")
    for path, route in (("start", StartSensors(1)), ("stop", Report("stop"))):
        assert status(ask(f"/api/sensors/{path}", gate)) == 401
        assert status(ask(f"/api/sensors/{path}", gate, Authorization="Bearer wrong")) == 401
        assert ask(f"/api/sensors/{path}", gate, Authorization="Bearer sesame") == route
    assert ask("/api/health", gate) == Report("health")


def test_a_foreign_page_switches_no_sensors():
    """An image on it carries no Origin, but browsers say where it stands."""
    for path, expected in (("/api/sensors/stop", 403), ("/api/health", Report("health"))):
        assert status(ask(path, Sec_Fetch_Site="cross-site")) == expected
    assert ask("/api/sensors/stop", Sec_Fetch_Site="same-origin") == Report("stop")


TRIES = st.lists(
    st.tuples(st.sampled_from(["10.0.0.1", "10.0.0.2", "::1"]), st.booleans(), st.floats(0, 3)),
    max_size=300,
)


@given(TRIES, st.integers(0, 200))
def test_wrong_tokens_are_slowed_and_right_ones_never_locked_out(tries, flood):
    """Whatever was tried before: wrong ones have a pace, right ones wait a moment at most."""
    attempts, at_s, answered_at_s = Attempts(), 0.0, {}
    tries = [("10.0.0.1", False, 0.0)] * flood + tries
    for address, right, pause_s in tries:
        at_s += pause_s
        waits_s = attempts.pause_s(address, right, at_s)
        assert 0 <= waits_s <= (door.RIGHT_PAUSE_S if right else door.WRONG_PAUSE_MAX_S)
        if not right and 0 < waits_s < door.WRONG_PAUSE_MAX_S:
            earlier_s = answered_at_s.get(address, 0.0)
            assert at_s + waits_s >= earlier_s + 1 / door.WRONG_PER_S - 1e-6
            answered_at_s[address] = at_s + waits_s
    assert attempts.pause_s("10.9.9.9", False, at_s) == 0, "others don't wait for it"


def test_addresses_are_forgotten_and_networks_are_one(monkeypatch):
    """Nobody fills the memory by many addresses, nor gets more tries by many of one network."""
    monkeypatch.setattr(door, "ADDRESSES_MAX", 10)
    monkeypatch.setattr(door, "WRONG_BURST", 5)
    attempts = Attempts()
    for n in range(1000):
        attempts.pause_s(f"10.0.{n // 256}.{n % 256}", False, 0.0)
    assert len(attempts._settled_at_s) == 10
    waits_s = [attempts.pause_s(f"2001:db8::{n:x}", False, 0.0) for n in range(1, 8)]
    assert waits_s[:5] == [0.0] * 5
    assert waits_s[6] > waits_s[5] > 0
    assert attempts.pause_s("2001:db8:0:1::1", False, 0.0) == 0.0


@given(st.text(), st.text(), st.text())
def test_any_request_is_routed(path, host, origin):
    """Whatever the request line and headers hold, there is an answer and no exception."""
    route = ask(path, host=host, Origin=origin)
    assert isinstance(route, Answer | SensorEnters | ViewerEnters | StartSensors | Report)
