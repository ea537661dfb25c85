"""Foreign formats: what goes in comes out, to each format's resolution."""

import json
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctgkit.cli.main import cli
from ctgkit.errors import RecordingError
from ctgkit.events import Event
from ctgkit.recording import (
    Recording,
    read_recording,
    read_recordings,
    write_recording,
    write_recordings,
)
from ctgkit.recording.files.grid import on_grid
from ctgkit.recording.files.options import Report
from ctgkit.recording.files.registry import FORMATS
from tests.extras import need
from tests.recording.files.test_csv import SHARED

NEEDS = {".hea": "wfdb", ".edf": "edfio", ".parquet": "pyarrow"}
RESOLUTION = {".hea": 0.005, ".edf": 0.005}
"""Half of a format's step; the others hold 10 digits or all."""
SUFFIXES = [".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".npz", ".hea", ".edf", ".parquet", ""]
CHANNELS = ("fhr_bpm", "uterus", "spasms")


def signal(recording, channel, digits=6):
    """Return {time: value} where there is a signal."""
    pairs = zip(
        recording.sec_from_start.tolist(), getattr(recording, channel).tolist(), strict=True
    )
    return {round(sec, digits): value for sec, value in pairs if value == value}


def assert_same(read, written, resolution=1e-9):
    for channel in CHANNELS:
        was, now = signal(written, channel), signal(read, channel)
        assert list(was) == list(now), channel
        np.testing.assert_allclose(
            list(now.values()), list(was.values()), rtol=1e-9, atol=resolution + 1e-9
        )


@st.composite
def recordings(draw, rate_hz=None):
    """Draw a recording at a usual rate, with lost signal and missing rows."""
    rate_hz = rate_hz or draw(st.sampled_from([1.0, 4.0, 25 / 3, 2.0, 10.0]))
    n = draw(st.integers(3, 120))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    keep = rng.random(n) > draw(st.sampled_from([0.0, 0.2]))
    keep[:3] = True  # two neighbours, so that the rate is visible
    first_s = draw(st.sampled_from([0.0, 12.0, 3600.0]))
    sec = np.round((first_s + np.arange(n) / rate_hz)[keep], 9)
    loss = draw(st.sampled_from([0.0, 0.3]))

    def channel(low, high, absent=False):
        values = rng.uniform(low, high, len(sec))
        values[rng.random(len(sec)) < (1.0 if absent else loss)] = np.nan
        return values

    fhr_bpm, uterus = channel(50, 240), channel(0, 127)
    fhr_bpm[0] = uterus[0] = 100.0
    return Recording(
        sec_from_start=sec,
        fhr_bpm=fhr_bpm,
        uterus=uterus,
        spasms=channel(0, 100, absent=draw(st.booleans())),
        simulated=draw(st.sampled_from([True, None])),
        comments=draw(st.sampled_from([(), ("pH           7.14", "Gest. weeks  39")])),
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(one=recordings())
def test_units_rate_and_gaps_survive(tmp_path_factory, suffix, one):
    """In every format, at every rate, with gaps, from any first second."""
    need(NEEDS.get(suffix, "numpy"))
    path = tmp_path_factory.mktemp("formats") / f"trace{suffix}"
    notes = write_recording(one, path)
    read = read_recording(path)
    if suffix == "":
        assert ("spasms" in notes) == (not np.isnan(one.spasms).all())
        for channel in ("fhr_bpm", "uterus"):
            was, now = signal(one, channel), signal(read, channel)
            assert now == pytest.approx(was, rel=1e-9)
        return
    assert_same(read, one, RESOLUTION.get(suffix, 0.0))
    assert read.simulated == one.simulated
    assert read.comments == one.comments
    assert bool(notes) == (suffix in RESOLUTION)  # random numbers are finer than 0.01


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet", ".npz", ".hea", ".edf", ""])
def test_several_sensors(tmp_path, suffix):
    """In one file where that is possible, else numbered."""
    need(NEEDS.get(suffix, "numpy"))
    ids = [f"0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d{n:02x}" for n in range(3)]
    several = [
        Recording(
            sec_from_start=np.arange(40) / 4, fhr_bpm=np.full(40, 120.0 + n),
            uterus=np.full(40, 10.0), spasms=np.full(40, np.nan), sensor_id=ids[n],
        )
        for n in range(3)
    ]  # fmt: skip
    path = tmp_path / f"trace{suffix}"
    write_recordings(iter(several), path)
    if suffix in (".npz", ".hea", ".edf"):
        read = [read_recording(tmp_path / f"trace-{n}{suffix}") for n in (1, 2, 3)]
    else:
        read = list(read_recordings(path))
    assert [one.fhr_bpm[0] for one in read] == [120, 121, 122]
    if suffix:
        assert [one.sensor_id for one in read] == ids


def test_events_are_held_by_native_npz_and_edf(tmp_path):
    """As ground truth, and as annotations."""
    need("edfio")
    event = Event(kind="deceleration", subtype="late", onset_s=3.0, end_s=33.0, size=20.5, id="d1")
    one = Recording(
        sec_from_start=np.arange(400) / 4, fhr_bpm=np.full(400, 140.0),
        uterus=np.zeros(400), spasms=np.zeros(400), events=(event,), sensor_id="a",
    )  # fmt: skip
    for suffix in (".jsonl", ".npz", ".edf"):
        assert write_recording(one, tmp_path / f"e{suffix}") == []
        assert read_recording(tmp_path / f"e{suffix}").events == (event,)
    assert write_recording(one, tmp_path / "e.csv") == ["events"]


def test_many_missing_samples_do_not_hide_the_rate(tmp_path):
    """Where half of the distances aren't the period, the shortest one is (found by CI)."""
    sec = np.array([0.0, 1.0, 2.0, 4.0, 6.0])
    values = np.arange(100.0, 105.0)
    one = Recording(sec_from_start=sec, fhr_bpm=values, uterus=values, spasms=values)
    grid = on_grid(one)
    assert grid.period_s == 1.0
    assert grid.present.tolist() == [True, True, True, False, True, False, True]
    assert grid.notes == []


def test_uneven_times_are_put_on_a_grid_and_said(tmp_path):
    """Jitter of a wall clock: the nearest place, and by how much samples moved."""
    rng = np.random.default_rng(1)
    sec = np.arange(200) / 4 + rng.uniform(0, 0.05, 200)
    channel = np.full(200, 140.0)
    one = Recording(sec_from_start=sec, fhr_bpm=channel, uterus=channel, spasms=channel)
    grid = on_grid(one)
    assert grid.period_s == 0.25
    assert len(grid.fhr_bpm) == 200
    assert grid.notes[0].startswith("uneven times: samples moved by up to 0.0")
    far = Recording(
        sec_from_start=np.array([0, 0.25, 0.5, 3e7]), fhr_bpm=channel[:4],
        uterus=channel[:4], spasms=channel[:4],
    )  # fmt: skip
    with pytest.raises(ValueError, match="samples long"):
        on_grid(far)


@pytest.mark.parametrize(("suffix", "heart"), [(".fhr", 2), (".fhrm", 3)])
def test_fhrma_files(tmp_path, suffix, heart):
    """Quarter beats, half toco units, 0 is no signal; a second heart rate is a second sensor."""
    rows = [(140.25, 0, 12.5), (0, 150.5, 0.5), (141.0, 151.0, 127.5)]
    rows = rows * 4  # enough to see that both have signal at once, and differ
    body = b"".join(
        struct.pack(f"<{heart}H2B", int(a * 4), int(b * 4), *[0] * (heart - 2), int(t * 2), 0)
        for a, b, t in rows
    )
    path = tmp_path / f"x{suffix}"
    path.write_bytes(struct.pack("<I", 1_500_000_000) + body)
    first, second = read_recordings(path)
    np.testing.assert_array_equal(first.fhr_bpm, [140.25, np.nan, 141.0] * 4)
    np.testing.assert_array_equal(second.fhr_bpm, [np.nan, 150.5, 151.0] * 4)
    np.testing.assert_array_equal(first.uterus, [12.5, 0.5, 127.5] * 4)
    np.testing.assert_array_equal(first.sec_from_start[:3], [0, 0.25, 0.5])
    assert first.started == "2017-07-14T02:40:00Z"
    path.write_bytes(path.read_bytes()[:-1])
    report = Report()
    cut, _ = read_recordings(path, None, report)
    assert len(cut.sec_from_start) == 11
    assert "bytes after the last sample are ignored" in report.warnings[0]


def test_the_two_files_of_the_original_layout(tmp_path):
    """Whole seconds from 1, missing rows, channel pairs 1 with 2 and 3 with 4."""
    for folder, name, text in (
        ("bpm", "20250101-00000001_1.csv", "time_sec,value\n1,140\n2,0\n5,142.5\n"),
        ("uterus", "20250101-00000001_2.csv", "time_sec,value\n1,10\n3,11\n"),
        ("bpm", "20250101-00000001_3.csv", "time_sec,value\n1,150\n"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(text)
    first, second = read_recordings(tmp_path)
    np.testing.assert_array_equal(first.sec_from_start, [1, 2, 3, 5])
    np.testing.assert_array_equal(first.fhr_bpm, [140, np.nan, np.nan, 142.5])
    np.testing.assert_array_equal(first.uterus, [10, np.nan, 11, np.nan])
    assert second.fhr_bpm.tolist() == [150]
    alone = read_recording(tmp_path / "bpm" / "20250101-00000001_1.csv")
    assert_same(alone, first)


@pytest.mark.filterwarnings("ignore")
def test_what_other_libraries_write_and_read(tmp_path):
    """wfdb-python and edfio read our files; we read wfdb-python's, named as PhysioNet does."""
    need("wfdb", "edfio")
    import edfio

    from ctgkit.recording.files.wfdb import wfdb

    bpm = np.array([140.0, np.nan, 141.25, 139.5] * 10)
    toco = np.linspace(0, 60, 40)
    wfdb.wrsamp(
        "theirs", fs=4, units=["bpm", "nd"], sig_name=["FHR", "UC"],
        p_signal=np.column_stack([bpm, toco]), fmt=["16", "16"],
        comments=["pH           7.14"], write_dir=str(tmp_path),
    )  # fmt: skip
    one = read_recording(tmp_path / "theirs.hea")
    np.testing.assert_allclose(one.fhr_bpm, bpm, atol=0.005)
    np.testing.assert_allclose(one.uterus, toco, atol=0.005)
    assert one.comments == ("pH           7.14",)
    write_recording(one, tmp_path / "ours.hea")
    record = wfdb.rdrecord(str(tmp_path / "ours"))
    assert (record.fs, record.sig_name, record.units) == (4, ["FHR", "UC"], ["bpm", "nd"])
    np.testing.assert_allclose(record.p_signal[:, 0], bpm, atol=0.005)
    write_recording(one, tmp_path / "ours.edf")
    edf = edfio.read_edf(tmp_path / "ours.edf")
    assert [s.label for s in edf.signals] == ["FHR", "UC", "Quality"]
    assert edf.signals[0].sampling_frequency == 4
    np.testing.assert_allclose(edf.signals[0].data, np.nan_to_num(bpm), atol=0.005)


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize("every", [60, pytest.param(1, marks=pytest.mark.slow)])
def test_real_recordings_through_all_formats(tmp_path, every):
    """From format to format: each sample is the original's, to the last digit."""
    need("wfdb", "edfio", "pyarrow")
    paths = sorted((SHARED / "data" / "ctu").glob("*.csv.gz"))[::every]
    assert paths
    for path in paths:
        original = one = read_recording(path)
        for suffix in (".hea", ".edf", ".csv", ".npz", ".parquet", ".csv.gz", ".jsonl.gz"):
            assert write_recording(one, tmp_path / f"trace{suffix}") == []
            one = read_recording(tmp_path / f"trace{suffix}")
        for name in ("sec_from_start", *CHANNELS):
            np.testing.assert_array_equal(getattr(one, name), getattr(original, name), path.name)
        # a row of two files is only where a channel has a value
        shutil.rmtree(tmp_path / "two", ignore_errors=True)
        write_recording(one, tmp_path / "two")
        two = read_recording(tmp_path / "two")
        for channel in ("fhr_bpm", "uterus"):
            assert signal(two, channel) == signal(original, channel)


@pytest.mark.parametrize("found", [f for f in FORMATS if f.extra], ids=lambda f: f.name)
def test_a_missing_extra_is_named(tmp_path, found):
    """Exit code 4 and the command that installs it, to write as to read; EDF is read without."""
    plain = tmp_path / "plain.csv"
    plain.write_text("sec,bpm\n0,140\n0.25,141\n")
    path = tmp_path / f"x{found.suffixes[0]}"
    arguments = [str(plain), str(path)]
    if not found.writes:
        path.write_bytes(b"")
        arguments = [str(path), "out.csv"]
    blocked = {"wfdb": "wfdb", "edf": "edfio", "parquet": "pyarrow", "excel": "python_calamine"}
    program = (
        f"import sys; sys.modules[{blocked[found.extra]!r}] = None;"
        "from ctgkit.cli.main import main;"
        f"sys.argv = ['ctgkit', 'convert', *{arguments!r}]; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"pip install 'ctgkit[{found.extra}]'" in done.stderr


def test_files_that_are_none(tmp_path):
    """Unknown extensions, empty files, files that are only read."""
    one = Recording(**{name: np.ones(1) for name in ("sec_from_start", *CHANNELS)})
    with pytest.raises(RecordingError, match="unknown format"):
        write_recording(one, tmp_path / "x.pdf")
    with pytest.raises(RecordingError, match="only read"):
        write_recording(one, tmp_path / "x.fhr")
    for suffix in (".npz", ".hea", ".edf", ".parquet", ".fhr", ".csv", ".jsonl"):
        need(NEEDS.get(suffix, "numpy"))
        path = tmp_path / f"x{suffix}"
        path.write_bytes(b"")
        with pytest.raises(RecordingError):
            list(read_recordings(path))
        with pytest.raises(RecordingError, match="No such file"):
            read_recording(tmp_path / f"missing{suffix}")


def test_convert_says_what_is_lost(tmp_path):
    """Data on stdout, the losses on stderr, and no file is replaced unasked."""
    source = tmp_path / "in.csv"
    source.write_text("sec,bpm,uterus,spasms\n0,140.123,1,2\n0.25,141,1,2\n")
    target = tmp_path / "pairs"
    arguments = ["convert", str(source), str(target)]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "in.csv: 2 samples, 0 to 0.25 s" in done.stdout
    assert "not kept in pairs: spasms" in done.stderr
    native = tmp_path / "out.jsonl"
    told = CliRunner().invoke(cli, ["convert", str(source), str(native), "--json"])
    assert json.loads(told.stdout)["lost"] == []
    again = CliRunner().invoke(cli, ["convert", str(source), str(native)])
    assert "exists already" in str(again.exception)
