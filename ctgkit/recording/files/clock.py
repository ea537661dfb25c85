"""Times as files have them -> seconds from the start, and the start where it is known.

This module performs no I/O.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit.errors import excerpt
from ctgkit.recording.files.names import known_units
from ctgkit.recording.files.options import Implausible
from ctgkit.samples import SEC_FROM_START_MAX_S

_SCALES: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0}
_EPOCHS: Final = ((1.0, "seconds"), (1e3, "milliseconds"), (1e6, "microseconds"), (1e9, "ns"))
_EPOCH_MIN_S, _EPOCH_MAX_S = 6.3e8, 4.2e9
"""Unix times taken for clock times, seconds: 1990 to 2103."""
_SERIAL_MIN, _SERIAL_MAX = 32_000.0, 75_000.0
"""Days since 1899-12-30 as spreadsheets count them: 1987 to 2105."""
_DAY_S = 86_400.0
STEP_MAX_S, RATE_MAX_HZ = 30.0, 30.0
"""Slowest and fastest sampling that is believed without a unit. Chosen: monitors give 0.2 to 10
samples/s; what is beyond are milliseconds or minutes taken for seconds."""
_REPEATED_MAX = 10.5
"""Rows with one ``a:b`` up to which it is minutes and seconds: that many samples a second are
believed, and that many a minute aren't."""
_DIGITS_S = 100.0
"""Length from which on numbers that never show 60 to 99 in two digits are a clock's, seconds."""

_TIME = re.compile(
    r"((?P<d>\d{1,3}) days?,? )?(?P<a>\d{1,3}):(?P<b>\d{1,2})(:(?P<c>\d{1,2}))?"
    r"([.,:](?P<f>\d{1,9}))?\s*(?P<m>[AaPp]\.?[Mm]\.?)?"
)
_DAY = re.compile(r"(?P<x>\d{1,4})[-./](?P<y>\d{1,2})[-./](?P<z>\d{1,4})")
_OFFSET = re.compile(r"(?P<zone>[Zz]|(UTC|GMT)?\s*[+-]\d{2}:?\d{2}|UTC|GMT)$")


class Times(NamedTuple):
    """A recording's times."""

    sec: NDArray[np.float64]
    """Seconds from the start, shape (n_rows,), in the order of the file."""
    started: str = ""
    """Wall time of second 0, ISO 8601, with the offset where the file has it; empty if unknown."""
    notes: tuple[str, ...] = ()
    zero_s: float = 0.0
    """What second 0 is on the file's own clock, seconds; 0 where it counts from its start."""


class BadTime(ValueError):
    """A time cannot be read; *row* counts from 0."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(row, reason)
        self.row, self.reason = row, reason


def from_numbers(values: NDArray[np.float64], unit: str = "") -> Times:
    """Return times from a column of numbers.

    Parameters
    ----------
    values : array, shape (n_rows,)
        In *unit*, or Unix times, or the days of a spreadsheet.
    unit : str
        As :func:`~ctgkit.recording.files.names.unit_of` spells it; empty for unknown.

    Raises
    ------
    BadTime
        When a time is not finite, negative or beyond everything.
    Implausible
        When nothing names the unit, and seconds cannot be meant.
    """
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise BadTime(int(bad[0]), "time must be finite")
    first = float(values[0])
    unit = unit if unit in known_units() else ""  # a remark in brackets says nothing
    if unit not in _SCALES and unit not in ("", "clock"):
        raise Implausible(f"times are in {unit}, which is not a unit of time: give --rate")
    if unit in ("", "s", "clock"):
        for scale, name in _EPOCHS:
            if _EPOCH_MIN_S <= first / scale <= _EPOCH_MAX_S:
                return _since_first(values / scale, f"Unix times in {name}")
    elif _EPOCH_MIN_S <= first * _SCALES[unit] <= _EPOCH_MAX_S:
        return _since_first(values * _SCALES[unit], "Unix times")
    if not unit and _are_serial_days(values):
        start = datetime(1899, 12, 30) + timedelta(days=first)  # noqa: DTZ001 - no zone is known
        sec = np.round((values - first) * _DAY_S, 3)
        note = "times are spreadsheet dates, counted from the first"
        return Times(sec, _iso(start), (note,), first * _DAY_S)
    sec = values if unit in ("", "s", "clock") else np.round(values * _SCALES[unit], 9)
    if sec[0] > SEC_FROM_START_MAX_S or sec.max() > SEC_FROM_START_MAX_S:
        at = int(np.argmax(sec > SEC_FROM_START_MAX_S))
        raise BadTime(at, f"time {sec[at]:g} s is more than a year, and not a Unix time")
    if not unit:
        _check_digits(values)
        _check_seconds(sec)
    notes = (f"times are in {unit}",) if unit in ("ms", "us", "ns", "min", "h") else ()
    return Times(sec, "", notes)


def _are_serial_days(values: NDArray[np.float64]) -> bool:
    inside = values.min() >= _SERIAL_MIN and values.max() <= _SERIAL_MAX
    return bool(inside and len(values) > 1 and 0 < np.median(np.abs(np.diff(values))) < 1e-3)


def _check_digits(values: NDArray[np.float64]) -> None:
    """Refuse 235959 for 23:59:59: long enough, and no two digits are ever above 59."""
    if values.max() - values.min() < _DIGITS_S or values.max() >= 240_000:
        return
    whole = np.floor(values)
    if (whole % 100 < 60).all() and (whole // 100 % 100 < 60).all() and _mostly_ones(values):
        raise Implausible(
            f"times like {values[0]:g} look like hhmmss without colons: write {_colons(values[0])},"
            " name the column's unit (time_s), or give --rate"
        )


def _mostly_ones(values: NDArray[np.float64]) -> bool:
    """Tell whether steps are a second or less, so that 60 to 99 can't be passed unseen."""
    return bool((np.abs(np.diff(values)) <= 1).mean() > 0.9)


def _colons(value: float) -> str:
    return f"{int(value) // 10000:02d}:{int(value) // 100 % 100:02d}:{int(value) % 100:02d}"


def _check_seconds(sec: NDArray[np.float64]) -> None:
    """Refuse steps that show another unit than seconds."""
    steps_s = np.abs(np.diff(sec))
    steps_s = steps_s[steps_s > 0]
    if len(steps_s) < 3:
        return
    step_s = float(np.percentile(steps_s, 50, method="lower"))
    if step_s >= STEP_MAX_S:
        raise Implausible(
            f"one sample every {step_s:g} s: if the times are milliseconds, name the column"
            " time_ms, or give --rate"
        )
    if step_s < 1 / RATE_MAX_HZ and len(sec) * step_s > step_s * 4:
        raise Implausible(
            f"{1 / step_s:.6g} samples a second: if the times are minutes or hours, name the column"
            " time_min or time_h, or give --rate"
        )


def _since_first(sec: NDArray[np.float64], what: str) -> Times:
    zero_s = float(sec.min())
    started = datetime.fromtimestamp(zero_s, UTC).isoformat(timespec="milliseconds")
    note = f"{what}: counted from the first, {started.replace('+00:00', 'Z')}"
    return Times(np.round(sec - zero_s, 6), started.replace("+00:00", "Z"), (note,), zero_s)


def from_texts(texts: Sequence[str], unit: str = "", *, elapsed: bool = False) -> Times:
    """Return times from a column of texts: times of the day, elapsed times, dates with times.

    Parameters
    ----------
    texts : sequence of str
        All of one kind.
    unit : str
        ``clock`` and the like don't matter.
    elapsed : bool
        Whether the column's name says that they aren't times of the day.

    Raises
    ------
    BadTime
        Saying which one cannot be read.
    """
    first = texts[0].strip(" '\"")
    if _TIME.fullmatch(first):
        return _from_clock(texts, elapsed=elapsed)
    if _DAY.match(first):
        return _from_dates(texts)
    raise BadTime(0, f"time {excerpt(texts[0])!r} is not in a known time format")


def _clock_s(text: str, two: float) -> float | None:
    """Return the seconds of ``h:m:s``, or of two numbers whose first counts *two* seconds."""
    found = _TIME.fullmatch(text)
    if not found:
        return None
    a, b, c, f = int(found["a"]), int(found["b"]), found["c"], found["f"]
    if b > 59 or (c and int(c) > 59):
        return None
    if found["m"]:
        if not 1 <= a <= 12:
            return None
        a = a % 12 + (12 if found["m"][0] in "pP" else 0)
    whole = a * 3600.0 + b * 60.0 + int(c) if c else a * two + b * two / 60.0
    whole += _DAY_S * int(found["d"] or 0)
    return whole + (int(f) / 10 ** len(f) if f else 0.0)


def _from_clock(texts: Sequence[str], *, elapsed: bool) -> Times:
    plain = [text.strip(" '\"") for text in texts]
    two, notes, zero_s = 3600.0, [], 0.0
    if ":" in plain[0] and plain[0].count(":") == 1 and not _TIME.fullmatch(plain[0])["m"]:  # type: ignore[index]
        per_value = len(plain) / len(set(plain))
        fraction = re.search(r"[.,]\d", plain[0])
        two = 3600.0 if per_value > _REPEATED_MAX and not fraction else 60.0
        notes.append(f"times are read as {'hours:minutes' if two == 3600 else 'minutes:seconds'}")
    sec = np.empty(len(plain))
    for row, text in enumerate(plain):
        value = _clock_s(text, two)
        if value is None:
            raise BadTime(row, f"time {excerpt(text)!r} is not like {excerpt(plain[0])!r}")
        sec[row] = value
    days = _days(sec)
    if days.any():
        sec += _DAY_S * days
        notes.append("times pass midnight")
    if (sec[0] >= 3600 and not elapsed) or sec.min() < 0:
        notes.append(f"times of the day: counted from the first, {plain[0]}, of an unknown day")
        zero_s = float(sec.min())
        sec -= zero_s
    return Times(np.round(sec, 9), "", tuple(notes), zero_s)


def _days(sec: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how many days later than the first row each is: the clock passes midnight."""
    steps_s = np.diff(sec, prepend=sec[0])
    falls = steps_s < -_DAY_S / 2
    days = np.cumsum(falls).astype(float)
    if (np.diff(sec + _DAY_S * days) < 0).any():  # rows in disorder go back over midnight too
        days -= np.cumsum(steps_s > _DAY_S / 2)
    return days


def _from_dates(texts: Sequence[str]) -> Times:
    plain = [text.strip(" '\"") for text in texts]
    orders = _orders(plain)
    read: list[tuple[NDArray[np.float64], datetime]] = []
    for order in orders:
        moments = [_moment(text, order) for text in plain]
        wrong = next((row for row, moment in enumerate(moments) if moment is None), None)
        if wrong is not None:
            if order is orders[-1] and not read:
                raise BadTime(wrong, f"date and time {excerpt(plain[wrong])!r} cannot be read")
            continue
        known = [moment for moment in moments if moment is not None]
        if len({moment.tzinfo is None for moment in known}) > 1:
            raise BadTime(0, "some times have a time zone and some have none")
        zero = min(known)
        sec = np.array([(moment - zero).total_seconds() for moment in known])
        read.append((sec, zero))
    sec, zero = min(read, key=lambda one: float(one[0].max()))
    started, note = _iso(zero), f"dates with times: counted from the first, {_iso(zero)}"
    if len({one[1] for one in read if one[0].max() == sec.max()}) > 1:
        started, note = "", "day and month cannot be told apart: the start isn't kept"
    return Times(np.round(sec, 6), started, (note,), _clock_zero_s(zero))


def _clock_zero_s(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


_Order = Callable[[int, int, int], tuple[int, int, int]]


def _orders(plain: Sequence[str]) -> list[_Order]:
    """Return what the three numbers of a date may mean: year, month, day."""
    found = _DAY.match(plain[0])
    assert found
    if len(found["x"]) == 4:
        return [lambda x, y, z: (x, y, z)]
    day_first: _Order = lambda x, y, z: (_year(z), y, x)  # noqa: E731
    if "/" not in found[0]:
        return [day_first]
    return [day_first, lambda x, y, z: (_year(z), x, y)]


def _year(number: int) -> int:
    return number + 2000 if number < 100 else number


def _moment(text: str, order: _Order) -> datetime | None:
    day = _DAY.match(text)
    if not day:
        return None
    rest = text[day.end() :].lstrip(" Tt,")
    zone = _OFFSET.search(rest)
    clock = rest[: zone.start()].strip() if zone else rest.strip()
    try:
        date = datetime(*order(int(day["x"]), int(day["y"]), int(day["z"])))  # noqa: DTZ001
        sec = _clock_s(clock, 3600.0) if clock else 0.0
        if sec is None or sec >= _DAY_S:
            return None
        moment = date + timedelta(microseconds=round(sec * 1e6))
        return moment.replace(tzinfo=_zone(zone["zone"])) if zone else moment
    except ValueError:
        return None


def _zone(text: str):  # type: ignore[no-untyped-def] # noqa: ANN202
    digits = re.sub(r"[^-+\d]", "", text)
    if not digits:
        return UTC
    return datetime.strptime(digits, "%z").tzinfo


def _iso(moment: datetime) -> str:
    has_ms = moment.microsecond > 0
    text = moment.isoformat(timespec="milliseconds" if has_ms else "seconds")
    return text.replace("+00:00", "Z")
