"""Recordings from CSV files."""

import gzip
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.errors import RecordingError
from ctgkit.recording.files.csv import read_csv

SHARED = Path(os.environ.get("CTGKIT_SHARED", Path(__file__).parents[4] / "shared"))


@pytest.fixture
def write(tmp_path):
    def write(text, name="trace.csv"):
        path = tmp_path / name
        data = text.encode() if isinstance(text, str) else text
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


@pytest.mark.parametrize("name", ["trace.csv", "trace.csv.gz"])
@pytest.mark.parametrize(
    "header", ["sec,bpm,uterus,spasms", "T,FHR,Toco,Spasms", " time_sec,Bpm , UC,spasms"]
)
def test_names_of_columns_and_no_signal(write, header, name):
    """Any known header in any case; 0, empty and nan heart rates are no signal."""
    rows = ["0.5,140.25,12,0", "1.5,0,0,1", "3,,,", "3.12,nan,13.5,2"]
    recording = read_csv(write("\r\n".join([header, *rows, ""]), name))
    nan = np.nan
    np.testing.assert_array_equal(recording.sec_from_start, [0.5, 1.5, 3, 3.12])
    np.testing.assert_array_equal(recording.fhr_bpm, [140.25, nan, nan, nan])
    np.testing.assert_array_equal(recording.uterus, [12, 0, nan, 13.5])
    np.testing.assert_array_equal(recording.spasms, [0, 1, nan, 2])


def test_absent_channels_are_nan_and_others_ignored(write):
    """Order is free, a byte order mark and blank lines are harmless."""
    recording = read_csv(write("\ufeffnote,bpm,sec_from_start\nx,130,0\n\ny,131,1\n"))
    np.testing.assert_array_equal(recording.fhr_bpm, [130, 131])
    assert np.isnan(recording.uterus).all()
    assert np.isnan(recording.spasms).all()


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 0, "empty"),
        ("sec,uterus\n0,1\n", 1, "it has the columns sec, uterus; choose with --fhr"),
        ("puls,uterus,fhr\n1,2,3\n", 1, "no column named like a time; it has the columns puls, ut"),
        ("sec,bpm,FHR\n0,1,1\n", 1, "columns bpm and FHR have the same meaning: choose with --fhr"),
        ("0,140\n1,141\n", 1, "numbers without a header: '0,140'; --no-header"),
        ("row,bpm\n0,140\n1,141\n", 1, "row numbers the samples: --rate says how many"),
        ("sec,bpm\n", 0, "no samples"),
        ("sec,bpm\n0,140\n1\n", 3, "bpm is missing"),
        ("sec,bpm\n0,140\n1,abc\n", 3, "bpm is not a number: 'abc'"),
        ("sec,bpm\n0,140\n,141\n", 3, "sec must be finite: ''"),
        ("sec,bpm\n0,140\n1,inf\n", 3, "bpm must be finite: 'inf'"),
        ("sec,bpm\n0,140\n-inf,1\n", 3, "sec must be finite: '-inf'"),
        ("sec,bpm\n-1,140\n", 2, "time is negative"),
        ("sec,bpm\n0,140\n1,141,7\n", 3, "3 cells under 2 column names"),
        ("sec;bpm\n0,5;140.5\n", 2, "both '0,5' and '140.5': which is the decimal sign?"),
        ("sec,bpm (ms)\n0,430\n", 1, "bpm (ms) is in ms, not beats/min"),
        (b"sec,bpm\n0,\xff\n", 2, "bpm is not a number"),
        (b'sec,bpm\n0,"' + b"9" * 200_000, 2, "field larger"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(write, text, line, reason):
    """Errors carry the path, the line and the reason."""
    path = write(text)
    with pytest.raises(RecordingError) as caught:
        read_csv(path)
    assert (caught.value.path, caught.value.line) == (str(path), line)
    assert reason in caught.value.reason


def test_files_that_cannot_be_read(tmp_path):
    """Missing, a directory, not gzip, cut short."""
    (tmp_path / "plain.csv.gz").write_text("sec,bpm\n0,1\n")
    whole = gzip.compress(b"sec,bpm\n" + b"".join(b"%d,140\n" % n for n in range(10_000)))
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    for name in ("missing.csv", ".", "plain.csv.gz", "cut.csv.gz"):
        with pytest.raises(RecordingError, match=r".+: .+"):
            read_csv(tmp_path / name)


@given(data=st.binary(max_size=200))
def test_any_bytes_give_a_recording_or_one_error(data, tmp_path_factory):
    """No other exception leaves the reader."""
    path = tmp_path_factory.mktemp("csv") / "any.csv"
    path.write_bytes(b"sec,bpm\n" + data)
    try:
        recording = read_csv(path)
    except RecordingError:
        return
    assert (np.diff(recording.sec_from_start) > 0).all()


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="needs ../shared/data")
def test_a_real_recording_value_for_value():
    """One real trace equals what numpy reads, 0 as NaN."""
    path = SHARED / "data" / "ctu" / "1021.csv.gz"
    began = time.process_time()
    recording = read_csv(path)
    assert time.process_time() - began < 0.5  # 0.03 s expected
    plain = np.genfromtxt(path, delimiter=",", skip_header=1)
    np.testing.assert_array_equal(recording.sec_from_start, plain[:, 0])
    np.testing.assert_array_equal(
        recording.fhr_bpm, np.where(plain[:, 1] == 0, np.nan, plain[:, 1])
    )
    np.testing.assert_array_equal(recording.uterus, plain[:, 2])
