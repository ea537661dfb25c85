"""Tables of text, ``.csv``, ``.tsv``, ``.txt``, gzipped or not.

What is written has a header, then one row per sample. A mark that data are simulated is a column of
ones, named by what simulated them; of several recordings a remark says that of each. It is a remark
only where the first two recordings have no mark. Other remarks are in a column ``remark``, in the
first rows. So every parser reads all other columns
as numbers.
"""

import gzip
import io
import itertools
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, NamedTuple, TextIO, cast

from ctgkit.recording import Recording
from ctgkit.recording.files import native, pairs
from ctgkit.recording.files.labels import NOT_SIMULATED, SIMULATED, to_labels, unique_ids
from ctgkit.recording.files.opening import one_error
from ctgkit.recording.files.options import ReadOptions, Report
from ctgkit.recording.files.spool import Spool
from ctgkit.recording.files.text import first_lines, is_one_channel, table_of

COLUMNS = ("sec", "bpm", "uterus", "spasms")


def read(path: Path, options: ReadOptions, report: Report) -> Iterator[Recording]:
    """Yield each sensor's samples: by the column ``sensor`` or the like, or all of one.

    Two files, one per channel, are read together; see :mod:`ctgkit.recording.files.pairs`.

    Raises
    ------
    RecordingError
        Naming the file, the line and what is wrong.
    """
    with one_error(path), Spool() as spool:
        head = first_lines(path, options)
        if not options.fhr and is_one_channel(head):
            yield from pairs.read_file(path, options, report)
            return
        if next((line for line in head if line.strip()), "").lstrip()[:1] in ("{", "["):
            report.format = "messages"
            yield from native.read(path, options, report)
            return
        table, remarks = table_of(path, options, report, spool)
        yield from table.recordings(remarks)


def read_csv(path: Path, options: ReadOptions | None = None) -> Recording:
    """Read the first, or only, recording of a table of text; see :func:`read`."""
    from ctgkit.recording import read_recording

    return read_recording(path, options)


def write(recordings: Iterable[Recording], path: Path) -> list[str]:
    """Write rows in the order of time, sensor after sensor; return what was lost."""
    rest = iter(recordings)
    ahead = list(itertools.islice(rest, 2))
    several = len(ahead) > 1
    notes: list[str] = []
    everyone = unique_ids(itertools.chain(ahead, rest)) if several else ahead
    with _create(path) as file:
        for number, one in enumerate(everyone):
            labels = to_labels(one, with_id=not several)
            if number == 0:
                mark = next(filter(None, map(_mark, ahead)), "")
                if several and mark:
                    mark = SIMULATED
                columns = _Columns(
                    "\t" if ".tsv" in path.name.lower() else ",",
                    several,
                    mark,
                    several or len(labels) > bool(mark),
                )
                file.write(columns.header() + "\n")
            if columns.mark and one.simulated is not None and labels[0] in (mark, NOT_SIMULATED):
                del labels[0]
            _write_rows(file, one, columns, labels)
            if one.events:
                notes.append("events")
    return notes


class _Columns(NamedTuple):
    """Which columns there are besides those of samples."""

    separator: str
    sensor: bool
    mark: str
    """Name of the column that marks simulated data with 1; empty for none."""
    remark: bool

    def header(self) -> str:
        """Return the first line."""
        marks = [_quoted(self.mark)] if self.mark else []
        names = ["sensor"] * self.sensor + [*COLUMNS, *marks] + ["remark"] * self.remark
        return self.separator.join(names)


def _mark(one: Recording) -> str:
    """Return the name of the column that says whether data are simulated; empty if unknown."""
    if one.simulated is None:
        return ""
    return to_labels(one)[0] if one.simulated else SIMULATED


def _write_rows(file: TextIO, one: Recording, columns: _Columns, labels: list[str]) -> None:
    """Write a recording's rows; remarks beside the first ones, the last row takes all that remain.

    Every column but these is numbers.
    """
    arrays = (one.sec_from_start, one.fhr_bpm, one.uterus, one.spasms)
    rows = zip(*(array.tolist() for array in arrays), strict=True)
    tab = columns.separator
    prefix = _quoted(one.sensor_id) + tab if columns.sensor else ""
    end = tab + ("" if one.simulated is None else str(int(one.simulated))) if columns.mark else ""
    texts = (prefix + tab.join("" if v != v else f"{v:.10g}" for v in row) + end for row in rows)
    remarks = list(labels)
    n = len(one.sec_from_start)
    if len(remarks) > n:
        remarks[n - 1 :] = [" | ".join(remarks[n - 1 :])]
    for remark in remarks:
        file.write(f"{next(texts)}{tab}{_quoted(remark)}\n")
    nothing = tab if columns.remark else ""
    file.writelines(f"{text}{nothing}\n" for text in texts)


def _quoted(text: str) -> str:
    """Return a cell of text, in quotes where it needs them."""
    plain = text.replace("\r", " ").replace("\n", " ")
    if any(sign in plain for sign in ',"#\t') or plain[:1] in tuple("=+-@"):
        return '"' + plain.replace('"', '""') + '"'
    return plain


@contextmanager
def _create(path: Path) -> Iterator[TextIO]:
    """Open a file to write; gzipped without a time stamp: the same rows give the same bytes."""
    with path.open("wb") as raw, ExitStack() as stack:
        file: IO[bytes] = raw
        if path.suffix.lower() == ".gz":
            packed = gzip.GzipFile("", "wb", fileobj=raw, mtime=0)
            file = cast(IO[bytes], stack.enter_context(packed))
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        yield text
        text.flush()
        text.detach()
