"""What cannot be right, or looks wrong: read as it is meant, told, or refused."""

import numpy as np
import pytest

from ctgkit.errors import RecordingError
from ctgkit.recording import read_recordings
from tests.recording.files.test_kinds import SECONDS, read, table


def test_rows_without_a_header_are_no_remarks(write):
    rows = "\n".join(f"{t},14{n % 10},10" for n, t in enumerate(SECONDS))
    (one,), _ = read(write(rows), no_header=True, time="1", fhr="2", toco="3")
    assert one.comments == ()
    assert len(one.fhr_bpm) == 40


@pytest.mark.parametrize(
    ("per_value", "text", "rate_hz"),
    [(4, "minutes:seconds", 4), (1, "minutes:seconds", 1), (60, "hours:minutes", 1)],
)
def test_two_numbers_with_a_colon_by_the_rate_that_is_believable(write, per_value, text, rate_hz):
    """``0:01`` four times is a second at 4 Hz, not a minute; sixty times is a minute."""
    times = [f"{n // per_value // 60}:{n // per_value % 60:02d}" for n in range(240)]
    (one,), report = read(write(table(times, [140 + n % 7 for n in range(240)], header="t,fhr,uc")))
    assert f"times are read as {text}" in report.notes
    np.testing.assert_allclose(np.diff(one.sec_from_start), 1 / rate_hz)


def test_a_clock_without_colons_is_refused(write):
    """235959 isn't the second 235,959."""
    clocks = [f"{10 + n // 3600}{n // 60 % 60:02d}{n % 60:02d}" for n in range(3500, 3800)]
    with pytest.raises(RecordingError, match="hhmmss without colons: write 10:58:20"):
        read(write(table(clocks, [140] * 300, header="time,fhr,uc")))
    long = range(100_000, 100_300)
    assert len(read(write(table(long, [140] * 300, header="time,fhr,uc")))[0][0].fhr_bpm) == 300


def test_backwards_and_the_same_time_twice(write):
    """Whole seconds at 4 Hz from the last to the first; a second start of a few rows."""
    whole = [t // 1 for t in SECONDS]
    (one,), _ = read(write(table(whole[::-1], range(139, 99, -1))))
    assert one.sec_from_start.tolist() == SECONDS
    assert one.fhr_bpm.tolist() == list(range(100, 140))
    with pytest.raises(RecordingError, match="line 6: time goes back from 3 s to 0 s"):
        read(write(table([0, 1, 2, 3] * 2, range(140, 148))))


@pytest.mark.parametrize(
    ("times", "hearts", "tocos", "text"),
    [
        (SECONDS, [254 if n % 8 == 3 else 140 + n % 5 for n in range(40)], None,
         "5 heart rates are 254, first at 0.75 s, and nothing else is near"),
        (SECONDS, [30 if n % 8 == 3 else 140 + n % 5 for n in range(40)], None,
         "5 heart rates are 30, first at 0.75 s"),
        (SECONDS, [70 + n % 5 for n in range(40)], None, "median heart rate is 72 bpm"),
        (SECONDS, [260 + n % 5 for n in range(40)], None, "median heart rate is 262 bpm"),
        ([n * 250 for n in range(40)], [140 + n % 5 for n in range(40)], None,
         "one sample every 250 s: are its times milliseconds?"),
        (range(400), [140 + n % 5 for n in range(400)], [7] * 400, "toco is 7 throughout"),
        (range(400), [140 + n % 5 for n in range(400)], [-1] * 400, "400 values of toco -1"),
    ],
)  # fmt: skip
def test_what_looks_wrong_is_said(write, times, hearts, tocos, text):
    _, report = read(write(table(times, hearts, tocos)))
    assert any(text in warning for warning in report.warnings), report.warnings


def test_another_unit_is_refused(write):
    """A toco in tenths, times in days: named seconds or not."""
    tenths = [120 + 10 * (n % 30) for n in range(40)]
    with pytest.raises(RecordingError, match=r"11 of 40 values of toco .* first 310 at 4.75 s"):
        read(write(table(SECONDS, [140 + n % 5 for n in range(40)], tenths)))
    days = [f"{t / 86400:.12f}" for t in SECONDS]
    with pytest.raises(RecordingError, match="345600 samples a second"):
        read(write(table(days, [140 + n % 5 for n in range(40)])))


@pytest.mark.parametrize("order", [slice(None, None, -1), [2, 0, 1, 5, 3, 4, 7, 6], slice(None)])
def test_midnight_in_disorder(write, order):
    """Rows from the last to the first, or swapped: midnight is passed once."""
    clocks = np.array([*(f"23:59:5{n}" for n in range(6, 10)), *(f"00:00:0{n}" for n in range(4))])
    hearts = np.arange(140, 148)
    (one,), _ = read(write(table(clocks[order], hearts[order], header="time,fhr,uc")))
    assert one.sec_from_start.tolist() == list(range(8))
    assert one.fhr_bpm.tolist() == hearts.tolist()


def test_elapsed_times_as_pandas_writes_them(write):
    cells = [f"1 days 00:00:0{n}.250000" for n in range(5)]
    (one,), _ = read(write(table(cells, range(140, 145))))
    assert np.diff(one.sec_from_start).tolist() == [1] * 4


def test_a_single_numpy_array_is_not_read_as_text(write, tmp_path):
    np.save(tmp_path / "one.npy", np.zeros((40, 3)))
    with pytest.raises(RecordingError, match="binary, and none of the formats"):
        read(tmp_path / "one.npy")


def with_units(units, *, scale=1.0):
    rows = [f"{n / 4 * scale:.6f},{140 + n % 7},{10 + n % 9}" for n in range(80)]
    return "\n".join(["Time,FHR,UC", units, *rows, ""])


@pytest.mark.parametrize(
    ("units", "scale"),
    [
        ("[min],[bpm],[mmHg]", 1 / 60),
        ("(ms),(bpm),(%)", 1000),
        ("{s},bpm,{}", 1),
        ("[h],[-],[-]", 1 / 3600),
    ],
)
def test_units_of_a_second_line_in_brackets(write, units, scale):
    (one,), _ = read(write(with_units(units, scale=scale)))
    np.testing.assert_allclose(one.sec_from_start, np.arange(80) / 4, atol=0.002)
    assert one.uterus.tolist() == [10 + n % 9 for n in range(80)]


def test_a_second_line_with_another_unit(write):
    """No heart rate in ms, no toco in kPa, no times in mV."""
    with pytest.raises(RecordingError, match="line 2: FHR is in ms, not beats/min"):
        read(write(with_units("[s],[ms],[mmHg]")))
    with pytest.raises(RecordingError, match="times are in mV, which is not a unit of time"):
        read(write(with_units("mV,bpm,mmHg")))
    for unit in ("kPa", "(kPa)", "mV"):
        (one,), report = read(write(with_units(f"s,bpm,{unit}")))
        assert np.isnan(one.uterus).all()
        assert report.unread == [f"UC (in {unit.strip('()')})"]
        assert not any("toco" in taken for taken in report.taken)


def test_a_heart_rate_alone_needs_its_rate(write):
    path = write("fhr\n" + "\n".join(str(140 + n % 7) for n in range(80)))
    with pytest.raises(RecordingError, match="fhr is alone, without times: --rate HZ"):
        read(path)
    (one,), report = read(path, rate_hz=4)
    assert one.fhr_bpm.tolist() == [140 + n % 7 for n in range(80)]
    assert not any("semicolon" in note for note in report.notes)


@pytest.mark.parametrize("rest", [20, 110])
def test_the_largest_number_of_seven_bits_in_a_toco(write, rest):
    """Where nothing is near it, 127 is hardly a contraction; beside a rise to it, it is one."""
    tocos = [127 if n % 60 < 5 else rest if n % 60 < 10 else 20 for n in range(240)]
    _, report = read(write(table(range(240), [140 + n % 7 for n in range(240)], tocos)))
    said = [text for text in report.warnings if "20 values of toco are 127, first at 0 s" in text]
    assert len(said) == (rest == 20)


def of_two(n_each, name, every_s):
    """Rows of two recordings in turns, one above the other."""
    rows = [f"{name},time,fhr"]
    for n in range(n_each):
        rows += [f"a,{n * every_s:g},{140 + n % 7}", f"b,{n * every_s:g},{120 + n % 5}"]
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("every_s", [1, 0.25])
def test_recordings_that_take_turns_are_told_apart_or_refused(tmp_path, every_s):
    """At whole seconds they were read as one, at twice the rate."""
    path = tmp_path / "turns.csv"
    path.write_text(of_two(200, "Bed", every_s))
    one, other = read_recordings(path)
    assert (one.sensor_id, other.sensor_id) == ("a", "b")
    assert set(one.fhr_bpm.tolist()) == set(range(140, 147))
    path.write_text(of_two(200, "whatever", every_s))
    with pytest.raises(RecordingError, match=r"line [23]: .*rows of several recordings"):
        list(read_recordings(path))


@pytest.mark.parametrize("jump", [0, 25])
def test_samples_of_one_second_are_those_of_one(tmp_path, jump):
    """Also where the heart falls by much within a second, as at the edge of a deceleration."""
    path = tmp_path / "one.csv"
    rows = "".join(f"{n // 4},{140 - jump * (n // 37 % 2) + n % 3}\n" for n in range(800))
    path.write_text("time,fhr\n" + rows)
    (one,) = read_recordings(path)
    assert one.sec_from_start[:5].tolist() == [0, 0.25, 0.5, 0.75, 1]
