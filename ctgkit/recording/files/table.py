"""Rows of cells -> recordings: what text files and spreadsheets have in common."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit.errors import RecordingError, excerpt
from ctgkit.recording import Recording
from ctgkit.recording.files import channels, clock, names
from ctgkit.recording.files.channels import Chosen
from ctgkit.recording.files.header import NOTHING, Header, Row, is_number, is_value
from ctgkit.recording.files.hearts import hearts_of
from ctgkit.recording.files.joining import joined
from ctgkit.recording.files.labels import NOT_SIMULATED, SIMULATED, from_labels
from ctgkit.recording.files.opening import too_long
from ctgkit.recording.files.options import Implausible, ReadOptions, Report
from ctgkit.recording.files.order import StartsAnew, in_order
from ctgkit.recording.files.spool import Spool

CHUNK_ROWS = 16_384
EMPTY_ROWS_MAX = 1_000_000
"""Empty lines that a file may have, more than it has rows."""
REMARKS_MAX = 1000


class Columns(NamedTuple):
    """One sensor's rows."""

    sec: NDArray[np.float64]
    values: list[NDArray[np.float64]]
    """Heart rates, toco, contraction intensity, as far as the file has them."""
    labels: dict[str, Any]
    zero_s: float = 0.0
    """What second 0 is on the file's own clock."""


class Table:
    """Takes rows and makes recordings of them.

    Parameters
    ----------
    path : Path
        For errors.
    header : Header
        What the columns are.
    options, report
        What the user says, and what gets to be said.
    spool : Spool
        For the rows; closed by its owner.
    decimal_comma : bool
        Whether ``140,5`` is a number.
    """

    def __init__(
        self,
        path: Path,
        header: Header,
        options: ReadOptions,
        report: Report,
        spool: Spool,
        *,
        decimal_comma: bool = False,
    ) -> None:
        self._path, self._options, self.report = path, options, report
        """Who takes the table may give it another."""
        self._spool = spool
        self._names, self._chosen, self._line = header
        self._comma = decimal_comma
        chosen = self._chosen
        hearts = [n for _, probes in sorted(chosen.hearts.items()) for n in probes]
        self._hearts = [
            (fetus, n) for fetus, probes in sorted(chosen.hearts.items()) for n in probes
        ]
        self._others = [(name, n) for name, n in _others(chosen) if n is not None]
        self._values = [*hearts, *(n for _, n in self._others)]
        self._remarks: dict[str, dict[str, None]] = {}
        self._clocks: dict[str, list[str]] = {}
        self._texts: bool | None = None
        self._unit = chosen.time_unit
        self._n_rows = self._n_empty = 0
        self.n_lines = 0
        """Rows that came, empty ones too."""

    def take(self, rows: Iterable[Row], first_line: int) -> None:
        """Take all rows; *first_line* is the number of the first, from 1.

        Raises
        ------
        RecordingError
            Naming the line and what is wrong with it.
        """
        rest = iter(rows)
        line = first_line
        key = self._values[0] if self._chosen.time is None else self._chosen.time
        while chunk := list(itertools.islice(rest, CHUNK_ROWS)):
            lines = np.arange(line, line + len(chunk))
            line += len(chunk)
            self.n_lines += len(chunk)
            if not all(chunk) or "" in [row[key] for row in chunk if len(row) > key]:
                full = np.array([any(map(str.strip, row)) for row in chunk])
                self._n_empty += int((~full).sum())
                chunk = list(itertools.compress(chunk, full))
                lines = lines[full]
            if self._n_empty > EMPTY_ROWS_MAX + self._n_rows:
                raise self._error(line, f"more than {EMPTY_ROWS_MAX} empty lines")
            if chunk and not self._n_rows:
                chunk, lines = self._without_units(chunk, lines)
            if chunk:
                self._n_rows += len(chunk)
                if self._n_rows > self._options.max_samples:
                    raise too_long(self._path, self._options.max_bytes)
                self._take_chunk(chunk, lines)

    def _error(self, line: int, reason: str) -> RecordingError:
        return RecordingError(str(self._path), int(line), reason)

    def _without_units(
        self, rows: list[Row], lines: NDArray[np.int64]
    ) -> tuple[list[Row], NDArray[np.int64]]:
        """Leave out a second line that holds units."""
        places = [n for n in (self._chosen.time, *self._values) if n is not None]
        row = rows[0]
        cells = [row[n].strip(" '\"").lower() for n in places if n < len(row)]
        if len(cells) < len(places) or not all(cell.strip() for cell in cells[:2]):
            return rows, lines
        if any(is_value(cell) or any(map(str.isdigit, cell)) for cell in cells):
            return rows, lines
        for n in self._values[: len(self._hearts)]:
            unit = names.unit_of(row[n])
            if unit not in names.HEART_UNITS and unit in names.known_units():
                reason = f"{channels.quoted(self._names[n])} is in {unit}, not beats/min"
                raise self._error(lines[0], reason)
        self._leave_others(row)
        if self._chosen.time is not None and not self._unit:
            self._unit = names.unit_of(row[self._chosen.time])
        return rows[1:], lines[1:]

    def _leave_others(self, units: Row) -> None:
        """Leave out a toco whose unit, in the second line, no toco is read in."""
        for what, n in [one for one in self._others if one[0] == "toco"]:
            unit = names.unit_of(units[n])
            if unit in names.TOCO_UNITS or unit not in names.known_units():
                continue
            name = channels.quoted(self._names[n])
            self._others.remove((what, n))
            self._values.remove(n)
            self.report.taken = [one for one in self.report.taken if not one.startswith(what)]
            self.report.leave(f"{name} (in {unit})")

    def _take_chunk(self, rows: list[Row], lines: NDArray[np.int64]) -> None:
        width = len(self._names)
        if max(map(len, rows)) > width:
            self._refuse_longer(rows, lines, width)
        columns = [self._column(rows, lines, n) for n in self._values]
        texts: list[str] = []
        times: NDArray[np.float64] = np.zeros(len(rows))
        if self._chosen.time is not None:
            if self._are_texts(rows, lines, self._chosen.time):
                texts = self._clock_texts(rows, lines, self._chosen.time)
            else:
                times = self._numbers(rows, lines, self._chosen.time)
        matrix = np.column_stack([lines, times, *columns])
        remarks = self._remarks_of(rows)
        if not self._chosen.sensors:
            self._put("", matrix, texts, remarks)
            return
        for name, own in self._by_sensor(rows, lines).items():
            own_texts, own_remarks = ([one[n] for n in own] if one else []
                                      for one in (texts, remarks))  # fmt: skip
            self._put(name, matrix[own], own_texts, own_remarks)

    def _by_sensor(self, rows: list[Row], lines: NDArray[np.int64]) -> dict[str, list[int]]:
        cells = [self._cells(rows, lines, n) for n in self._chosen.sensors]
        keys = cells[0] if len(cells) == 1 else list(map(" ".join, zip(*cells, strict=True)))
        if keys.count(keys[0]) == len(keys):
            return {keys[0].strip(): list(range(len(keys)))}
        places: dict[str, list[int]] = {}
        for row, key in enumerate(keys):
            places.setdefault(key, []).append(row)
        merged: dict[str, list[int]] = {}
        for key, own in places.items():
            merged.setdefault(key.strip(), []).extend(own)
        return merged

    def _put(
        self, name: str, matrix: NDArray[np.float64], texts: list[str], remarks: list[str]
    ) -> None:
        self._spool.put(name, matrix)
        if texts:
            self._clocks.setdefault(name, []).extend(texts)
        known = self._remarks.setdefault(name, {})
        for text in dict.fromkeys(remarks):
            for remark in text.split("\n"):
                if remark and len(known) < REMARKS_MAX:
                    known[remark] = None

    def _refuse_longer(self, rows: list[Row], lines: NDArray[np.int64], width: int) -> None:
        for row, line in zip(rows, lines, strict=True):
            if any(cell.strip() for cell in row[width:]):
                reason = f"{len(row)} cells under {width} column names"
                if "," in "".join(row) or all("." not in cell for cell in row):
                    reason += ": decimal commas between commas can't be told apart"
                raise self._error(line, reason)

    def _too_short(self, rows: list[Row], lines: NDArray[np.int64], n: int) -> RecordingError:
        short = next(row for row in range(len(rows)) if len(rows[row]) <= n)
        return self._error(lines[short], f"{channels.quoted(self._names[n])} is missing")

    def _cells(self, rows: list[Row], lines: NDArray[np.int64], n: int) -> list[str]:
        try:
            return list(map(itemgetter(n), rows))
        except IndexError:
            raise self._too_short(rows, lines, n) from None

    def _column(self, rows: list[Row], lines: NDArray[np.int64], n: int) -> NDArray[np.float64]:
        name = self._names[n]
        cells = self._cells(rows, lines, n)
        if self._comma:
            cells = [cell.replace(",", ".") for cell in cells]
        try:
            values = np.fromiter(map(float, cells), float, len(cells))
        except ValueError:
            values = self._with_words(cells, lines, name)
        if np.isinf(values).any():
            at = int(np.argmax(np.isinf(values)))
            reason = f"{channels.quoted(name)} must be finite: {excerpt(cells[at])!r}"
            raise self._error(lines[at], reason)
        return values

    def _with_words(
        self, cells: list[str], lines: NDArray[np.int64], name: str
    ) -> NDArray[np.float64]:
        """Return a column in which some cells say that there is no value."""
        try:
            return np.fromiter((float(cell or "nan") for cell in cells), float, len(cells))
        except ValueError:
            numbers = map(self._number, cells, lines.tolist(), itertools.repeat(name))
            return np.fromiter(numbers, float, len(cells))

    def _number(self, cell: str, line: int, name: str) -> float:
        text = cell.strip(" '\"\t\xa0")
        if not text or text.lower() in NOTHING:
            return float("nan")
        try:
            return float(text)
        except ValueError:
            reason = f"{channels.quoted(name)} is not a number: {excerpt(text)!r}"
            raise self._error(line, reason) from None

    def _are_texts(self, rows: list[Row], lines: NDArray[np.int64], n: int) -> bool:
        """Tell by the first row whether the times are no numbers."""
        if self._texts is None:
            first = self._cells(rows[:1], lines, n)[0].strip(" '\"")
            plain = first.replace(",", ".") if self._comma else first
            self._texts = self._chosen.date is not None or not is_number(plain)
            if self._texts and not any(map(str.isdigit, first)):
                name = channels.quoted(self._names[n])
                raise self._error(lines[0], f"{name} must be a time: {excerpt(first)!r}")
        return self._texts

    def _numbers(self, rows: list[Row], lines: NDArray[np.int64], n: int) -> NDArray[np.float64]:
        values = self._column(rows, lines, n)
        if np.isnan(values).any():
            at = int(np.argmax(np.isnan(values)))
            name = channels.quoted(self._names[n])
            raise self._error(lines[at], f"{name} must be finite: {excerpt(rows[at][n])!r}")
        return values

    def _clock_texts(self, rows: list[Row], lines: NDArray[np.int64], n: int) -> list[str]:
        cells = self._cells(rows, lines, n)
        if self._chosen.date is None:
            return cells
        dates = self._cells(rows, lines, self._chosen.date)
        return [f"{date} {cell}" for date, cell in zip(dates, cells, strict=True)]

    def _remarks_of(self, rows: list[Row]) -> list[str]:
        remarks = self._texts_of(rows, self._chosen.remark)
        if self._chosen.simulated is None:
            return remarks
        marks = self._texts_of(rows, self._chosen.simulated)
        name = self._names[self._chosen.simulated]
        # a header says what is true of all: who one of several sensors is, its remarks say
        named = " " in name and not self._chosen.sensors
        says = {"1": name if named else SIMULATED, "0": NOT_SIMULATED}
        found = [says[mark] for mark in dict.fromkeys(marks) if mark in says]
        # whose they are is known by the row: one sensor's chunk may say both only by mistake
        return (
            [*remarks, *found]
            if not self._chosen.sensors
            else [
                says.get(mark, "") + ("\n" + remark if remark else "")
                for mark, remark in zip(marks, remarks or [""] * len(marks), strict=True)
            ]
        )

    def _texts_of(self, rows: list[Row], n: int | None) -> list[str]:
        return [row[n].strip() if n < len(row) else "" for row in rows] if n is not None else []

    @property
    def has_rows(self) -> bool:
        """Whether there were any."""
        return bool(self._spool.keys)

    def recordings(self, remarks: Sequence[str] = ()) -> Iterator[Recording]:
        """Yield each sensor's recording, in the order in which they came first.

        Parameters
        ----------
        remarks : sequence of str
            Those of the whole file.
        """
        if not self._spool.keys:
            raise RecordingError(str(self._path), 0, "no samples")
        if self._n_rows >= 20 and len(self._spool.keys) > self._n_rows / 2:
            named = " and ".join(channels.quoted(self._names[n]) for n in self._chosen.sensors)
            reason = f"{named} is another in almost every row: sensors, or numbers of rows?"
            raise RecordingError(str(self._path), 0, reason)
        for name in self._spool.keys:
            yield from self._recordings(name, remarks)

    def columns(self, name: str, remarks: Sequence[str] = ()) -> "Columns":
        """Return, once, a sensor's times and columns, in the order of time."""
        matrix = self._spool.rows(name)
        lines, values = matrix[:, 0], matrix[:, 2:]
        try:
            times = self._read_times(name, matrix[:, 1])
            if (times.sec < 0).any():
                raise clock.BadTime(int(np.argmax(times.sec < 0)), "time is negative")
            ordered = in_order(times.sec, values[:, 0])
        except (clock.BadTime, StartsAnew) as error:
            raise self._error(lines[error.row], error.reason) from error
        except Implausible as error:
            raise RecordingError(str(self._path), 0, str(error)) from error
        self.report.note(*times.notes)
        self.report.warn(*ordered.warnings)
        if ordered.rows is not None:
            values = values[ordered.rows]
        labels = from_labels([*remarks, *self._remarks[name]])
        if name:
            labels["sensor_id"] = name
        if times.started:
            labels["started"] = times.started
        return Columns(ordered.sec.copy(), list(values.T.copy()), labels, times.zero_s)

    def _recordings(self, name: str, remarks: Sequence[str]) -> Iterator[Recording]:
        yield from self._of_columns(*self.columns(name, remarks)[:3])

    def _read_times(self, name: str, numbers: NDArray[np.float64]) -> clock.Times:
        if self._options.rate_hz is not None:
            note = f"times from the rows, {self._options.rate_hz:g} per second"
            return clock.Times(np.arange(len(numbers)) / self._options.rate_hz, "", (note,))
        if self._texts:
            elapsed = "elapsed" in self._names[self._chosen.time or 0].lower()
            return clock.from_texts(self._clocks.pop(name), elapsed=elapsed)
        try:
            return clock.from_numbers(numbers, self._unit)
        except Implausible:
            if not self._options.accept_implausible:
                raise
            return clock.from_numbers(numbers, "s")

    def _of_columns(
        self, sec: NDArray[np.float64], columns: list[NDArray[np.float64]], labels: dict[str, Any]
    ) -> Iterator[Recording]:
        n_hearts = len(self._hearts)
        others = list(zip((n for n, _ in self._others), columns[n_hearts:], strict=True))
        measured = []
        for (fetus, n), column in zip(self._hearts, columns[:n_hearts], strict=True):
            values = np.where(column == 0, np.nan, column)
            measured.append((fetus, channels.quoted(self._names[n]), values))
        try:
            found = hearts_of(measured, self._options, self.report)
        except ValueError as error:
            raise RecordingError(str(self._path), 0, str(error)) from error
        for heart in found:
            yield joined(sec, heart, others, labels, self.report)


def _others(chosen: Chosen) -> tuple[tuple[str, int | None], ...]:
    return (("toco", chosen.toco), ("contraction intensity", chosen.spasms))
