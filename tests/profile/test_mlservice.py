"""ML services behind HTTP windows, in plain asyncio; and the same one over WebSocket."""

import asyncio
import json
import logging
import statistics
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ctgkit.errors import ConfigError, Unreachable
from ctgkit.mlstub.service import MlService, MlSettings
from ctgkit.profile.mlservice import REQUESTS_MAX, HttpMlService, WindowSettings
from ctgkit.profile.model import parse_profile
from ctgkit.profile.render import Renderer
from ctgkit.samples import Prediction, risk_of
from ctgkit.score.service import PlaySettings, play
from ctgkit.simulate.library import load_scenario
from tests.flow.processes import until
from tests.profile.servers import Heard, as_json, listening

WINDOW = """
url = "http://{url}/predict"
per = "batch"
window_s = {window_s}
every_s = {every_s}
timeout_s = {timeout_s}
[body]
sensor = "{{id}}"
t = "{{t[]}}"
fhr = "{{fhr[]}}"
toco = "{{toco[]}}"
[reply]
probability = "/p"
alerts = "/warnings"
skip = [422]
"""


def windows(heard, text=WINDOW, *, waits=True, secrets=None, **numbers):
    given = {"window_s": 20, "every_s": 5, "timeout_s": 5} | numbers
    text = text.format(url=heard.url, **given)
    renderer = Renderer(parse_profile(text, "ml.toml"), "ml.toml")
    return WindowSettings(renderer=renderer, secrets=secrets or {}, waits=waits)


def request(n, sensor="a", bpm=140.0):
    data = {"BPMChild": bpm, "uterus": n / 2, "spasms": None}
    return json.dumps({"sensorID": sensor, "secFromStart": n / 4, "data": data})


@asynccontextmanager
async def talking(settings):
    async with HttpMlService(settings) as service, connect(service.url, proxy=None) as connection:
        yield connection


async def told(connection, count, sensor="a", first=0):
    """Send samples, and return a reply for each."""
    for n in range(first, first + count):
        await connection.send(request(n, sensor))
    return [json.loads(await connection.recv()) for _ in range(count)]


# --- the same analysis over HTTP and over WebSocket ---------------------------------------------


def judged(fhr):
    """Return probability and warnings for the heart rates of a window."""
    known = [bpm for bpm in fhr if bpm]
    if not known:
        return 0.0, []
    low = sum(bpm < 115 for bpm in known) / len(known)
    p = min(1.0, 3 * low + abs(statistics.fmean(known) - 140) / 100)
    return p, ["deceleration"] * (low > 0.05)


class OverWebSocket:
    """Looks at ten minutes each half minute, after five."""

    def __init__(self):
        self.seen = []
        self.next_s = None
        self.said = None

    def add(self, sample):
        t = sample.sec_from_start
        self.next_s = t + 30 if self.next_s is None else self.next_s
        self.seen = [(s, bpm) for s, bpm in self.seen if s > t - 600] + [(t, sample.fhr_bpm)]
        if t < self.next_s:
            return self.said
        self.next_s += 30
        if t - self.seen[0][0] < 300:
            return None
        p, warnings = judged([bpm for _, bpm in self.seen])
        self.said = Prediction(
            hypoxia_probability=p, hypoxia_risk=risk_of(p), alerts=warnings, confidence=1.0,
            recommendations=[],
        )  # fmt: skip
        return self.said


def over_http(method, path, headers, body):
    asked = json.loads(body)
    if asked["t"][-1] - asked["t"][0] < 300:
        return 422, b"too short"
    p, warnings = judged(asked["fhr"])
    return 200, as_json({"p": p, "warnings": warnings})


async def test_scores_are_those_of_the_same_analysis_over_websocket():
    scenarios = [load_scenario(n) for n in ("normal-reactive", "late-decels-severe")]
    settings = {"scenarios": scenarios, "duration_s": 660.0}
    stub = MlSettings(port=0, make_analyzer=OverWebSocket)
    async with MlService(stub) as service:
        expected = await play(PlaySettings(url=service.url, **settings))
    heard = Heard()
    heard.answer = over_http
    async with listening(heard):
        asks = windows(heard, window_s=600, every_s=30)
        async with HttpMlService(asks) as service:
            scores = await play(PlaySettings(url=service.url, **settings))
    assert scores == expected
    assert any(score.alarms is not None for score in scores)
    assert len(heard.requests) == 2 * 21  # at 30, 60, … 630 s


# --- one service, many shapes -------------------------------------------------------------------


async def test_windows_hold_the_last_seconds_and_predictions_repeat_in_order():
    heard = Heard()
    heard.answer = lambda *_: (200, as_json({"p": len(heard.requests) / 100, "warnings": []}))
    async with listening(heard), talking(windows(heard)) as connection:
        replies = await told(connection, 130)
    assert [r["secFromStart"] for r in replies] == [n / 4 for n in range(130)]
    assert [r["data"]["uterus"] for r in replies] == [n / 2 for n in range(130)]
    given = [(r["prediction"] or {}).get("hypoxia_probability") for r in replies]
    assert given == [None] * 20 + [n // 20 / 100 for n in range(20, 130)]
    bodies = [json.loads(body) for _, _, _, body in heard.requests]
    ends = [20 * (n + 1) for n in range(6)]
    wanted = [[n / 4 for n in range(max(0, end - 79), end + 1)] for end in ends]
    assert [b["t"] for b in bodies] == wanted


@pytest.mark.parametrize(
    ("reply", "answer", "p", "said"),
    [
        ('probability = "/hypoxia/proba"', {"hypoxia": {"proba": 0.7, "pred": 1}}, 0.7, None),
        (
            'probability = "/probability"\nscale = 100\nalerts = "/flags"',
            {"probability": 85, "risk": "high", "flags": {"late": True, "early": False}},
            0.85,
            None,
        ),
        ('level = "/0/class"\nlevels = {{ "2" = 0.9 }}', [{"class": 2}], 0.9, None),
        (
            'probability = "/p"\nevents = "/ranges"\n[reply.event]\nstart = "/0"\nend = "/1"\n'
            'kind = "/2"\nkinds = {{ LD = "deceleration.late" }}\norigin = "window"\nunit_s = 0.25',
            {"p": 0.1, "ranges": [[4, 40, "LD"], [0, 1, "noise"]]},
            0.1,
            [{"type": "deceleration", "subtype": "late", "start_s": 1.0, "end_s": 10.0}],
        ),
    ],
)
async def test_answers_of_several_shapes(reply, answer, p, said):
    heard = Heard()
    heard.answer = lambda *_: (200, as_json(answer))
    text = WINDOW.partition("[reply]")[0] + f"[reply]\n{reply}\n"
    async with listening(heard), talking(windows(heard, text)) as connection:
        reply = (await told(connection, 22))[20]
    assert reply["prediction"]["hypoxia_probability"] == p
    assert reply.get("events") == said


async def hang(*_):
    await asyncio.sleep(60)


SECRET = "s3cret-token-of-mine"
FAILURES = {
    "status": (lambda *_: (500, f"no: {SECRET}".encode()), "has status 500: no: ***"),
    "redirect": (lambda *_: (302, b"", {"Location": "http://127.0.0.1:9/"}), "not followed"),
    "not-json": (lambda *_: (200, f"<html>{SECRET}".encode()), "is no JSON"),
    "no-pointer": (lambda *_: (200, as_json({"q": 1})), "nothing at '/p'"),
    "no-number": (lambda *_: (200, as_json({"p": SECRET, "warnings": 1})), "is not a number"),
    "beyond": (lambda *_: (200, as_json({"p": 70, "warnings": []})), "70 is not a probability"),
    "time-out": (hang, "no answer within 1 s"),
    "too-large": (lambda *_: (200, b" " * (2 << 20)), "answer too large"),
    "broken-off": (lambda *_: (_ for _ in ()).throw(ConnectionError), "it hung up"),
}


@pytest.mark.parametrize("kind", FAILURES)
async def test_a_failure_leaves_samples_unanswered_until_the_next_success(kind, caplog):
    caplog.set_level(logging.INFO)
    heard = Heard()
    bad, reason = FAILURES[kind]
    good = lambda *_: (200, as_json({"p": 0.6, "warnings": ["w"]}))  # noqa: E731
    heard.answer = lambda *a: (bad if len(heard.requests) == 2 else good)(*a)
    text = (
        WINDOW + '[headers]\nAuthorization = "Bearer {{secret.t}}"\n[secrets]\nt = {{ env = "T" }}'
    )
    async with listening(heard):
        asks = windows(heard, text, secrets={"secret.t": SECRET}, timeout_s=1.0)
        async with talking(asks) as connection:
            replies = await told(connection, 80)
    assert [r["status"] for r in replies] == ["ok"] * 20 + ["warning"] * 20 + ["error"] * 20 + [
        "warning"
    ] * 20
    assert ["sensorID" in r for r in replies] == [True] * 40 + [False] * 20 + [True] * 20
    lines = [r.getMessage() for r in caplog.records if "no prediction" in r.getMessage()]
    assert len(lines) == 1
    assert reason in lines[0]
    assert SECRET not in caplog.text
    assert "\n" not in lines[0]


async def test_too_short_a_window_is_no_failure():
    heard = Heard()
    heard.answer = lambda *_: (422, b"short") if len(heard.requests) < 3 else (
        200, as_json({"p": 0.1, "warnings": []})
    )  # fmt: skip
    async with listening(heard), talking(windows(heard)) as connection:
        replies = await told(connection, 70)
    assert {r["status"] for r in replies} == {"ok"}
    assert [r["prediction"] is None for r in replies] == [True] * 60 + [False] * 10


async def test_a_slow_service_holds_up_no_sample_and_is_asked_once_at_a_time():
    heard, go = Heard(), asyncio.Event()

    async def slow(*_):
        await go.wait()
        return 200, as_json({"p": 0.6, "warnings": []})

    heard.answer = slow
    async with listening(heard), talking(windows(heard, waits=False)) as connection:
        replies = await told(connection, 90)
        assert {r["prediction"] for r in replies} == {None}
        await until(lambda: heard.requests, "it was asked")
        assert len(heard.requests) == 1
        go.set()
        n, reply = 90, replies[-1]
        while reply["prediction"] is None:
            (reply,) = await told(connection, 1, first=n)
            n += 1
    assert reply["prediction"]["hypoxia_probability"] == 0.6


async def test_few_windows_are_asked_about_at_a_time():
    heard, go = Heard(), asyncio.Event()
    now, most = 0, 0

    async def slow(*_):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await go.wait()
        now -= 1
        return 200, as_json({"p": 0.6, "warnings": []})

    heard.answer = slow
    async with listening(heard), talking(windows(heard, waits=False)) as connection:
        for sensor in range(2 * REQUESTS_MAX):
            await told(connection, 21, str(sensor))
        await until(lambda: now == REQUESTS_MAX, "all places are taken")
        go.set()
        await until(lambda: len(heard.requests) == 2 * REQUESTS_MAX, "all were asked about")
    assert most == REQUESTS_MAX


async def test_a_new_examination_begins_a_new_window():
    heard = Heard()
    heard.answer = lambda *_: (200, as_json({"p": 0.6, "warnings": []}))
    async with listening(heard), talking(windows(heard)) as connection:
        await told(connection, 400)
        replies = await told(connection, 41)
    assert [r["prediction"] is None for r in replies[:21]] == [True] * 20 + [False]
    assert json.loads(heard.requests[-2][3])["t"] == [n / 4 for n in range(21)]


async def test_an_expired_session_is_made_again():
    heard, sessions = Heard(), iter(range(100, 200))
    valid = ""

    def answer(method, path, headers, body):
        nonlocal valid
        if path == "/login":
            valid = f"session-{next(sessions)}"
            return 200, as_json({"token": valid})
        if headers["authorization"] != f"Bearer {valid}":
            return 401, b"who are you?"
        valid = "" if len(heard.requests) == 3 else valid
        return 200, as_json({"p": 0.6, "warnings": []})

    heard.answer = answer
    text = WINDOW + (
        '[headers]\nAuthorization = "Bearer {{token}}"\n[[setup]]\nurl = "http://{url}/login"\n'
        'capture = {{ token = "/token" }}\n'
    )
    async with listening(heard), talking(windows(heard, text)) as connection:
        replies = await told(connection, 101)
    paths = [path for _, path, _, _ in heard.requests]
    assert paths == ["/login", *["/predict"] * 3, "/login", *["/predict"] * 2]
    assert [r["status"] for r in replies][::20] == [
        "ok",
        *["warning"] * 2,
        "error",
        *["warning"] * 2,
    ]


async def test_rubbish_gets_an_error_and_the_others_their_replies():
    heard = Heard()
    async with listening(heard), talking(windows(heard)) as connection:
        await connection.send("{")
        await connection.send(request(0))
        assert json.loads(await connection.recv())["status"] == "error"
        assert json.loads(await connection.recv())["secFromStart"] == 0


async def test_nobody_else_gets_in():
    heard = Heard()
    async with listening(heard), HttpMlService(windows(heard)) as service:
        with pytest.raises(InvalidStatus, match="401"):
            await connect(service.url.replace("ctgkit:", "ctgkit:x"), proxy=None)


async def test_a_service_that_was_never_there_ends_the_run():
    heard = Heard()
    heard.url = "127.0.0.1:9"
    async with HttpMlService(windows(heard)) as service:
        scenarios = [load_scenario("normal-reactive")]
        with pytest.raises(Unreachable):
            await play(PlaySettings(url=service.url, scenarios=scenarios, duration_s=900.0))
        assert "connection refused" in service.unreachable
    async with talking(windows(heard, waits=False)) as connection:  # a backend goes on
        statuses = [r["status"] for r in await told(connection, 21)]
        while statuses[-1] != "error":
            statuses += [r["status"] for r in await told(connection, 1, first=len(statuses))]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (('probability = "/p"', 'probability = ""'), "reply"),
        (("[reply]", "[sample]"), "reply"),
        (('"batch"', '"sample"'), "per|unknown variable"),
        (("http://", "ws://"), "http"),
    ],
)
def test_profiles_that_describe_no_such_service(change, place):
    heard = Heard()
    heard.url = "127.0.0.1:9"
    with pytest.raises(ConfigError, match=place):
        HttpMlService(windows(heard, WINDOW.replace(*change)))


async def test_a_client_that_hangs_up_leaves_nothing_running():
    heard = Heard()
    heard.answer = hang
    async with listening(heard), HttpMlService(windows(heard)) as service:
        connection = await connect(service.url, proxy=None)
        for n in range(30):
            await connection.send(request(n))
        await until(lambda: heard.requests, "it was asked")
        connection.transport.abort()
        await until(
            lambda: not any("_ask" in repr(t.get_coro()) for t in asyncio.all_tasks()),
            "the request was given up",
        )
