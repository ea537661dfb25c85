"""Profiles end to end: every sample arrives with the right value, time and gap."""

import asyncio
import json
import re
from datetime import datetime

import numpy as np
import pytest

from ctgkit.profile.client import ProfileSettings, run_profile
from ctgkit.profile.library import load_profile, profile_text
from ctgkit.profile.model import parse_profile
from ctgkit.profile.render import Renderer
from ctgkit.simulate.source import Chunk
from tests.profile.servers import Heard, as_json, listening

IDS = ("bed 1/é", "2")
START = 1_767_225_600.0  # 2026-01-01T00:00:00Z
N = 24


class Given:
    """Samples with gaps in each channel, at 4 Hz."""

    def __init__(self, number):
        n = np.arange(N)
        self.sec = n / 4
        self.fhr = np.where(n % 5 == 0, np.nan, 120 + n + 0.25 + number)
        self.toco = np.where(n % 7 == 3, np.nan, n / 2.0)
        self.read_once = False

    def read(self, n_samples):
        assert n_samples >= N
        if self.read_once:
            return Chunk(*[np.empty(0)] * 4)
        self.read_once = True
        return Chunk(self.sec, self.fhr, self.toco, np.zeros(N))


def expected(number=0):
    given = Given(number)
    nothing = lambda v: None if v != v else float(v)  # noqa: E731
    return [
        (float(s), nothing(f), nothing(u))
        for s, f, u in zip(given.sec, given.fhr, given.toco, strict=True)
    ]


async def play(text, sensors=1, **settings):
    renderer = Renderer(parse_profile(text, "test.toml"), "test.toml")
    return await run_profile(
        ProfileSettings(
            renderer=renderer,
            sensor_ids=IDS[:sensors],
            make_source=Given,
            secrets=settings.pop("secrets", {}),
            start_epoch_s=START,
            speed=float("inf"),
            **settings,
        )
    )


async def test_value_lines_have_a_socket_per_channel():
    async with listening() as heard:
        text = profile_text("value-lines").replace("127.0.0.1:9000", heard.url)
        summary = await play(text, sensors=2)
    paths = {"/bed%201%2F%C3%A9/bpm", "/bed%201%2F%C3%A9/uterus", "/2/bpm", "/2/uterus"}
    assert {path for path, _ in heard.lines} == paths
    for number, quoted in enumerate(("bed%201%2F%C3%A9", "2")):
        for channel, at in (("bpm", 1), ("uterus", 2)):
            got = [line for path, line in heard.lines if path == f"/{quoted}/{channel}"]
            want = [(e[0], e[at]) for e in expected(number) if e[at] is not None]
            assert [tuple(map(float, line.split(","))) for line in got] == want
    assert summary.samples == 2 * N
    assert summary.accepted is None
    assert summary.failures == []


async def test_signal_messages_have_clock_times_and_nulls():
    async with listening() as heard:
        text = profile_text("signal-messages").replace("127.0.0.1:9000", heard.url)
        await play(text)
    got = [json.loads(line) for _, line in heard.lines]
    at = [datetime.fromisoformat(m["timestamp"]).timestamp() - START for m in got]
    assert [(t, m["bpm"], m["uterus"]) for t, m in zip(at, got, strict=True)] == expected()
    assert {m["sensor"] for m in got} == {IDS[0]}


async def test_a_lost_socket_is_made_again():
    heard = Heard()
    heard.drop_after = 5
    async with listening(heard):
        text = profile_text("signal-messages").replace("127.0.0.1:9000", heard.url)
        renderer_speed = 20.0
        renderer = Renderer(parse_profile(text, "t"), "t")
        summary = await run_profile(
            ProfileSettings(
                renderer=renderer, sensor_ids=IDS[:1], make_source=Given, secrets={},
                start_epoch_s=START, speed=renderer_speed,
            )
        )  # fmt: skip
        while len(heard.lines) < N - 3:
            await asyncio.sleep(0.01)
    assert summary.reconnects == 1
    assert summary.failures == []


async def test_value_posts_create_their_patient_first():
    heard = Heard()
    heard.answer = lambda method, path, headers, body: (
        (201, as_json({"id": 77})) if path == "/api/patients" else (204, b"")
    )
    async with listening(heard):
        summary = await play(profile_text("value-posts").replace("127.0.0.1:9000", heard.url))
    first, *rest = heard.requests
    assert (first[1], json.loads(first[3])) == ("/api/patients", {"name": f"sensor {IDS[0]}"})
    got = [json.loads(body) for _, _, _, body in rest]
    want = [
        {"patient_id": 77, "timestamp": round((START + s) * 1000), "type": kind, "value": value}
        for s, fhr, toco in expected()
        for kind, value in (("heart_rate", fhr), ("contractions", toco))
        if value is not None
    ]
    assert got == want
    assert summary.accepted == len(want)


async def test_record_batches_with_a_secret_and_zeros():
    async with listening() as heard:
        text = profile_text("record-batches").replace("127.0.0.1:9000", heard.url)
        summary = await play(text, secrets={"secret.token": "s3cret"})
    got = [json.loads(body) for _, _, _, body in heard.requests]
    assert {h["authorization"] for _, _, h, _ in heard.requests} == {"Bearer s3cret"}
    rows = [(r["t_ms"] / 1000, r["fhr_bpm"], r["uc_mmHg"]) for b in got for r in b["records"]]
    want = [(s, fhr or 0, toco or 0) for s, fhr, toco in expected()]
    assert rows == want
    assert [v for b in got for v in b["fhr"]] == [fhr for _, fhr, _ in want]
    assert [v for b in got for v in b["fhrQuality"]] == [int(bool(fhr)) for _, fhr, _ in want]
    assert all(len(b["records"]) == 4 for b in got)
    assert summary.messages == N / 4


async def test_two_csv_files_in_one_upload():
    async with listening() as heard:
        text = profile_text("csv-window").replace("127.0.0.1:9000", heard.url)
        await play(text.replace("gap = 0", "gap = 0\nbatch_s = 600"))
    ((method, _, headers, body),) = heard.requests
    boundary = re.fullmatch(r"multipart/form-data; boundary=(\S+)", headers["content-type"])[1]
    parts = [p for p in body.decode().split(f"--{boundary}") if p.strip("-\r\n")]
    files = {}
    for part in parts:
        head, _, content = part.strip("\r\n").partition("\r\n\r\n")
        name = re.search(r'name="([^"]*)"; filename="([^"]*)"', head)
        files[name[1]] = (name[2], content.splitlines())
    assert files["bpm"][0] == "bpm.csv"
    assert files["bpm"][1][0] == "time_sec,value"
    got = [tuple(map(float, line.split(","))) for line in files["uterus"][1][1:]]
    assert got == [(s, toco or 0) for s, _, toco in expected()]
    assert method == "POST"


RECORD = 'url = "http://{url}/x"\n[body]\nt = "{{t}}"\nfhr = "{{fhr}}"\n'


@pytest.mark.parametrize("status", [301, 400, 404, 500])
async def test_refusals_are_counted_and_no_redirect_is_followed(status):
    heard, elsewhere = Heard(), Heard()
    async with listening(heard), listening(elsewhere):
        to = {"Location": f"http://{elsewhere.url}/stolen"}
        heard.answer = lambda *_: (status, b"<no>", to)
        summary = await play(RECORD.format(url=heard.url))
    assert elsewhere.requests == []
    assert sum(summary.rejected.values()) == N
    assert [str(status) in reason for reason in summary.rejected] == [True]
    assert summary.accepted == 0


async def test_a_busy_service_is_asked_again():
    heard = Heard()
    statuses = iter([503, 502])
    heard.answer = lambda *_: (next(statuses, 200), b"")
    async with listening(heard):
        summary = await play(RECORD.format(url=heard.url))
    assert summary.accepted == N
    assert len(heard.requests) == N + 2


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_nobody_there_is_one_line(scheme):
    text = f'url = "{scheme}://127.0.0.1:9/x?token=secret"\n[body]\nt = "{{t}}"\n'
    summary = await play(text, connect_timeout_s=0.1)
    (failure,) = summary.failures
    assert "127.0.0.1:9" in failure
    assert "secret" not in failure
    assert "\n" not in failure


async def test_a_setup_answer_without_what_is_captured():
    heard = Heard()
    heard.answer = lambda *_: (200, as_json({"other": 1}))
    async with listening(heard):
        text = profile_text("value-posts").replace("127.0.0.1:9000", heard.url)
        summary = await play(text)
    assert "nothing at '/id'" in summary.failures[0]
    assert len(heard.requests) == 1


def test_every_shipped_profile_loads():
    assert load_profile("csv-window").profile.reply.probability == "/hypoxia/proba"


async def test_a_websocket_that_refuses_is_final_and_its_answer_shown_without_secrets():
    heard = Heard()
    async with listening(heard):
        text = (
            f'url = "ws://{heard.url}/{{secret.key}}"\ntext = "{{t}}"\n'
            '[secrets]\nkey = { env = "KEY" }'
        )
        heard.shut = (401, b"no such key: s3cret/key, s3cret%2Fkey")
        summary = await play(text, secrets={"secret.key": "s3cret/key"}, connect_timeout_s=60)
    (failure,) = summary.failures
    assert failure.endswith("/***: answered 401: no such key: ***, ***")


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "é", "a\nb"])
async def test_a_captured_value_is_no_second_header(value):
    heard = Heard()
    heard.answer = lambda *_: (200, as_json({"token": value}))
    text = (
        'url = "http://{0}/x"\ntext = "{{t}}"\n[headers]\nX-Token = "{{token}}"\n[[setup]]\n'
        'url = "http://{0}/login"\ncapture = {{ token = "/token" }}\n'
    )
    async with listening(heard):
        with pytest.raises(ExceptionGroup) as raised:
            await play(text.format(heard.url))
    (error,) = raised.value.exceptions
    assert "headers.X-Token" in str(error)
    assert value not in str(error)
    assert len(heard.requests) == 1


async def test_a_stop_ends_all_waits():
    stop, heard = asyncio.Event(), Heard()

    def answer(*_):
        stop.set()
        return 200, b""

    heard.answer = answer
    async with listening(heard):
        text = RECORD.format(url=heard.url)
        renderer = Renderer(parse_profile(text, "t"), "t")
        summary = await run_profile(
            ProfileSettings(
                renderer=renderer, sensor_ids=IDS, make_source=Given, secrets={},
                start_epoch_s=START, speed=0.001, stop=stop,
            )
        )  # fmt: skip
    assert summary.accepted == summary.samples == len(heard.requests)
    assert 1 <= summary.samples <= 2


async def test_a_session_by_http_for_a_websocket():
    heard = Heard()
    heard.answer = lambda *_: (201, as_json({"session": {"id": 5}}))
    text = (
        'url = "ws://{0}/ws/{{session}}"\n[body]\nbpm = "{{fhr}}"\n[[setup]]\n'
        'url = "http://{0}/api/sessions"\nbody = {{ bed = "{{id}}" }}\n'
        'capture = {{ session = "/session/id" }}\n'
    )
    async with listening(heard):
        await play(text.format(heard.url), sensors=2)
    assert {json.loads(body)["bed"] for _, _, _, body in heard.requests} == set(IDS)
    assert {path for path, _ in heard.lines} == {"/ws/5"}
    assert len(heard.lines) == 2 * N
