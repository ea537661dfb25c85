"""A full disk, for every writer: one line in the system's words, and the older file stays."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from ctgkit.cli.main import cli
from ctgkit.errors import RecordingError
from ctgkit.recording import read_recordings
from tests.extras import need

NEEDS = {
    "x.csv": "csv", "x.csv.gz": "csv", "x.jsonl": "csv", "x.jsonl.gz": "csv", "x.npz": "csv",
    "folder": "csv", "x.parquet": "pyarrow", "x.edf": "edfio", "x.hea": "wfdb",
}  # fmt: skip
"""What is written, and what library writes it."""

SCRIPT = """
import json, resource, sys
from pathlib import Path
from ctgkit.cli.main import main

def run(*asked):
    sys.argv = ["ctgkit", *asked]
    try:
        main()
    except SystemExit as end:
        return end.code

def files():
    return {str(p): p.read_bytes().hex() for p in Path().rglob("*") if p.is_file()}

names = sys.argv[1:]
for name in names:
    assert run("convert", "-q", "small.csv", name) == 0
before = files()
resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))
codes = []
for name in names:
    codes.append(run("convert", "-q", "big.csv", name, "--force"))
    codes.append(run("convert", "-q", "big.csv", "new-" + name))
    if name != "folder":
        codes.append(run("generate", "--duration", "15m", "--out", name))
for name in PAPER:
    codes.append(run("paper", "-q", "big.csv", "--out", name))
folders = [str(p) for p in sorted(Path().rglob("*")) if p.is_dir()]
print(json.dumps([set(codes) == {4}, files() == before, folders]), flush=True)
"""


def test_a_full_disk_is_one_line_and_the_older_file_stays(tmp_path):
    """By `convert --force`, by `generate`, and where there was nothing before."""
    names = [name for name, library in NEEDS.items() if importlib.util.find_spec(library)]
    paper = ["p.pdf", "p.png"] if importlib.util.find_spec("matplotlib") else []
    rows = (f"{n / 4},{120 + n * 7919 % 401 / 10},{n % 37}\n" for n in range(8_000))
    (tmp_path / "big.csv").write_text("sec,bpm,uterus\n" + "".join(rows))
    (tmp_path / "small.csv").write_text("sec,bpm,uterus\n0,140,5\n1,141,6\n2,142,5\n")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("PAPER", str(paper)), *names],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120,
        env={k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_PROCESS")}
        | {"PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip  # coverage's file, and Python's own, would meet the limit too
    assert json.loads(done.stdout.splitlines()[-1]) == [
        True, True, ["folder", "folder/bpm", "folder/uterus"],
    ]  # fmt: skip
    told = []
    for name in names:
        told += [name, f"new-{name}"] + [name] * (name != "folder")
    told += paper
    assert done.stderr.splitlines() == [f"ctgkit: {name}: File too large" for name in told]


def convert(*arguments):
    done = CliRunner().invoke(cli, ["convert", *map(str, arguments)], standalone_mode=False)
    if done.exception is not None:
        raise done.exception


@pytest.mark.parametrize("name", ["x.edf", "x.hea"])
def test_what_a_format_cannot_hold_is_no_reason_to_lose_the_older_file(tmp_path, name):
    need(NEEDS[name])
    (tmp_path / "good.csv").write_text("sec,bpm\n0,140\n1,141\n2,142\n")
    (tmp_path / "gap.csv").write_text("sec,bpm\n0,140\n0.01,141\n9000000,142\n")
    convert(tmp_path / "good.csv", tmp_path / name)
    before = {one: one.read_bytes() for one in tmp_path.iterdir()}
    with pytest.raises(RecordingError, match="a gap makes it"):
        convert(tmp_path / "gap.csv", tmp_path / name, "--force")
    assert {one: one.read_bytes() for one in tmp_path.iterdir()} == before


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_where_there_is_no_room_for_an_unfinished_file_the_file_itself_is_written(tmp_path, suffix):
    """With a name as long as names may be, through a link, or into a pipe."""
    (tmp_path / "s.csv").write_text("sec,bpm\n0,140\n1,141\n")
    names = [tmp_path / ("x" * (255 - len(suffix)) + suffix), tmp_path / f"link{suffix}"]
    names[1].symlink_to(tmp_path / f"elsewhere{suffix}")
    for name in names:
        for more in ([], ["--force"]):
            convert(tmp_path / "s.csv", name, *more)
        assert next(read_recordings(name)).fhr_bpm.tolist() == [140, 141]
    assert names[1].is_symlink()
    assert (tmp_path / f"elsewhere{suffix}").is_file()


def test_a_folder_holds_a_recording_without_any_signal(tmp_path):
    """Its times and its toco come back; files without a row could not be read."""
    (tmp_path / "lost.csv").write_text("sec,bpm,uterus\n" + "".join(f"{n},,5\n" for n in range(9)))
    convert(tmp_path / "lost.csv", tmp_path / "folder")
    (one,) = read_recordings(tmp_path / "folder")
    assert one.sec_from_start.tolist() == list(range(9))
    assert np.isnan(one.fhr_bpm).all()
    assert one.uterus.tolist() == [5] * 9


def test_a_folder_of_pairs_is_replaced_as_a_whole_or_refused(tmp_path):
    """Examinations of two conversions were mixed, and others' files overwritten, without a word."""
    two = "sec,bpm,sensor\n0,140,a\n1,141,a\n0,120,b\n1,121,b\n"
    (tmp_path / "two.csv").write_text(two)
    (tmp_path / "one.csv").write_text("sec,bpm,uterus\n0,130,5\n1,131,6\n")
    folder = tmp_path / "folder"
    convert(tmp_path / "two.csv", folder)
    assert len(list(read_recordings(folder))) == 2
    with pytest.raises(RecordingError, match="folder: exists already; --force"):
        convert(tmp_path / "one.csv", folder)
    convert(tmp_path / "one.csv", folder, "--force")
    (left,) = read_recordings(folder)
    assert left.fhr_bpm.tolist() == [130, 131]
    (folder / "bpm" / "mine_1.csv").write_text("time_sec,value\n0,150\n1,151\n")
    with pytest.raises(RecordingError, match=r"bpm/ holds mine_1\.csv: choose a folder without"):
        convert(tmp_path / "two.csv", folder, "--force")
    assert len(list(read_recordings(folder))) == 2
