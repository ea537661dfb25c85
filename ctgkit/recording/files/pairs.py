"""The layout with two CSV files per recording: ``bpm/NAME_1.csv`` and ``uterus/NAME_2.csv``.

Each has a column of times and a column ``value``; each channel has its own times, and a missing row
is a missing value. Pairs are numbered: 1 with 2, 3 with 4; or both files have one name. Files whose
names count up (``x-0001_1``, ``x-0002_1``) are segments of one examination. A directory may hold
many examinations, and many directories of that kind.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit.errors import RecordingError
from ctgkit.recording import Recording
from ctgkit.recording.files.clocks import Series, join, step_of
from ctgkit.recording.files.labels import to_labels
from ctgkit.recording.files.options import ReadOptions, Report
from ctgkit.recording.files.paths import component
from ctgkit.recording.files.spool import Spool
from ctgkit.recording.files.table import Columns
from ctgkit.recording.files.text import table_of

HEADER = ("time_sec", "value")
_NAME = re.compile(r"(?P<stem>.+)_(?P<number>\d+)\.csv(\.gz)?", re.IGNORECASE)
_SEGMENT = re.compile(r"(?P<case>.+)[-_](?P<number>\d{1,9})")
_FHR, _TOCO = _FOLDERS = "bpm", "uterus"
_OURS = re.compile(r"r\d{4,}-.*_[12]\.csv")
"""Names that :func:`write` gives."""
_DEPTH = 4
"""How many directories deep cases are looked for."""
_CLOCKS_APART_S = 86_400.0
"""Furthest that two channels of one recording may begin from one another, seconds."""
_SAME_NAME = 1000
"""Channel number of a file without one: above all others."""


class _Pair(NamedTuple):
    fhr: Path
    toco: Path | None
    case: str
    """What the segments of one examination have in common."""
    channel: int
    """1 for files 1 and 2, 3 for 3 and 4, …"""


def read(path: Path, options: ReadOptions, report: Report) -> Iterator[Recording]:
    """Yield every examination of a directory, in the order of names, its segments joined."""
    folders = _folders(path)
    if not folders:
        reason = (
            f"no directory {_FHR} with CSV files in it, nor below: such a layout has"
            f" {_FHR}/NAME_1.csv and {_TOCO}/NAME_2.csv"
        )
        raise RecordingError(str(path), 0, reason)
    if len(folders) > 1:
        report.note(f"{len(folders)} cases")
    report.take("heart rate", f"{_FHR}/")
    for folder in folders:
        pairs = [_pair_of(one) for one in _files(folder / _FHR)]
        _note_alone(folder, pairs, report)
        cases: dict[tuple[str, int], list[_Pair]] = {}
        for pair in pairs:
            cases.setdefault((pair.case, pair.channel), []).append(pair)
        for (case, _), segments in cases.items():
            where = "" if folder == path else folder.relative_to(path).as_posix()
            yield _joined(case, where, segments, options, report)


def _folders(path: Path) -> list[Path]:
    """Return the directories that have a ``bpm``: *path*, or those below it."""
    if path.name == _FHR and _files(path):
        return [path.parent]
    found, level = [], [path]
    for _ in range(_DEPTH):
        below: list[Path] = []
        for folder in level:
            if _files(folder / _FHR):
                found.append(folder)
            else:
                below += _sorted(one for one in folder.iterdir() if one.is_dir())
        level = below
    return found


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [
        one
        for one in _sorted(folder.iterdir())
        if one.name.lower().endswith((".csv", ".csv.gz")) and not one.name.startswith(".")
    ]


def _sorted(paths: Iterable[Path]) -> list[Path]:
    """Return paths in the order of their names, 2 before 10."""
    return sorted(
        paths,
        key=lambda one: [(int(part), "") if part.isdecimal() else (-1, part)
                         for part in re.split(r"(\d+)", one.name)],
    )  # fmt: skip


def _pair_of(path: Path) -> _Pair:
    name = _NAME.fullmatch(path.name)
    stem, number = (name["stem"], int(name["number"])) if name else (_stem(path), _SAME_NAME)
    folder = path.parent.parent / _TOCO
    others = [path.name]
    if name:
        others = [f"{stem}_{number + 1}.csv", f"{stem}_{number + 1}.csv.gz", *others]
    toco = next((folder / other for other in others if (folder / other).is_file()), None)
    segment = _SEGMENT.fullmatch(stem)
    return _Pair(path, toco, segment["case"] if segment else stem, number)


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]


def _note_alone(folder: Path, pairs: list[_Pair], report: Report) -> None:
    """Say which files have no partner, and what else lies there."""
    taken = {pair.toco for pair in pairs if pair.toco is not None}
    tocos = _files(folder / _TOCO)
    report.leave(*(f"{_TOCO}/{one.name} (without a heart rate)"
                   for one in tocos if one not in taken))  # fmt: skip
    if taken:
        report.take("toco", f"{_TOCO}/")
    if tocos and not taken:
        report.warn(f"no file in {_TOCO}/ is named like one in {_FHR}/: no toco")
    elif alone := [pair.fhr.name for pair in pairs if pair.toco is None]:
        report.warn(f"{len(alone)} heart rates have no toco, first {alone[0]}")


def read_file(path: Path, options: ReadOptions, report: Report) -> Iterator[Recording]:
    """Yield the recording that one file of one channel is part of."""
    if path.parent.name == _TOCO:
        pairs = [_pair_of(one) for one in _files(path.parent.parent / _FHR)]
        pair = next((one for one in pairs if one.toco == path), None)
        if pair is None:
            reason = f"a toco: no heart rate of this name lies in {_FHR}/ beside {_TOCO}/"
            raise RecordingError(str(path), 0, reason)
    else:
        pair = _pair_of(path)
        if pair.channel != _SAME_NAME and pair.channel % 2 == 0:
            reason = "the toco of a pair, by its name; --fhr value reads it as a heart rate"
            raise RecordingError(str(path), 0, reason)
    report.take("heart rate", pair.fhr.name)
    if pair.toco is not None:
        report.take("toco", pair.toco.name)
    elif path.parent.name == _FHR:
        report.warn(f"no toco of this name in {_TOCO}/")
    yield _joined(_stem(pair.fhr), "", [pair], options, report)


def _joined(
    case: str, where: str, segments: list[_Pair], options: ReadOptions, report: Report
) -> Recording:
    """Return one examination; segments that each begin anew follow one another."""
    _note_missing(case, segments, report)
    parts, zeros_s = map(
        list, zip(*(_read_pair(pair, options, report) for pair in segments), strict=True)
    )
    for n, (one, zero_s) in enumerate(zip(parts, zeros_s, strict=True)):
        if zero_s != zeros_s[0]:  # by the clock, which each file counts from its own first
            parts[n] = replace(
                one, sec_from_start=np.round(one.sec_from_start + zero_s - zeros_s[0], 6)
            )
    offset_s, anew = 0.0, 0
    for n in range(1, len(parts)):
        last, one = parts[n - 1].sec_from_start, parts[n].sec_from_start
        if one[0] + offset_s <= last[-1]:
            anew += 1
            step_s = step_of(one) if len(one) > 1 else 1.0
            offset_s = float(last[-1]) + step_s - float(one[0])
        if offset_s:
            parts[n] = replace(parts[n], sec_from_start=np.round(one + offset_s, 6))
    if anew:
        report.warn(
            f"{case}: {len(parts)} segments that each begin anew are joined end to end; the gaps"
            " between them are unknown"
        )
    elif len(parts) > 1:
        report.note(f"{case}: {len(parts)} segments joined by their times")
    named = _stem(segments[0].fhr) if len(segments) == 1 else f"{case}, {len(segments)} segments"
    sec, fhr_bpm, uterus, spasms = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("sec_from_start", "fhr_bpm", "uterus", "spasms")
    )
    return Recording(
        sec_from_start=sec,
        fhr_bpm=fhr_bpm,
        uterus=uterus,
        spasms=spasms,
        started=parts[0].started,
        comments=(f"{where}/{named}".lstrip("/"), *_common(parts)),
    )


def _note_missing(case: str, segments: list[_Pair], report: Report) -> None:
    """Say which numbers are not there between the first and the last segment."""
    found = [_SEGMENT.fullmatch(_stem(pair.fhr).rpartition("_")[0]) for pair in segments]
    numbers = [int(one["number"]) for one in found if one]
    if len(segments) < 2 or len(numbers) < len(segments):
        return
    missing = sorted(set(range(numbers[0], min(numbers[-1], numbers[0] + 9999))) - set(numbers))
    if missing:
        shown = ", ".join(map(str, missing[:5])) + (" …" if len(missing) > 5 else "")
        report.warn(f"{case}: segments {shown} are missing")


def _common(parts: list[Recording]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line for part in parts for line in part.comments))


def _read_pair(pair: _Pair, options: ReadOptions, report: Report) -> tuple[Recording, float]:
    """Return two files' recording, and what its second 0 is on their clock."""
    fhr = _channel(pair.fhr, options, report)
    if fhr is None:
        raise RecordingError(str(pair.fhr), 0, "no samples")
    heart = np.where(fhr.values[0] == 0, np.nan, fhr.values[0])
    first, others = fhr, []
    toco = _channel(pair.toco, options, report) if pair.toco else None
    if toco is None and pair.toco:
        report.warn(f"{_TOCO}/{pair.toco.name}: no samples, so no toco")
    elif toco is not None and pair.toco:
        if abs(toco.zero_s - fhr.zero_s) > _CLOCKS_APART_S:
            reason = "its times are of another kind than those of the heart rate, or another day's"
            raise RecordingError(str(pair.toco), 0, reason)
        first = min(fhr, toco, key=lambda one: one.zero_s)
        others = [("toco", Series(_since(first, toco), toco.values[0]))]
    whole = join(Series(_since(first, fhr), heart), others)
    report.note(*whole.notes)
    absent = np.full(len(whole.sec), np.nan)
    recording = Recording(
        sec_from_start=whole.sec,
        fhr_bpm=whole.fhr_bpm,
        uterus=whole.others[0] if whole.others else absent,
        spasms=absent.copy(),
        started=first.labels.get("started", ""),
        comments=tuple(fhr.labels["comments"]),
    )
    return recording, first.zero_s


def _since(first: Columns, one: Columns) -> NDArray[np.float64]:
    """Return times from where the first of the files begins to count."""
    return one.sec if one is first else np.round(one.sec + one.zero_s - first.zero_s, 6)


def _channel(path: Path, options: ReadOptions, report: Report) -> Columns | None:
    """Return one file's samples, and its remarks; None where there is none."""
    trial = Report()
    with Spool() as spool:
        table, remarks = table_of(path, replace(options, fhr="value", toco=""), trial, spool)
        if not table.has_rows:
            return None
        columns = table.columns("", remarks)
    report.note(*trial.notes)
    report.warn(*(f"{path.name}: {text}" for text in trial.warnings))
    return columns


def write(recordings: Iterable[Recording], path: Path) -> list[str]:
    """Write pairs into a directory, which is made if missing; return what was lost.

    Pairs that were written before are replaced, all of them, once the new ones are whole.

    Raises
    ------
    RecordingError
        When a sensor's id can't be part of a file's name, or others' files are there.
    """
    notes: list[str] = []
    older = written(path)
    if others := [one for folder in _FOLDERS for one in _files(path / folder) if one not in older]:
        reason = f"{others[0].parent.name}/ holds {others[0].name}: choose a folder without"
        raise RecordingError(str(path), 0, reason)
    with _whole_or_not(path) as begin:
        for number, one in enumerate(recordings, 1):
            # the number in front: recordings are not segments of one another
            name = f"r{number:04d}-" + _named(one, path)
            for folder, k, values in ((_FHR, 1, one.fhr_bpm), (_TOCO, 2, one.uterus)):
                there = ~np.isnan(values)
                if not there.any():
                    if folder == _TOCO:
                        continue
                    # without a row nobody could read it: 0 is no signal, too
                    values, there = np.zeros(len(values)), ~there
                with begin(path / folder / f"{name}_{k}.csv").open("w", encoding="utf-8") as file:
                    file.write(",".join(HEADER) + "\n")
                    rows = zip(
                        one.sec_from_start[there].tolist(), values[there].tolist(), strict=True
                    )
                    file.writelines(f"{sec:.10g},{value:.10g}\n" for sec, value in rows)
            notes += _lost(one)
    return notes


def _named(one: Recording, path: Path) -> str:
    """Return what is in the files' names: the sensor's id, or else the folder's name if it can."""
    if one.sensor_id:
        return component(one.sensor_id, path)
    try:
        return component(path.name, path)
    except RecordingError:
        return "recording"


def written(path: Path) -> list[Path]:
    """Return the files in a directory that :func:`write` made."""
    return [one for folder in _FOLDERS for one in _files(path / folder) if _OURS.match(one.name)]


@contextmanager
def _whole_or_not(path: Path) -> Iterator[Callable[[Path], Path]]:
    """Yield what names files until all are whole; then they replace the older ones.

    What couldn't be finished is removed, with the folders that were made for it.
    """
    older, begun = written(path), list[tuple[Path, Path]]()
    made = [one for one in (path, path / _FHR, path / _TOCO) if not one.exists()]

    def begin(target: Path) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".unfinished-{target.name}")
        begun.append((unfinished, target))
        return unfinished

    try:
        yield begin
    except BaseException:
        for unfinished, _ in begun:
            unfinished.unlink(missing_ok=True)
        for folder in reversed(made):
            with suppress(OSError):  # not there yet, or somebody else's files are in it
                folder.rmdir()
        raise
    for file in older:
        file.unlink()
    for unfinished, target in begun:
        unfinished.replace(target)


def _lost(one: Recording) -> list[str]:
    notes = ["events"] * bool(one.events) + ["comments"] * bool(one.comments)
    if not np.isnan(one.spasms).all():
        notes.insert(0, "spasms")
    if one.simulated:
        notes.append("the mark that the data are simulated")
    if to_labels(replace(one, comments=(), simulated=None, sensor_id="")):
        notes.append("the start time")
    return notes
