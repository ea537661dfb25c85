"""Hostile and absurd files: bounded memory and time, one error line, nothing outside the target."""

import gzip
import io
import json
import os
import resource
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from ctgkit.cli.main import cli
from ctgkit.errors import RecordingError
from ctgkit.recording import Recording, read_recordings, write_recordings
from ctgkit.recording.files.options import ReadOptions
from ctgkit.recording.files.paths import component
from tests.extras import need

LIMITED = """
import resource, sys
from pathlib import Path
most = 700 << 20
resource.setrlimit(resource.RLIMIT_AS, (most, most))
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from ctgkit.errors import RecordingError
from ctgkit.recording import read_recordings
try:
    print(sum(len(one.sec_from_start) for one in read_recordings(Path(sys.argv[1]))))
except RecordingError as error:
    print(error)
"""


def read_within_bounds(path, *more):
    """Read in a process with 700 MB and 20 s of CPU; return the line it prints."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), *more],
        capture_output=True, text=True, check=False, env={"OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return done.stdout.strip()


def packed(chunk, times, head=b""):
    """Return gzip of *head* and *times* times a chunk, without ever holding it."""
    out = io.BytesIO()
    with gzip.GzipFile("", "wb", 1, out, 0) as file:
        file.write(head)
        for _ in range(times):
            file.write(chunk)
    return out.getvalue()


HEADER = b'{"ctgkit_recording":1}\n'


@pytest.mark.parametrize(
    ("name", "head", "chunk", "reason"),
    [
        ("x.csv.gz", b"sec,bpm\n", b"0" * (1 << 20), "longer than 1048576 characters"),
        ("x.csv.gz", b"sec,bpm\n", b"\n" * (1 << 20), "more than 1000000 empty lines"),
        ("x.csv.gz", b"\n" * 100, b"\n" * (1 << 20), ""),
        ("x.csv.gz", b"sec,bpm\n", b"# remark\n" * (1 << 17), "empty lines"),
        ("x.csv.gz", b"sec,bpm\n", b",,,,,,,,\n" * (1 << 17), "empty lines"),
        ("x.jsonl.gz", HEADER, b"\n" * (1 << 20), "Input data was truncated"),
        ("x.jsonl.gz", HEADER, b" " * (1 << 20), "longer than"),
        ("x.ndjson.gz", b'{"a": 1}\n', b"\n" * (1 << 20), "not a recording"),
        ("x.txt", b"", b"sec", "no table"),
    ],
)
def test_floods_and_bombs_of_text(tmp_path, name, head, chunk, reason):
    """A hundred megabytes behind a few kilobytes."""
    path = tmp_path / name
    data = packed(chunk, 100 if name != "x.txt" else 1, head)
    path.write_bytes(data)
    assert reason in read_within_bounds(path)


def test_the_limit_can_be_raised(tmp_path):
    """What unpacks to more than a hundred times its size is a bomb, unless the user says not."""
    path = tmp_path / "x.csv.gz"
    path.write_bytes(packed(b"0,140" + b" " * 4091 + b"\n", 20_000, b"sec,bpm\n"))
    with pytest.raises(RecordingError, match="unpacks to more than 64 MiB: --max-mb raises"):
        list(read_recordings(path))
    with pytest.raises(RecordingError, match="repeated"):  # it got through to the rows
        list(read_recordings(path, ReadOptions(max_mb=200)))


def test_bombs_of_numpy_archives(tmp_path):
    """Gigabytes of zeros, and headers that claim them."""
    path = tmp_path / "x.npz"
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f8", "fortran_order": False, "shape": (26_000_000,)}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("sec.npy", "w", force_zip64=True) as file:
            file.write(head.getvalue())
            for _ in range(200):
                file.write(bytes(1 << 20))
        archive.writestr("bpm.npy", head.getvalue())
    assert "unpacks to more than" in read_within_bounds(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("sec", "bpm"):
            archive.writestr(f"{name}.npy", head.getvalue())
    assert "is shorter than it says" in read_within_bounds(path)


def test_more_sensors_than_descriptors(tmp_path):
    """Thousands of sensors are read with 64 descriptors, from a table and from messages."""
    path = tmp_path / "x.csv"
    rows = "".join(f"s{n},{t},140,10\n" for t in range(2) for n in range(3000))
    path.write_text("sensor,sec,bpm,uterus\n" + rows)
    assert read_within_bounds(path, "few") == "6000"
    path = tmp_path / "x.ndjson"
    texts = [
        json.dumps({"sensorID": f"s{n}", "secFromStart": t, "data": {"BPMChild": 140}})
        for t in range(2)
        for n in range(1500)
    ]
    path.write_text("\n".join(texts))
    assert read_within_bounds(path, "few") == "3000"


@pytest.mark.parametrize(
    "line",
    ['[0,"a event",{"kind":5}]', '[0,"a event",{}]', "[1e999,0]", "[" * 5000, '[0,"s1 >",5]'],
)
def test_bad_lines_of_the_native_format(tmp_path, line):
    """An error with the line's number; --skip-bad goes on."""
    path = tmp_path / "x.jsonl"
    good = json.dumps({"secFromStart": 0, "data": {"BPMChild": 140}})
    lines = ['{"ctgkit_recording":1}', '[0,"s1 open",{"path":"/?sensor_id=a"}]', line,
             json.dumps([0, "s1 >", good])]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(RecordingError, match="line 3") as caught:
        list(read_recordings(path))
    assert "\n" not in str(caught.value)
    (one,) = read_recordings(path, skip_bad=True)
    assert one.fhr_bpm.tolist() == [140]


HOSTILE = [
    "../../x",
    "/etc/x",
    "..",
    ".",
    "a/b",
    "a\\b",
    "\0",
    "",
    "CON",
    "x" * 400,
    "a\nb",
    "~",
    " ",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_from_data_are_one_safe_component_or_refused(tmp_path, name):
    """A sensor's id becomes no path out of the directory; the error names it."""
    need("edfio")
    one = Recording(
        sec_from_start=np.arange(2.0), fhr_bpm=np.full(2, 140.0), uterus=np.zeros(2),
        spasms=np.zeros(2), sensor_id=name,
    )  # fmt: skip
    (tmp_path / "deep").mkdir()
    target = tmp_path / "deep" / "out"
    if name:
        with pytest.raises(RecordingError, match=r"sensor id .* can't be part of a file's name"):
            write_recordings([one], target)
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert all(p.parts[:2] == ("deep", "out") for p in before)
    for suffix in (".csv", ".jsonl", ".npz", ".edf"):  # these keep it inside the file
        write_recordings([one, one], tmp_path / "deep" / f"t{suffix}")
    outside = [p for p in tmp_path.iterdir() if p.name != "deep"]
    assert outside == []


@settings(max_examples=300, deadline=None)
@given(name=st.text(max_size=40))
def test_a_component_stays_one(name, tmp_path_factory):
    """Whatever passes is one name below the directory."""
    base = tmp_path_factory.getbasetemp()
    try:
        safe = component(name, base)
    except RecordingError:
        return
    assert (base / safe).parent == base
    assert not safe.startswith(".")


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400), which=st.sampled_from(
    [".csv", ".txt", ".tsv.gz", ".json", ".har", ".jsonl", ".ndjson", ".edf", ".hea", ".fhr",
     ".fhrm", ".npz", ".parquet", ".xlsx", ".ods", ".db", ""]))  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_any_bytes_give_recordings_or_one_error(data, which, tmp_path_factory):
    """Of every extension, and of none."""
    need("edfio", "wfdb", "pyarrow", "python_calamine")
    folder = tmp_path_factory.mktemp("any")
    path = folder / f"x{which}"
    path.write_bytes(data)
    try:
        for one in read_recordings(path):
            assert (np.diff(one.sec_from_start) > 0).all()
    except RecordingError as error:
        assert "\n" not in str(error)  # noqa: PT017
    assert sorted(p.name for p in folder.iterdir()) == [path.name]


def test_a_failed_conversion_leaves_nothing_and_an_existing_file_stays(tmp_path):
    """The target is made only when there is something to write, and removed when it breaks."""
    (tmp_path / "bad.csv").write_text("sec,bpm\n0,140\nx,1\n")
    (tmp_path / "out.csv").write_text("mine")
    for arguments in (["bad.csv", "out.csv", "--force"], ["bad.csv", "new.csv"]):
        paths = [str(tmp_path / a) if a.endswith("csv") else a for a in arguments]
        assert CliRunner().invoke(cli, ["convert", *paths]).exception is not None
    assert (tmp_path / "out.csv").read_text() == "mine"
    assert not (tmp_path / "new.csv").exists()
    text = "sensor,sec,bpm\n" + "a,0,140\nb,0,140\nb,1,141\nb,0,1\nb,1,2\nb,2,3\n" * 3
    (tmp_path / "half.csv").write_text(text)
    done = CliRunner().invoke(
        cli, ["convert", str(tmp_path / "half.csv"), str(tmp_path / "half.parquet")]
    )
    assert done.exception is not None
    assert not (tmp_path / "half.parquet").exists()


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".jsonl", ".parquet"])
def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path, suffix):
    """A conversion that breaks off, by itself or by kill -9, leaves nothing that looks whole."""
    need("pyarrow" if suffix == ".parquet" else "numpy")
    text = "sensor,sec,bpm\n" + "".join(f"{s},{n},140\n" for s in "ab" for n in range(9))
    (tmp_path / "in.csv").write_text(text)
    (tmp_path / "bad.csv").write_text(text + "b,9,oops\n")
    out = tmp_path / f"out{suffix}"
    out.write_text("mine")
    seen = []

    def looking(recordings, *_):
        for one in recordings:
            seen.append(out.read_text())
            yield one

    for source, whole in (("bad.csv", False), ("in.csv", True)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ctgkit.recording.convert_command.counted", looking)
            words = ["convert", str(tmp_path / source), str(out), "--force"]
            done = CliRunner().invoke(cli, words, standalone_mode=False)
            assert isinstance(done.exception, RecordingError) != whole
        assert {p.name for p in tmp_path.iterdir()} == {"in.csv", "bad.csv", out.name}
        assert (out.read_bytes() == b"mine") != whole
    assert set(seen) == {"mine"}
    assert len(list(read_recordings(out))) == 2


def test_a_file_that_cannot_be_finished_is_removed_and_named(tmp_path):
    """As on a full disk."""
    path = tmp_path / "x.npz"
    code = (
        "import resource, sys; from pathlib import Path; from ctgkit import private\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: private.write_bytes(Path(sys.argv[1]), bytes(5000))\n"
        "except OSError as error: print(error.filename)"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_PROCESS")}
    done = subprocess.run(
        [sys.executable, "-c", code, path], env=env, capture_output=True, text=True, check=True
    )
    assert (done.stdout.strip(), path.exists()) == (str(path), False)


def test_memory_of_this_process_is_sane():
    """The bombs above were read elsewhere; here nothing large remained."""
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 << 20  # kB: 2 GB
