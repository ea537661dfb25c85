"""Recordings as CSV: a header, then one row per sample; ``.csv`` or ``.csv.gz``."""

import csv
import dataclasses
import gzip
import itertools
import math
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from ctgkit.errors import RecordingError, excerpt
from ctgkit.recording import Recording
from ctgkit.recording.files import pairs
from ctgkit.recording.files.labels import SIMULATED, from_labels, to_labels

if TYPE_CHECKING:
    from _csv import Reader

_NAMES = {
    "sec_from_start": ("sec_from_start", "sec", "time_sec", "t"),
    "fhr_bpm": ("bpm", "fhr"),
    "uterus": ("uterus", "uc", "toco"),
    "spasms": ("spasms",),
}
"""Column -> the headers it goes by, in any case. The first two columns are required."""

_REQUIRED = ("sec_from_start", "fhr_bpm")


def read_csv(path: Path) -> Recording:
    """Read a recording from a CSV file, gzipped when its name ends in ``.gz``.

    Columns may come in any order and unknown ones are ignored. A heart rate of 0, an empty field
    and ``nan`` mean no signal. A toco of 0 is a 0.

    Parameters
    ----------
    path : Path
        UTF-8 text with a header; times in seconds, strictly increasing, at any rate.

    Returns
    -------
    Recording
        Values as in the file, with NaN for no signal.

    Raises
    ------
    RecordingError
        Naming the file, the line and what is wrong.
    """
    try:
        with _open(path) as file:
            return _read(path, file)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise RecordingError(str(path), 0, reason) from error


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _read(path: Path, file: TextIO) -> Recording:
    comments: list[str] = []
    reader = csv.reader(_without(file, comments))
    try:
        places = _places(path, next(reader, []))
        rows = list(_rows(path, reader, places))
    except csv.Error as error:
        raise RecordingError(str(path), reader.line_num, str(error)) from error
    if not rows:
        raise RecordingError(str(path), 0, "no samples")
    values = dict(zip(places, np.array(rows).T.copy(), strict=True))
    absent = np.full(len(rows), np.nan)
    fhr_bpm = values["fhr_bpm"]
    fhr_bpm[fhr_bpm == 0] = np.nan
    return Recording(
        sec_from_start=values["sec_from_start"],
        fhr_bpm=fhr_bpm,
        uterus=values.get("uterus", absent),
        spasms=values.get("spasms", absent),
        **from_labels(comments),
    )


def _without(file: TextIO, comments: list[str]) -> Iterator[str]:
    """Yield lines; remarks (``# …``) become empty ones, so that line numbers stay true."""
    for line in file:
        if line.startswith("#"):
            comments.append(line[1:].strip())
            yield "\n"
        else:
            yield line


def _places(path: Path, header: list[str]) -> dict[str, int]:
    """Return column -> index in the header."""
    found = [name.strip().lower() for name in header]
    places: dict[str, int] = {}
    for column, names in _NAMES.items():
        here = [n for n, name in enumerate(found) if name in names]
        if len(here) > 1:
            both = " and ".join(repr(header[n]) for n in here)
            raise RecordingError(str(path), 1, f"columns {both} mean the same")
        if here:
            places[column] = here[0]
        elif column in _REQUIRED:
            raise RecordingError(str(path), 1, f"no column named {' or '.join(names)}")
    return places


def _rows(path: Path, reader: "Reader", places: dict[str, int]) -> Iterator[list[float]]:
    indices = list(places.values())
    last_s = -1.0
    for row in reader:
        if not row:
            continue
        try:
            values = [float(row[n] or "nan") for n in indices]
            sec = values[0]
            if last_s < sec < math.inf and math.inf not in values and -math.inf not in values:
                last_s = sec
                yield values
                continue
        except (ValueError, IndexError):
            pass
        raise RecordingError(str(path), reader.line_num, _complaint(row, places, last_s))


def _complaint(row: list[str], places: dict[str, int], last_s: float) -> str:
    """Say what is wrong with a row that could not be read."""
    for column, n in places.items():
        if n >= len(row):
            return f"{column} is missing"
        try:
            value = float(row[n] or "nan")
        except ValueError:
            return f"{column} is not a number: {excerpt(row[n])!r}"
        if math.isinf(value) or (column == "sec_from_start" and math.isnan(value)):
            return f"{column} must be finite: {excerpt(row[n])!r}"
    sec = float(row[places["sec_from_start"]])
    return "time is negative" if sec < 0 else f"time {sec:g} s is not after {last_s:g} s"


def read(path: Path) -> Iterator[Recording]:
    """Yield each sensor's samples: by the column ``sensor``, or all of one.

    Two files, one per channel, are read together; see :mod:`ctgkit.recording.files.pairs`.
    """
    try:
        with _open(path) as file:
            header = [name.strip().lower() for name in file.readline().split(",")]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise RecordingError(str(path), 0, str(error)) from error
    if header == list(pairs.HEADER):
        yield pairs.read_pair(path)
    elif "sensor" in header:
        yield from _read_sensors(path, header.index("sensor"))
    else:
        yield read_csv(path)


def _read_sensors(path: Path, place: int) -> Iterator[Recording]:
    """Sort the rows by sensor on disk, then read each as a file of its own."""
    with tempfile.TemporaryDirectory(prefix="ctgkit-") as directory, _open(path) as source:
        header = source.readline()
        files: dict[str, TextIO] = {}
        comments = ""
        for line in source:
            if line.startswith("#"):
                comments += line
                continue
            sensor = line.split(",", place + 1)[place] if line.strip() else ""
            if sensor and sensor not in files:
                files[sensor] = _create(Path(directory, f"{len(files)}.csv"))
                files[sensor].write(header + comments)
            if sensor:
                files[sensor].write(line)
        for sensor, file in files.items():
            file.close()
            with Path(file.name).open(encoding="utf-8", newline="") as own:
                one = _read(path, own)
            yield dataclasses.replace(one, sensor_id=sensor.strip())


def write(recordings: Iterable[Recording], path: Path) -> list[str]:
    """Write rows in the order of time, sensor after sensor; return what was lost."""
    rest = iter(recordings)
    ahead = [one for one in (next(rest, None), next(rest, None)) if one is not None]
    several = len(ahead) > 1
    notes: list[str] = []
    with _create(path) as file:
        file.write(("sensor," if several else "") + "sec,bpm,uterus,spasms\n")
        for number, one in enumerate(itertools.chain(ahead, rest), 1):
            if number == 1:
                file.writelines(f"# {label}\n" for label in to_labels(one) if not several)
                if several and one.simulated:
                    file.write(f"# {SIMULATED}\n")
            prefix = f"{one.sensor_id or number}," if several else ""
            for row in zip(*_channels(one), strict=True):
                cells = ",".join("" if v != v else f"{v:.10g}" for v in row)
                file.write(f"{prefix}{cells}\n")
            if one.events:
                notes.append("events")
            if several and one.comments:
                notes.append("comments")
    return notes


def _channels(recording: Recording) -> tuple[list[float], ...]:
    r = recording
    return tuple(a.tolist() for a in (r.sec_from_start, r.fhr_bpm, r.uterus, r.spasms))


def _create(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "wt", encoding="utf-8", newline="")
    return path.open("w", encoding="utf-8", newline="")
