"""Sensors and examinations over HTTP: what is told, to whom, in which pages."""

import http.client
import json
import sqlite3

import jsonschema
import pytest

import ctgkit
from ctgkit.server.endpoints import PAGE_MAX, openapi

DOCUMENT = openapi()
TOKEN = "viewer-token-of-24-bytes"
SAMPLES = 2400


def ask(backend, target, method="GET", **headers):
    connection = http.client.HTTPConnection(backend.url.removeprefix("http://"), timeout=60)
    try:
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def told(backend, target, path=None, status=200):
    """Return a JSON answer that keeps to the document."""
    given, _, body = ask(backend, target)
    assert given == status, body
    if path:
        schema = DOCUMENT["paths"][path]["get"]["responses"][str(status)]["content"]
        whole = {**schema["application/json"]["schema"], "components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator(whole).validate(json.loads(body))
    return json.loads(body)


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    """Return a backend in which two of three sensors have played ten minutes with an ML service."""
    database = tmp_path_factory.mktemp("ward") / "ctg.db"
    with (
        ctgkit.run_ml() as ml,
        ctgkit.run_backend(3, database=database, ml_url=ml.url) as backend,
    ):
        with ctgkit.run_sensors(
            backend.url, backend.credentials[:2], "late-decels-severe", duration_s=SAMPLES / 4,
            speed=float("inf"),
        ) as sensors:  # fmt: skip
            assert sensors.wait(120).acked == 2 * SAMPLES
        yield backend, database


def test_the_sensors(ward):
    """Known ones, connected or not; one by its id in any case; no token ever."""
    backend, _ = ward
    listed = told(backend, "/api/sensors", "/api/sensors")["sensors"]
    assert [one["id"] for one in listed] == [one.id for one in backend.credentials]
    assert not any(one.token in json.dumps(listed) for one in backend.credentials)
    with ctgkit.run_sensors(backend.url, backend.credentials[2:], speed=1):
        while not (one := told(backend, f"/api/sensors/{listed[2]['id'].upper()}"))["connected"]:
            pass
        assert one["examination"] == 2
    told(backend, "/api/sensors/00000000-0000-4000-8000-000000000000", "/api/sensors/{sensor}", 404)


def test_an_examination_and_its_parts(ward):
    """As `ctgkit exam list` and `show` have them."""
    backend, _ = ward
    page = told(backend, "/api/examinations?limit=1", "/api/examinations")
    (first,) = page["examinations"]
    assert first["samples"] == 2 * SAMPLES
    one = told(backend, f"/api/examinations/{first['id']}", "/api/examinations/{examination}")
    assert [part["samples"] for part in one["by_sensor"]] == [SAMPLES, SAMPLES]
    assert told(backend, "/api/examinations?bed=nowhere")["examinations"] == []
    for wrong in ("999", "0", "x", "-1", "9" * 40, "1.0", "%D9%A3"):
        told(backend, f"/api/examinations/{wrong}", "/api/examinations/{examination}", 404)


@pytest.mark.parametrize("limit", [7 * SAMPLES, 1000, 999])
@pytest.mark.parametrize("number", [None, 0, 1])
def test_pages_hold_every_sample_once(ward, limit, number):
    """Followed to the end they are what the database holds, in its order; read independently."""
    backend, database = ward
    sensor = "" if number is None else backend.credentials[number].id
    limit = min(limit, PAGE_MAX)
    path, after, got = "/api/examinations/1/samples", 0, []
    while after is not None:
        page = told(backend, f"{path}?limit={limit}&after={after}&sensor={sensor.upper()}")
        got += page["samples"]
        after = page["next"]
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
        stored = db.execute(
            "SELECT uuid, sec_from_start, bpm FROM ctg WHERE examination_id = 1"
            " AND ? IN ('', uuid) ORDER BY id", (sensor,)
        ).fetchall()  # fmt: skip
    assert [(s["uuid"], s["sec_from_start"], s["bpm"]) for s in got] == stored
    assert len(stored) == SAMPLES * (2 if number is None else 1)


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=10001", "limit=x", "after=-1", "limit=1e3", "after=1.5", "limit=%D9%A3",
     "after=" + "9" * 5000],
)  # fmt: skip
def test_a_wrong_parameter_is_named(ward, query):
    """With its bounds."""
    backend, _ = ward
    path = "/api/examinations/{examination}/samples"
    answer = told(backend, f"/api/examinations/1/samples?{query}", path, 400)
    assert answer["error"].startswith(query.partition("=")[0])


def test_events_are_those_last_reported(ward):
    """Each once, with its sensor; those of one sensor alone too."""
    backend, _ = ward
    path = "/api/examinations/{examination}/events"
    events = told(backend, "/api/examinations/1/events", path)["events"]
    ids = [(event["sensor"], event["id"]) for event in events]
    assert len(set(ids)) == len(ids) > 0
    assert {"deceleration", "contraction"} <= {event["kind"] for event in events}
    one = backend.credentials[0].id
    own = told(backend, f"/api/examinations/1/events?sensor={one}")["events"]
    assert own == [event for event in events if event["sensor"] == one]


def test_the_same_token_as_for_the_switches():
    """Who may not switch may not read; health stays open."""
    with ctgkit.run_backend(1, viewer_token=TOKEN) as backend:
        for path in ("/api/sensors", f"/api/sensors/{backend.credentials[0].id}",
                     "/api/examinations", "/api/examinations/1/samples"):  # fmt: skip
            assert ask(backend, path)[0] == 401
            assert ask(backend, path, Authorization="Bearer wrong")[0] == 401
            assert ask(backend, path, Authorization=f"Bearer {TOKEN}")[0] in (200, 404)
            assert ask(backend, path, "POST", Authorization=f"Bearer {TOKEN}")[0] == 405
        assert ask(backend, "/api/health")[0] == 200


def test_pages_of_allowed_origins_may_read():
    """Loopback and those named with --origin; nobody else, and no wildcard."""
    allowed = "https://ward.example"
    with ctgkit.run_backend(1, viewer_token=TOKEN, origins=frozenset({allowed})) as backend:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        for origin in ("http://127.0.0.1:5173", "http://localhost:3000", allowed):
            status, headers, _ = ask(backend, "/api/sensors", Origin=origin, **bearer)
            assert status == 200
            assert headers["Access-Control-Allow-Origin"] == origin
            assert "Origin" in headers["Vary"]
            wants = {"Access-Control-Request-Method": "GET"}
            status, headers, _ = ask(backend, "/api/sensors", "OPTIONS", Origin=origin, **wants)
            assert status == 204
            assert headers["Access-Control-Allow-Origin"] == origin
            assert "Authorization" in headers["Access-Control-Allow-Headers"]
        for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example"):
            for method in ("GET", "OPTIONS"):
                wants = {"Access-Control-Request-Method": "GET"}
                status, headers, _ = ask(
                    backend, "/api/sensors", method, Origin=origin, **bearer, **wants
                )
                assert status == 403
                assert "Access-Control-Allow-Origin" not in headers
        status, headers, _ = ask(backend, "/api/sensors", **bearer)
        assert "Access-Control-Allow-Origin" not in headers
        assert ask(backend, "/api/sensors", "OPTIONS", Origin=allowed)[0] == 405
