"""The header of a table: the first row that names a heart rate, and what its columns are.

This module performs no I/O.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from ctgkit.recording.files import channels
from ctgkit.recording.files.channels import Chosen, NotFound
from ctgkit.recording.files.names import channel_of
from ctgkit.recording.files.options import ReadOptions, Report

_NOTHING_WORDS = (
    "na n/a nan nil null none - -- --- #n/a #na #value! #div/0! #num! ? * . missing empty нет н/д —"
    " – <na>"
)
NOTHING = frozenset(_NOTHING_WORDS.split())
"""Words for no value."""

Row = Sequence[str]


class Header(NamedTuple):
    """Where a table begins, and what its columns are."""

    names: list[str]
    chosen: Chosen
    line: int
    """Of the header, from 1."""


def is_number(text: str) -> bool:
    """Tell whether a cell is a number with a decimal point."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_value(text: str) -> bool:
    """Tell whether a cell, in lower case, is a number or says that there is none."""
    return not text or text in NOTHING or is_number(text.replace(",", "."))


def _is_name(text: str) -> bool:
    return not is_value(text.lower()) and any(map(str.isalpha, text))


def find_header(
    rows: Sequence[tuple[int, Row]], options: ReadOptions, report: Report
) -> tuple[Header | None, NotFound | None]:
    """Return the first row that names a heart rate, and else why none of them does.

    Parameters
    ----------
    rows : sequence
        The first rows of a table with their line numbers.
    options, report : ReadOptions, Report
        What the user says; gets what was taken for what.
    """
    reason: NotFound | None = None
    if options.no_header or (rows and _is_headless(rows[0][1], options)):
        width = max((len(row) for _, row in rows), default=0)
        names = [str(n) for n in range(1, width + 1)]
        wanted = options if options.time or options.rate_hz else _with_time(options)
        try:
            return Header(names, channels.choose(names, wanted, report), rows[0][0] - 1), None
        except NotFound as error:
            return None, error
    for place, (line, row) in enumerate(rows):
        names = [cell.strip(" '\"\ufeff\t") for cell in row]
        if not any(map(_is_name, names)):
            continue
        if len(row) < 2 and options.rate_hz is None:
            if reason is None and channel_of(names[0]).role == "fhr":
                reason = NotFound(f"{channels.quoted(names[0])} is alone, without times: --rate HZ")
            continue
        trial = Report()
        below = rows[place + 1][1] if place + 1 < len(rows) else ()
        try:
            chosen = channels.choose(names, _with_index(names, below, options), trial)
        except NotFound as error:
            error.weight = sum(map(_is_name, names))
            if reason is None or error.weight > reason.weight:
                reason = error
            continue
        report.taken, report.unread = trial.taken, trial.unread
        return Header(names, chosen, line), None
    return None, reason


def _with_index(names: Sequence[str], below: Row, options: ReadOptions) -> ReadOptions:
    """Name a column without a name as the time where it holds dates: pandas writes an index so."""
    found = [channel_of(name).role for name in names]
    if options.time or options.rate_hz is not None or "time" in found or "date" in found:
        return options
    for n, (role, cell) in enumerate(zip(found, below, strict=False)):
        if role == "number" and ":" in cell and any(map(str.isdigit, cell)):
            return replace(options, time=str(n + 1))
    return options


def _is_headless(row: Row, options: ReadOptions) -> bool:
    return options.fhr.isdecimal() and all(is_value(cell.strip().lower()) or ":" in cell
                                           for cell in row)  # fmt: skip


def _with_time(options: ReadOptions) -> ReadOptions:
    return replace(options, time="1")
