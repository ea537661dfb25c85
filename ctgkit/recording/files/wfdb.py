"""WFDB records (PhysioNet) as in the CTU-UHB database: ``FHR`` and ``UC``, 16 bit, 100 per unit.

Resolution 0.01; values beyond ±327 are stored with less. No signal is the format's own mark for
an absent sample; a heart rate of 0, which that database uses, is read as no signal too.
"""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctgkit.errors import RecordingError, excerpt
from ctgkit.recording import Recording
from ctgkit.recording.files.grid import on_grid, to_recording
from ctgkit.recording.files.labels import from_labels, to_labels


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
_NAMES = {
    "fhr_bpm": ("fhr", "bpm", "fhr1", "hr"),
    "uterus": ("uc", "toco", "uterus", "ua"),
    "spasms": ("spasms",),
}
_FIRST = "first_sec: "


def read(path: Path) -> Iterator[Recording]:
    """Yield the one recording of a record."""
    try:
        with _quietly():
            record: Any = wfdb.rdrecord(str(path.with_suffix("")))
    except Exception as error:  # the library raises what it likes
        raise RecordingError(str(path), 0, f"not a WFDB record: {excerpt(str(error))}") from error
    found = [name.strip().lower() for name in record.sig_name or ()]
    channels: dict[str, NDArray[np.float64]] = {}
    for channel, names in _NAMES.items():
        places = [n for n, name in enumerate(found) if name in names]
        if places:
            channels[channel] = np.asarray(record.p_signal[:, places[0]], dtype=float)
    if "fhr_bpm" not in channels:
        reason = f"no signal named FHR; it has {', '.join(record.sig_name or ()) or 'none'}"
        raise RecordingError(str(path), 0, reason)
    if not len(channels["fhr_bpm"]):
        raise RecordingError(str(path), 0, "no samples")
    comments = [line.strip() for line in record.comments or ()]
    first_s = [line.removeprefix(_FIRST) for line in comments if line.startswith(_FIRST)]
    labels = from_labels(line for line in comments if not line.startswith(_FIRST))
    yield Recording(
        **to_recording(channels, 1 / record.fs, float(first_s[0]) if first_s else 0.0), **labels
    )


def write(recording: Recording, path: Path) -> list[str]:
    """Write NAME.hea and NAME.dat; return what was lost."""
    try:
        grid = on_grid(recording)
    except ValueError as error:
        raise RecordingError(str(path), 0, str(error)) from error
    name = path.with_suffix("").name
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
            raise RecordingError(str(path), 0, f"{label} of {largest:g} doesn't fit into 16 bits")
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
    with _quietly():
        wfdb.wrsamp(
            name,
            fs=1 / grid.period_s,
            units=units,
            sig_name=labels,
            d_signal=np.column_stack(columns),
            fmt=["16"] * len(columns),
            adc_gain=gains,
            baseline=[0] * len(columns),
            comments=comments,
            write_dir=str(path.parent),
        )
    return notes
