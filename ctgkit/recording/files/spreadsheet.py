"""Spreadsheets, ``.xlsx``, ``.xls``, ``.ods`` (only read): the first sheet with a heart rate."""

import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import python_calamine as calamine

from ctgkit.errors import RecordingError, excerpt
from ctgkit.recording import Recording
from ctgkit.recording.files.header import find_header
from ctgkit.recording.files.opening import too_long, unpacked_most
from ctgkit.recording.files.options import MAX_MB, ReadOptions, Report
from ctgkit.recording.files.spool import Spool
from ctgkit.recording.files.table import Table

_HEAD_ROWS = 80


def read(path: Path, options: ReadOptions, report: Report) -> Iterator[Recording]:
    """Yield each sensor's samples.

    Raises
    ------
    RecordingError
        Naming the row and what is wrong.
    """
    _check_size(path, options)
    try:
        book = calamine.CalamineWorkbook.from_path(str(path))
        sheets = book.sheet_names
    except Exception as error:  # the library raises what it likes
        raise RecordingError(str(path), 0, f"not a spreadsheet: {excerpt(str(error))}") from error
    reason = None
    for number, name in enumerate(sheets):
        rows = [[_text(cell) for cell in row] for row in book.get_sheet_by_name(name).to_python(
            skip_empty_area=False)]  # fmt: skip
        trial = Report()
        head = [(n, row) for n, row in enumerate(rows[:_HEAD_ROWS], 1) if any(row)]
        header, missing = find_header(head, options, trial)
        reason = reason or missing
        if header is None:
            continue
        report.taken, report.unread = trial.taken, trial.unread
        report.note(f"sheet {excerpt(name)!r}")
        report.leave(*(f"sheet {excerpt(other)!r}" for other in sheets[number + 1 :]))
        remarks = [" ".join(filter(None, row)) for row in rows[: max(header.line - 1, 0)]]
        with Spool() as spool:
            table = Table(path, header, options, report, spool)
            width = len(header.names)
            table.take((row[:width] for row in rows[header.line :]), header.line + 1)
            yield from table.recordings([remark for remark in remarks if remark])
        return
    raise RecordingError(str(path), 0, str(reason) if reason else "no table in it")


def _check_size(path: Path, options: ReadOptions) -> None:
    most = unpacked_most(path, options.max_bytes, MAX_MB << 20)
    try:
        if path.stat().st_size > most:
            raise too_long(path, most)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if sum(one.file_size for one in archive.infolist()) > most:
                    raise too_long(path, most)
    except (OSError, zipfile.BadZipFile) as error:
        raise RecordingError(str(path), 0, f"not a spreadsheet: {excerpt(str(error))}") from error


def _text(cell: Any) -> str:
    """Return a cell as a table of text would have it."""
    if isinstance(cell, float):
        return f"{cell:.15g}"
    if isinstance(cell, datetime):
        return cell.isoformat(" ")
    if isinstance(cell, timedelta):
        return f"{cell.total_seconds():.9g}"
    if isinstance(cell, date | time):
        return cell.isoformat()
    return str(cell)
