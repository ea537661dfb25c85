"""`ctgkit record` and `ctgkit replay` as people run them: processes, files, exit codes."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ctgkit.cli.main import cli
from ctgkit.recording.journal import JournalReader
from tests.recording.parties import rows
from tests.server.parties import SENSORS, acked, backend_on, message, sensor, ws

CTGKIT = (sys.executable, "-m", "ctgkit")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Work in a directory with a configuration that names the sensors."""
    monkeypatch.chdir(tmp_path)
    text = "".join(f'[[sensors]]\nid = "{s.id}"\ntoken = "{s.token}"\n' for s in SENSORS)
    Path("ctgkit.toml").write_text(text)
    return tmp_path


async def run(*arguments):
    """Run ctgkit; return exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        *CTGKIT, *map(str, arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def native(path, *frames):
    """Write a recording of one sensor and its viewer by hand."""
    lines = [
        {"ctgkit_recording": 1},
        [0.0, "v1 open", {"path": "/ws"}],
        [0.0, "s1 open", {"path": f"/ws/sensor?sensor_id={SENSORS[0].id}", "offered": []}],
        *([n / 20, "s1 >", frame] for n, frame in enumerate(frames)),
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


async def test_record_replay_expect(home):
    """A stream and a proxy in one file; it plays again, and answers as it did."""
    async with backend_on(home / "a.db") as backend:
        recorder = await asyncio.create_subprocess_exec(
            *CTGKIT, "record", "--listen", "127.0.0.1:0", "--to", ws(backend, ""),
            "--url", backend.url, "--out", "run.jsonl.gz", "--json",
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        address = json.loads(await recorder.stdout.readline())["url"].rstrip("/")
        while not backend._broadcast:
            await asyncio.sleep(0.01)
        played = await run(
            "sensor", "--url", f"{address}/ws/sensor", "--sensors", 2, "--duration", 10,
            "--speed", "max",
        )  # fmt: skip
        assert played[0] == 0, played
        recorder.send_signal(signal.SIGINT)
        out, err = await recorder.communicate()
        assert recorder.returncode == 0, err
        assert json.loads(out)["frames"]["s >"] == 80
    async with backend_on(home / "b.db") as backend:
        code, out, err = await run(
            "replay", "run.jsonl.gz", "--url", ws(backend, "/ws/sensor"), "--speed", "max",
            "--expect", "run.jsonl.gz", "--out", "again.jsonl",
        )  # fmt: skip
        assert code == 0, out + err
        assert "80 answers compared: 0 differ, 0 missing, 0 unexpected" in out
    stored, again = ([(one[0], *one[2:]) for one in rows(home / name)] for name in ("a.db", "b.db"))
    assert stored == again  # but for the numbers, which are new
    assert len(list(JournalReader(home / "again.jsonl"))) > 160


async def test_a_difference_is_exit_code_1(home):
    """And the samples are named."""
    path = native(home / "run.jsonl", *(message(sec=n / 4) for n in range(8)))
    changed = [message(sec=n / 4, fhr=150.0 if n == 3 else 140.0) for n in range(8)]
    answers = [
        json.loads(text) | {"sensorID": SENSORS[0].id, "status": "error"} for text in changed
    ]
    with path.open("a") as file:
        for answer in answers:
            file.write(json.dumps([0.5, "v1 <", json.dumps(answer)]) + "\n")
    async with backend_on(home / "a.db") as backend:
        arguments = ("replay", path, "--url", ws(backend, "/ws/sensor"), "--speed", "max")
        code, out, _ = await run(*arguments, "--expect", path)
        assert code == 1
        assert "BPMChild" in out
        assert "1 sensor, 0.75 s, 1 result" in out
        assert out.endswith("NOT AS EXPECTED\n")


async def test_malformed_frames_are_replayed_byte_for_byte(home):
    """What was cut, or no JSON at all, reaches the backend as it was."""
    frames = [message(sec=0), '{"cut": ', "", "ещё", message(sec=1)]
    path = native(home / "run.jsonl", *frames)
    async with backend_on(home / "a.db") as backend:
        code, out, err = await run(
            "replay", path, "--url", ws(backend, "/ws/sensor"), "--speed", 10, "--json"
        )
        assert code == 0, err
        assert json.loads(out)["sent"] == 5
        assert sum(backend.counters.rejected.values()) == 3
        assert backend.counters.accepted == 2


async def test_a_replay_that_is_refused_is_no_success(home):
    """Exit code 1 and the reasons, unless the recorded backend refused as much."""
    late = '{"secFromStart": 9e9, "data": {"BPMChild": 140}, "seq": %d}'
    path = native(home / "run.jsonl", *(late % n for n in range(1, 4)))
    text = path.read_text().replace('"offered": []', '"offered": ["ctgkit.v1"]')
    path.write_text(text)
    refusals = "".join(
        json.dumps([1.0, "s1 <", json.dumps({"error": "range", "seq": n})]) + "\n"
        for n in (1, 2, 3)
    )
    (home / "refused.jsonl").write_text(text + refusals)
    async with backend_on(home / "a.db") as backend:
        common = ("--url", ws(backend, "/ws/sensor"), "--speed", "max")
        code, _, err = await run("replay", path, *common)
        assert code == 1
        assert "3 of 3 messages rejected, recorded 0: 3 x " in err
        assert (await run("replay", path, *common, "--allow-rejected"))[0] == 0
        assert (await run("replay", "refused.jsonl", *common))[0] == 0


async def test_messages_that_others_kept_are_replayed(home):
    """A log of one message per line: sent as it is."""
    lines = [message(sec=n / 4, sensorID="a") for n in range(4)]
    lines += [message(sec=n / 4) for n in range(3)]
    (home / "kept.ndjson").write_text("\n".join(lines))
    async with backend_on(home / "a.db") as backend:
        code, out, err = await run(
            "replay", "kept.ndjson", "--url", ws(backend, "/ws/sensor"), "--speed", "max", "--json"
        )
        assert code == 0, err
        assert json.loads(out)["sent"] == 7
        assert backend.counters.accepted == 7


async def test_the_stream_is_recorded_without_a_proxy(home):
    """For a duration; exit code 1 when nothing came, 3 when nobody was there."""
    async with backend_on(home / "a.db") as backend:
        url = backend.url
        silent = run("record", "--url", backend.url, "--out", "none.jsonl", "--duration", 0.3)
        assert (await silent)[0] == 1
        recording = asyncio.ensure_future(
            run("record", "--url", backend.url, "--out", "run.jsonl", "--duration", 2)
        )
        while not backend._broadcast:
            await asyncio.sleep(0.01)
        async with sensor(backend) as s:
            for seq in range(1, 9):
                await s.send(message(seq))
            await acked(s, 8)
        code, out, err = await recording
        assert code == 0, err
        assert "8 v <" in out
    gone = run("record", "--url", url, "--out", "x.jsonl", "--connect-timeout", 0)
    assert (await gone)[0] == 3


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["replay", "missing.jsonl"], 4, "No such file"),
        (["replay", "ctgkit.toml"], 4, "not in the native format"),
        (["replay", "run.jsonl", "--from", "5", "--to", "4"], 2, "--from must be before --to"),
        (["replay", "run.jsonl", "--out", "x.jsonl"], 2, "--out goes with --expect"),
        (["replay", "run.jsonl", "--url", "file:///x"], 2, "is not http"),
        (["replay", "run.jsonl", "--serve", "nowhere"], 2, "is not HOST:PORT"),
        (["record", "--listen", "127.0.0.1:0", "--out", "x.jsonl"], 2, "needs a --to"),
        (["record", "--out", "x.csv"], 2, "expected .jsonl"),
        (["record", "--out", "run.jsonl"], 4, "exists already"),
        (["replay", "run.jsonl", "--url", "ws://127.0.0.1:9/ws/sensor", "--connect-timeout", "0"],
         3, "127.0.0.1:9"),
    ],
)  # fmt: skip
def test_mistakes(home, arguments, code, text):
    """Each has its exit code and one line."""
    native(home / "run.jsonl", message(sec=0))
    done = CliRunner().invoke(cli, arguments)
    assert getattr(done.exception, "exit_code", done.exit_code) == code
    assert text in f"{done.exception}{done.stderr}"


def test_serve_without_results_says_so(home):
    """A recording of sensors alone is nothing for a frontend."""
    (home / "run.jsonl").write_text('{"ctgkit_recording": 1}\n')
    done = CliRunner().invoke(cli, ["replay", "run.jsonl", "--serve", "127.0.0.1:0"])
    assert "no viewer stream" in str(done.exception)


@pytest.mark.parametrize("suffix", [".npz", ".jsonl"])
async def test_sensors_play_other_formats(home, suffix):
    """What a sensor sends is what is in the file."""
    (home / "in.csv").write_text("sec,bpm,uterus\n0,140.25,7\n0.12,,8\n0.24,141,9\n")
    assert CliRunner().invoke(cli, ["convert", "in.csv", f"in{suffix}"]).exit_code == 0
    async with backend_on(home / "a.db") as backend:
        code, _, err = await run(
            "sensor", "--url", ws(backend, "/ws/sensor"), "--from", f"in{suffix}", "--speed", "max"
        )
        assert code == 0, err
    assert [row[2:5] for row in rows(home / "a.db")] == [
        (0.0, 140.25, 7.0), (0.12, None, 8.0), (0.24, 141.0, 9.0),
    ]  # fmt: skip
