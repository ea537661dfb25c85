"""The stub ML service over real sockets."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ctgkit import wire
from ctgkit.analysis import AnalyzerSettings
from ctgkit.mlstub import service as service_module
from ctgkit.mlstub.service import MlService, MlSettings
from ctgkit.samples import Prediction, Sample
from tests.conftest import TIME_FACTOR

SENSOR = "6f1c1f0a-8a3e-4a53-b9f4-6c3b9f5d0001"
OTHER = "6f1c1f0a-8a3e-4a53-b9f4-6c3b9f5d0002"
FREE = MlSettings(port=0)


def request(second, *, sensor=SENSOR, fhr=140.0, ml_format="nested"):
    return wire.encode_sample(Sample(sensor, second, fhr, 12.0, 0.0), ml_format).decode()


async def ask(client, *messages):
    for message in messages:
        await client.send(message)
    return [json.loads(await client.recv()) for _ in messages]


async def until(condition, what):
    """Wait for a condition with a deadline."""
    try:
        async with asyncio.timeout(60 * TIME_FACTOR):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"never happened: {what}")


async def fetch(url, path, method="GET", headers=None):
    """Return status, headers and body of an HTTP request."""

    def go():
        base = url.replace("ws://", "http://").removesuffix("/ws/ctg")
        try:
            with urllib.request.urlopen(
                urllib.request.Request(base + path, method=method, headers=headers or {}),
                timeout=60,
            ) as reply:
                return reply.status, reply.headers, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    return await asyncio.to_thread(go)


async def test_one_reply_per_request_in_order():
    async with MlService(FREE) as service, connect(service.url) as client:
        replies = await ask(client, *(request(n / 4) for n in range(500)))
    assert [r["secFromStart"] for r in replies] == [n / 4 for n in range(500)]
    assert all(r["prediction"] is None and r["status"] == "ok" for r in replies)
    assert all(r["data"] == {"BPMChild": 140.0, "uterus": 12.0, "spasms": 0.0} for r in replies)
    assert all(r["timestamp"].endswith("Z") for r in replies)


async def test_a_text_frame_that_is_no_utf8_is_answered_in_its_place():
    """M-3.5: as other requests that can't be read; the connection stays."""
    async with MlService(FREE) as service, connect(service.url) as client:
        await client.send(request(0.0))
        await client.send(b'{"sensorID": "\xff"}', text=True)
        await client.send(request(0.25))
        first, bad, last = [json.loads(await client.recv()) for _ in range(3)]
    assert (first["secFromStart"], last["secFromStart"]) == (0.0, 0.25)
    assert bad.keys() == {"status", "message", "timestamp"}
    assert bad["status"] == "error"


@pytest.mark.parametrize("rate_hz", [1, 4])
async def test_first_prediction_after_five_minutes_of_data_then_every_thirty_seconds(rate_hz):
    async with MlService(FREE) as service, connect(service.url) as client:
        replies = await ask(client, *(request(n / rate_hz) for n in range(400 * rate_hz)))
    assert all(r["prediction"] is None for r in replies[: 300 * rate_hz])
    assert all(r["prediction"] for r in replies[300 * rate_hz :])
    computed = [r["secFromStart"] for r in replies if "features" in r]
    assert computed == [300, 330, 360, 390]


async def test_a_new_prediction_says_what_it_rests_on():
    async with MlService(FREE) as service, connect(service.url) as client:
        replies = await ask(client, *(request(float(n)) for n in range(331)))
    computed = [r for r in replies if r.keys() > {"features", "events", "figo"}]
    assert [r["secFromStart"] for r in computed] == [300, 330]
    assert computed[0]["features"]["baseline_bpm"] == 140
    assert computed[0]["figo"]["level"] == "indeterminate"
    assert wire.decode_result(json.dumps(computed[1])).figo["guideline"] == "figo"
    assert len(json.dumps(replies[310])) < 600


async def test_the_original_profile_has_exactly_the_original_members():
    settings = MlSettings(
        port=0, analysis=AnalyzerSettings(profile="original", language="ru", guideline="nichd")
    )
    async with MlService(settings) as service, connect(service.url) as client:
        replies = await ask(client, *(request(float(n)) for n in range(301)))
    assert all(
        r.keys() == {"sensorID", "secFromStart", "data", "prediction", "status", "timestamp"}
        for r in replies
    )
    assert replies[-1]["prediction"]["confidence"] == round(0.1 + 0.9 * 301 / 2400, 3)


async def test_an_analysis_of_ones_own_answers_in_place_of_ours():
    """One per sensor; each answer carries what it says about that sample; its failure is told."""

    class Counting:
        seen = 0

        def add(self, sample):
            self.seen += 1
            if sample.fhr_bpm is None:
                raise ValueError("no signal")
            if self.seen == 1:
                return None
            return Prediction(
                hypoxia_probability=0.6, hypoxia_risk="high", alerts=[f"number {self.seen}"],
                confidence=1.0, recommendations=[],
            )  # fmt: skip

    async with (
        MlService(MlSettings(port=0, make_analyzer=Counting)) as service,
        connect(service.url) as client,
    ):
        first, second = await ask(client, request(0), request(1))
        (other,) = await ask(client, request(1, sensor=OTHER))
        _, _, sensors = await fetch(service.url, "/sensors")
        (failed,) = await ask(client, request(2, fhr=None))
    assert (first["status"], first["prediction"]) == ("ok", None)
    assert (second["status"], second["prediction"]["alerts"]) == ("warning", ["number 2"])
    assert other["prediction"] is None
    assert json.loads(sensors)[SENSOR] == {"data_points": 2, "has_prediction": True}
    assert failed["status"] == "error"
    assert service.counts.predictions == 1


async def test_flat_requests_are_understood():
    async with MlService(FREE) as service, connect(service.url + "/") as client:
        (reply,) = await ask(client, request(1.0, ml_format="flat"))
    assert reply["sensorID"] == SENSOR
    assert reply["data"]["BPMChild"] == 140.0


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("{", "Invalid JSON format: "),
        (b"\xff\xfe", "Invalid JSON format: "),
        ("[]", "Processing error: "),
        ('{"sensorID":"x","secFromStart":1}', "Processing error: data: missing"),
        ('{"secFromStart":1,"data":{"BPMChild":140}}', "Processing error: sensorID: missing"),
    ],
)
async def test_a_bad_request_gets_an_error_and_spoils_nothing(message, text):
    async with MlService(FREE) as service, connect(service.url) as client:
        first, bad, second = await ask(client, request(1.0), message, request(1.25))
    assert bad["status"] == "error"
    assert bad["message"].startswith(text)
    assert bad.keys() == {"status", "message", "timestamp"}
    assert (first["secFromStart"], second["secFromStart"]) == (1.0, 1.25)


async def test_a_sensor_that_starts_again_starts_afresh():
    async with MlService(FREE) as service, connect(service.url) as client:
        before = await ask(client, *(request(float(n)) for n in range(310)))
        after = await ask(client, *(request(float(n)) for n in range(10)))
        _, _, body = await fetch(service.url, "/sensors")
    assert before[-1]["prediction"] is not None
    assert all(r["prediction"] is None for r in after)
    assert json.loads(body) == {SENSOR: {"data_points": 10, "has_prediction": False}}


async def test_sensors_are_dropped_after_disconnect():
    async with MlService(FREE) as service:
        async with connect(service.url) as client:
            await ask(client, request(1.0), request(1.0, sensor=OTHER))
            assert service.sensors == 2
        await until(lambda: service.sensors == 0, "the sensors were dropped")


async def test_an_idle_sensor_is_forgotten_while_its_connection_lives():
    async with (
        MlService(MlSettings(port=0, idle_s=0.1)) as service,
        connect(service.url) as client,
    ):
        await ask(client, request(1.0))
        await until(lambda: service.sensors == 0, "the sensor was forgotten")
        (reply,) = await ask(client, request(2.0))
    assert reply["secFromStart"] == 2.0


async def test_a_client_that_never_reads_holds_up_nobody_and_is_cut_off(monkeypatch):
    monkeypatch.setattr("ctgkit.mlstub.service.SEND_TIMEOUT_S", 0.5)
    async with MlService(FREE) as service, connect(service.url) as client:
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # soon full
        narrow.connect(("127.0.0.1", urlsplit(service.url).port))
        async with connect(service.url, sock=narrow, max_queue=1) as slow:
            flood = asyncio.ensure_future(_flood(slow))
            served = await ask(client, *(request(n / 4, sensor=OTHER) for n in range(400)))
            await until(lambda: service.sensors == 1, "the slow client was cut off")
            await flood
    assert [r["secFromStart"] for r in served] == [n / 4 for n in range(400)]


async def _flood(client):
    """Send until the other side has had enough."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await client.send(request(1.0))


async def test_a_large_frame_closes_only_its_connection():
    async with (
        MlService(FREE) as service,
        connect(service.url) as client,
        connect(service.url) as rude,
    ):
        await rude.send("x" * 20_000)
        with pytest.raises(ConnectionClosed) as closed:
            await rude.recv()
        assert closed.value.rcvd.code == 1009
        (reply,) = await ask(client, request(1.0))
    assert reply["status"] == "ok"


async def test_other_paths_do_not_exist():
    async with MlService(FREE) as service:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(service.url.replace("/ws/ctg", "/ws")):
                pass
    assert refused.value.response.status_code == 404


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Host": "rebound.example"}], ids=str
)
async def test_a_foreign_page_gets_nothing(headers):
    """Neither the socket, nor the sensors' ids, nor a reset."""
    async with MlService(FREE) as service, connect(service.url) as client:
        await ask(client, request(1.0))
        for path, method in (("/sensors", "GET"), (f"/reset/{SENSOR}", "POST")):
            status, _, body = await fetch(service.url, path, method, headers)
            assert (status, SENSOR.encode() in body) == (403, False)
        if "Origin" in headers:
            with pytest.raises(InvalidStatus) as refused:
                await connect(service.url, additional_headers=headers)
            assert refused.value.response.status_code == 403
        assert service.sensors == 1


async def test_clients_and_ids_are_bounded(monkeypatch):
    """More clients than a ward needs get 503; an id that is no id is kept nowhere."""
    monkeypatch.setattr(service_module, "CLIENTS_MAX", 1)
    async with MlService(FREE) as service, connect(service.url) as client:
        (reply,) = await ask(client, request(1.0, sensor="x" * 1000))
        assert reply["status"] == "error"
        assert service.sensors == 0
        with pytest.raises(InvalidStatus) as refused:
            await connect(service.url)
        assert refused.value.response.status_code == 503


async def test_http_pages():
    async with MlService(FREE) as service, connect(service.url) as client:
        await ask(client, request(1.0), "{")
        status, _, body = await fetch(service.url, "/")
        assert (status, json.loads(body)["active_sensors"]) == (200, 1)
        status, headers, body = await fetch(service.url, "/health")
        assert (status, json.loads(body)["status"]) == (200, "healthy")
        assert headers["Content-Type"] == "application/json"
        status, _, body = await fetch(service.url, "/metrics")
        assert b"ctgkit_ml_requests_total 2.0" in body
        assert b'ctgkit_ml_rejected_total{reason="json"} 1.0' in body
        assert (await fetch(service.url, "/health", "POST"))[0] == 405
        assert (await fetch(service.url, f"/reset/{SENSOR}"))[0] == 405
        reset = [
            json.loads((await fetch(service.url, f"/reset/{SENSOR.upper()}", "POST"))[2])
            for _ in range(2)
        ]
        assert [r["status"] for r in reset] == ["reset", "not_found"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_command_announces_itself_and_stops_on_a_signal(tmp_path, number):
    ready = tmp_path / "url"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ctgkit", "ml", "--port", "0", "--json"),
        *("--ready-file", str(ready)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )
    url = json.loads(await process.stdout.readline())["url"]
    await until(ready.exists, "the ready file was written")
    assert ready.read_text().strip() == url
    async with connect(url) as client:
        await ask(client, request(1.0))
        process.send_signal(number)
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
    assert closed.value.rcvd.code == 1001
    assert await process.wait() == 0
    await process.communicate()
