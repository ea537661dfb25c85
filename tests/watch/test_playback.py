"""`ctgkit watch FILE`: a recording instead of a backend."""

import json
import subprocess
import sys


def watch(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "ctgkit", "watch", *arguments],
        capture_output=True, text=True, timeout=60, check=False, cwd=cwd,
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


def test_mistakes_are_named(tmp_path):
    """A file that is none, and a speed without one."""
    (tmp_path / "bad.csv").write_text("no header\n")
    done = watch("bad.csv", "--plain", cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (4, False)
    assert "bad.csv" in done.stderr
    assert watch("--speed", "2", cwd=tmp_path).returncode == 2
