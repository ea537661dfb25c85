"""`ctgkit score` over files: what people and scripts see."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest
from click.testing import CliRunner

from ctgkit import wire
from ctgkit.analysis.analyzer import Analyzer
from ctgkit.cli.main import cli
from ctgkit.errors import CtgkitError, RecordingError
from ctgkit.recording import read_recording
from ctgkit.recording.format import VERSION, Header, Line
from ctgkit.recording.journal import JournalWriter
from ctgkit.samples import Sample, status_of

SHARED = Path(os.environ.get("CTGKIT_SHARED", Path(__file__).parents[3] / "shared"))
FHRMA = SHARED / "data" / "fhrma"
BASELINE = '{"kind":"baseline","onset_s":0.0,"end_s":600.0,"size":140.0}'
SENSOR = "6f1c1f0a-8a3e-4a53-b9f4-6c3b9f5d0001"


def run(*arguments):
    """Run a command in this process; return its exit code and what it printed."""
    done = CliRunner().invoke(cli, [str(a) for a in arguments], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.return_value or 0, done.stdout


def figures(*arguments):
    code, printed = run("score", *arguments, "--json")
    return code, json.loads(printed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A signal with its truth beside it, a recording that holds its truth, and a report."""
    folder = tmp_path_factory.mktemp("score")
    what = ("generate", "--scenario", "late-decels-severe", "--duration", 1500)
    run(*what, "--out", folder / "case.csv.gz", "--truth", folder / "case.jsonl")
    (folder / "recordings").mkdir()
    run(*what, "--out", folder / "recordings" / "whole.jsonl")
    run("analyze", folder / "case.csv.gz", "--out", folder / "mine.json")
    return folder


def test_a_report_for_people(folder):
    code, printed = run(
        "score", folder / "case.jsonl", folder / "mine.json", "--min-f1", "late=0.8"
    )
    assert code == 0
    assert max(map(len, printed.splitlines())) <= 80
    assert "delay from onset: median" in printed
    assert "kept   F1 of late >= 0.8" in printed
    assert "not a medical device" in printed.splitlines()[-1]


def test_without_results_our_analyzer_reads_the_recording(folder):
    _, expected = figures(folder / "case.jsonl", folder / "mine.json")
    for truth in (folder / "case.jsonl", folder / "recordings" / "whole.jsonl"):
        code, found = figures(truth)
        assert code == 0
        assert found["overall"] == expected["overall"]
    assert expected["overall"]["events"]["deceleration"]["f1"] > 0.8
    assert expected["overall"]["alarms"]["by_code"]


def test_a_recorded_stream_of_results_is_scored(folder, tmp_path):
    signal, analyzer = read_recording(folder / "case.csv.gz"), Analyzer()
    stream = tmp_path / "stream.jsonl"
    with JournalWriter(stream, Header(version=VERSION)) as journal:
        journal.write(Line(0.0, "v1", "open", about={}))
        for t_s, fhr_bpm, toco in zip(
            signal.sec_from_start.tolist(), signal.fhr_bpm.tolist(), signal.uterus.tolist(),
            strict=True,
        ):  # fmt: skip
            sample = Sample(SENSOR, t_s, fhr_bpm if fhr_bpm == fhr_bpm else None, toco, None)
            if (analysis := analyzer.add(sample)) is not None:
                said, status = (
                    analysis.prediction,
                    status_of(analysis.prediction.hypoxia_probability),
                )
                frame = wire.encode_result(sample, said, status, "", analysis.members())
                journal.write(Line(t_s, "v1", "<", frame))
        journal.write(Line(t_s, "v1", "<", b"garbage"))
    code, found = figures(folder / "case.jsonl", stream)
    assert code == 0
    overall = found["overall"]
    assert overall["events"]["contraction"]["f1"] > 0.9
    assert 30 < overall["delay_from_onset"]["median_s"] < 120
    assert overall["baseline"]["rmsd_bpm"] < 5


def test_sensors_are_told_apart_by_their_ids(tmp_path):
    """`sensor --sensors 2 --truth t.jsonl` beside one recorded stream of both."""
    ids = (SENSOR, SENSOR.replace("1", "2"))
    truth, stream = tmp_path / "truth", tmp_path / "stream.jsonl"
    truth.mkdir()
    with JournalWriter(stream, Header(version=VERSION)) as journal:
        for n, sensor_id in enumerate(ids):
            header = json.dumps({"sensor_id": sensor_id})
            (truth / f"t-{n}.jsonl").write_text(f"{header}\n{BASELINE}\n")
            sample = Sample(sensor_id, 600.0, 140.0, None, None)
            frame = wire.encode_result(
                sample, None, "ok", "", {"features": {"baseline_bpm": 140.0 + n}}
            )
            journal.write(Line(600.0, "v1", "<", frame))
    code, found = figures(truth, stream)
    assert code == 0
    assert [(r["name"], r["baseline"]["rmsd_bpm"]) for r in found["recordings"]] == [
        ("t-0", 0.0), ("t-1", 1.0),
    ]  # fmt: skip


def test_broken_thresholds_fail_and_are_told_to_ci(folder, tmp_path):
    junit = tmp_path / "score.xml"
    limits = ("--max-baseline-rmsd", 0, "--max-delay-s", 1, "--max-false-alarms-per-h", 99)
    code, printed = run("score", folder / "case.jsonl", *limits, "--junit", junit)
    assert code == 1
    assert "BROKEN median delay, s <= 1" in printed
    suite = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("4", "2")
    assert "deceleration" in suite.findtext("testcase/system-out")


def test_a_folder_is_paired_by_name_and_what_lacks_results_fails(folder, tmp_path):
    truth, results = tmp_path / "truth", tmp_path / "results"
    truth.mkdir()
    results.mkdir()
    for name in ("a", "b"):
        (truth / f"{name}.jsonl").write_bytes((folder / "case.jsonl").read_bytes())
        (results / f"{name}.json").write_bytes((folder / "mine.json").read_bytes())
    code, found = figures(truth, results)
    assert (code, found["scored"], found["without_results"]) == (0, 2, [])
    (results / "b.json").unlink()
    (results / "other.json").write_bytes((folder / "mine.json").read_bytes())
    code, found = figures(truth, results)
    assert (code, found["scored"], found["without_results"]) == (1, 1, ["b"])
    assert "b" in run("score", truth, results)[1]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.json", "{", "not zones drawn by experts"),
        ("a.jsonl", "", "line 1: not JSON"),
        ("a.jsonl", "{}\n{", "line 2: not an event"),
        ("a.jsonl", "{}\n", "not a simulation's truth"),
        ("a.csv", "sec,bpm,uterus\n0,140,10\n0.25,140,10\n", "holds no truth"),
    ],
)
def test_bad_truth_is_named(tmp_path, folder, name, text, reason):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(RecordingError, match=reason) as caught:
        run("score", path, folder / "mine.json")
    assert caught.value.path == str(path)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.json", "[]", "not a report"),
        ("a.csv", "sec,bpm\n", "holds no results"),
        ("a.jsonl", '{"ctgkit_recording":1}\n', "holds no results"),
    ],
)
def test_bad_results_are_named(tmp_path, folder, name, text, reason):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(RecordingError, match=reason):
        run("score", folder / "case.jsonl", path)


def test_without_a_recording_there_is_nothing_to_analyse(folder, tmp_path):
    alone = tmp_path / "alone.jsonl"
    alone.write_bytes((folder / "case.jsonl").read_bytes())
    with pytest.raises(RecordingError, match=r"no recording alone\.csv\.gz or the like"):
        run("score", alone)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 2, "give either TRUTH, or --ml URL"),
        (("--ml", "http://x"), 2, "http://x"),
        (("--ml", "ws://127.0.0.1:9/ws/ctg", "--scenarios", "nonsense"), 4, "no such scenario"),
        (("--junit", "nowhere/score.xml", __file__), 2, "no such directory"),
        (("--ml", "ws://127.0.0.1:9", "--duration", "0.1"), 2, "outside 1 to"),
        (("--min-f1", "late=2", __file__), 2, "from 0 to 1"),
        (("--min-f1", "twins=0.5", __file__), 2, "not one of acceleration"),
    ],
)
def test_exit_codes(arguments, code, text):
    with pytest.raises((click.ClickException, CtgkitError), match=text) as caught:
        run("score", *arguments)
    assert caught.value.exit_code == code


def test_a_service_that_cannot_be_reached(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "ctgkit", "score", "--ml", "ws://127.0.0.1:9/ws/ctg"],
        capture_output=True, text=True, timeout=110, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith("ctgkit: ws://127.0.0.1:9/ws/ctg: ")
    assert done.stderr.count("\n") == 1


# --- the figures that FHRMA's users know --------------------------------------------------------


def distorted(expert, luck):
    """Return results that resemble what the experts drew: shifted, left out, invented."""
    events = [
        {"type": e["type"], "start_s": e["start_s"] + luck.uniform(-40, 40),
         "end_s": e["end_s"] + luck.uniform(-40, 40)}
        for e in expert["expert_events"] if luck.random() < 0.85
    ]  # fmt: skip
    for _ in range(8):
        start_s = luck.uniform(0, expert["duration_s"])
        kind = luck.choice(["acceleration", "deceleration"])
        events.append({"type": kind, "start_s": start_s, "end_s": start_s + luck.uniform(5, 90)})
    minutes = int(expert["duration_s"] // 60)
    baseline = [None if luck.random() < 0.1 else luck.uniform(120, 150) for _ in range(minutes)]
    luck.shuffle(events)
    return {"events": events, "baseline_per_minute": baseline}


@pytest.mark.skipif(not FHRMA.is_dir(), reason="no recordings")
def test_the_figures_are_those_of_event_score(tmp_path):
    luck = random.Random(1)
    for path in FHRMA.glob("*.expert.json"):
        expert = json.loads(path.read_text())
        (tmp_path / f"{expert['record']}.json").write_text(json.dumps(distorted(expert, luck)))
    done = subprocess.run(
        [sys.executable, SHARED / "tools" / "event_score.py", FHRMA, tmp_path, "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = json.loads(done.stdout)
    code, found = figures(FHRMA, tmp_path)
    assert code == 0
    assert found["scored"] == expected["records"]
    for kind in ("acceleration", "deceleration"):
        own, theirs = found["overall"]["events"][kind], expected[kind]
        assert (own["true"], own["found"], own["sensitivity"], own["precision"], own["f1"],
                own["onset_rmsd_s"]) == tuple(theirs[k] for k in (
                    "expert", "own", "sensitivity", "ppv", "f1", "start_rmsd_s"))  # fmt: skip
    own, theirs = found["overall"]["baseline"], expected["baseline_abs_gap_bpm"]
    assert (own["gap_median_bpm"], own["gap_p95_bpm"], own["spans"]) == (
        theirs["median"], theirs["p95"], theirs["minutes"],
    )  # fmt: skip


def test_of_a_folder_each_file_is_told_once_and_each_patient_scored_once(tmp_path, caplog):
    """Recordings that hold their truth are read twice, and truth may lie beside such a one."""
    what = ("generate", "--scenario", "late-decels-mild", "--duration", 600, "--jobs", 1)
    run(*what, "--sensors", 2, "--out", tmp_path / "a.jsonl")
    run(*what, "--seed", 1, "--out", tmp_path / "b.npz", "--truth", tmp_path / "b.jsonl")
    caplog.set_level("INFO")
    code, found = figures(tmp_path, "--jobs", 1)
    assert (code, [one["name"] for one in found["recordings"]]) == (0, ["a-0", "a-1", "b"])
    told = [record.getMessage() for record in caplog.records]
    for name in ("a-0.jsonl: ", "a-1.jsonl: ", "b.npz: "):
        assert sum(text.startswith(name) for text in told) == 1, told
