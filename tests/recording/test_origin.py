"""Truth, reports and results of another recording than the one they are put beside: refused."""

import json
import shutil

import pytest
from click.testing import CliRunner

import ctgkit
from ctgkit.cli.main import cli
from ctgkit.errors import RecordingError
from ctgkit.recording import read_recordings
from ctgkit.simulate import SIGNAL_VERSION
from tests.extras import need

SCENARIO = "late-decels-mild"
ONE, OTHER = "6f1c1f0a-8a3e-4a53-b9f4-6c3b9f5d0001", "6f1c1f0a-8a3e-4a53-b9f4-6c3b9f5d0002"


def run(*arguments):
    """Run a command in this process; errors of ours come out as they are."""
    done = CliRunner().invoke(cli, [str(a) for a in arguments], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two sensors, and what another seed, scenario and duration give, each with its truth."""
    folder = tmp_path_factory.mktemp("origin")
    many = {
        "seed": ["--seed", 1],
        "scenario": ["--scenario", "normal-reactive"],
        "short": ["--duration", 300],
        "own": [],
        "two": ["--sensors", 2, "--jobs", 1],
    }
    for name, more in many.items():
        chosen = ["--scenario", SCENARIO, "--duration", 600, *more]
        run("generate", *chosen, "--out", folder / f"{name}.csv",
            "--truth", folder / f"{name}.jsonl")  # fmt: skip
    version = (folder / "own.jsonl").read_text().replace(f'"{SIGNAL_VERSION}"', '"3.0"', 1)
    assert version != (folder / "own.jsonl").read_text()
    (folder / "version.jsonl").write_text(version)
    return folder


OTHERS = {
    "two-1": ("sensor 0", "sensor 1"),
    "seed": ("seed 0", "seed 1"),
    "scenario": (f"scenario {SCENARIO}", "scenario normal-reactive"),
    "version": (f"signal version {SIGNAL_VERSION}", "signal version 3.0"),
    "short": ("599.75 s", "300 s"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("command", ["paper", "score", "score report"])
def test_anothers_truth_is_refused_naming_both(made, tmp_path, command, name):
    """By the commands that read a recording or its report, and a truth."""
    recording, truth = tmp_path / "case.csv", tmp_path / "case.jsonl"
    shutil.copy(made / "own.csv", recording)
    shutil.copy(made / f"{name}.jsonl", truth)
    asked = ["score", truth]
    if command == "paper":
        need("matplotlib")
        asked = ["paper", recording, "--events", truth, "--out", tmp_path / "x.svg"]
    elif command == "score report":
        if name == "short":
            pytest.skip("a report says no length")
        run("analyze", recording, "--out", tmp_path / "report.json")
        asked = ["score", truth, tmp_path / "report.json"]
    with pytest.raises(RecordingError) as caught:
        run(*asked)
    assert caught.value.exit_code == 4
    for said in OTHERS[name]:
        assert said in str(caught.value)
    assert not (tmp_path / "x.svg").exists()


def test_its_own_truth_and_report_are_taken(made, tmp_path):
    """Also where the recording went through other formats, at another rate."""
    need("matplotlib")
    assert "1 of 1 scored" in run("score", made / "own.jsonl")
    run("analyze", made / "own.csv", "--out", tmp_path / "report.json")
    assert "1 of 1 scored" in run("score", made / "own.jsonl", tmp_path / "report.json")
    run("generate", "--scenario", SCENARIO, "--duration", 600, "--rate", 1,
        "--out", tmp_path / "slow.npz")  # fmt: skip
    for recording in (made / "own.csv", tmp_path / "slow.npz"):
        for events in (made / "own.jsonl", made / "two-0.jsonl", tmp_path / "report.json"):
            run("paper", recording, "--events", events, "--out", tmp_path / "x.svg")


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.npz", "x.parquet", "x.edf", "x.hea"])
def test_every_format_keeps_whose_it_is(made, tmp_path, name):
    """So the truth of another sensor is refused after a conversion, too."""
    need("matplotlib")
    for needed in {".parquet": ["pyarrow"], ".edf": ["edfio"], ".hea": ["wfdb"]}.get(
        (tmp_path / name).suffix, []
    ):
        need(needed)
    run("convert", made / "own.csv", tmp_path / name)
    with pytest.raises(RecordingError, match=r"two-1\.jsonl: is of sensor 1, .*x\..* of sensor 0"):
        run("paper", tmp_path / name, "--events", made / "two-1.jsonl",
            "--out", tmp_path / "x.svg")  # fmt: skip


def test_who_does_not_say_is_taken(made, tmp_path):
    """Of a recording without a mark, and of a truth without a header, nobody knows better."""
    need("matplotlib")
    plain = "sec,bpm\n" + "".join(f"{n / 4},140\n" for n in range(1000))
    (tmp_path / "plain.csv").write_text(plain)
    bare = (made / "seed.jsonl").read_text().partition("\n")[2]
    (tmp_path / "bare.jsonl").write_text(bare)
    pairs = (
        (tmp_path / "plain.csv", made / "own.jsonl"),
        (made / "own.csv", tmp_path / "bare.jsonl"),
    )
    for recording, truth in pairs:
        run("paper", recording, "--events", truth, "--out", tmp_path / "x.svg")


def test_a_report_of_a_file_with_another_name_is_drawn_with_a_warning(tmp_path, caplog):
    """Where neither says whose it is, the file may have been renamed; so it is said."""
    need("matplotlib")
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("sec,bpm\n" + "".join(f"{n},140\n" for n in range(400)))
    run("analyze", tmp_path / "a.csv", "--out", tmp_path / "a.json")
    for name in ("a.csv", "b.csv"):
        run("paper", tmp_path / name, "--events", tmp_path / "a.json", "--out", tmp_path / "x.svg")
    (warning,) = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"
                  and "report" in one.getMessage()]  # fmt: skip
    assert warning.endswith("a report of a.csv, drawn on b.csv")


def test_a_cut_recording_is_not_scored_as_if_it_were_whole(made, tmp_path):
    """What nobody could see is not asked for."""
    shutil.copy(made / "short.csv", tmp_path / "case.csv")
    shutil.copy(made / "own.jsonl", tmp_path / "case.jsonl")
    with pytest.raises(RecordingError, match=r"ends at 299\.75 s, its truth .* at 600 s"):
        run("score", tmp_path / "case.jsonl")


@pytest.mark.parametrize("name", ["case.csv", "case.parquet"])
def test_of_a_file_of_many_that_of_the_truth_is_scored(made, tmp_path, name):
    """Not the first: figures are those of the sensor alone. Where none is it, none is scored."""
    if name.endswith(".parquet"):
        need("pyarrow")
    run("generate", "--scenario", SCENARIO, "--duration", 600, "--sensors", 2, "--one-file",
        "--jobs", 1, "--out", tmp_path / name)  # fmt: skip
    shutil.copy(made / "two-1.jsonl", tmp_path / "case.jsonl")
    found = json.loads(run("score", tmp_path / "case.jsonl", "--json"))
    expected = json.loads(run("score", made / "two-1.jsonl", "--json"))
    assert found["overall"] == expected["overall"]
    shutil.copy(made / "seed.jsonl", tmp_path / "case.jsonl")
    with pytest.raises(RecordingError, match="2 recordings in it, 0 of them that of"):
        run("score", tmp_path / "case.jsonl")


def result(sensor_id, onset_s=60):
    event = {"kind": "deceleration", "onset_s": onset_s, "end_s": onset_s + 40, "id": "d"}
    return json.dumps({"sensorID": sensor_id, "secFromStart": 1, "data": {}, "events": [event]})


def test_results_and_truth_of_another_sensor_are_refused(tmp_path):
    """By the id of the sensor, where both have one."""
    need("matplotlib")
    recording, events = tmp_path / "r.csv", tmp_path / "events"
    rows = "".join(f"{n / 4},140,{ONE}\n" for n in range(1000))
    recording.write_text("sec,bpm,sensor\n" + rows)
    for text in (result(OTHER), json.dumps({"simulated": True, "sensor_id": OTHER})):
        events.write_text(text)
        with pytest.raises(RecordingError, match=f"sensor id {OTHER}, .* sensor id {ONE}"):
            run("paper", recording, "--events", events, "--out", tmp_path / "x.svg")
    events.write_text(result(ONE.upper()))
    run("paper", recording, "--events", events, "--out", tmp_path / "x.svg")


def test_of_several_reports_the_recordings_own_is_drawn(made, tmp_path):
    """`analyze --json` of several files writes one after the other."""
    need("matplotlib")
    reports = tmp_path / "reports.jsonl"
    reports.write_text(run("analyze", made / "two-1.csv", made / "own.csv", "--json"))
    alone = tmp_path / "alone.json"
    alone.write_text(run("analyze", made / "own.csv", "--json"))
    for out, events in (("a.svg", reports), ("b.svg", alone)):
        run("paper", made / "own.csv", "--events", events, "--out", tmp_path / out)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    with pytest.raises(RecordingError, match=r"2 reports in it, 0 of seed\.csv; they are two-1"):
        run("paper", made / "seed.csv", "--events", reports, "--out", tmp_path / "x.svg")
    both = (made / "own.jsonl").read_text()
    reports.write_text(both + both)
    with pytest.raises(RecordingError, match="truth of another recording begins here") as caught:
        run("paper", made / "own.csv", "--events", reports, "--out", tmp_path / "x.svg")
    assert caught.value.line == both.count("\n") + 1


def test_one_file_of_many_says_of_each_who_it_is(tmp_path):
    """Neither the header nor the metadata give all of them the number of the first."""
    for name in ("s.csv", "s.csv.gz", "s.parquet"):
        if name.endswith(".parquet"):
            need("pyarrow")
        run("generate", "--scenario", SCENARIO, "--duration", 20, "--sensors", 3, "--one-file",
            "--jobs", 1, "--out", tmp_path / name)  # fmt: skip
        for number, one in enumerate(read_recordings(tmp_path / name)):
            (remark,) = one.comments
            assert f"sensor {number}, " in remark
            assert one.simulated
    assert "sensor 0" not in (tmp_path / "s.csv").read_text().partition("\n")[0]


def test_from_python_it_is_the_same(made, tmp_path):
    """Samples say whose they are, and of several recordings not the first one is drawn."""
    one = ctgkit.generate(SCENARIO, sensor=1, duration_s=600)
    (other,) = read_recordings(made / "two-1.csv")
    assert one.comments == other.comments
    need("matplotlib")
    ctgkit.write_recordings([one, other], tmp_path / "two.csv")
    with pytest.raises(RecordingError, match="2 recordings in it"):
        ctgkit.draw(tmp_path / "two.csv", tmp_path / "x.svg")
