"""``ctgkit generate`` and ``ctgkit scenario`` as a user runs them."""

import csv
import gzip
import io
import json
import os
import resource
import signal
import sys
import time

import click
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from ctgkit.cli.main import cli
from ctgkit.errors import RecordingError, ScenarioError
from ctgkit.events import Event
from ctgkit.recording import read_recording, read_recordings, write_recording
from ctgkit.simulate.library import load_scenario, scenario_names
from ctgkit.simulate.sensor import Sensor
from tests.extras import need
from tests.programs import started


def run(*arguments):
    """Run the command line in process."""
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def read_csv(text):
    """Return header and columns, as plain numpy reads them: an empty cell is no signal."""
    return text.partition("\n")[0], np.genfromtxt(io.StringIO(text), delimiter=",", skip_header=1).T


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_csv_holds_the_sensors_samples_and_says_simulated(tmp_path, suffix):
    """Same numbers as the Python API, and nothing else but the mark; the header says what it is."""
    out = tmp_path / f"s{suffix}"
    result = run(
        "generate", "--scenario", "sensor-off", "--seed", 4, "--duration", 900, "--out", out
    )
    assert result.exit_code == 0, result.output
    data = out.read_bytes()
    text = (gzip.decompress(data) if suffix.endswith("gz") else data).decode()
    header, (*columns, marks) = read_csv(text)
    assert header.startswith('sec,bpm,uterus,spasms,"simulated by ctgkit ')
    assert (marks == 1).all()
    expected = Sensor(load_scenario("sensor-off"), seed=4).read(3600)
    for got, want in zip(columns, expected, strict=True):
        assert np.array_equal(got, want, equal_nan=True)


def test_many_sensors_get_a_file_each_and_the_same_run_the_same_bytes(tmp_path):
    """Numbered files, one truth each, reproducible to the byte."""
    for folder in ("a", "b"):
        result = run(
            "generate", "--scenario", "mixed-cohort", "--sensors", 3, "--duration", 300,
            "--out", tmp_path / folder / "s.csv.gz", "--truth", tmp_path / folder / "t.jsonl",
            "--json",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["sensor"] for line in lines] == [0, 1, 2]
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert names == [
        f"{x}-{i}{s}" for x, s in (("s", ".csv.gz"), ("t", ".jsonl")) for i in range(3)
    ]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_truth_is_json_lines_of_events_under_a_header(tmp_path):
    """The header marks it simulated; every other line is an Event."""
    truth = tmp_path / "t.jsonl"
    out = tmp_path / "s.csv"
    run("generate", "--scenario", "variable-typical", "--duration", 1800, "--out", out,
        "--truth", truth)  # fmt: skip
    header, *lines = truth.read_text().splitlines()
    assert json.loads(header)["simulated"] is True
    events = [msgspec.json.decode(line, type=Event) for line in lines]
    sensor = Sensor(load_scenario("variable-typical"))
    sensor.seek(7200)
    assert events == sensor.events()


def test_npz_holds_the_truth_too(tmp_path):
    """Arrays of equal length, and the events."""
    out = tmp_path / "s.npz"
    assert run("generate", "--duration", 300, "--out", out).exit_code == 0
    with np.load(out) as data:
        for name in ("sec", "bpm", "uterus", "spasms", "baseline_bpm", "fhr_clean_bpm", "mask"):
            assert len(data[name]) == 1200
        assert "simulated" in str(data["simulated"])
        assert '"kind"' in str(data["events_jsonl"])


def test_wrong_suffix_is_a_usage_error(tmp_path):
    """Exit code 2, naming the suffixes."""
    result = run("generate", "--out", tmp_path / "s.xyz")
    assert result.exit_code == 2
    assert ".csv.gz" in result.output


def test_unknown_scenario_is_a_scenario_error(tmp_path):
    """With the nearest name; the command line turns it into exit code 4."""
    result = run("generate", "--scenario", "sinusodial", "--out", tmp_path / "s.csv")
    assert isinstance(result.exception, ScenarioError)
    assert "sinusoidal" in str(result.exception)


def test_list_names_every_scenario():
    """As text and as JSON lines."""
    text = run("scenario", "list")
    assert [line.split()[0] for line in text.stdout.splitlines()] == scenario_names()
    rows = [json.loads(line) for line in run("scenario", "list", "--json").stdout.splitlines()]
    assert [row["id"] for row in rows] == scenario_names()


@pytest.mark.parametrize("name", scenario_names())
def test_show_prints_what_is_set(name):
    """JSON has every knob; the text names the scenario."""
    shown = json.loads(run("scenario", "show", name, "--json").stdout)
    assert shown["id"] == name
    assert "fhr.baseline_bpm" in shown["knobs"]
    assert run("scenario", "show", name).stdout.startswith(f"{name}: {shown['title']}")


def test_lint_reports_each_and_exits_4_when_one_is_wrong(tmp_path):
    """Good ones are ok, bad ones say where."""
    bad = tmp_path / "bad.toml"
    bad.write_text("[fhr]\nbaselin_bpm = 3")
    result = run("scenario", "lint", "sinusoidal", bad)
    assert result.exit_code == 4
    assert result.stdout.splitlines()[0] == "sinusoidal: ok"
    assert "did you mean 'baseline_bpm'" in result.stdout
    assert run("scenario", "lint", "sinusoidal", "--json").exit_code == 0


def test_help_has_an_example():
    """Of both commands and their subcommands."""
    for command in (["generate"], ["scenario"], ["scenario", "lint"], ["scenario", "show"]):
        assert "Example: ctgkit" in click.unstyle(run(*command, "--help").output)


@pytest.mark.parametrize("name", ["s.npz", "s.jsonl.gz", "s.edf", "s.parquet", "s.hea"])
def test_every_format_holds_the_same_samples(tmp_path, name):
    """What is written in one format is what is written in another, marked as simulated."""
    need({"s.edf": "edfio", "s.parquet": "pyarrow", "s.hea": "wfdb"}.get(name, "numpy"))
    chosen = ["generate", "--scenario", "late-decels-mild", "--duration", "300", "--out"]
    for path in (tmp_path / "s.csv", tmp_path / name):
        assert run(*chosen, path).exit_code == 0
    one, other = read_recording(tmp_path / "s.csv"), read_recording(tmp_path / name)
    assert other.simulated
    np.testing.assert_array_equal(one.fhr_bpm, other.fhr_bpm)
    np.testing.assert_array_equal(one.uterus, other.uterus)


@pytest.mark.parametrize(("name", "other_jobs"), [("s.csv.gz", "1"), ("s.parquet", "2")])
def test_one_file_holds_what_many_hold_whatever_the_jobs(tmp_path, name, other_jobs):
    """Sensor after sensor; the same bytes from one process and from two; nothing else is left."""
    need("pyarrow" if "parquet" in name else "numpy")
    chosen = ["generate", "--scenario", "mixed-cohort", "--sensors", 3, "--duration", 1100]
    said = {}
    for folder, jobs in ((tmp_path / "1", "1"), (tmp_path / "2", other_jobs)):
        where = ("--out", folder / name, "--truth", folder / "t.jsonl", "--jobs", jobs)
        done = run(*chosen, "--one-file", "--json", *where)
        assert done.exit_code == 0, done.output
        about = json.loads(done.stdout)
        assert about["sensors"] == 3
        assert (folder / name).stat().st_mode & 0o077 == 0
        said[folder.name] = (
            about["events"],
            {one.name: one.read_bytes() for one in folder.iterdir()},
        )
    assert said["1"] == said["2"]
    events, files = said["1"]
    assert set(files) == {name, "t-0.jsonl", "t-1.jsonl", "t-2.jsonl"}
    assert sum(lines.count(b"\n") - 1 for lines in files.values() if b'"note"' in lines) == events
    alone = ["--out", tmp_path / "m" / "s.npz", "--truth", tmp_path / "m" / "t.jsonl"]
    assert run(*chosen, "--jobs", 1, *alone).exit_code == 0
    together = list(read_recordings(tmp_path / "1" / name))
    assert len(together) == 3
    for index, one in enumerate(together):
        other = read_recording(tmp_path / "m" / f"s-{index}.npz")
        assert one.sensor_id == f"simulated-{index}"
        assert one.simulated
        np.testing.assert_array_equal(one.fhr_bpm, other.fhr_bpm)
        np.testing.assert_array_equal(one.uterus, other.uterus)
        truth = f"t-{index}.jsonl"
        assert files[truth] == (tmp_path / "m" / truth).read_bytes()


def test_one_file_is_read_by_plain_pyarrow(tmp_path):
    """One row group per sensor, five columns."""
    need("pyarrow")
    from pyarrow import parquet

    out = tmp_path / "s.parquet"
    assert run("generate", "--sensors", 2, "--duration", 60, "--one-file", "--out", out,
               "--jobs", 1).exit_code == 0  # fmt: skip
    file = parquet.ParquetFile(out)
    assert file.num_row_groups == 2
    table = file.read()
    assert table.column_names == ["sensor", "sec", "bpm", "uterus", "spasms"]
    assert table.column("sensor").to_pylist() == ["simulated-0"] * 240 + ["simulated-1"] * 240


@pytest.mark.parametrize("name", ["s.npz", "s.jsonl", "s.hea", "s.xlsx", "folder"])
def test_one_file_of_a_format_that_cannot_is_a_usage_error(tmp_path, name):
    """Said before anything is made."""
    done = run("generate", "--sensors", 2, "--one-file", "--out", tmp_path / name)
    assert done.exit_code == 2
    assert "--out" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("ending", "why", "code"),
    [
        ("csv", "full", 4),
        ("parquet", "full", 4),
        ("parquet", signal.SIGINT, 130),
        ("csv", signal.SIGTERM, 143),
    ],
)
def test_one_file_that_is_not_finished_leaves_the_older_one(tmp_path, ending, why, code):
    """A full disk, Ctrl-C and SIGTERM leave nothing else behind."""
    need("pyarrow" if ending == "parquet" else "numpy")
    out = tmp_path / f"s.{ending}"
    out.write_text("older")

    def limited():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if why == "full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    options = ["--sensors", "1000", "--duration", "4h", "--one-file", "--jobs", "1"]
    with started(
        *(sys.executable, "-m", "ctgkit", "generate", *options, "--out", out),
        preexec_fn=limited,
        env={k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_PROCESS")}
        | {"PYTHONDONTWRITEBYTECODE": "1"},
    ) as process:  # coverage's file, and Python's own, would meet the limit too
        if why != "full":
            deadline_s = time.monotonic() + 60
            while not (tmp_path / f"unfinished-{out.name}").exists():
                assert time.monotonic() < deadline_s
                time.sleep(0.02)
            process.send_signal(why)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == code, said
    assert [one.name for one in tmp_path.iterdir()] == [out.name]
    assert out.read_text() == "older"
    assert "Traceback" not in said
    lines = 0 if why == signal.SIGTERM else 1  # which Ctrl-C leaves empty
    assert said.count("\n") == lines, said


@pytest.mark.parametrize("name", [".csv", ".csv.gz", ".npz", ".parquet", ".hea", ".JSONL"])
@pytest.mark.parametrize("command", ["generate", "convert", "record", "paper"])
def test_a_name_that_is_only_an_ending_is_a_usage_error(tmp_path, command, name):
    """It made a hidden file or a folder; said before anything is made."""
    (tmp_path / "s.csv").write_text("sec,bpm\n0,140\n1,141\n")
    source = [] if command in ("generate", "record") else [tmp_path / "s.csv"]
    out = [tmp_path / name] if command == "convert" else ["--out", tmp_path / name]
    done = run(command, *source, *out)
    assert done.exit_code == 2
    assert f"only an ending; name the file, as in trace{name}" in done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["s.csv"]
    with pytest.raises(RecordingError, match="only an ending"):
        write_recording(read_recording(tmp_path / "s.csv"), tmp_path / name)


@pytest.mark.parametrize("name", ["S.CSV", "S.CSV.GZ", "S.NPZ", "S.JSONL.GZ", "S.Tsv", "S.PDF"])
def test_endings_in_capitals_are_the_same_endings(tmp_path, name):
    """The file has the name that is said, is packed where its name says so, and holds the same."""
    if name == "S.PDF":
        need("matplotlib")
        assert run("generate", "--duration", 30, "--out", tmp_path / "s.csv").exit_code == 0
        assert run("paper", tmp_path / "s.csv", "--out", tmp_path / name).exit_code == 0
        assert (tmp_path / name).read_bytes().startswith(b"%PDF")
        return
    contents = []
    for one in (name.lower(), name):
        done = run("generate", "--duration", 30, "--out", tmp_path / one)
        assert done.stdout == f"{tmp_path / one}\n"
        data = (tmp_path / one).read_bytes()
        assert data.startswith(b"\x1f\x8b") == name.endswith(".GZ")
        contents.append(gzip.decompress(data) if name.endswith(".GZ") else data)
    assert contents[0][:7] == contents[1][:7]
    if "JSON" not in name:  # its first line has a date
        assert contents[0] == contents[1]


def test_tsv_has_tabs(tmp_path):
    """As its name says, for whoever reads it."""
    assert run("generate", "--duration", 30, "--sensors", 2, "--one-file", "--jobs", 1,
               "--out", tmp_path / "s.tsv").exit_code == 0  # fmt: skip
    rows = list(csv.reader((tmp_path / "s.tsv").read_text().splitlines(), delimiter="\t"))
    assert {len(row) for row in rows} == {7}
    assert rows[0][:5] == ["sensor", "sec", "bpm", "uterus", "spasms"]
    assert [one.sensor_id for one in read_recordings(tmp_path / "s.tsv")] == [
        "simulated-0", "simulated-1",
    ]  # fmt: skip
