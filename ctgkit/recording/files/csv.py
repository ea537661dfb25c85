"""Tables of text, ``.csv``, ``.tsv``, ``.txt``, gzipped or not.

What is written has a header, then one row per sample. Remarks are in a column of their own, in the
first rows, so that every parser reads the other columns as numbers.
"""

import gzip
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from ctgkit.recording import Recording
from ctgkit.recording.files import pairs
from ctgkit.recording.files.labels import to_labels, unique_ids
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
        if not options.fhr and is_one_channel(first_lines(path, options)):
            yield from pairs.read_file(path, options, report)
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
                has_remarks = several or bool(labels)
                names = ["sensor"] * several + [*COLUMNS] + ["remark"] * has_remarks
                file.write(",".join(names) + "\n")
            write_rows(file, one, labels if has_remarks else None, sensor=several)
            if one.events:
                notes.append("events")
    return notes


def write_rows(
    file: TextIO, one: Recording, labels: list[str] | None, *, sensor: bool = False
) -> None:
    """Write a recording's rows, with remarks beside the first ones.

    Parameters
    ----------
    file : text file
        Behind the header.
    one : Recording
        With an id, if *sensor*.
    labels : list of str or None
        Remarks; those that have no row of their own share the last one. None for no such column.
    sensor : bool
        Whether the first column is the sensor.
    """
    arrays = (one.sec_from_start, one.fhr_bpm, one.uterus, one.spasms)
    rows = zip(*(array.tolist() for array in arrays), strict=True)
    texts = (",".join("" if v != v else f"{v:.10g}" for v in row) for row in rows)
    prefix = _quoted(one.sensor_id) + "," if sensor else ""
    remarks = list(labels or ())
    n = len(one.sec_from_start)
    if len(remarks) > n:
        remarks[n - 1 :] = [" | ".join(remarks[n - 1 :])]
    for remark in remarks:
        file.write(f"{prefix}{next(texts)},{_quoted(remark)}\n")
    end = "," if labels is not None else ""
    file.writelines(f"{prefix}{text}{end}\n" for text in texts)


def _quoted(text: str) -> str:
    """Return a cell of text, in quotes where it needs them."""
    plain = text.replace("\r", " ").replace("\n", " ")
    if any(sign in plain for sign in ',"#') or plain[:1] in tuple("=+-@"):
        return '"' + plain.replace('"', '""') + '"'
    return plain


def _create(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "wt", encoding="utf-8", newline="")
    return path.open("w", encoding="utf-8", newline="")
