"""The kinds of files that people have: each read as it is meant, or refused with a reason."""

import dataclasses
import importlib.util
import itertools
import json
import sqlite3
import struct

import numpy as np
import pytest

from ctgkit.errors import RecordingError
from ctgkit.recording import Recording, read_one, read_recordings, write_recording, write_recordings
from ctgkit.recording.files.options import ReadOptions, Report
from tests.extras import need

nan = np.nan


def read(path, **options):
    report = Report()
    found = list(read_recordings(path, ReadOptions(**options), report))
    return found, report


def table(times, hearts, tocos=None, header="sec,bpm,uterus"):
    tocos = tocos or [10] * len(times)
    rows = zip(times, hearts, tocos, strict=True)
    return "\n".join([header, *(f"{t},{h},{u}" for t, h, u in rows)]) + "\n"


SECONDS = [n / 4 for n in range(40)]


@pytest.mark.parametrize(
    "mark", ["-1", "-9999", "999", "511", "255", "0", "", "NA", "-", "#N/A", "null"]
)
def test_marks_for_no_signal_are_no_rates(write, mark):
    """Whatever says that there was no signal becomes none; what isn't usual is counted."""
    hearts = [mark if 10 <= n < 15 else 140 + n / 10 for n in range(40)]
    (one,), report = read(write(table(SECONDS, hearts)))
    assert np.isnan(one.fhr_bpm).nonzero()[0].tolist() == [10, 11, 12, 13, 14]
    assert one.uterus.tolist() == [10] * 40
    counted = any("5 heart rates" in text for text in report.warnings)
    assert counted == (mark in ("-1", "-9999", "999", "511", "255"))


def test_a_channel_that_is_no_heart_rate_is_refused(write):
    """A toco, or intervals in milliseconds: the first place is named; the option reads gaps."""
    path = write(table(SECONDS, [430 + n for n in range(40)]))
    with pytest.raises(
        RecordingError, match="40 of 40 heart rates are outside 20 to 300, first 43"
    ):
        read(path)
    (one,), report = read(path, accept_implausible=True)
    assert np.isnan(one.fhr_bpm).all()
    assert "another channel or unit?" in report.warnings[0]


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ("MHR,bpm", "the mother's"),
        ("HR,FHR", "HR"),
        ("Pulse,fhr", "the mother's"),
        ("baseline_bpm,fhr_bpm", "baseline_bpm"),
        ("maternal heart rate,HR", "the mother's"),
        ("ECG (mV),US", "ECG (mV) (in mV)"),
    ],
)
def test_meaning_decides_not_position(write, header, what):
    """The mother's pulse beside the fetus's: never read, always said."""
    text = f"sec,{header},UC\n" + "".join(f"{t},80,140,10\n" for t in SECONDS)
    (one,), report = read(write(text))
    assert set(one.fhr_bpm) == {140}
    assert any(what in name for name in report.unread)
    assert "heart rate from " + header.split(",")[1] in report.taken


def test_twins_are_two_recordings_and_one_can_be_chosen(write, tmp_path):
    """Also with ids; what is written tells them apart again."""
    rows = "".join(f"{t},{140 + t:g},{150 - t:g},10\n" for t in SECONDS)
    path = write("sec,FHR1,FHR2,UC\n" + rows)
    (first, second), report = read(path)
    assert (first.fhr_bpm[0], second.fhr_bpm[0]) == (140, 150)
    assert (first.comments, second.comments) == (("fetus 1: FHR1",), ("fetus 2: FHR2",))
    assert any("--fetus chooses one" in note for note in report.notes)
    (chosen,), report = read(path, fetus=2)
    assert chosen.fhr_bpm[0] == 150
    assert report.unread == ["FHR1"]
    with pytest.raises(
        RecordingError, match=r"choose one with --sensor N; they are 1 .fetus 1: FHR1"
    ):
        read_one(path)
    assert read_one(path, None, "2").fhr_bpm[0] == 150
    with pytest.raises(RecordingError, match="--fetus 3"):
        read(path, fetus=3)
    for name in ("t.jsonl", "t.csv", "t.npz", "two"):
        write_recordings(iter((first, second)), tmp_path / name)
    assert [r.comments for r in read(tmp_path / "t.jsonl")[0]] == [first.comments, second.comments]
    assert [r.fhr_bpm[0] for r in read(tmp_path / "t.csv")[0]] == [140, 150]
    assert [r.fhr_bpm[0] for r in read(tmp_path / "two")[0]] == [140, 150]


def fhrma(first, second, toco=24):
    rows = zip(first, second, strict=True)
    return struct.pack("<I", 0) + b"".join(
        struct.pack("<HHBB", int(a * 4), int(b * 4), toco, 16) for a, b in rows
    )


@pytest.mark.parametrize("suffix", [".fhr", ".rcf", ".fhra"])
def test_two_probes_of_one_fetus_are_one_heart_rate(write, suffix):
    """In turn, only the second, both the same; and both different: twins."""
    beats = [140 + n % 7 for n in range(80)]
    none = [0] * 80
    turns = [[b if n < 40 else 0 for n, b in enumerate(beats)],
             [0 if n < 40 else b for n, b in enumerate(beats)]]  # fmt: skip
    for first, second in (turns, (none, beats), (beats, none), (beats, [b + 1 for b in beats])):
        (one,), report = read(write(fhrma(first, second), "x" + suffix))
        assert one.fhr_bpm.tolist() == beats
        assert one.comments == ()
        assert report.notes
    found, _ = read(write(fhrma(beats, [b + 15 for b in beats]), "x" + suffix))
    assert len(found) == 2


def test_zero_bytes_behind_fhrma_samples_are_no_toco_of_zero(write):
    data = fhrma([140] * 40, [0] * 40) + bytes(6 * 192)
    (one,), report = read(write(data, "x.fhr"))
    assert len(one.sec_from_start) == 40
    assert "192 samples at the end are zero bytes" in report.warnings[0]


@pytest.mark.parametrize(
    ("cells", "expected", "started"),
    [
        (["0:00.250", "0:00.500", "0:00.750"], [0.25, 0.5, 0.75], ""),
        (["23:59:59", "00:00:00", "00:00:01"], [0, 1, 2], ""),
        (["11:59:59 PM", "12:00:00 AM", "12:00:01 AM"], [0, 1, 2], ""),
        (["2025-12-31T23:59:30Z", "2025-12-31T23:59:31Z", "2025-12-31T23:59:32Z"], [0, 1, 2],
         "2025-12-31T23:59:30Z"),
        (["2025-12-31 23:59:30+03:00", "2025-12-31 23:59:31+03:00", "2025-12-31 23:59:32+03:00"],
         [0, 1, 2], "2025-12-31T23:59:30+03:00"),
        (["31.12.2025 23:59:59", "01.01.2026 00:00:00", "01.01.2026 00:00:01"], [0, 1, 2],
         "2025-12-31T23:59:59"),
        (["12/31/2025 11:59:59 PM", "1/1/2026 12:00:00 AM", "1/1/2026 12:00:01 AM"], [0, 1, 2],
         "2025-12-31T23:59:59"),
        (["02/03/2025 10:00:00", "02/03/2025 10:00:01", "02/03/2025 10:00:02"], [0, 1, 2], ""),
        (["1767348000.25", "1767348000.5", "1767348000.75"], [0, 0.25, 0.5],
         "2026-01-02T10:00:00.250Z"),
        (["1767348000250", "1767348000500", "1767348000750"], [0, 0.25, 0.5],
         "2026-01-02T10:00:00.250Z"),
    ],
)  # fmt: skip
def test_times_as_clocks_write_them(write, cells, expected, started):
    """Counted from the first where they are the day's; the start is kept where it is known."""
    text = "timestamp,fhr\n" + "".join(f"{cell},14{n}\n" for n, cell in enumerate(cells))
    (one,), report = read(write(text))
    np.testing.assert_allclose(one.sec_from_start, expected, atol=1e-6)
    assert one.started == started
    assert report.notes


def test_whole_seconds_at_four_samples_a_second(write):
    """Repeated times are one tick, spread; a first tick that is cut ends where the next begins."""
    times = [0] * 2 + [s for s in range(1, 20) for _ in range(4)]
    (one,), report = read(write(table(times, range(100, 178))))
    np.testing.assert_allclose(one.sec_from_start[:6], [0.5, 0.75, 1, 1.25, 1.5, 1.75])
    assert np.allclose(np.diff(one.sec_from_start), 0.25)
    assert "4 rows of each 1 s spread evenly" in report.warnings[0]


def test_disorder_is_sorted_and_a_second_start_is_refused(write):
    """Swapped rows and blocks are sorted; two recordings in one table aren't mixed."""
    swapped = [*SECONDS[:10], SECONDS[11], SECONDS[10], *SECONDS[12:]]
    for times in (swapped, SECONDS[::-1], SECONDS[20:] + SECONDS[:20]):
        hearts = [100 + 4 * t for t in times]
        (one,), report = read(write(table(times, hearts)))
        assert one.sec_from_start.tolist() == SECONDS
        assert one.fhr_bpm.tolist() == [100 + 4 * t for t in SECONDS]
        assert "not in the order of time" in report.warnings[0]
    twice = [*SECONDS, *(t + 0.1 for t in SECONDS)]
    with pytest.raises(RecordingError, match=r"line 42: time goes back from 9.75 s to 0.1 s"):
        read(write(table(twice, [140] * 80)))
    (one,), report = read(write(table([*SECONDS[:5], 1.0, *SECONDS[5:]], range(100, 141))))
    assert len(one.sec_from_start) == 40
    assert "1 rows repeat a time and are left out, first at 1 s" in report.warnings[0]


def test_sample_numbers_instead_of_seconds(write):
    """The public intrapartum database as people have it: told, and mended by the rate."""
    rng = np.random.default_rng(3)
    hearts = np.repeat(np.round(560 + rng.normal(0, 20, 200)) / 4, 2)
    path = write(table(range(400), hearts.tolist(), header="seconds,FHR,UC"))
    (one,), report = read(path)
    assert any("look like sample numbers" in text for text in report.warnings)
    (one,), report = read(path, rate_hz=4.0)
    assert one.sec_from_start[:3].tolist() == [0, 0.25, 0.5]
    assert not report.warnings
    beats = np.round(140 + rng.normal(0, 5, 400), 1).tolist()
    assert not read(write(table(range(400), beats, list(range(20)) * 20)))[1].warnings


@pytest.mark.parametrize(
    ("scale", "reason"), [(1000, "milliseconds, name the column time_ms"), (1 / 60, "time_min")]
)
def test_a_unit_that_nothing_names_is_not_guessed(write, scale, reason):
    text = table([t * scale for t in SECONDS], [140] * 40, header="t,fhr,uc")
    with pytest.raises(RecordingError, match=reason):
        read(write(text))


def test_numbers_without_a_header(write):
    path = write("0;140,5;10\n1;141,5;11\n")
    with pytest.raises(RecordingError, match="--no-header numbers the columns"):
        read(path)
    (one,), _ = read(path, no_header=True, time="1", fhr="2", toco="3")
    assert (one.fhr_bpm.tolist(), one.uterus.tolist()) == ([140.5, 141.5], [10, 11])
    (one,), _ = read(path, fhr="2", rate_hz=2.0)
    assert one.sec_from_start.tolist() == [0, 0.5]


def test_columns_can_be_named_and_the_file_says_what_it_has(write):
    path = write("when,probe A,probe B\n0,140,1\n1,141,2\n")
    with pytest.raises(RecordingError, match="it has the columns when, probe A, probe B"):
        read(path)
    (one,), _ = read(path, time="when", fhr="Probe A", toco="3")
    assert (one.fhr_bpm.tolist(), one.uterus.tolist()) == ([140, 141], [1, 2])
    with pytest.raises(RecordingError, match="--fhr: no column 'x'; it has the columns when"):
        read(path, fhr="x")


def test_russian_text_of_several_ages(write):
    text = "Время;ЧСС;Тонус;Примечание\r\n0,0;140,5;10,5;норма\r\n0,25;141;11;норма\r\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1251", "cp866", "koi8-r"):
        (one,), report = read(write(text.encode(encoding)))
        assert one.fhr_bpm.tolist() == [140.5, 141]
        assert one.uterus.tolist() == [10.5, 11]
        assert report.unread == ["Примечание"]
    (one,), _ = read(write(text.encode("cp1251")), encoding="cp1251")
    with pytest.raises(RecordingError, match="--encoding"):
        read(write(text.encode("cp1251")), encoding="utf-8")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "cp1251"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_long_text_is_read_in_every_encoding(write, encoding, end):
    """Wherever what is looked at first ends: inside a line, a character, or its second byte."""
    rows = [f"{n / 4};{140 + n % 7};{n % 30};схватка {n}" for n in range(3000)]
    text = end.join(["Время, с;ЧСС;Тонус;Примечание", *rows, ""])
    for start in ("", "# a" + end):
        (one,), _ = read(write((start + text).encode(encoding)))
        assert one.fhr_bpm.tolist() == [140 + n % 7 for n in range(3000)]


def pair(write, root, fhr, toco, names=("x_1", "x_2"), suffix=".csv"):
    for folder, name, rows in zip(("bpm", "uterus"), names, (fhr, toco), strict=True):
        text = "time_sec,value\n" + "".join(f"{t:g},{v}\n" for t, v in rows)
        write(text, f"{root}/{folder}/{name}{suffix}")


def test_channels_with_clocks_of_their_own(write, tmp_path):
    """No row is not no signal: the toco is placed at the heart rate's times."""
    rng = np.random.default_rng(1)
    sec = np.cumsum(rng.uniform(0.12, 0.135, 400))
    beats = np.round(140 + 5 * np.sin(sec / 10), 1)
    pair(write, "rec", zip(sec.round(3), beats, strict=True),
         zip((sec + 0.05).round(3), np.round(20 + sec / 10, 1), strict=True))  # fmt: skip
    (one,), report = read(tmp_path / "rec")
    np.testing.assert_allclose(one.sec_from_start, sec.round(3))
    np.testing.assert_array_equal(one.fhr_bpm, beats)
    assert not np.isnan(one.uterus).any()
    assert np.abs(one.uterus - (20 + sec / 10)).max() < 0.1
    assert any("its own clock" in note for note in report.notes)


def test_a_lost_heart_rate_keeps_the_toco_of_its_gap(write, tmp_path):
    fhr = [(n / 4, 140) for n in range(80) if not 20 <= n < 60]
    toco = [(n / 4 + 0.1, 30) for n in range(80)]
    pair(write, "rec", fhr, toco)
    (one,), _ = read(tmp_path / "rec")
    gap = (one.sec_from_start > 5) & (one.sec_from_start < 14.5)
    assert gap.sum() > 30
    assert np.isnan(one.fhr_bpm[gap]).all()
    assert (one.uterus[gap] == 30).all()


def test_a_channel_filled_in_every_fourth_row(write):
    """In one table: a slower heart rate isn't lost, a slower toco is held."""
    hearts = [140 + n if n % 4 == 0 else "" for n in range(80)]
    (one,), report = read(write(table([n / 4 for n in range(80)], hearts)))
    assert one.sec_from_start.tolist() == [float(n) for n in range(20)]
    assert not np.isnan(one.fhr_bpm).any()
    assert "the heart rate has one sample every 1 s" in report.notes
    tocos = [n if n % 4 == 0 else "" for n in range(80)]
    (one,), report = read(write(table([n / 4 for n in range(80)], [140] * 80, tocos)))
    assert one.uterus[:6].tolist() == [0, 0, 0, 0, 4, 4]
    assert any("held in between" in note for note in report.notes)


def test_variants_of_the_layout_with_two_files(write, tmp_path):
    """Segments, empty cells, gzip, equal names, many cases, a toco alone, no match."""
    import gzip

    minute = [(n, 140) for n in range(60)]
    for number in (1, 2, 3):
        names = (f"x-000{number}_1", f"x-000{number}_2")
        pair(write, "seg", minute, minute, names)
    (one,), report = read(tmp_path / "seg")
    assert one.sec_from_start.tolist() == [float(n) for n in range(180)]
    assert "3 segments that each begin anew are joined end to end" in report.warnings[0]

    pair(write, "empty", [(0, 140), (1, ""), (2, 141)], [(0, ""), (1, 5), (2, 6)])
    (one,), _ = read(tmp_path / "empty")
    np.testing.assert_array_equal(one.fhr_bpm, [140, nan, 141])
    np.testing.assert_array_equal(one.uterus, [nan, 5, 6])

    for folder, name in (("bpm", "x_1"), ("uterus", "x_2")):
        data = gzip.compress(b"time_sec,value\n0,100\n1,101\n")
        write(data, f"gz/{folder}/{name}.csv.gz")
    assert read(tmp_path / "gz")[0][0].uterus.tolist() == [100, 101]
    assert len(read(tmp_path / "gz" / "bpm" / "x_1.csv.gz")[0]) == 1

    pair(write, "same", minute, minute, ("rec", "rec"))
    assert read(tmp_path / "same")[0][0].uterus[0] == 140

    for case in ("17", "18"):
        pair(write, f"root/regular/{case}", minute, minute)
    found, report = read(tmp_path / "root")
    assert [r.comments for r in found] == [("regular/17/x_1",), ("regular/18/x_1",)]

    assert read(tmp_path / "empty" / "uterus" / "x_2.csv")[0][0].fhr_bpm[0] == 140
    alone = write("time_sec,value\n0,10\n1,11\n", "alone/uterus/y_2.csv")
    with pytest.raises(RecordingError, match="a toco: no heart rate of this name"):
        read(alone)
    pair(write, "none", minute, minute, ("a", "b"))
    assert "no file in uterus/ is named like one in bpm/" in read(tmp_path / "none")[1].warnings[0]
    with pytest.raises(RecordingError, match="no directory bpm"):
        read(tmp_path / "alone")


def test_what_we_write_opens_everywhere(tmp_path):
    """pandas without options: numbers in every column of samples; remarks in one of their own."""
    need("pandas")
    import pandas

    one = Recording(
        sec_from_start=np.arange(40) / 4, fhr_bpm=np.where(np.arange(40) == 3, nan, 140.5),
        uterus=np.arange(40.0), spasms=np.full(40, nan), simulated=True, sensor_id="a-1",
        started="2026-01-02T10:00:00+03:00", comments=("pH, 7.1", 'said "no"', "исход"),
    )  # fmt: skip
    assert write_recording(one, tmp_path / "x.csv") == []
    frame = pandas.read_csv(tmp_path / "x.csv")
    mark = "simulated by ctgkit: not a patient"
    assert list(frame.columns) == ["sec", "bpm", "uterus", "spasms", mark, "remark"]
    assert (frame[mark] == 1).all()
    assert [kind.kind in "fi" for kind in frame.dtypes[:4]] == [True] * 4
    assert frame.remark.dropna().tolist() == [
        "sensor_id: a-1",
        "started: 2026-01-02T10:00:00+03:00",
        "pH, 7.1", 'said "no"', "исход",
    ]  # fmt: skip
    (back,), _ = read(tmp_path / "x.csv")
    for name in ("simulated", "sensor_id", "started", "comments"):
        assert getattr(back, name) == getattr(one, name)
    old = "sec,bpm,uterus,spasms\n# simulated by ctgkit: not a patient\n# sensor_id: a\n0,140,1,\n"
    (tmp_path / "old.csv").write_text(old)
    (back,), _ = read(tmp_path / "old.csv")
    assert (back.simulated, back.sensor_id) == (True, "a")


@pytest.mark.parametrize("marks", list(itertools.product([None, True, False], repeat=3)))
def test_only_what_is_simulated_is_called_so(tmp_path, marks):
    """Of several sensors in one table: a column of that name comes with a mark, and keeps it."""
    several = [
        Recording(
            sec_from_start=np.arange(3.0), fhr_bpm=np.full(3, 140.0), uterus=np.full(3, nan),
            spasms=np.full(3, nan), sensor_id=f"s{n}", simulated=mark,
        )
        for n, mark in enumerate(marks)
    ]  # fmt: skip
    write_recordings(several, tmp_path / "x.csv")
    header = (tmp_path / "x.csv").read_text().splitlines()[0]
    assert ("simulated" in header) == (marks[:2] != (None, None))
    back, _ = read(tmp_path / "x.csv")
    assert tuple(one.simulated for one in back) == marks


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".npz", ".parquet", ".hea", ".edf"])
@pytest.mark.parametrize("started", ["", "2025-12-31T23:59:30", "2025-12-31T23:59:30+03:00"])
def test_the_start_is_kept_and_never_made_up(tmp_path, suffix, started):
    """Through every format and on to the native one and back; with its time zone."""
    need({".parquet": "pyarrow", ".hea": "wfdb", ".edf": "edfio"}.get(suffix, "numpy"))
    one = Recording(
        sec_from_start=np.arange(8, 48) / 4, fhr_bpm=np.full(40, 140.0), uterus=np.arange(40.0),
        spasms=np.full(40, nan), started=started, comments=("Исход: норма, pH 7.31",),
    )  # fmt: skip
    write_recording(one, tmp_path / f"x{suffix}")
    first = read_one(tmp_path / f"x{suffix}")
    write_recording(first, tmp_path / "y.jsonl")
    last = read_one(tmp_path / "y.jsonl")
    for back in (first, last):
        assert back.started == started
        assert back.comments == one.comments
        assert back.sec_from_start[0] == 2.0


def message(sec, bpm, **more):
    return {"secFromStart": sec, "data": {"BPMChild": bpm, "uterus": 10, "spasms": 0}} | more


RESULT = {"prediction": None, "status": "ok", "timestamp": "2026-01-01T00:00:00.000Z"}


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("s.ndjson", lambda texts: "\n".join(texts)),
        ("s.jsonl", lambda texts: "connected\n" + "\n".join(f"< {t}" for t in texts)),
        ("s.log", lambda texts: "\n".join(f"2026-01-01 10:00:00 recv {t}" for t in texts)),
        ("s.json", lambda texts: "[" + ",".join(texts) + "]"),
        ("s.jsonl", lambda texts: "\n".join(json.dumps({"time": 1, "data": t}) for t in texts)),
        ("s.har", lambda texts: json.dumps({"log": {"entries": [
            {"request": {}}, {"_webSocketMessages": [
                {"type": "receive", "time": 1.5, "opcode": 1, "data": t} for t in texts]}]}})),
    ],
)  # fmt: skip
@pytest.mark.parametrize("more", [{}, {"sensorID": "a"}, {"sensorID": "a", **RESULT}])
def test_messages_that_others_kept(write, name, wrap, more):
    """Samples or results, bare or wrapped, with what is neither among them."""
    texts = [json.dumps(message(n / 4, 140 + n, **more)) for n in range(8)] + ['{"ack": 3}']
    (one,), _ = read(write(wrap(texts), name))
    assert one.fhr_bpm.tolist() == [140.0 + n for n in range(8)]
    assert one.sec_from_start.tolist() == [n / 4 for n in range(8)]
    assert one.sensor_id == more.get("sensorID", "")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("df.json", json.dumps([{"seconds": 0.0, "FHR": 140, "UC": 10}])),
        ("df.json", json.dumps({"seconds": {"0": 0.0}, "FHR": {"0": 140}, "UC": {"0": 10}})),
        ("df.jsonl", json.dumps({"seconds": 0.0, "FHR": 140, "UC": 10})),
    ],
)
def test_a_table_in_json_says_how_it_is_read(write, name, text):
    with pytest.raises(RecordingError, match=r"columns seconds, FHR, UC is read as CSV \(pandas"):
        read(write(text, name))


def test_the_address_in_a_browsers_archive_says_whose_samples_they_are(write):
    """What a sensor says itself counts more."""
    entries = [
        {
            "request": {"url": f"ws://a/ws/sensor?sensor_id={sensor}"},
            "_webSocketMessages": [
                {"type": "send", "opcode": 1, "data": json.dumps(message(n / 4, 140, **more))}
                for n in range(8)
            ],
        }
        for sensor, more in (("one", {}), ("two", {}), ("", {"sensorID": "three"}))
    ]
    found, _ = read(write(json.dumps({"log": {"entries": entries}}), "s.har"))
    assert [(one.sensor_id, len(one.fhr_bpm)) for one in found] == [
        ("one", 8), ("two", 8), ("three", 8),
    ]  # fmt: skip


def test_an_id_that_had_to_be_made_up_is_none(write, tmp_path):
    """The native format needs one; it isn't carried on. One that looks like it is kept."""
    source = write(table(SECONDS, [140] * 40))
    write_recordings(read(source)[0], tmp_path / "a.jsonl")
    assert read(tmp_path / "a.jsonl")[0][0].sensor_id == ""
    kept = "00000000-0000-0000-0000-000000000001"
    (one,), _ = read(source)
    write_recordings([dataclasses.replace(one, sensor_id=kept)], tmp_path / "b.jsonl")
    assert read(tmp_path / "b.jsonl")[0][0].sensor_id == kept


def test_what_else_is_there_is_said(write):
    """Which column names the sensors, and which option reads a second toco."""
    rows = "\n".join(f"{t},d01,140,10,20" for t in SECONDS)
    _, report = read(write(f"sec,patient,bpm,toco,iup\n{rows}\n"))
    assert "sensors from patient" in report.taken
    assert report.unread == ["iup (--toco reads this one instead)"]


def tnet(value):
    """Encode a value as mitmproxy does."""
    match value:
        case None:
            text, kind = b"", b"~"
        case bool():
            text, kind = str(value).lower().encode(), b"!"
        case int():
            text, kind = str(value).encode(), b"#"
        case float():
            text, kind = str(value).encode(), b"^"
        case bytes():
            text, kind = value, b","
        case str():
            text, kind = value.encode(), b";"
        case list():
            text, kind = b"".join(map(tnet, value)), b"]"
        case _:
            pairs = ((tnet(name), tnet(one)) for name, one in value.items())
            text, kind = b"".join(name + one for name, one in pairs), b"}"
    return b"%d:%s%s" % (len(text), text, kind)


def test_flows_of_mitmproxy(write):
    frames = [json.dumps(message(n / 4, 140 + n, sensorID="a")).encode() for n in range(8)]
    flows = [
        {"type": "http", "websocket": None, "version": 21},
        {"type": "http", "websocket": {"messages": [
            [1, True, frame, 1.5, False, False] for frame in [*frames, b"{}", b"\xff"]]}},
    ]  # fmt: skip
    data = b"".join(map(tnet, flows))
    (one,), _ = read(write(data, "x.mitm"))
    assert one.fhr_bpm.tolist() == [140.0 + n for n in range(8)]
    for broken in (data[:-9], b"5:abc", b"999999999999999:x,", tnet([[[]]] * 3)[:-1] + b"?"):
        with pytest.raises(RecordingError):
            read(write(broken, "x.mitm"))


def test_lines_that_hold_no_samples_name_what_makes_recordings(write):
    with pytest.raises(RecordingError, match="ctgkit record"):
        read(write('{"a": 1}\n{"b": 2}\n', "x.jsonl"))


SCHEMA = """
CREATE TABLE examinations (id INTEGER PRIMARY KEY, client_id INT, med_id INT, doctor_id INT,
  notes TEXT, status INT DEFAULT 0, start_time TEXT, end_time TEXT);
CREATE TABLE ctg (id INTEGER PRIMARY KEY, examination_id INT, sec_from_start REAL, uuid TEXT,
  bpm REAL, uterus REAL, spasms REAL, created_at TEXT);
"""


def original_database(path):
    """Write one as the original backend does: rollback journal, its own spelling of times."""
    with sqlite3.connect(path) as database:
        database.executescript(SCHEMA)
        for exam, start in ((1, "2026-01-02 03:04:05.678 +0000 UTC m=+0.1"), (2, None)):
            database.execute(
                "INSERT INTO examinations (id, start_time) VALUES (?, ?)", (exam, start)
            )
            for uuid in ("AAAA", "bbbb"):
                for n in range(20):
                    row = (exam, n * 0.12, uuid, 0 if n == 3 else 140 + exam, 15.2, 20.0)
                    database.execute(
                        "INSERT INTO ctg (examination_id, sec_from_start, uuid, bpm, uterus,"
                        " spasms) VALUES (?, ?, ?, ?, ?, ?)", row)  # fmt: skip
    database.close()
    return path


def test_the_original_systems_database(tmp_path):
    """Each sensor of each examination; nothing is written, not even beside it."""
    path = original_database(tmp_path / "original.db")
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    path.chmod(0o400)
    found, _ = read(path)
    assert [(r.sensor_id, r.comments) for r in found] == [
        ("AAAA", ("examination 1",)), ("bbbb", ("examination 1",)),
        ("AAAA", ("examination 2",)), ("bbbb", ("examination 2",)),
    ]  # fmt: skip
    assert found[0].started == "2026-01-02T03:04:05.678Z"
    assert found[2].started == ""
    np.testing.assert_array_equal(found[0].fhr_bpm[:5], [141, 141, 141, nan, 141])
    (one, _), _ = read(path, exam=2)
    assert one.fhr_bpm[0] == 142
    with pytest.raises(RecordingError, match="no examination 3; it has 1, 2"):
        read(path, exam=3)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [one.name for one in tmp_path.iterdir()] == ["original.db"]


def test_a_sensor_that_started_twice_in_a_database_is_two_recordings(tmp_path):
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as database:
        database.executescript(SCHEMA)
        database.execute("INSERT INTO examinations (id) VALUES (1)")
        for n in [*range(40), *range(30)]:
            row = (1, float(n), "a", 140.0 + n)
            database.execute(
                "INSERT INTO ctg (examination_id, sec_from_start, uuid, bpm) VALUES (?, ?, ?, ?)",
                row,
            )
    database.close()
    found, report = read(path)
    assert [len(r.sec_from_start) for r in found] == [40, 30]
    assert any("started 2 times" in note for note in report.notes)


def test_broken_databases(write):
    for data in (b"SQLite format 3\0" + bytes(100), b"no database"):
        with pytest.raises(RecordingError):
            read(write(data, "x.db"))
    with sqlite3.connect(write(b"", "empty.db")) as database:
        database.execute("CREATE TABLE x (y)")
    database.close()
    with pytest.raises(RecordingError, match="without the tables examinations and ctg"):
        read(write(b"", "unused").parent / "empty.db")


def test_an_index_of_dates_is_the_time(tmp_path):
    """pandas writes it without a name: text, spreadsheets, Parquet."""
    need("pandas")
    import pandas

    index = pandas.date_range("2025-12-31 23:59:00", periods=40, freq="250ms")
    frame = pandas.DataFrame({"FHR": 140.5, "UC": range(40)}, index=index)
    frame.to_csv(tmp_path / "x.csv")
    paths = [tmp_path / "x.csv"]
    for suffix, library in ((".xlsx", "openpyxl"), (".parquet", "pyarrow")):
        if importlib.util.find_spec(library):
            writer = frame.to_excel if suffix == ".xlsx" else frame.to_parquet
            writer(tmp_path / f"x{suffix}")
            paths.append(tmp_path / f"x{suffix}")
    for path in paths:
        (one,), _ = read(path)
        np.testing.assert_allclose(one.sec_from_start, SECONDS)
        assert one.started.startswith("2025-12-31T23:59:00")
        assert not one.started.endswith("Z")


def test_what_numpy_saves_as_text(tmp_path):
    """Its header is a remark, its numbers are in scientific notation."""
    for delimiter in (" ", ",", ";", "\t"):
        table_of = np.column_stack([SECONDS, np.full(40, 140.5), np.arange(40)])
        names = delimiter.join(["sec", "bpm", "uc"])
        np.savetxt(tmp_path / "x.txt", table_of, header=names, delimiter=delimiter)
        (one,), _ = read(tmp_path / "x.txt")
        assert one.sec_from_start.tolist() == SECONDS
        assert (one.uterus[39], one.comments) == (39, ())


def test_what_is_no_text_is_not_read_as_text(write):
    for name in ("x.npy", "x.mat", "x.bin", "x.csv"):
        with pytest.raises(RecordingError, match="binary, and none of the formats"):
            read(write(b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'}" + bytes(range(256)), name))


@pytest.mark.parametrize("name", ["x.parquet", "x.npz", "x.csv"])
def test_sensors_come_in_the_order_of_the_file(tmp_path, name):
    """Not in that of a set; also where their rows alternate."""
    order = ["zeta", "alpha", "mid", "0b", "beta"]
    sensor = order * 20
    columns = {"sensor": sensor, "sec": np.repeat(np.arange(20.0), 5),
               "fhr": np.arange(100) + 100.0}  # fmt: skip
    if name == "x.npz":
        np.savez(tmp_path / name, **{key: np.array(value) for key, value in columns.items()})
    else:
        need("pandas", *(["pyarrow"] if name == "x.parquet" else []))
        import pandas

        frame = pandas.DataFrame(columns)
        if name == "x.parquet":
            frame.to_parquet(tmp_path / name, row_group_size=7)
        else:
            frame.to_csv(tmp_path / name)
    found, _ = read(tmp_path / name)
    assert [one.sensor_id for one in found] == order
    assert [one.fhr_bpm[0] for one in found] == [100, 101, 102, 103, 104]
    assert all(one.sec_from_start.tolist() == list(range(20)) for one in found)


def test_a_limit_that_replay_can_raise(tmp_path):
    """A recording that packs unusually well is no bomb when the user says so."""
    import gzip

    from click.testing import CliRunner

    from ctgkit.cli.main import cli

    line = json.dumps([0.0, "s1 >", "x" * 2000])
    text = '{"ctgkit_recording":1}\n' + f"{line}\n" * 40_000
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(text.encode(), 9))
    arguments = ["replay", str(tmp_path / "x.jsonl.gz"), "--serve", "127.0.0.1:0"]
    failed = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert "--max-mb raises the limit" in str(failed.exception)
    raised = CliRunner().invoke(cli, [*arguments, "--max-mb", "200"], standalone_mode=False)
    assert "no viewer stream" in str(raised.exception)


@pytest.mark.parametrize("unit", ["[1/min]", "(1/min)", " 1/min", "_1/min", " [min-1]", "(1/мин)"])
def test_a_heart_rate_per_minute_is_one(write, unit):
    """The 1 of ``1/min`` is the number of no fetus, and ``min`` not its unit."""
    (one,), _ = read(write(f"UC [mmHg],FHR{unit},t [s]\n10,140,0\n11,141,1\n"))
    assert (one.fhr_bpm.tolist(), one.uterus.tolist()) == ([140, 141], [10, 11])
    assert one.comments == ()
