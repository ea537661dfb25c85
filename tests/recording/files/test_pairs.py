"""The layout with two files: clocks, segments, and what else lies in its folders."""

import json

import pytest
from click.testing import CliRunner

from ctgkit.cli.main import cli
from ctgkit.errors import RecordingError
from tests.recording.files.test_kinds import read


def channel(times, values, header="time_sec,value"):
    return "\n".join([header, *(f"{t},{v}" for t, v in zip(times, values, strict=True))]) + "\n"


@pytest.mark.parametrize(
    ("header", "clock"),
    [("timestamp,value", lambda t: 1767348000000 + round(t * 1000)),
     ("time,value", lambda t: f"10:00:{t:06.3f}")],
)  # fmt: skip
def test_two_files_with_one_clock_keep_its_times(write, tmp_path, header, clock):
    """Each file begins at its own first row; the toco began 3 s before, the second segment 5 s."""
    for n, start_s in enumerate((10, 30), 1):
        for place, first_s, value in (("bpm", start_s + 3, 140), ("uterus", start_s, 10)):
            times = [clock(first_s + t) for t in range(15)]
            name = f"{place}/x-{n}_{1 if value == 140 else 2}.csv"
            write(channel(times, [value + t for t in range(15)], header), name)
    (one,), _ = read(tmp_path)
    assert one.sec_from_start.tolist() == [*range(18), *range(20, 38)]
    assert one.fhr_bpm[[3, 21]].tolist() == [140, 140]
    assert one.uterus[[0, 1, 2, 3, 18]].tolist() == [10, 11, 12, 13, 10]
    assert one.started == ("2026-01-02T10:00:10.000Z" if header[:5] == "times" else "")


def test_clocks_of_different_kinds_are_refused(write, tmp_path):
    write(channel([1767348000 + t for t in range(9)], range(140, 149)), "bpm/x_1.csv")
    write(channel(range(9), range(9)), "uterus/x_2.csv")
    with pytest.raises(RecordingError, match="times are of another kind"):
        read(tmp_path)


def test_segments_in_the_order_of_their_numbers(write, tmp_path):
    """2 before 10; one that isn't there is named; what a Mac puts beside files isn't read."""
    for n in (1, 2, 10):
        write(channel(range(4), [120 + n] * 4), f"bpm/x-{n}_1.csv")
    write(b"\0\5\x16\7", "bpm/._x-1_1.csv")
    (one,), report = read(tmp_path)
    assert one.fhr_bpm.tolist() == [121] * 4 + [122] * 4 + [130] * 4
    assert "x: segments 3, 4, 5, 6, 7 … are missing" in report.warnings


def test_a_pair_without_rows_or_a_toco_alone(write, tmp_path):
    write("time_sec,value\n", "bpm/x_1.csv")
    with pytest.raises(RecordingError, match=r"x_1\.csv: no samples"):
        read(tmp_path)
    with pytest.raises(RecordingError, match="the toco of a pair, by its name"):
        read(write(channel(range(40), range(30, 70)), "x_2.csv"))


def test_cases_of_a_folder_have_names(write, tmp_path):
    """Those of their files, not their numbers."""
    for case in ("p/anna", "p/berta"):
        for place, n, value in (("bpm", 1, 140), ("uterus", 2, 10)):
            write(channel(range(90), [value] * 90), f"cases/{case}/{place}/x_{n}.csv")
    done = CliRunner().invoke(cli, ["analyze", str(tmp_path / "cases"), "--json"])
    assert [json.loads(line)["recording"] for line in done.stdout.splitlines()] == [
        "cases (p/anna/x_1)", "cases (p/berta/x_1)",
    ]  # fmt: skip
