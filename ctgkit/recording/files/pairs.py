"""The layout with two CSV files per recording: ``bpm/NAME_1.csv`` and ``uterus/NAME_2.csv``.

Each has the header ``time_sec,value``; a missing row is a missing value. Pairs are numbered: 1 with
2, 3 with 4. A directory may hold many pairs.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ctgkit.errors import RecordingError, excerpt
from ctgkit.recording import Recording

HEADER = ("time_sec", "value")
_NAME = re.compile(r"(?P<stem>.+)_(?P<number>\d+)\.csv(\.gz)?")
_FHR, _TOCO = "bpm", "uterus"


def read(path: Path) -> Iterator[Recording]:
    """Yield every pair of a directory, in the order of names."""
    found = sorted((path / _FHR).glob("*.csv"))
    if not found:
        reason = f"no {_FHR}/*.csv in it, which is how a directory with pairs of CSV files looks"
        raise RecordingError(str(path), 0, reason)
    for one in found:
        yield read_pair(one)


def read_pair(path: Path) -> Recording:
    """Read a pair by the name of its first file; a missing second one is no toco."""
    sec, bpm = _column(path)
    name = _NAME.fullmatch(path.name)
    other = None
    if name:
        number = int(name["number"])
        other = path.parent.parent / _TOCO / f"{name['stem']}_{number + 1}.csv"
    toco_sec, toco = _column(other) if other and other.is_file() else (sec[:0], sec[:0])
    every = np.union1d(sec, toco_sec)
    fhr_bpm, uterus = np.full((2, len(every)), np.nan)
    fhr_bpm[np.searchsorted(every, sec)] = np.where(bpm == 0, np.nan, bpm)
    uterus[np.searchsorted(every, toco_sec)] = toco
    return Recording(
        sec_from_start=every,
        fhr_bpm=fhr_bpm,
        uterus=uterus,
        spasms=np.full(len(every), np.nan),
        comments=(path.stem,),
    )


def _column(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows: list[tuple[float, float]] = []
    number = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            if tuple(name.strip().lower() for name in next(reader, ())) != HEADER:
                raise RecordingError(str(path), 1, f"its header is not {','.join(HEADER)}")
            for row in reader:
                number = reader.line_num
                if row:
                    sec, value = float(row[0]), float(row[1])
                    if not (np.isfinite(sec) and np.isfinite(value)):
                        raise ValueError("not finite")
                    if sec < 0 or (rows and sec <= rows[-1][0]):
                        raise ValueError(f"time {sec:g} s is not after the one before")
                    rows.append((sec, value))
    except (OSError, UnicodeDecodeError) as error:
        raise RecordingError(str(path), 0, str(error)) from error
    except (ValueError, IndexError, csv.Error) as error:
        raise RecordingError(str(path), number, excerpt(str(error))) from error
    if not rows:
        raise RecordingError(str(path), 0, "no samples")
    sec_column, values = np.array(rows).T
    return sec_column.copy(), values.copy()


def write(recordings: Iterable[Recording], path: Path) -> list[str]:
    """Write pairs into a directory, which is made if missing; return what was lost."""
    notes: list[str] = []
    for number, one in enumerate(recordings, 1):
        name = (one.sensor_id or path.name or "recording") + f"-{number:04d}"
        for folder, k, values in ((_FHR, 1, one.fhr_bpm), (_TOCO, 2, one.uterus)):
            (path / folder).mkdir(parents=True, exist_ok=True)
            there = ~np.isnan(values)
            with (path / folder / f"{name}_{k}.csv").open("w", encoding="utf-8") as file:
                file.write(",".join(HEADER) + "\n")
                for sec, value in zip(
                    one.sec_from_start[there].tolist(), values[there].tolist(), strict=True
                ):
                    file.write(f"{sec:.10g},{value:.10g}\n")
        if not np.isnan(one.spasms).all():
            notes.append("spasms")
        notes += ["events"] * bool(one.events) + ["comments"] * bool(one.comments)
        if one.simulated:
            notes.append("the mark that the data are simulated")
    return notes
