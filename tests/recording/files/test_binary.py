"""WFDB and EDF as instruments write them: rates, interruptions, scales, marks, starts."""

import importlib.util

import numpy as np
import pytest

from ctgkit.errors import RecordingError
from ctgkit.recording import Recording, read_one, read_recordings, write_recording
from ctgkit.recording.files.options import ReadOptions, Report
from tests.extras import need

nan = np.nan
needs_wfdb = pytest.mark.skipif(not importlib.util.find_spec("wfdb"), reason="needs wfdb")


def read(path, **options):
    report = Report()
    return list(read_recordings(path, ReadOptions(**options), report)), report


def wfdb(folder, header, samples):
    """Write a record by hand: 16 bit, little-endian."""
    (folder / "r.hea").write_text(header, encoding="utf-8")
    (folder / "r.dat").write_bytes(np.asarray(samples, "<i2").tobytes())
    return folder / "r.hea"


def field(text, width):
    return str(text).encode()[:width].ljust(width)


def edf(path, signals, *, record_s=1, onsets=None, n_records=None, kind="EDF+C", start=None,
        notes=(), behind=b""):  # fmt: skip
    """Write EDF by hand.

    *signals*: label -> (unit, physical low, high, digital values as (n_records, n_per_record));
    *onsets*: of each data record; *notes*: texts in the first one.
    """
    rows = [np.asarray(values, "<i2") for _, _, _, values in signals.values()]
    count = len(rows[0])
    labels = list(signals)
    texts = []
    for n in range(count):
        onset = n * record_s if onsets is None else onsets[n]
        text = f"+{onset:g}\x14\x14\0"
        text += "".join(f"+{at:g}\x14{note}\x14\0" for at, note in notes) * (n == 0)
        texts.append(text.encode())
    width = max(map(len, texts)) // 2 + 1
    head = [*signals.items(), ("EDF Annotations", ("", -1, 1, None))]
    parts = [
        field("0", 8), field("X X X X", 80), field("Startdate 31-DEC-2025 X X X", 80),
        field(start or "31.12.25", 8), field("23.59.30", 8), field(256 * (len(head) + 1), 8),
        field(kind, 44), field(count if n_records is None else n_records, 8), field(record_s, 8),
        field(len(head), 4),
    ]  # fmt: skip
    parts += [field(label, 16) for label in [*labels, "EDF Annotations"]]
    parts += [field("", 80)] * len(head)
    parts += [field(unit, 8) for _, (unit, *_) in head]
    parts += [field(low, 8) for _, (_, low, _, _) in head]
    parts += [field(high, 8) for _, (_, _, high, _) in head]
    parts += [field(-32768, 8)] * len(head) + [field(32767, 8)] * len(head)
    parts += [field("", 80)] * len(head)
    parts += [field(row.shape[1], 8) for row in rows] + [field(width, 8)]
    parts += [field("", 32)] * len(head)
    for n in range(count):
        parts += [row[n].tobytes() for row in rows] + [texts[n].ljust(2 * width, b"\0")]
    path.write_bytes(b"".join(parts) + behind)
    return path


def beats(n_records, n, value=14000):
    return np.full((n_records, n), value)


SCALE = ("bpm", -327.68, 327.67)


@needs_wfdb
def test_signals_of_different_rates_are_not_averaged(tmp_path):
    """4 heart rates and 1 toco per frame; a gap marked by 0 stays a gap."""
    hearts = np.full((50, 4), 14000)
    hearts[10, 1:] = hearts[11, :2] = 0
    frames = np.column_stack([hearts, np.arange(50) * 100])
    header = "r 2 1 50\nr.dat 16x4 100/bpm 16 0 0 0 0 FHR\nr.dat 16 100/nd 16 0 0 0 0 UC\n"
    (one,), report = read(wfdb(tmp_path, header, frames))
    assert one.sec_from_start[:5].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert set(one.fhr_bpm[~np.isnan(one.fhr_bpm)]) == {140}
    assert np.isnan(one.fhr_bpm).nonzero()[0].tolist() == [41, 42, 43, 44, 45]
    assert one.uterus[:6].tolist() == [0, 0, 0, 0, 1, 1]
    assert "toco has one sample every 1 s: held in between" in report.notes


@needs_wfdb
@pytest.mark.parametrize(
    ("signals", "options", "reason"),
    [
        ("r.dat 16 0/bpm 16 0 0 0 0 FHR\nr.dat 16 1 16 0 0 0 0 UC", {}, "'FHR' has no gain"),
        ("r.dat 16\nr.dat 16", {}, r"no description: choose with --fhr N --toco N among 1"),
        ("r.dat 16\nr.dat 16", {"fhr": "1"}, "has no gain"),
        ("r.dat 16 9/bpm 16 0 0 0 0 MHR\nr.dat 16 9/nd 16 0 0 0 0 UC", {}, "the signals MHR, UC"),
        ("r.dat 16 9/mV 16 0 0 0 0 ECG\nr.dat 16 9/nd 16 0 0 0 0 UC", {}, "ECG is in mV"),
        ("r.dat 16 0 16 0 0 0 0 FHR\nr.dat 16 9/nd 16 0 0 0 0 UC", {}, "'FHR' has no gain"),
    ],
)
def test_what_a_header_does_not_say_is_asked_for(tmp_path, signals, options, reason):
    path = wfdb(tmp_path, f"r 2 4 40\n{signals}\n", np.full((40, 2), 140))
    with pytest.raises(RecordingError, match=reason):
        read(path, **options)


@needs_wfdb
def test_a_rate_that_no_header_says_is_not_filled_in(tmp_path):
    """WFDB's own default would be 250 per second."""
    for start in ("r 1", "r 1 0 40"):
        path = wfdb(tmp_path, f"{start}\nr.dat 16 100/bpm 16 0 0 0 0 FHR\n", [(14000,)] * 40)
        with pytest.raises(RecordingError, match="its header says no rate"):
            read(path)


@needs_wfdb
def test_unnamed_signals_can_be_numbered(tmp_path):
    signals = "r.dat 16 10/nd 16\nr.dat 16 100/bpm 16"
    path = wfdb(tmp_path, f"r 2 4 40\n{signals}\n", [(100, 14000)] * 40)
    (one,), _ = read(path, fhr="2", toco="1")
    assert (one.fhr_bpm[0], one.uterus[0]) == (140, 10)


@needs_wfdb
def test_a_header_and_its_data_are_compared(tmp_path):
    """Checksums, bytes behind, segments; the start and remarks beyond ASCII."""
    good = (14000 * 40) & 0xFFFF
    header = (
        f"r 2 4 40 23:59:30 31/12/2025\nr.dat 16 100/bpm 16 0 0 {good} 0 FHR\n"
        "r.dat 16 100/mmHg 16 0 0 7 0 IUP\n# Исход: норма\n"
    )
    path = wfdb(tmp_path, header, [(14000, 1200)] * 45)
    (one,), report = read(path)
    assert (one.started, one.comments) == ("2025-12-31T23:59:30", ("Исход: норма",))
    assert one.uterus[0] == 12
    assert report.warnings == [
        "the checksum of IUP is wrong: the data were changed",
        "20 bytes after the last sample are ignored",
    ]
    (tmp_path / "s.hea").write_text("s/2 2 4 80\nr 40\nr 40\n")
    with pytest.raises(RecordingError, match="several segments: read each: r, r"):
        read(tmp_path / "s.hea")


def test_an_interruption_stays(tmp_path):
    """EDF+D: records begin when they say it; notes keep their places."""
    onsets = [*range(60), *range(120, 180)]
    signals = {"FHR": (*SCALE, beats(120, 4)), "UC": ("", *SCALE[1:], beats(120, 4, 1000))}
    path = edf(tmp_path / "x.edf", signals, onsets=onsets, kind="EDF+D", notes=[(130, "turned")])
    (one,), report = read(path)
    assert len(one.sec_from_start) == 480
    assert (one.sec_from_start[239], one.sec_from_start[240]) == (59.75, 120)
    assert one.sec_from_start[-1] == 179.75
    assert "interrupted 1 times, 60 s in all" in report.notes
    assert one.comments == ("130 s: turned",)
    assert one.started == "2025-12-31T23:59:30"
    onsets[3] = 2.5
    edf(path, signals, onsets=onsets, kind="EDF+D")
    with pytest.raises(RecordingError, match="data record 4 begins before"):
        read(path)


@pytest.mark.parametrize(("heart", "toco"), [(4, 1), (2, 4), (4, 4), (1, 4)])
def test_edf_signals_at_rates_of_their_own(tmp_path, heart, toco):
    """At the heart rate's times; what was held or left out is said."""
    tocos = np.arange(60 * toco).reshape(60, toco) * 10
    signals = {"UC": ("", *SCALE[1:], tocos), "FHR": (*SCALE, beats(60, heart))}
    (one,), report = read(edf(tmp_path / "x.edf", signals))
    assert np.allclose(one.sec_from_start, np.arange(60 * heart) / heart)
    assert (one.fhr_bpm == 140).all()
    places = np.floor(one.sec_from_start * toco + 1e-9)
    np.testing.assert_allclose(one.uterus, places / 10)
    assert bool(report.notes) == (heart != toco)


def test_scales_as_they_are_written(tmp_path):
    """A decimal comma is one; a scale that isn't is refused."""
    signals = {"FHR": ("bpm", "-327,68", "327,67", beats(10, 4))}
    (one,), report = read(edf(tmp_path / "x.edf", signals))
    assert (one.fhr_bpm == 140).all()
    assert any("decimal comma" in note for note in report.notes)
    for low, high, reason in (("a", 1, "is not a number"), (5, 5, "has no scale")):
        with pytest.raises(RecordingError, match=reason):
            read(edf(tmp_path / "x.edf", {"FHR": ("bpm", low, high, beats(10, 4))}))


def test_bytes_behind_the_last_record_are_no_signal(tmp_path):
    """Nor are zeros that fill it up; a file that was cut says so."""
    tocos = beats(10, 4, 1200)
    hearts = beats(10, 4)
    hearts[9, 2:] = tocos[9, 2:] = 0
    signals = {"FHR": (*SCALE, hearts), "UC": ("", *SCALE[1:], tocos)}
    path = edf(tmp_path / "x.edf", signals, behind=bytes(600))
    (one,), report = read(path)
    assert len(one.sec_from_start) == 40
    assert np.isnan(one.uterus[-2:]).all()
    assert (one.uterus[:-2] == 12).all()
    assert "600 bytes after the last data record are ignored" in report.warnings
    path.write_bytes(path.read_bytes()[:-650])
    assert any("truncated: 10 data records expected" in text for text in read(path)[1].warnings)
    (one,), report = read(edf(path, signals, n_records=-1))
    assert len(one.sec_from_start) == 40
    assert any("never finished" in note for note in report.notes)


def test_mother_and_fetus_and_raw_curves(tmp_path):
    signals = {
        "MHR": (*SCALE, beats(20, 4, 8000)),
        "ECG Fetal": ("uV", *SCALE[1:], beats(20, 100, 5)),
        "HR1": (*SCALE, beats(20, 4)),
        "HR2": (*SCALE, beats(20, 4, 15500)),
        "Toco": ("", *SCALE[1:], beats(20, 4, 1000)),
    }
    (first, second), report = read(edf(tmp_path / "x.edf", signals))
    assert (first.fhr_bpm[0], second.fhr_bpm[0]) == (140, 155)
    assert report.unread == ["MHR (the mother's)", "ECG Fetal (in uV)"]
    (one,), _ = read(tmp_path / "x.edf", fetus=2)
    assert one.fhr_bpm[0] == 155


@pytest.mark.parametrize("start", ["01.01.85", "00.00.00", "xx"])
def test_an_unknown_start_stays_unknown(tmp_path, start):
    path = edf(tmp_path / "x.edf", {"FHR": (*SCALE, beats(10, 4))}, start=start)
    if start == "01.01.85":
        path.write_bytes(path.read_bytes().replace(b"23.59.30", b"00.00.00"))
    assert read(path)[0][0].started == ""


def test_the_fraction_of_a_second_of_a_start(tmp_path):
    """The header has whole seconds; the first record says how much later it begins."""
    onsets = [0.567 + n for n in range(10)]
    edf(tmp_path / "x.edf", {"FHR": (*SCALE, beats(10, 4))}, onsets=onsets)
    (one,), _ = read(tmp_path / "x.edf")
    assert one.started == "2025-12-31T23:59:30.567"
    assert one.sec_from_start[:2].tolist() == [0, 0.25]


def test_independent_readers_read_what_we_write(tmp_path):
    """pyedflib and wfdb-python: values, start, labels."""
    need("pyedflib", "edfio")
    import pyedflib

    one = Recording(
        sec_from_start=np.arange(40) / 4, fhr_bpm=np.full(40, 140.25), uterus=np.arange(40.0),
        spasms=np.full(40, nan), started="2025-12-31T23:59:30+03:00",
    )  # fmt: skip
    assert write_recording(one, tmp_path / "x.edf") == []
    with pyedflib.EdfReader(str(tmp_path / "x.edf")) as file:
        assert file.getStartdatetime().isoformat() == "2025-12-31T23:59:30"
        np.testing.assert_allclose(file.readSignal(0), one.fhr_bpm, atol=0.005)
        np.testing.assert_allclose(file.readSignal(1), one.uterus, atol=0.005)
    assert read_one(tmp_path / "x.edf").started == one.started


def test_what_pyedflib_writes(tmp_path):
    """EDF+ by another library, with notes."""
    need("pyedflib")
    import pyedflib

    values = np.round(140 + 5 * np.sin(np.arange(240) / 9), 2)
    with pyedflib.EdfWriter(str(tmp_path / "x.edf"), 2, pyedflib.FILETYPE_EDFPLUS) as file:
        common = {
            "sample_frequency": 4,
            "physical_min": -327.68,
            "physical_max": 327.67,
            "digital_min": -32768,
            "digital_max": 32767,
            "transducer": "",
            "prefilter": "",
        }
        file.setSignalHeaders([common | {"label": "US1", "dimension": "bpm"},
                               common | {"label": "TOCO", "dimension": ""}])  # fmt: skip
        file.writeSamples([values, values / 10])
        file.writeAnnotation(3, -1, "vaginal examination")
    (one,), _ = read(tmp_path / "x.edf")
    np.testing.assert_allclose(one.fhr_bpm, values, atol=0.0101)  # it truncates
    np.testing.assert_allclose(one.uterus, values / 10, atol=0.0101)
    assert "3 s: vaginal examination" in one.comments
