"""The bytes of EDF and EDF+ files: header, data records, their own onsets, annotations.

Nothing is guessed or joined: interruptions stay, numbers are as the header scales them.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit.errors import RecordingError, excerpt
from ctgkit.recording.files.options import Report

ANNOTATIONS: Final = "EDF Annotations"
SIGNALS_MAX: Final = 512
_FIELDS = (
    ("label", 16), ("transducer", 80), ("unit", 8), ("low", 8), ("high", 8), ("digital_low", 8),
    ("digital_high", 8), ("filter", 80), ("n", 8), ("reserved", 32),
)  # fmt: skip
_TAL = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?\x14((?:[^\x14\x00]*\x14)*)\x00")
UNKNOWN_START: Final = datetime(1985, 1, 1)  # noqa: DTZ001 - EDF has no zones
"""What EDF files say that don't know their start."""


class RawSignal(NamedTuple):
    """One signal, as the header describes it."""

    label: str
    unit: str
    low: float
    high: float
    digital_low: int
    digital_high: int
    n: int
    """Samples in each data record."""
    at: int
    """Its first sample in each data record."""


class RawEdf(NamedTuple):
    """The header of a file."""

    signals: list[RawSignal]
    n_records: int
    """-1 where the recorder didn't finish."""
    record_s: float
    header_bytes: int
    started: datetime | None
    """None where the file doesn't know it."""
    patient: str
    recording: str


class Note(NamedTuple):
    """An annotation; times in seconds from the start of the file."""

    onset_s: float
    duration_s: float
    text: str


def read_header(path: Path, report: Report) -> RawEdf:
    """Read and check the header.

    Raises
    ------
    RecordingError
        When it isn't one, or a number in it can't be what it is.
    """
    try:
        with path.open("rb") as file:
            head = file.read(256)
            if not head.startswith(b"0       ") or len(head) < 256:
                what = "BDF, which isn't read" if head.startswith(b"\xffBIOSEMI") else "no EDF file"
                raise RecordingError(str(path), 0, what)
            count = int(_number(path, "number of signals", head[252:256], report))
            if not 0 < count <= SIGNALS_MAX:
                raise RecordingError(str(path), 0, f"an EDF file of {count} signals")
            body = file.read(256 * count)
    except OSError as error:
        raise RecordingError(str(path), 0, error.strerror or str(error)) from error
    if len(body) < 256 * count:
        raise RecordingError(str(path), 0, "truncated: the file ends in its header")
    cells: dict[str, list[bytes]] = {}
    place = 0
    for name, width in _FIELDS:
        cells[name] = [body[place + n * width : place + (n + 1) * width] for n in range(count)]
        place += count * width
    signals: list[RawSignal] = []
    at = 0
    for n in range(count):
        one = _signal(path, {name: values[n] for name, values in cells.items()}, at, report)
        signals.append(one)
        at += one.n
    record_s = _number(path, "duration of a record", head[244:252], report)
    if record_s <= 0 and any(one.label != ANNOTATIONS for one in signals):
        raise RecordingError(str(path), 0, f"its records last {record_s:g} s")
    return RawEdf(
        signals,
        int(_number(path, "number of records", head[236:244], report)),
        record_s,
        256 * (count + 1),
        _started(head, report),
        _text(head[8:88]),
        _text(head[88:168]),
    )


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8").strip(" \0")
    except UnicodeDecodeError:
        return data.decode("latin-1").strip(" \0")


def _number(path: Path, what: str, data: bytes, report: Report) -> float:
    text = _text(data)
    if re.fullmatch(r"[-+]?\d+,\d+", text):
        report.note(f"{what} {text!r} has a decimal comma")
        text = text.replace(",", ".")
    if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text):
        raise RecordingError(str(path), 0, f"{what} is not a number: {excerpt(text)!r}")
    return float(text)


def _signal(path: Path, cells: dict[str, bytes], at: int, report: Report) -> RawSignal:
    label = _text(cells["label"])

    def number(name: str, what: str) -> float:
        return _number(path, f"{what} of {excerpt(label)!r}", cells[name], report)

    one = RawSignal(
        label,
        _text(cells["unit"]),
        number("low", "physical minimum"),
        number("high", "physical maximum"),
        int(number("digital_low", "digital minimum")),
        int(number("digital_high", "digital maximum")),
        int(number("n", "samples in a record")),
        at,
    )
    if label != ANNOTATIONS and (one.low == one.high or one.digital_low >= one.digital_high):
        reason = (
            f"signal {excerpt(label)!r} has no scale: {one.low:g} to {one.high:g} for"
            f" {one.digital_low} to {one.digital_high}"
        )
        raise RecordingError(str(path), 0, reason)
    if not 0 <= one.n <= 1_000_000:
        raise RecordingError(
            str(path), 0, f"signal {excerpt(label)!r} has {one.n} samples a record"
        )
    return one


def _started(head: bytes, report: Report) -> datetime | None:
    """Return the start; the date of EDF+'s own field, which has four digits for the year."""
    digits = re.fullmatch(r"(\d\d)\.(\d\d)\.(\d\d)(\d\d)\.(\d\d)\.(\d\d)", _text(head[168:184]))
    if not digits:
        report.note("its start can't be read")
        return None
    day, month, year, hour, minute, second = map(int, digits.groups())
    try:
        start = datetime(year + (1900 if year >= 85 else 2000), month, day, hour, minute, second)  # noqa: DTZ001
    except ValueError:
        report.note("its start can't be read")
        return None
    if _text(head[88:168]).startswith("Startdate X") or start == UNKNOWN_START:
        return None
    return start


def records_of(path: Path, raw: RawEdf, report: Report) -> NDArray[np.int16]:
    """Return the data records that the header counts, shape (n_records, n_samples)."""
    width = sum(one.n for one in raw.signals)
    size = path.stat().st_size - raw.header_bytes
    whole = size // (2 * width) if width else 0
    n_records = raw.n_records if 0 <= raw.n_records <= whole else whole
    if raw.n_records > whole:
        report.warn(f"truncated: {raw.n_records} data records expected, {whole} found")
    elif raw.n_records < 0:
        report.note("it was never finished: all complete records are read")
    if behind := size - 2 * width * n_records:
        report.warn(f"{behind} bytes after the last data record are ignored")
    if not n_records:
        raise RecordingError(str(path), 0, "no samples")
    data: NDArray[np.int16] = np.memmap(
        path, dtype="<i2", mode="r", offset=raw.header_bytes, shape=(n_records, width)
    )
    return data


def physical(one: RawSignal, records: NDArray[np.int16]) -> NDArray[np.float64]:
    """Return a signal's values in its unit; to six digits, which is finer than 16 bits."""
    digital = records[:, one.at : one.at + one.n].reshape(-1).astype(float)
    scale = (one.high - one.low) / (one.digital_high - one.digital_low)
    return np.round((digital - one.digital_low) * scale + one.low, 6)


def onsets_of(
    path: Path, raw: RawEdf, records: NDArray[np.int16], report: Report
) -> NDArray[np.float64]:
    """Return when each data record begins, seconds after the first.

    Raises
    ------
    RecordingError
        When records overlap.
    """
    even: NDArray[np.float64] = np.arange(len(records), dtype=np.float64) * raw.record_s
    keeper = next((one for one in raw.signals if one.label == ANNOTATIONS), None)
    if keeper is None:
        return even
    onsets = np.empty(len(records))
    for number, record in enumerate(_texts_of(keeper, records)):
        found = _TAL.match(record)
        if not found:
            report.warn("a data record has no time of its own: read as continuous")
            return even
        onsets[number] = float(found[1])
    onsets -= onsets[0]
    breaks = np.diff(onsets) - raw.record_s
    if (breaks < -1e-6).any():
        number = int(np.argmax(breaks < -1e-6)) + 1
        reason = f"data record {number + 1} begins before the one before it ends"
        raise RecordingError(str(path), 0, reason)
    if n_breaks := int((breaks > 1e-6).sum()):
        report.note(f"interrupted {n_breaks} times, {breaks[breaks > 1e-6].sum():g} s in all")
        return onsets
    return even


def begins_of(raw: RawEdf, records: NDArray[np.int16]) -> float:
    """Return when the first data record begins, seconds after the header's start."""
    keeper = next((one for one in raw.signals if one.label == ANNOTATIONS), None)
    first = next(_texts_of(keeper, records), b"") if keeper else b""
    found = _TAL.match(first)
    return float(found[1]) if found else 0.0


def _texts_of(keeper: RawSignal, records: NDArray[np.int16]) -> Iterator[bytes]:
    """Yield what an annotation signal holds, record by record."""
    width = 2 * keeper.n
    data = np.ascontiguousarray(records[:, keeper.at : keeper.at + keeper.n]).tobytes()
    for start in range(0, len(data), width):
        yield data[start : start + width]


def times_of(raw: RawEdf, one: RawSignal, onsets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a signal's times, seconds after the first record begins."""
    within = np.arange(one.n) * (raw.record_s / one.n)
    times: NDArray[np.float64] = (onsets[:, None] + within[None, :]).reshape(-1)
    return times


def notes_of(raw: RawEdf, records: NDArray[np.int16]) -> list[Note]:
    """Return the annotations in the order of time, without those that keep time."""
    found: list[Note] = []
    first_s: float | None = None
    for place, keeper in enumerate(one for one in raw.signals if one.label == ANNOTATIONS):
        for record in _texts_of(keeper, records):
            if place == 0 and first_s is not None and record.count(b"\x14") <= 2:
                continue  # only keeps time
            for number, tal in enumerate(_TAL.finditer(record)):
                onset_s = float(tal[1])
                first_s = onset_s if first_s is None else first_s
                texts = tal[3].split(b"\x14")[:-1]
                if place == 0 and number == 0:
                    texts = texts[1:]  # keeps time
                duration_s = float(tal[2]) if tal[2] else 0.0
                at_s = round(onset_s - (first_s or 0.0), 9)
                found += [Note(at_s, duration_s, _text(text)) for text in texts if text]
    return sorted(found, key=lambda note: (note.onset_s, note.text))
