"""WFDB records (PhysioNet) as in the CTU-UHB database: ``FHR`` and ``UC``, 16 bit, 100 per unit.

Resolution 0.01; values beyond ±327 are stored with less. No signal is the format's own mark for
an absent sample; a heart rate of 0, which that database uses, is read as no signal too.
"""

import contextlib
import re
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit import private
from ctgkit.cli.streams import whole_or_not
from ctgkit.errors import RecordingError, excerpt
from ctgkit.recording import Recording
from ctgkit.recording.files.channels import Chosen
from ctgkit.recording.files.grid import on_grid
from ctgkit.recording.files.labels import from_labels, to_labels
from ctgkit.recording.files.options import ReadOptions, Report
from ctgkit.recording.files.signals import Signal, chosen_of, recordings_of
from ctgkit.recording.files.start import add_start, wall_time


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Suppress warnings: wfdb 4.3 uses what pandas 3.1 deprecates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


with _quietly():
    import wfdb

_GAINS = (100.0, 10.0, 1.0)
"""Digital steps per unit: CTU-UHB's, and coarser ones for larger values."""
_ABSENT = -32768
_SIGNALS = {"fhr_bpm": ("FHR", "bpm"), "uterus": ("UC", "nd"), "spasms": ("SPASMS", "nd")}
_FIRST = "first_sec: "
HEADER_MAX_BYTES = 1 << 20


def read(path: Path, options: ReadOptions, report: Report) -> Iterator[Recording]:
    """Yield the recordings of a record: one, or one per fetus."""
    header = _header(path)
    try:
        with _quietly():
            record: Any = wfdb.rdrecord(
                str(path.with_suffix("")), physical=False, smooth_frames=False
            )
            digital = [np.array(one) for one in record.e_d_signal or ()]
            analog = record.dac(expanded=True) if digital else []
    except Exception as error:  # the library raises what it likes
        raise RecordingError(str(path), 0, f"not a WFDB record: {excerpt(str(error))}") from error
    _check(path, record, header, digital, report)
    if not header.has_rate:
        reason = "its header says no rate: nobody knows how many samples are in a second"
        raise RecordingError(str(path), 0, reason)
    names = [name or "" for name in record.sig_name or ()]
    units = [
        (unit or "") if said else ""  # the library fills in mV
        for unit, said in zip(record.units or (), header.has_unit, strict=False)
    ]
    chosen = _chosen(path, names, units, options, report)
    if not analog or not len(analog[0]):
        raise RecordingError(str(path), 0, "no samples")
    remarks = [line for line in header.remarks if not line.startswith(_FIRST)]
    first_s = [line.removeprefix(_FIRST) for line in header.remarks if line.startswith(_FIRST)]
    zero_s = float(first_s[0]) if first_s else 0.0
    labels = from_labels(remarks)
    _add_start(labels, record, zero_s, report)
    signals = {}
    clocks: dict[tuple[int, int], Any] = {}
    wanted = [n for probes in chosen.hearts.values() for n in probes]
    for n in [*wanted, *(m for m in (chosen.toco, chosen.spasms) if m is not None)]:
        if not header.has_gain[n]:
            reason = f"signal {names[n]!r} has no gain, so its values have no unit"
            raise RecordingError(str(path), 0, reason)
        per_frame, n_samples = record.samps_per_frame[n], len(analog[n])
        if (per_frame, n_samples) not in clocks:
            period_s = 1 / (record.fs * per_frame)
            clocks[per_frame, n_samples] = np.round(zero_s + np.arange(n_samples) * period_s, 9)
        sec = clocks[per_frame, n_samples]
        signals[n] = Signal(names[n] or str(n + 1), units[n], sec, np.asarray(analog[n], float))
    yield from recordings_of(path, signals, chosen, options, report, labels)


class _Header(NamedTuple):
    """What the library doesn't tell of a header."""

    remarks: list[str]
    has_gain: list[bool]
    """Whether each signal has a gain that isn't 0."""
    has_unit: list[bool]
    has_rate: bool
    """Whether there is one: where there is none, the library takes 250 per second."""
    sizes: list[tuple[str, str]]
    """File and format of each signal."""


def _header(path: Path) -> _Header:
    place = path.with_suffix(".hea")
    try:
        data = place.read_bytes()[:HEADER_MAX_BYTES]
    except OSError as error:
        raise RecordingError(str(place), 0, error.strerror or str(error)) from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("cp1251", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    remarks = [line.lstrip("#").strip() for line in lines if line.startswith("#")]
    body = [line.split() for line in lines if not line.startswith("#")]
    if body and "/" in body[0][0]:
        parts = ", ".join(line[0] for line in body[1:6])
        raise RecordingError(str(place), 0, f"a record of several segments: read each: {parts}")
    rate = re.match(r"[\d.]+", body[0][2]) if body and len(body[0]) > 2 else None
    has_rate = bool(rate and float(rate[0].strip(".") or 0))
    has_gain = []
    for cells in body[1:]:
        gain = re.match(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?", cells[2]) if len(cells) > 2 else None
        has_gain.append(bool(gain and float(gain[0])))
    return _Header(
        [line for line in remarks if line],
        has_gain,
        [len(cells) > 2 and "/" in cells[2] for cells in body[1:]],
        has_rate,
        [(cells[0], cells[1]) for cells in body[1:] if len(cells) > 1],
    )


def _chosen(
    path: Path, names: list[str], units: list[str], options: ReadOptions, report: Report
) -> Chosen:
    """Choose signals by their descriptions; without any, only those that the user numbers."""
    if names and not any(names) and not options.fhr:
        shown = ", ".join(f"{n} ({unit or 'no unit'})" for n, unit in enumerate(units, 1))
        reason = f"its signals have no description: choose with --fhr N --toco N among {shown}"
        raise RecordingError(str(path), 0, reason)
    return chosen_of(path, names, units, options, report)


def _check(
    path: Path,
    record: Any,
    header: _Header,
    digital: list[NDArray[np.int64]],
    report: Report,
) -> None:
    """Compare the header with the data: checksums, and bytes that it doesn't count."""
    for n, values in enumerate(digital):
        said = (record.checksum or [None] * len(digital))[n]
        if said and (int(values.sum()) - int(said)) & 0xFFFF:
            report.warn(f"the checksum of {record.sig_name[n]} is wrong: the data were changed")
    files = {name for name, _ in header.sizes}
    if len(files) == 1 and {fmt.partition("x")[0] for _, fmt in header.sizes} == {"16"}:
        size = path.with_name(files.pop()).stat().st_size
        beyond = size - 2 * sum(map(len, digital))
        if beyond:
            report.warn(f"{beyond} bytes after the last sample are ignored")


def _add_start(labels: dict[str, Any], record: Any, zero_s: float, report: Report) -> None:
    """Add the start by the header, unless a remark says the same with more."""
    if record.base_date is not None and record.base_time is not None:
        add_start(labels, record.base_datetime, zero_s, report)
    elif record.base_time is not None and not labels.get("started"):
        report.note(f"starts at {record.base_time} of an unknown day")


def write(recording: Recording, path: Path) -> list[str]:
    """Write NAME.hea and NAME.dat; return what was lost."""
    try:
        grid = on_grid(recording)
    except ValueError as error:
        raise RecordingError(str(path), 0, str(error)) from error
    name = path.with_suffix("").name
    if path.suffix not in (".hea", ".dat"):
        raise RecordingError(str(path), 0, "WFDB files end in .hea and .dat, in small letters")
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise RecordingError(str(path), 0, "WFDB names have only letters, digits, - and _")
    notes, columns, gains, units, labels = list(grid.notes), [], [], [], []
    for channel, (label, unit) in _SIGNALS.items():
        values = getattr(grid, channel)
        if channel == "spasms" and np.isnan(values).all():
            continue
        largest = np.nanmax(np.abs(values)) if not np.isnan(values).all() else 0.0
        gain = next((g for g in _GAINS if largest * g < -_ABSENT), 0.0)
        if not gain:
            raise RecordingError(str(path), 0, f"{label} of {largest:g} does not fit into 16 bits")
        digital = np.where(np.isnan(values), _ABSENT, np.round(np.nan_to_num(values) * gain))
        if np.nanmax(np.abs(values * gain - digital), initial=0.0, where=~np.isnan(values)) > 1e-6:
            notes.append(f"{label} finer than {1 / gain:g}")
        columns.append(digital.astype(np.int64))
        gains.append(gain)
        units.append(unit)
        labels.append(label)
    comments = to_labels(recording)
    if grid.first_s:
        comments.append(f"{_FIRST}{grid.first_s!r}")
    if recording.events:
        notes.append("events")
    data = np.column_stack(columns)
    with contextlib.ExitStack() as stack:  # both are whole before either replaces an older one
        dat, hea = (
            stack.enter_context(whole_or_not(path.with_suffix(suffix)))
            for suffix in (".dat", ".hea")
        )
        # not by the library, whose numpy doesn't say why it can't write
        private.write_bytes(dat, data.astype("<i2").tobytes())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ctgkit-"))
        with _quietly():
            wfdb.wrsamp(
                name,
                fs=1 / grid.period_s,
                units=units,
                sig_name=labels,
                d_signal=data,
                fmt=["16"] * len(columns),
                adc_gain=gains,
                baseline=[0] * len(columns),
                comments=comments,
                write_dir=folder,
                base_datetime=wall_time(recording.started, grid.first_s),
            )
        private.write_bytes(hea, Path(folder, f"{name}.hea").read_bytes())
    return notes
