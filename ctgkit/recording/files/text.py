"""Tables of text as people have them: found out are encoding, separator, decimal sign, header."""

import codecs
import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ctgkit.errors import RecordingError, excerpt
from ctgkit.recording.files.channels import NotFound
from ctgkit.recording.files.header import Header, Row, find_header
from ctgkit.recording.files.names import channel_of
from ctgkit.recording.files.opening import blocks_of, open_bytes, unpacked_most
from ctgkit.recording.files.options import MAX_MB, ReadOptions, Report
from ctgkit.recording.files.spool import Spool
from ctgkit.recording.files.table import REMARKS_MAX, Table

_HEAD_BYTES = 1 << 16
_HEAD_LINES = 80
"""Lines among which the header is looked for."""
_SEPARATORS: Final = {
    ";": "semicolons", "\t": "tabs", ",": "commas", "|": "bars", " ": "spaces",
}  # fmt: skip
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_REMARKS = ("#", "%", "//")
_OLD_ENCODINGS = ("cp1251", "cp1252", "cp866", "koi8-r")
"""Of text that isn't Unicode. The first that makes the header known wins."""
_ENCODING_NAMES = {"cp1251": "Windows-1251", "cp1252": "Windows-1252", "cp866": "code page 866"}
_ERROR_CELL = re.compile(r"#(N/A|NA\b|VALUE!|DIV/0!|NUM!|REF!|NAME\?|NULL!)", re.IGNORECASE)
"""What spreadsheets write for no value; a row may begin with it."""
_COMMA_NUMBER = re.compile(r"\s*[-+]?\d+,\d+\s*")
_POINT_NUMBER = re.compile(r"\s*[-+]?\d+\.\d+\s*")


class Dialect(NamedTuple):
    """How a table of text is written."""

    encoding: str
    separator: str
    decimal_comma: bool
    header: Header
    header_text: str
    """Its line; numpy writes it as a remark."""
    remarks: list[str]
    """Lines before the header."""


def table_of(
    path: Path, options: ReadOptions, report: Report, spool: Spool
) -> tuple[Table, list[str]]:
    """Read a whole table of text.

    Parameters
    ----------
    path : Path
        Gzipped or not.
    options, report
        What the user says; gets what was found out.
    spool : Spool
        For the rows.

    Returns
    -------
    tuple
        The table, and the remarks among its lines.

    Raises
    ------
    RecordingError
        Naming the line and what is wrong.
    """
    most = unpacked_most(path, options.max_bytes, MAX_MB << 20)
    with open_bytes(path, most) as file:
        start = file.read(_HEAD_BYTES)
    encodings = [options.encoding] if options.encoding else _encodings(start)
    if b"\0" in start and not any("utf-16" in encoding for encoding in encodings):
        raise RecordingError(str(path), 0, "binary, and none of the formats that are read")
    first: Exception | None = None
    for encoding in encodings:
        trial = Report()
        spool.clear()
        try:
            dialect = dialect_of(path, head_of(start, encoding), encoding, options, trial)
            result = _fill(path, most, dialect, options, trial, spool)
        except (UnicodeDecodeError, LookupError, _Unknown) as error:
            if not isinstance(first, _Unknown):
                first = error
            continue
        report.taken, report.unread = trial.taken, trial.unread
        report.note(*trial.notes)
        report.warn(*trial.warnings)
        result[0].report = report
        return result
    if isinstance(first, _Unknown):
        raise first.error
    reason = f"not text in {encodings[0]}: {excerpt(str(first))}; --encoding names another"
    raise RecordingError(str(path), 0, reason)


class _Unknown(Exception):
    """No header was found in this encoding."""

    def __init__(self, error: RecordingError) -> None:
        super().__init__(str(error))
        self.error = error


def first_lines(path: Path, options: ReadOptions) -> list[str]:
    """Return the first lines of a text, in the likeliest encoding."""
    with open_bytes(path, options.max_bytes) as file:
        start = file.read(_HEAD_BYTES)
    for encoding in [options.encoding] if options.encoding else _encodings(start):
        try:
            return head_of(start, encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return []


def head_of(start: bytes, encoding: str) -> list[str]:
    """Return the first lines of a file that begins with *start*."""
    whole = len(start) < _HEAD_BYTES  # else the cut may be inside a character
    text = codecs.getincrementaldecoder(encoding)().decode(start, final=whole)
    if not whole:
        text = text[: text.rfind("\n") + 1] or text
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:_HEAD_LINES]


def _encodings(start: bytes) -> list[str]:
    """Return the encodings to try, the likeliest first."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return ["utf-16"]
    sample = start[:400]
    for encoding, place in (("utf-16-le", 1), ("utf-16-be", 0)):
        if sample and sample[place::2].count(0) > len(sample) / 4:
            text = sample[: len(sample) // 2 * 2].decode(encoding, "replace")
            if all(c.isprintable() or c.isspace() for c in text):
                return [encoding]
    if re.search(rb"[A-Za-z][\x80-\xff][A-Za-z]", start):  # Latin letters around: Western
        return ["utf-8-sig", "cp1252", "cp1251", "cp866", "koi8-r"]
    return ["utf-8-sig", *_OLD_ENCODINGS]


def dialect_of(
    path: Path, lines: Sequence[str], encoding: str, options: ReadOptions, report: Report
) -> Dialect:
    """Find out how a table is written; the header decides.

    Raises
    ------
    _Unknown
        When no header is found; it holds the error to show.
    """
    separators, skipped = _separators(lines, options)
    best: tuple[int, Header, str, Report] | None = None
    reasons: list[tuple[int, NotFound]] = []
    for is_remark in (False, True):  # numpy writes its header as a remark
        for separator in separators:
            trial = Report()
            rows = _rows(lines, separator, skipped, is_remark)
            header, reason = find_header(rows, options, trial)
            if reason is not None:
                reasons.append((reason.weight, reason))
            if header is not None and (best is None or len(trial.taken) > best[0]):
                best = len(trial.taken), header, separator, trial
        if best is not None:
            break
    if best is None:
        raise _Unknown(RecordingError(str(path), *_why_not(lines, reasons, encoding)))
    _, header, separator, trial = best
    report.taken, report.unread = trial.taken, trial.unread
    comma = _decimal_comma(path, lines, header, separator)
    before = [
        line.strip().lstrip("#%/").strip() for line in lines[skipped : max(header.line - 1, 0)]
    ]
    if encoding not in ("utf-8-sig", "utf-16"):
        report.note(f"text in {_ENCODING_NAMES.get(encoding, encoding)}")
    if (separator != "," and len(header.names) > 1) or comma:
        report.note(f"{_SEPARATORS.get(separator, repr(separator))}" + ", decimal commas" * comma)
    text = lines[header.line - 1] if header.line else ""
    return Dialect(encoding, separator, comma, header, text, [line for line in before if line])


def _separators(lines: Sequence[str], options: ReadOptions) -> tuple[list[str], int]:
    """Return what may stand between columns, and how many lines only say that."""
    skipped, separators = 0, list(_SEPARATORS)
    first = next((n for n, line in enumerate(lines) if line.strip()), 0)
    if lines and (found := _SEPARATOR_LINE.fullmatch(lines[first])):
        skipped, separators = first + 1, [found[1]]
    if options.separator:
        separators = ["\t" if options.separator in ("\\t", "tab") else options.separator]
    return separators, skipped


def _why_not(
    lines: Sequence[str], reasons: list[tuple[int, NotFound]], encoding: str
) -> tuple[int, str]:
    first = next((n for n, line in enumerate(lines, 1) if line.strip()), 1)
    if reasons:
        return first, str(max(reasons, key=lambda one: one[0])[1])
    text = next((line for line in lines if line.strip()), "")
    if not text:
        return 0, "empty"
    if re.fullmatch(r"[-+\d.,;:\s|eENaAn]+", text):
        return first, (
            f"numbers without a header: {excerpt(text)!r}; --no-header numbers the columns, as in"
            " --time 1 --fhr 2 --toco 3"
        )
    return first, f"no table with a column of heart rates: {excerpt(text)!r}"


def _is_remark(line: str) -> bool:
    return line.lstrip().startswith(_REMARKS) and not _ERROR_CELL.match(line.lstrip())


def _rows(
    lines: Sequence[str], separator: str, skipped: int, is_remark: bool
) -> list[tuple[int, Row]]:
    rows: list[tuple[int, Row]] = []
    for number, line in enumerate(lines[skipped:], skipped + 1):
        if _is_remark(line) != is_remark:
            continue
        text = line.lstrip().lstrip("#%/").lstrip() if is_remark else line
        try:
            cells = next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])
        except csv.Error:
            continue
        if cells:
            rows.append((number, cells))
    return rows


def _decimal_comma(path: Path, lines: Sequence[str], header: Header, separator: str) -> bool:
    """Tell whether numbers have a decimal comma, by the first rows."""
    chosen = header.chosen
    wanted = [n for probes in chosen.hearts.values() for n in probes]
    wanted += [n for n in (chosen.toco, chosen.spasms, chosen.time) if n is not None]
    try:
        table = list(csv.reader(lines[header.line : header.line + 40], delimiter=separator))
        cells = [row[n] for row in table for n in wanted if n < len(row)]
    except csv.Error:
        return False
    for n in wanted:
        _refuse_thousands(path, header, [row[n] for row in table if n < len(row)])
    commas = [cell for cell in cells if _COMMA_NUMBER.fullmatch(cell)]
    points = [cell for cell in cells if _POINT_NUMBER.fullmatch(cell)]
    if commas and points:
        reason = f"both {commas[0].strip()!r} and {points[0].strip()!r}: which is the decimal sign?"
        raise RecordingError(str(path), header.line + 1, reason)
    return bool(commas)


def _refuse_thousands(path: Path, header: Header, column: list[str]) -> None:
    """Refuse ``1,250`` where it may as well be 1250 as 1.25."""
    commas = [cell.strip() for cell in column if _COMMA_NUMBER.fullmatch(cell)]
    whole = [cell for cell in column if re.fullmatch(r"\s*\d{3}\s*", cell)]
    if commas and whole and all(re.fullmatch(r"[1-9]\d{0,2},\d{3}", cell) for cell in commas):
        reason = f"{commas[0]!r} beside {whole[0].strip()!r}: a decimal comma, or thousands?"
        raise RecordingError(str(path), header.line + 1, reason)


def _fill(
    path: Path, most: int, dialect: Dialect, options: ReadOptions, report: Report, spool: Spool
) -> tuple[Table, list[str]]:
    table = Table(path, dialect.header, options, report, spool, decimal_comma=dialect.decimal_comma)
    remarks = list(dialect.remarks)
    with (
        open_bytes(path, most) as raw,
        io.TextIOWrapper(raw, dialect.encoding, newline=None) as stream,
    ):
        lines = itertools.chain.from_iterable(
            _without(blocks_of(stream, path), remarks, dialect.header_text)
        )
        body = itertools.islice(lines, dialect.header.line, None)
        reader = csv.reader(body, delimiter=dialect.separator, skipinitialspace=True)
        try:
            table.take(reader, dialect.header.line + 1)
        except csv.Error as error:
            line = dialect.header.line + reader.line_num
            raise RecordingError(str(path), line, str(error)) from error
        if reader.line_num > table.n_lines:
            raise RecordingError(str(path), 0, "a quoted cell runs over several lines")
    return table, remarks


def _without(
    blocks: Iterator[tuple[list[str], bool]], remarks: list[str], header_text: str
) -> Iterator[list[str]]:
    """Yield the lines; remarks (``# …``) become empty ones, so that line numbers stay true."""
    known = {*remarks, header_text[1:].strip()}
    for block, has_remarks in blocks:
        if has_remarks:
            for n, line in enumerate(block):
                if line.startswith("#") and not _ERROR_CELL.match(line):
                    block[n] = ""
                    remark = line[1:].strip()
                    if remark not in known and len(remarks) < REMARKS_MAX:
                        remarks.append(remark)
                        known.add(remark)
        yield block


def is_one_channel(lines: Sequence[str]) -> bool:
    """Tell whether a text is a file of one channel: its columns are a time and ``value``."""
    for line in lines:
        if not line.strip() or _is_remark(line) or _SEPARATOR_LINE.fullmatch(line):
            continue
        for separator in _SEPARATORS:
            roles = [channel_of(cell).role for cell in line.split(separator)]
            if roles == ["time", "value"]:
                return True
        return False
    return False
