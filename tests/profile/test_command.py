"""``ctgkit sensor --profile``, ``score --profile`` and ``serve --ml-profile`` as processes."""

import json
import math
import os
from pathlib import Path

import pytest

from ctgkit.cli import main
from ctgkit.simulate.generate import truth_lines
from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor
from tests.flow.clients import watching
from tests.flow.processes import until, until_reports
from tests.profile.servers import Heard, as_json, listening

RECORD = """
url = "{url}/records"
gap = -1
[headers]
Authorization = "Bearer {{secret.token}}"
[secrets]
token = {{ env = "WARD_TOKEN" }}
[body]
timestamp = "{{epoch_ms}}"
t_ms = "{{t_ms}}"
fhr_bpm = "{{fhr}}"
uc_mmHg = "{{toco}}"
"""
TOKEN = "t0ken-that-nobody-may-see"
CSV = "time_sec,bpm,uterus\n0,140,10\n0.25,,11\n0.5,142,\n0.75,143,13\n"
ML = """
url = "http://127.0.0.1:9/predict"
per = "batch"
window_s = 60
every_s = 2
[body]
fhr = "{fhr[]}"
[reply]
probability = "/p"
"""


async def ended(system, *arguments, **options):
    """Run to the end; return the exit code, stdout and stderr."""
    process = system.start(*arguments, **options)
    return await process.ended(), process.out, process.err


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """Run commands in this process; return the exit code and stderr."""
    for name in [name for name in os.environ if name.startswith("CTGKIT_")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["ctgkit", *arguments])
        return main.run(), capsys.readouterr().err

    return run


async def played(system, text, *arguments, name="mine.toml"):
    (system.directory / name).write_text(text)
    (system.directory / "case.csv").write_text(CSV)
    given = ("sensor", "--profile", name, "--from", "case.csv", "--speed", "max", *arguments)
    return await ended(system, *given, env={"WARD_TOKEN": TOKEN})


async def test_a_record_per_request(system):
    heard = Heard()
    seen = set()

    def answer(*_):
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.update(path.read_bytes().split(b"\0"))
            except OSError:
                continue  # it ended meanwhile
        return 201, b""

    heard.answer = answer
    async with listening(heard):
        code, out, err = await played(system, RECORD.format(url=f"http://{heard.url}"), "--json")
    assert (code, json.loads(out)["accepted"]) == (0, 4)
    got = [json.loads(body) for _, _, _, body in heard.requests]
    assert [(r["t_ms"], r["fhr_bpm"], r["uc_mmHg"]) for r in got] == [
        (0, 140, 10), (250, -1, 11), (500, 142, -1), (750, 143, 13),
    ]  # fmt: skip
    assert [r["timestamp"] - got[0]["timestamp"] for r in got] == [0, 250, 500, 750]
    assert {h["authorization"] for _, _, h, _ in heard.requests} == {f"Bearer {TOKEN}"}
    assert TOKEN not in out + err
    assert not any(TOKEN.encode() in argument for argument in seen)


async def test_a_login_comes_first(system):
    heard = Heard()
    heard.answer = lambda method, path, headers, body: (
        (200, as_json({"data": {"session": "abc/1", "access": "x" * 40}}))
        if path == "/login"
        else (200 if headers.get("x-token") == "x" * 40 else 401, b"")
    )
    text = """
url = "http://{url}/sessions/{{session}}/signals"
[headers]
X-Token = "{{access}}"
[[setup]]
url = "http://{url}/login"
body = {{ user = "ward", password = "{{secret.token}}" }}
capture = {{ session = "/data/session", access = "/data/access" }}
[secrets]
token = {{ env = "WARD_TOKEN" }}
[body]
type = "signal"
bpm = "{{fhr}}"
"""
    async with listening(heard):
        code, out, err = await played(system, text.format(url=heard.url))
    assert code == 0, err
    (login, *rest) = heard.requests
    assert json.loads(login[3]) == {"user": "ward", "password": TOKEN}
    assert {path for _, path, _, _ in rest} == {"/sessions/abc%2F1/signals"}
    assert [json.loads(body)["bpm"] for _, _, _, body in rest] == [140, None, 142, 143]
    assert TOKEN not in out + err


TWINS = """
url = "{url}/beds/{{id}}"
per = "batch"
batch_s = 5
gap = -1
[body]
records = "{{samples}}"
[sample]
t = "{{t}}"
one = "{{fhr}}"
two = "{{fhr2}}"
toco = "{{toco}}"
[channel.fhr]
digits = 0
"""


def shown_by(sensor):
    """Return what a sensor shows in 20 min, as the profile above writes it."""
    rates = sensor.read(20 * 60 * 4).fhr_bpm.tolist()
    return [-1 if math.isnan(bpm) else round(bpm) for bpm in rates]


async def test_both_twins_in_one_message(system):
    """Each sensor shows the two of one bed; the truth has a file for each."""
    async with listening() as heard:
        (system.directory / "mine.toml").write_text(TWINS.format(url=f"http://{heard.url}"))
        code, _, err = await ended(
            system, "sensor", "--profile", "mine.toml", "--scenario", "twins", "--seed", "3",
            "--sensors", "2", "--speed", "max", "--duration", "20m", "--truth", "truth.jsonl",
        )  # fmt: skip
    assert (code, "is a gap" in err) == (0, False)
    got = {}
    for _, path, _, body in heard.requests:
        got.setdefault(path.rpartition("/")[2], []).extend(json.loads(body)["records"])
    scenario, beds = load_scenario("twins"), {}
    for number in range(4):
        lines = (system.directory / f"truth-{number}.jsonl").read_text().splitlines()
        sensor = Sensor(scenario, 3, number)
        beds.setdefault(json.loads(lines[0])["sensor_id"], []).append(shown_by(sensor))
        true = truth_lines(sensor, {}).decode().splitlines()
        assert lines[1:] == true[1:]  # no further than what was sent
    assert {
        sensor_id: [[r[key] for r in records] for key in ("one", "two")]
        for sensor_id, records in got.items()
    } == beds
    for one, two in beds.values():
        assert one != two
        assert -1 in one + two


async def test_one_of_two_has_no_second_fetus(system):
    """Its second rate is the gap, which is said."""
    async with listening() as heard:
        (system.directory / "mine.toml").write_text(TWINS.format(url=f"http://{heard.url}"))
        code, _, err = await ended(
            system, "sensor", "--profile", "mine.toml", "--scenario", "twins,normal-reactive",
            "--speed", "max", "--duration", "10",
        )  # fmt: skip
    assert code == 0
    assert "{fhr2} is a gap: there is no second fetus in normal-reactive\n" in err
    seen = {}
    for _, path, _, body in heard.requests:
        seen.setdefault(path, set()).update(r["two"] for r in json.loads(body)["records"])
    fewer, more = sorted(seen.values(), key=len)
    assert fewer == {-1}
    assert len(more) > 1


def test_a_recording_has_no_second_fetus(here, tmp_path, caplog):
    (tmp_path / "case.csv").write_text(CSV)
    (tmp_path / "mine.toml").write_text(TWINS.format(url="http://127.0.0.1:9"))
    code, _ = here("sensor", "--profile", "mine.toml", "--from", "case.csv", "--stdout")
    assert code == 0
    assert "{fhr2} is a gap: there is no second fetus in a recording" in caplog.messages
    assert here("profile", "lint", "mine.toml") == (
        0,
        "{fhr2} is a gap unless the scenario has a second fetus, as twins has\n",
    )


async def test_url_moves_a_shipped_profile(system):
    sensor_id = "0c7f1e4a-5b8d-4f52-9b39-6f5d8e1a7c23"
    async with listening() as heard:
        code, out, err = await ended(
            system, "sensor", "--profile", "value-lines", "--url", heard.url,
            "--duration", 2, "--speed", "max", "--seed", 0, "--sensor-id", sensor_id.upper(),
        )  # fmt: skip
    assert code == 0, err
    times = [float(text.split(",")[0]) for path, text in heard.lines if path.endswith("/bpm")]
    assert times == pytest.approx([0.127029 * n for n in range(16)], abs=1e-4)
    assert {path for path, _ in heard.lines} == {
        f"/{sensor_id}/{name}" for name in ("bpm", "uterus")
    }
    assert "not confirmed" in out


async def test_stdout_is_for_a_pipe(system):
    text = RECORD.format(url="http://127.0.0.1:9")
    code, out, err = await played(system, text, "--stdout")
    assert code == 0, err
    assert [json.loads(line)["fhr_bpm"] for line in out.splitlines()] == [140, -1, 142, 143]
    assert "4 messages" in err


@pytest.mark.parametrize(
    ("statuses", "more", "code"),
    [
        ([200, 400, 200, 200], [], 1),
        ([500, 500, 302, 404], [], 1),
        ([200, 400, 200, 200], ["--allow-rejected"], 0),
    ],
)
async def test_exit_codes_by_what_was_accepted(system, statuses, more, code):
    heard = Heard()
    heard.answer = lambda *_: (
        statuses[len(heard.requests) - 1],
        f"{TOKEN} is unknown".encode(),
        {"Location": "/elsewhere"},
    )
    async with listening(heard):
        got, out, err = await played(system, RECORD.format(url=f"http://{heard.url}"), *more)
    assert got == code
    assert len(heard.requests) == 4
    assert TOKEN not in out + err
    assert "Traceback" not in err


async def test_a_websocket_that_closes_on_what_it_gets_is_a_refusal(system):
    heard = Heard()
    heard.refuse = 1008
    async with listening(heard):
        text = RECORD.format(url=f"ws://{heard.url}")
        code, out, err = await played(system, text, "--json")
    assert code == 1
    assert json.loads(out)["rejected"].keys() == {"closed with 1008"}
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("--profile", "no-such"), 4, "no such profile"),
        (("--profile", "none.toml"), 4, "none.toml"),
        (("--profile", "record-batches"), 4, "CTG_API_TOKEN"),
        (("--profile", "value-lines", "--fault", "drop:rate=0.1"), 2, "--fault"),
        (("--profile", "value-lines", "--ramp", "1"), 2, "--ramp"),
        (("--profile", "value-lines", "--control", "9"), 2, "--control"),
        (("--profile", "value-posts", "--stdout"), 2, "setup"),
        (("--profile", "csv-window", "--stdout"), 2, "upload"),
        (("--profile", "csv-window", "--url", "ws://127.0.0.1:9"), 4, "upload"),
        (("--stdout",), 2, "--profile"),
        (("--profile", "signal-messages", "--url", "127.0.0.1:9", "--connect-timeout", "0"), 3,
         "refused"),
        (("--profile", "value-posts", "--url", "127.0.0.1:9", "--connect-timeout", "0"), 3,
         "refused"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(here, arguments, code, reason):
    got, err = here("sensor", "--duration", "1", *arguments)
    assert got == code, err
    assert reason in err.splitlines()[-1]


async def test_score_asks_a_service_behind_http(system):
    heard = Heard()
    heard.answer = lambda *_: (200, as_json({"p": 0.9}))
    (system.directory / "ml.toml").write_text(ML)
    arguments = ("--scenarios", "normal-reactive", "--duration", "20", "--json")
    async with listening(heard):
        to = ("score", "--ml", f"http://{heard.url}", "--profile", "ml.toml", *arguments)
        code, _, err = await ended(system, *to)
        assert (code, len(heard.requests)) == (0, 9), err
        assert heard.requests[0][1] == "/predict"
        heard.answer = lambda *_: (500, b"broken")
        code, _, err = await ended(system, *to)
        assert code == 1
        assert "status 500" in err


async def test_score_goes_on_with_the_same_service_only(system):
    """What was finished isn't played again; another profile is another service."""
    heard = Heard()
    heard.answer = lambda *_: (200, as_json({"p": 0.9}))
    (system.directory / "ml.toml").write_text(ML)
    (system.directory / "other.toml").write_text(ML.replace("every_s = 2", "every_s = 4"))
    async with listening(heard):
        both = ("score", "--ml", f"http://{heard.url}", "--duration", "20", "--json")
        both += ("--resume", "state.json", "--scenarios")
        one, two = "normal-reactive", "normal-reactive,early-decels"
        code, _, err = await ended(system, *both, one, "--profile", "ml.toml")
        assert (code, len(heard.requests)) == (0, 9), err
        code, out, err = await ended(system, *both, two, "--profile", "ml.toml")
        assert (code, len(heard.requests)) == (0, 18), err
        assert [r["name"] for r in json.loads(out)["recordings"]] == two.split(",")
        code, _, err = await ended(system, *both, two, "--profile", "other.toml")
        assert (code, len(heard.requests)) == (4, 18)
        assert "it has another profile" in err


def test_score_where_nobody_is(here, tmp_path):
    (tmp_path / "ml.toml").write_text(ML)
    got, err = here("score", "--ml", "http://127.0.0.1:9", "--profile", "ml.toml",
                    "--scenarios", "normal-reactive", "--duration", "20")  # fmt: skip
    assert got == 3
    assert "http://127.0.0.1:9: connection refused" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("score", "--ml", "http://127.0.0.1:9"), 2),
        (("score", "--profile", "ml.toml"), 2),
        (("score", "--ml", "http://127.0.0.1:9", "--profile", "value-posts"), 4),
        (("serve", "--ml", "http://127.0.0.1:9"), 2),
        (("serve", "--ml", "none", "--ml-profile", "csv-window"), 2),
        (("serve", "--ml", "http://me:pw@127.0.0.1:9", "--ml-profile", "csv-window"), 4),
    ],
)
def test_a_service_and_its_profile_belong_together(here, arguments, code):
    got, err = here(*arguments)
    assert got == code, err
    assert "profile" in err.splitlines()[-1] or "password" in err.splitlines()[-1]


async def test_a_backend_asks_a_service_behind_http(system):
    """Viewers get predictions, errors while it is broken, and predictions again."""
    heard, broken = Heard(), False
    heard.answer = lambda *_: (500, b"broken") if broken else (200, as_json({"p": 0.9}))
    (system.directory / "ml.toml").write_text(ML)
    system.configure()
    async with listening(heard):
        backend = await system.serve(
            "--ml-profile", "ml.toml", ml=f"http://{heard.url}"
        ).announced()
        async with watching(backend.url) as viewer:
            sensor = system.start(
                "sensor", "--url", backend.url, "--speed", 10, "--duration", 3000
            )  # fmt: skip

            def last(status):
                return any(r["status"] == status for r in viewer.seen[-20:])

            await until(lambda: last("critical"), "a prediction came")
            broken = True
            await until(lambda: last("error"), "its failure was shown")
            health = await until_reports(backend.url, {"status": "degraded"}, "health says so")
            broken = False
            await until(lambda: last("critical"), "it answered again")
            sensor.kill()
        assert await backend.stopped() == 0
    assert health["status"] == "degraded"
    assert "Traceback" not in backend.err
    assert "ctgkit:" not in backend.err  # the password between the two halves
