"""The specification's endpoints, and ours: who is let in, and with which status."""

import asyncio
import json

import pytest

from tests.flow.processes import System, ask
from tests.ports import free_port

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
SENSOR = "/ws/sensor?sensor_id={id}"
TOKEN = {"X-Auth-Sensor-Token": "{token}"} | UPGRADE
STRANGER = "/ws/sensor?sensor_id=97270cb2-e358-49e1-b3e8-8e6b233027dc"


def origin(text):
    return UPGRADE | {"Origin": text}


def host(text):
    return UPGRADE | {"Host": text}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A backend and one of its sensors."""
    system = System(tmp_path_factory.mktemp("endpoints"))
    (entry,) = system.configure(1, control_port=free_port())
    allowed = ("--origin", "https://ward.example", "--allow-host", "ctg.example")
    backend = asyncio.run(system.serve(*allowed).announced())
    yield backend.url, entry
    system.end()


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        # the specification's table
        ("GET", SENSOR, TOKEN, 101),
        ("GET", "/ws", UPGRADE, 101),
        ("GET", "/ws/", UPGRADE, 101),
        ("GET", "/api/health", {}, 200),
        ("GET", "/api/sensors/start", {}, 400),  # nobody answers at its control address
        ("GET", "/api/sensors/stop", {}, 200),
        # sensors
        ("GET", "/ws/sensor", TOKEN, 400),
        ("GET", "/ws/sensor?sensor_id=", TOKEN, 400),
        ("GET", "/ws/sensor?sensor_id={ID}", TOKEN, 101),
        ("GET", STRANGER, TOKEN, 401),
        ("GET", "/ws/sensor?sensor_id=1%27%20OR%20%271", TOKEN, 401),
        ("GET", SENSOR, UPGRADE, 401),
        ("GET", SENSOR, UPGRADE | {"X-Auth-Sensor-Token": ""}, 401),
        ("GET", SENSOR, UPGRADE | {"X-Auth-Sensor-Token": "wrong"}, 401),
        ("GET", SENSOR + "&token={token}", UPGRADE, 401),
        ("GET", SENSOR, TOKEN | {"Origin": "https://evil.example"}, 403),
        ("GET", SENSOR, {"X-Auth-Sensor-Token": "{token}"}, 426),
        ("GET", "/ws/sensor/?sensor_id={id}", TOKEN, 404),
        # origins and hosts
        ("GET", "/ws", origin("http://localhost:5173"), 101),
        ("GET", "/ws", origin("http://127.0.0.1:3000"), 101),
        ("GET", "/ws", origin("http://[::1]:3000"), 101),
        ("GET", "/ws", origin("https://ward.example"), 101),
        ("GET", "/ws", origin("https://ward.example.evil.example"), 403),
        ("GET", "/ws", origin("http://localhost.evil.example"), 403),
        ("GET", "/ws", origin("null"), 403),
        ("GET", "/ws", origin("file://"), 403),
        ("GET", "/ws", host("localhost:8080"), 101),
        ("GET", "/ws", host("ctg.example"), 101),
        ("GET", "/ws", host("evil.example"), 403),
        ("GET", "/api/health", {"Host": "evil.example"}, 403),
        ("GET", "/api/sensors/stop", {"Origin": "https://evil.example"}, 403),
        ("GET", "/api/sensors/stop", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("GET", "/", {"Sec-Fetch-Site": "cross-site"}, 200),  # a link to the page
        # viewers
        ("GET", "/ws", {}, 426),
        ("GET", "/ws?backfill=600", UPGRADE, 101),
        ("GET", "/ws?backfill=soon", UPGRADE, 400),
        ("GET", "/ws?backfill=-1", UPGRADE, 400),
        ("GET", "/ws?backfill=nan", UPGRADE, 400),
        # HTTP
        ("GET", "/livez", {}, 200),
        ("GET", "/readyz", {}, 200),
        ("GET", "/metrics", {}, 200),
        ("GET", "/", {}, 200),
        ("GET", "/api/sensors/start?count=0", {}, 400),
        ("GET", "/api/sensors/start?count=many", {}, 400),
        ("GET", "/api/sensors/start?count=nan", {}, 400),
        ("GET", "/api", {}, 404),
        ("GET", "/ws/other", UPGRADE, 404),
        ("GET", "/api/health/", {}, 404),
        ("GET", "/page/../routes.py", {}, 404),
        ("GET", "/page/%2e%2e/routes.py", {}, 404),
        ("GET", "/page//etc/passwd", {}, 404),
        ("GET", "/ws?" + "x" * 5000, UPGRADE, 414),
        ("GET", "/ws", UPGRADE | {"Cookie": "x" * 5000}, 431),
        ("GET", "/ws", UPGRADE | {f"X-{n}": "x" for n in range(70)}, 431),
        *(("HEAD", f"/{name}", {}, 200) for name in ("api/health", "livez", "readyz", "metrics")),
        ("HEAD", "/api/sensors/stop", {}, 405),
        ("POST", "/api/health", {}, 405),
        ("OPTIONS", "/api/sensors/start", {}, 405),
        ("DELETE", "/ws", UPGRADE, 405),
    ],
)
async def test_status(served, method, path, headers, status):
    url, entry = served
    names = {"id": entry.id, "ID": entry.id.upper(), "token": entry.token}
    path, headers = path.format(**names), {k: v.format(**names) for k, v in headers.items()}
    answer = await ask(url, path, method=method, headers=headers)
    assert answer.status == status
    if status == 405:
        assert answer.headers["Allow"].split(", ")[0] == "GET"
    elif status in (400, 401, 403):
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.body.endswith(b"\n")
        assert list(answer.json()) == ["error"]


async def test_bodies(served):
    """What is in the answers that somebody reads."""
    url, entry = served
    unknown, wrong = [
        (await ask(url, path, headers=UPGRADE | {"X-Auth-Sensor-Token": "x"})).body
        for path in (STRANGER, SENSOR.format(id=entry.id))
    ]
    assert unknown == wrong  # ids can't be probed
    answer = await ask(url, "/api/health")
    assert answer.headers["Content-Type"] == "application/json"
    health = answer.json()
    assert (health["status"], health["service"], health["timestamp"][-1]) == ("ok", "ctgkit", "Z")
    assert (await ask(url, "/nothing")).body == b"404 page not found\n"
    stopped = await ask(url, "/api/sensors/stop")
    assert stopped.json() == {"message": "All sensors stopped successfully"}
    refused = await ask(url, "/api/sensors/start")
    assert entry.id in refused.json()["error"]
    assert entry.control not in json.dumps(refused.json())  # internal addresses stay internal
    assert b"ctgkit_handshakes_refused_total" in (await ask(url, "/metrics")).body
