"""The registry of file formats: by extension, one module each, imported when it is used."""

import importlib
import itertools
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from ctgkit import private
from ctgkit.cli.streams import whole_or_not
from ctgkit.dsn import Dsn
from ctgkit.errors import MissingExtra, RecordingError, excerpt, legible, printable
from ctgkit.recording import Recording
from ctgkit.recording.files.options import Implausible, ReadOptions, Report
from ctgkit.recording.files.plausible import checked
from ctgkit.recording.journal import SUFFIXES

log = logging.getLogger(__name__)
LINE_SHOWN = 500
"""Longest line that is logged about a file, characters."""


class Format(NamedTuple):
    """One format of files."""

    name: str
    module: str
    """Has ``read(path, options, report) -> iterator of Recording``, and ``write(recordings,
    path)`` or, where a file holds one sensor, ``write(recording, path)``, which return what could
    not be held."""
    suffixes: tuple[str, ...]
    writes: bool = True
    reads: bool = True
    one_sensor: bool = False
    as_they_come: bool = False
    """Holds several recordings, each written before the next is looked at."""
    extra: str = ""
    """What `pip install "ctgkit[…]"` has to bring."""
    foreign: bool = False
    """Parsed by somebody else's library, which raises what it likes when the file is broken."""
    magic: bytes = b""
    """What files of it begin with, where the name doesn't tell."""

    @property
    def one_file(self) -> bool:
        """Whether all recordings go into one file."""
        return not self.one_sensor and self.suffixes != ("",)


FORMATS = (
    Format("native", "native", SUFFIXES),
    Format("csv", "csv", (".csv", ".csv.gz", ".tsv", ".txt", ".tsv.gz", ".txt.gz"),
           as_they_come=True),
    Format("two-csv", "pairs", ("",)),
    Format("wfdb", "wfdb", (".hea", ".dat"), one_sensor=True, extra="wfdb", foreign=True),
    Format("edf", "edf", (".edf",), one_sensor=True, extra="edf", magic=b"0       "),
    Format("fhrma", "fhrma", (".fhr", ".fhrm", ".rcf", ".rcfm", ".fhra"), writes=False),
    Format("npz", "npz", (".npz",), one_sensor=True, foreign=True),
    Format("parquet", "parquet", (".parquet", ".pq"), as_they_come=True, extra="parquet",
           foreign=True, magic=b"PAR1"),
    Format("spreadsheet", "spreadsheet", (".xlsx", ".xls", ".xlsb", ".ods", ".xlsm"),
           writes=False, extra="excel", foreign=True, magic=b"PK\x03\x04"),
    Format("database", "database", (".db", ".sqlite", ".sqlite3"), writes=False,
           magic=b"SQLite format 3\0"),
    Format("messages", "native", (".json", ".har", ".mitm", ".log"), writes=False),
)  # fmt: skip


POSTGRES = Format("database", "postgres", (), writes=False, extra="postgres")
"""A database that has an address, and no file."""


def format_of(path: Path, name: str | None = None) -> Format:
    """Return the format of a file: the one named, else by extension, else by its first bytes.

    A directory, and a name without extension that isn't there yet, hold two CSV files per case.

    Raises
    ------
    RecordingError
        When there is none.
    """
    for candidate in FORMATS:
        if name == candidate.name:
            return candidate
        if name is None and not candidate.suffixes[0] and (path.is_dir() or _is_bare(path)):
            return candidate
        if name is None and path.name.lower().endswith(tuple(filter(None, candidate.suffixes))):
            return candidate
    if name is None and path.is_file():
        return _by_first_bytes(path)
    known = " ".join(suffix for one in FORMATS for suffix in one.suffixes if suffix)
    raise RecordingError(str(path), 0, f"unknown format; known are {known}")


def ending_of(name: str | None) -> str:
    """Return the ending that files of a format usually have; empty for none."""
    return next((one.suffixes[0] for one in FORMATS if one.name == name), "")


def existing(path: Path) -> Path:
    """Return the file that *path* means: itself, or as WFDB names records, with ``.hea``."""
    header = path.with_name(path.name + ".hea")
    return header if path.name and not path.exists() and header.is_file() else path


def _is_bare(path: Path) -> bool:
    return not path.suffix and not path.is_file()


def _by_first_bytes(path: Path) -> Format:
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise RecordingError(str(path), 0, error.strerror or str(error)) from error
    for candidate in FORMATS:
        if candidate.magic and start.startswith(candidate.magic):
            return candidate
    return next(one for one in FORMATS if one.name == "csv")


def _module(found: Format, path: Path | Dsn) -> Any:
    try:
        return importlib.import_module(f"ctgkit.recording.files.{found.module}")
    except ModuleNotFoundError as error:
        raise _lacking(found, path, error) from error


def _lacking(found: Format, path: Path | Dsn, error: ModuleNotFoundError) -> Exception:
    """Return what to raise where a library is missing."""
    if not found.extra or (error.name or "").startswith("ctgkit"):
        return error
    return MissingExtra(f"{path}: {found.name}", error.name or found.extra, found.extra)


def read(
    path: Path | Dsn,
    options: ReadOptions | None = None,
    report: Report | None = None,
    name: str | None = None,
) -> Iterator[Recording]:
    """Read a file; see :func:`ctgkit.recording.read_recordings`."""
    if isinstance(path, Path):
        path = existing(path)
    if isinstance(path, Path) and not path.exists():
        raise RecordingError(str(path), 0, "No such file or directory")
    options = options or ReadOptions()
    found = POSTGRES if isinstance(path, Dsn) else format_of(path, name)
    own = report or Report()
    own.format = found.name
    recordings: Iterator[Recording] = _module(found, path).read(path, options, own)
    looked = _looked_at(_one_kind_of_error(recordings, path, found), path, options, own)
    return looked if report is not None else _logged(looked, path, own)


def _one_kind_of_error(
    recordings: Iterator[Recording], path: Path | Dsn, found: Format
) -> Iterator[Recording]:
    try:
        yield from recordings
    except (RecordingError, GeneratorExit):
        raise
    except MemoryError as error:
        raise RecordingError(str(path), 0, "needs more memory than there is") from error
    except Exception as error:
        if not found.foreign:
            raise
        reason = f"broken {found.name} file: {excerpt(str(error) or type(error).__name__)}"
        raise RecordingError(str(path), 0, reason) from error


def _looked_at(
    recordings: Iterator[Recording], path: Path | Dsn, options: ReadOptions, report: Report
) -> Iterator[Recording]:
    """Yield recordings after the last look at each."""
    for one in recordings:
        if report.format in ("native", "messages"):
            yield one  # the protocol's limits held when it was decoded
            continue
        try:
            yield checked(one, options, report)
        except Implausible as error:
            raise RecordingError(str(path), 0, str(error)) from error


def _logged(
    recordings: Iterator[Recording], path: Path | Dsn, report: Report
) -> Iterator[Recording]:
    """Log in one line what was taken for what, once, and each warning as it comes."""
    told = warned = 0
    for one in recordings:
        if not told:
            log.info("%s: %s", legible(path.name), excerpt_of(report.summary()))
            told = 1
        for text in report.warnings[warned:]:
            log.warning("%s: %s", legible(path.name), excerpt_of(text))
        warned = len(report.warnings)
        yield one


def excerpt_of(text: str) -> str:
    """Return a line of a report, printable and not absurdly long."""
    return printable(text if len(text) <= LINE_SHOWN else text[: LINE_SHOWN - 1] + "…")


def write(
    recordings: Iterable[Recording], path: Path, name: str | None = None, *, replace: bool = True
) -> list[str]:
    """Write a file; see :func:`ctgkit.recording.write_recordings`.

    Existing files stay until the new ones are whole; what was begun is removed when *recordings* or
    the disk fail. *replace* says whether existing files may go.
    """
    if any(path.name.lower() in one.suffixes for one in FORMATS if path.name):
        raise RecordingError(str(path), 0, "only an ending, and no name")
    found = format_of(path, name)
    if not found.writes:
        raise RecordingError(str(path), 0, f"{found.name} is only read")
    module = _module(found, path)
    rest = iter(recordings)
    first = next(rest, None)  # before anything is made
    if first is None:
        raise RecordingError(str(path), 0, "nothing to write: no samples")
    everything = itertools.chain((first,), rest)
    try:
        if not found.one_sensor:
            if not replace and _holds_any(path, found, module):
                raise RecordingError(str(path), 0, EXISTS)
            with private.writing(path), _whole(path, found) as unfinished:
                return list(dict.fromkeys(module.write(everything, unfinished)))
        notes: list[str] = []
        for one, own_path in _numbered(everything, path):
            files = [own_path, *map(own_path.with_suffix, found.suffixes)]
            if not replace and (older := next((file for file in files if file.is_file()), None)):
                raise RecordingError(str(older), 0, EXISTS)
            with private.writing(*files), _whole(own_path, found) as unfinished:
                notes += module.write(one, unfinished)
        return list(dict.fromkeys(notes))
    except ModuleNotFoundError as error:
        raise _lacking(found, path, error) from error
    except OSError as error:  # in the system's words, not in a library's
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise RecordingError(str(path), 0, reason) from error


EXISTS = "exists already; --force replaces it"


def _holds_any(path: Path, found: Format, module: Any) -> bool:
    """Tell whether there is a file that would be replaced, or files in a folder."""
    return path.is_file() if found.one_file else bool(module.written(path))


def _whole(path: Path, found: Format) -> AbstractContextManager[Path]:
    """Give the name of a file until it is whole.

    Where a recording is several files that name one another, the format's module does the same.
    """
    return nullcontext(path) if found.module in ("pairs", "wfdb") else whole_or_not(path)


def _numbered(recordings: Iterable[Recording], path: Path) -> Iterator[tuple[Recording, Path]]:
    """Pair each recording with its file: *path* for one, ``NAME-1.EXT``, … for several."""
    rest = iter(recordings)
    ahead = list(itertools.islice(rest, 2))
    if len(ahead) == 1:
        yield ahead[0], path
        return
    stem, dot, suffixes = path.name.partition(".")
    for number in itertools.count(1):
        one = ahead.pop(0) if ahead else next(rest, None)
        if one is None:
            return
        yield one, path.with_name(f"{stem}-{number}{dot}{suffixes}")
