"""`ctgkit inspect`, and what every command that reads a file says about it."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ctgkit.cli.main import cli
from tests.extras import need
from tests.recording.files.test_kinds import original_database, pair


def ctgkit(*arguments, cwd):
    done = subprocess.run(
        [sys.executable, "-m", "ctgkit", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def inside(*arguments, cwd):
    """Run a command in this process, as quickly as that: code, stdout, stderr with the error."""
    with contextlib.chdir(cwd):
        done = CliRunner().invoke(cli, [str(a) for a in arguments], standalone_mode=False)
    code = getattr(done.exception, "exit_code", done.return_value or 0)
    return code, done.stdout, f"{done.stderr}{done.exception or ''}"


@pytest.fixture
def trace(tmp_path):
    """A table with everything that is worth saying."""
    rows = [f"{n / 4:g};{-1 if n < 4 else 140.5 + n % 9};{20 + n % 5};82;x" for n in range(100)]
    rows[50:70] = []
    body = "\n".join(rows).replace(".", ",")
    text = f"Ward 7\nsec;FHR (bpm);UC;MHR;note\n{body}\n"
    path = tmp_path / "trace.csv"
    path.write_text(text)
    return path


def test_it_says_what_was_taken_for_what_and_what_would_be_lost(trace):
    """In words and as JSON: channels, what isn't read, rate, gaps, start, remarks."""
    done = CliRunner().invoke(cli, ["inspect", str(trace), "--json"])
    said = json.loads(done.stdout)
    assert said["format"] == "csv"
    assert said["taken"] == ["time from sec", "heart rate from FHR (bpm)", "toco from UC"]
    assert said["not_read"] == ["MHR (the mother's)", "note"]
    assert said["notes"] == ["semicolons, decimal commas"]
    assert said["warnings"] == ["4 heart rates negative, first -1 at 0 s: read as no signal"]
    (one,) = said["recordings"]
    assert (one["samples"], one["rate_hz"], one["to_s"]) == (80, 4.0, 24.75)
    assert one["gaps"] == {
        "count": 1, "total_s": 5.25, "longest_s": 5.25, "longest_at_s": 12.25,
    }  # fmt: skip
    assert one["heart_rate"]["share"] == 0.95
    assert (one["started"], one["remarks"]) == ("", ["Ward 7"])
    assert said["lost"]["csv"] == []
    assert said["lost"]["two-csv"] == ["comments"]
    words = CliRunner().invoke(cli, ["inspect", str(trace)]).stdout
    for text in ("not read: MHR (the mother's)", "! 4 heart rates negative", "4 per second",
                 "gaps: 1 without samples, the longest 5.25 s at 12.25 s", "started: unknown",
                 "remark: Ward 7", "two-csv: comments"):  # fmt: skip
        assert text in words


@pytest.mark.parametrize(
    "arguments",
    [["convert", "trace.csv", "out.npz"], ["analyze", "trace.csv"],
     ["watch", "trace.csv", "--plain", "--speed", "max"],
     ["paper", "trace.csv", "--out", "x.svg"]],
)  # fmt: skip
def test_every_reading_command_says_it_once(trace, arguments):
    """On stderr, one line, unless -q; warnings stay."""
    if arguments[0] == "paper":
        need("matplotlib")
    code, _, err = ctgkit(*arguments, cwd=trace.parent)
    assert code == 0
    assert err.count("heart rate from FHR (bpm), toco from UC") == 1
    assert err.count("not read: MHR (the mother's), note") == 1
    assert err.count("4 heart rates negative") == 1
    quiet = [*arguments, "-q"] + (["--force"] if arguments[0] == "convert" else [])
    code, _, err = ctgkit(*quiet, cwd=trace.parent)
    assert code == 0
    assert "heart rate from" not in err
    assert "4 heart rates negative" in err


@pytest.mark.parametrize("command", ["inspect", "convert", "analyze", "watch"])
def test_the_same_options_help_everywhere(tmp_path, command):
    """--fhr, --toco, --time, --rate."""
    path = tmp_path / "x.csv"
    path.write_text("a,b,c\n" + "".join(f"{n},{140 + n % 5},9\n" for n in range(40)))
    extra = {"convert": [str(tmp_path / "out.jsonl"), "--force"],
             "watch": ["--plain", "--speed", "max"]}  # fmt: skip
    arguments = [command, str(path), *extra.get(command, [])]
    failed = CliRunner().invoke(cli, arguments)
    assert "it has the columns a, b, c" in str(failed.exception)
    for options in (["--fhr", "b", "--toco", "3", "--time", "a"], ["--fhr", "2", "--rate", "4"]):
        done = CliRunner().invoke(cli, [*arguments, *options])
        assert (done.exit_code, done.exception) == (0, None)


def test_twins_and_several_sensors_are_each_analysed_or_chosen(tmp_path):
    rows = "".join(f"{n / 4},{140 + n % 5},{150 + n % 3},9\n" for n in range(2400))
    (tmp_path / "x.csv").write_text("sec,FHR1,FHR2,UC\n" + rows)
    _, out, _ = inside("analyze", "x.csv", "--json", cwd=tmp_path)
    first, second = map(json.loads, out.splitlines())
    assert first["recording"] == "x.csv (fetus 1: FHR1)"
    assert first["features"]["baseline_bpm"] < 145 < second["features"]["baseline_bpm"]
    for options in (["--fetus", "2"], ["--sensor", "2"]):
        _, out, _ = inside("analyze", "x.csv", "--json", *options, cwd=tmp_path)
        assert json.loads(out)["features"] == second["features"]
    need("matplotlib")
    code, _, err = inside("paper", "x.csv", "--out", "x.svg", cwd=tmp_path)
    assert code == 4
    assert "choose one with --sensor N" in err
    assert inside("paper", "x.csv", "--out", "x.svg", "--fetus", "2", cwd=tmp_path)[0] == 0


def test_our_own_output_is_read_by_ourselves(tmp_path):
    """watch --json, and a database of the original system."""
    (tmp_path / "x.csv").write_text("sec,bpm\n" + "".join(f"{n},{140 + n}\n" for n in range(9)))
    _, out, _ = inside("watch", "x.csv", "--json", "--speed", "max", cwd=tmp_path)
    (tmp_path / "seen.jsonl").write_text(out)
    code, _, err = inside("convert", "seen.jsonl", "y.csv", cwd=tmp_path)
    assert code == 0, err
    values = np.genfromtxt(tmp_path / "y.csv", delimiter=",", skip_header=1)[:, 1]
    assert values.tolist() == [140.0 + n for n in range(9)]
    original_database(tmp_path / "original.db")
    code, out, err = inside("convert", "original.db", "z.csv", "--exam", "2", cwd=tmp_path)
    assert code == 0, err
    assert "AAAA: 20 samples" in out
    assert inside("analyze", "original.db", "--sensor", "3", cwd=tmp_path)[0] == 0
    code, out, err = inside("watch", "original.db", "--sensor", "zz", "--plain", cwd=tmp_path)
    assert code == 1
    assert "no result of a sensor zz came" in err


def test_exam_reads_the_original_systems_database(tmp_path):
    """list, show and export; what is exported is read again. Nothing is written to it."""
    path = original_database(tmp_path / "original.db")
    before = path.read_bytes()
    store = ("--store", f"sqlite:///{path}")
    _, out, err = inside("exam", "list", *store, "--json", cwd=tmp_path)
    first, second = map(json.loads, out.splitlines())
    assert (first["samples"], first["sensors"], first["start_time"]) == (
        40, 2, "2026-01-02T03:04:05.678Z",
    )  # fmt: skip
    assert second["start_time"] is None
    _, out, _ = inside("exam", "show", "2", *store, "--json", cwd=tmp_path)
    assert [s["uuid"] for s in json.loads(out)["by_sensor"]] == ["AAAA", "bbbb"]
    for name in ("x.csv", "x.json", "x.jsonl"):
        code, _, err = inside("exam", "export", "1", *store, "--out", name, cwd=tmp_path)
        assert code == 0, err
        code, out, err = inside("inspect", name, "--json", cwd=tmp_path)
        assert code == 0, err
        found = json.loads(out)["recordings"]
        assert [one["sensor"].lower() for one in found] == ["aaaa", "bbbb"]
        assert [(one["samples"], one["heart_rate"]["share"]) for one in found] == [(20, 0.95)] * 2
        started = "" if name == "x.csv" else "2026-01-02T03:04:05.678Z"
        assert [one["started"] for one in found] == [started] * 2
    assert path.read_bytes() == before
    assert not [one for one in tmp_path.iterdir() if one.name.startswith("original.db-")]


def test_directories_are_taken_by_every_command(tmp_path, write):
    minute = [(n, 140 + n % 7) for n in range(60)]
    pair(write, "rec", minute, minute)
    for arguments in (["analyze", "rec"], ["inspect", "rec"], ["convert", "rec", "x.csv"],
                      ["watch", "rec", "--plain", "--speed", "max"]):  # fmt: skip
        assert inside(*arguments, cwd=tmp_path)[0] == 0, arguments


def test_convert_replaces_nothing_unasked(tmp_path):
    """Not a second file of a record, nor one of several, nor the file that is read."""
    need("wfdb")
    (tmp_path / "x.csv").write_text("sec,FHR1,FHR2\n0,140,150\n0.25,141,160\n")
    (tmp_path / "r.dat").write_bytes(b"mine")
    for target, fetus in (("r.hea", ["--fetus", "1"]), ("x.csv", [])):
        code, _, err = inside("convert", "x.csv", target, *fetus, cwd=tmp_path)
        assert code == 4
        assert "exists already" in err
    code, _, err = inside("convert", "x.csv", "x.csv", "--force", cwd=tmp_path)
    assert "is the input file" in err
    assert (tmp_path / "r.dat").read_bytes() == b"mine"
    assert Path(tmp_path / "x.csv").read_text().startswith("sec,FHR1")
