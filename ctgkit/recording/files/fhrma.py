"""FHRMA files, ``.fhr``, ``.fhrm`` and their like: 4 Hz, little-endian (only read).

Four bytes of Unix time, then 6 bytes per sample (8 with the mother's heart rate): heart rate and
second heart rate in quarters of a beat/min, the mother's, toco in halves, and a quality byte. The
two heart rates are two probes of one fetus as a rule, in turn or both; or two fetuses.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctgkit.errors import RecordingError
from ctgkit.recording import Recording
from ctgkit.recording.files.opening import too_long
from ctgkit.recording.files.options import ReadOptions, Report
from ctgkit.recording.files.signals import Signal, chosen_of, recordings_of

_PERIOD_S = 0.25
_HEART = [("FHR1", "<u2"), ("FHR2", "<u2")]
_TAIL = [("TOCO", "u1"), ("quality", "u1")]
_WITHOUT_MOTHER = np.dtype(_HEART + _TAIL)
_WITH_MOTHER = np.dtype([*_HEART, ("MHR", "<u2"), *_TAIL])
WITH_MOTHER = (".fhrm", ".rcfm")
SUFFIXES = (".fhr", ".rcf", ".fhra", *WITH_MOTHER)


def read(path: Path, options: ReadOptions, report: Report) -> Iterator[Recording]:
    """Yield one heart rate, of both probes; two where they are two fetuses."""
    row = _WITH_MOTHER if path.suffix.lower() in WITH_MOTHER else _WITHOUT_MOTHER
    try:
        if path.stat().st_size > options.max_bytes:
            raise too_long(path, options.max_bytes)
        data = path.read_bytes()
    except OSError as error:
        raise RecordingError(str(path), 0, error.strerror or str(error)) from error
    body = data[4:]
    if len(body) < row.itemsize:
        raise RecordingError(str(path), 0, "no samples")
    if beyond := len(body) % row.itemsize:
        report.warn(f"{beyond} bytes after the last sample are ignored")
        body = body[:-beyond]
    rows = np.frombuffer(body, dtype=row)
    rows = _without_padding(rows, report)
    names = [name for name in row.names or () if name != "quality"]
    if "MHR" in names and not rows["MHR"].any():
        names.remove("MHR")
    chosen = chosen_of(path, names, [""] * len(names), options, report)
    sec: NDArray[np.float64] = np.arange(len(rows), dtype=np.float64) * _PERIOD_S
    signals = {
        n: Signal(name, "", sec, rows[name].astype(float) / (2 if name == "TOCO" else 4))
        for n, name in enumerate(names)
    }
    stamp = int.from_bytes(data[:4], "little")
    started = datetime.fromtimestamp(stamp, UTC).isoformat().replace("+00:00", "Z") if stamp else ""
    labels: dict[str, Any] = {"started": started}
    yield from recordings_of(path, signals, chosen, options, report, labels)


def _without_padding(rows: "np.ndarray[Any, Any]", report: Report) -> "np.ndarray[Any, Any]":
    """Leave out zero bytes that fill up the file: no signal, no quality, and a toco of 0."""
    filled = np.zeros(len(rows), dtype=bool)
    for name in rows.dtype.names or ():
        filled |= rows[name] != 0
    last = int(np.flatnonzero(filled)[-1]) + 1 if filled.any() else len(rows)
    if last < len(rows) and rows["TOCO"][last - 1] != 0:
        report.warn(f"{len(rows) - last} samples at the end are zero bytes: ignored")
        return rows[:last]
    return rows
