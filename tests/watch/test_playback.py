"""`ctgkit watch FILE`: a recording instead of a backend."""

import json
import math
import subprocess
import sys

import ctgkit
from ctgkit.recording.format import VERSION, Header, Line
from ctgkit.recording.journal import JournalWriter
from ctgkit.samples import Prediction, Sample
from ctgkit.watch.playback import FASTEST, SLOWEST, Pace, play
from ctgkit.wire import encode_result


def watch(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "ctgkit", "watch", *arguments],
        capture_output=True, text=True, timeout=110, check=False, cwd=cwd,
    )  # fmt: skip


def test_a_recording_is_shown_to_its_end(tmp_path):
    """Every sample once and in order; no signal is null; text for people, JSON for scripts."""
    rows = [(n / 4, 0 if n % 10 == 0 else 130 + n % 20, n % 50) for n in range(2000)]
    text = "sec,bpm,uterus\n" + "".join(f"{s},{b},{u}\n" for s, b, u in rows)
    (tmp_path / "trace.csv").write_text(text)
    done = watch("trace.csv", "--speed", "max", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(s["secFromStart"], s["data"]["BPMChild"] or 0) for s in shown] == [
        (sec, bpm) for sec, bpm, _ in rows
    ]
    done = watch("trace.csv", "--speed", "max", "--plain", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "t 499.75" in done.stdout.splitlines()[-1]


def test_recorded_results_are_shown_as_they_were(tmp_path):
    """Of a recording of the viewer stream the results are played, not only their samples."""
    sample = Sample("11111111-1111-4111-8111-111111111111", 0.25, 140.0, 10.0, 0.0)
    prediction = Prediction(
        hypoxia_probability=0.9,
        hypoxia_risk="critical",
        alerts=["late_deceleration"],
        confidence=0.8,
        recommendations=["call"],
    )
    result = encode_result(sample, prediction, "ok", "2026-01-01T00:00:00Z")
    with JournalWriter(tmp_path / "day.jsonl", Header(version=VERSION)) as journal:
        journal.write(Line(5.0, "v1", "open", about={"path": "/ws"}))
        journal.write(Line(5.5, "v1", "<", result))
    done = watch("day.jsonl", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(result)


def test_mistakes_are_named(tmp_path):
    """A file that is none, and a speed without one."""
    (tmp_path / "bad.csv").write_text("no header\n")
    done = watch("bad.csv", "--plain", cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (4, False)
    assert "bad.csv" in done.stderr
    assert watch("--speed", "2", cwd=tmp_path).returncode == 2


def test_a_recording_is_analysed_when_asked(tmp_path):
    """What `ctgkit ml` would have said, and without the option nothing: scripts rely on that."""
    trace = ctgkit.generate("late-decels-severe", seed=7, duration_s=900)
    ctgkit.write_recording(trace, tmp_path / "trace.csv")
    done = watch("trace.csv", "--speed", "max", "--json", "--analyze", cwd=tmp_path)
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = {event["kind"] for one in shown for event in one.get("events") or ()}
    assert {"deceleration", "contraction"} <= kinds
    assert shown[-1]["prediction"]["hypoxia_risk"]
    plain = watch("trace.csv", "--speed", "max", "--json", cwd=tmp_path)
    assert not any("events" in json.loads(line) for line in plain.stdout.splitlines())


async def test_the_pace_changes_while_it_plays():
    """An hour of data needs no hour; the order stays, and the end is told."""
    pace = Pace(1.0)
    messages = [(float(at_s), str(at_s).encode()) for at_s in range(3600)]
    got = []
    async for item in play(messages, pace):
        got.append(item)
        while pace.speed < 1024.0:
            pace.change(2.0)
        if len(got) == 100:
            pace.speed = math.inf
            pace.change(1.0)  # nothing changes any more
    assert got[0].phase == "live"
    assert got[-1].phase == "ended"
    assert got[1:-1] == [message for _, message in messages]


def test_the_pace_has_bounds():
    """However often somebody presses a key."""
    pace = Pace(1.0)
    assert [pace.change(2.0) for _ in range(20)][-1] == FASTEST
    assert [pace.change(0.5) for _ in range(40)][-1] == SLOWEST


def test_the_end_of_a_recording_is_told(tmp_path):
    """In the log where lines are written; in the view see test_state.py."""
    (tmp_path / "t.csv").write_text("sec,bpm\n" + "".join(f"{n},140\n" for n in range(10)))
    done = watch("t.csv", "--speed", "max", "--plain", cwd=tmp_path)
    assert "end of t.csv" in done.stderr.splitlines()[-1]
