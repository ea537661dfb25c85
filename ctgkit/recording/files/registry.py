"""The registry of file formats: by extension, one module each, imported when it is used."""

import importlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ctgkit import private
from ctgkit.errors import RecordingError, excerpt
from ctgkit.recording import Recording
from ctgkit.recording.journal import SUFFIXES


class Format(NamedTuple):
    """One format of files."""

    name: str
    module: str
    """Has ``read(path) -> iterator of Recording``, and ``write(recordings, path)`` or, where a
    file holds one sensor, ``write(recording, path)``, which return what could not be held."""
    suffixes: tuple[str, ...]
    writes: bool = True
    one_sensor: bool = False
    extra: str = ""
    """What `pip install "ctgkit[…]"` has to bring."""
    foreign: bool = False
    """Parsed by somebody else's library, which raises what it likes when the file is broken."""


FORMATS = (
    Format("native", "native", SUFFIXES),
    Format("csv", "csv", (".csv", ".csv.gz")),
    Format("two-csv", "pairs", ("",)),
    Format("wfdb", "wfdb", (".hea", ".dat"), one_sensor=True, extra="wfdb", foreign=True),
    Format("edf", "edf", (".edf",), one_sensor=True, extra="edf", foreign=True),
    Format("fhrma", "fhrma", (".fhr", ".fhrm"), writes=False),
    Format("npz", "npz", (".npz",), one_sensor=True, foreign=True),
    Format("parquet", "parquet", (".parquet",), extra="parquet", foreign=True),
)


def format_of(path: Path, name: str | None = None) -> Format:
    """Return the format of a file: the one named, else by extension; a directory holds two CSVs.

    Raises
    ------
    RecordingError
        When there is none.
    """
    for candidate in FORMATS:
        if name == candidate.name:
            return candidate
        if name is None and not candidate.suffixes[0] and (path.is_dir() or not path.suffix):
            return candidate
        if name is None and path.name.lower().endswith(tuple(filter(None, candidate.suffixes))):
            return candidate
    known = " ".join(suffix for one in FORMATS for suffix in one.suffixes if suffix)
    raise RecordingError(str(path), 0, f"unknown format; known are {known}")


def _module(found: Format, path: Path) -> Any:
    try:
        return importlib.import_module(f"ctgkit.recording.files.{found.module}")
    except ModuleNotFoundError as error:
        if not found.extra or (error.name or "").startswith("ctgkit"):
            raise
        reason = f'{found.name} needs {error.name}: pip install "ctgkit[{found.extra}]"'
        raise RecordingError(str(path), 0, reason) from error


def read(path: Path, name: str | None = None, *, skip_bad: bool = False) -> Iterator[Recording]:
    """Read a file; see :func:`ctgkit.recording.read_recordings`."""
    if not path.exists():
        raise RecordingError(str(path), 0, "No such file or directory")
    found = format_of(path, name)
    module = _module(found, path)
    options = {"skip_bad": True} if skip_bad and found.name == "native" else {}
    recordings: Iterator[Recording] = module.read(path, **options)
    return _one_kind_of_error(recordings, path, found.name) if found.foreign else recordings


def _one_kind_of_error(
    recordings: Iterator[Recording], path: Path, name: str
) -> Iterator[Recording]:
    try:
        yield from recordings
    except RecordingError:
        raise
    except Exception as error:
        reason = f"broken {name} file: {excerpt(str(error) or type(error).__name__)}"
        raise RecordingError(str(path), 0, reason) from error


def write(recordings: Iterable[Recording], path: Path, name: str | None = None) -> list[str]:
    """Write a file; see :func:`ctgkit.recording.write_recordings`."""
    found = format_of(path, name)
    if not found.writes:
        raise RecordingError(str(path), 0, f"{found.name} is only read")
    module = _module(found, path)
    try:
        if not found.one_sensor:
            with private.writing(path):
                return list(dict.fromkeys(module.write(recordings, path)))
        notes: list[str] = []
        for one, own_path in _numbered(recordings, path):
            with private.writing(own_path, *map(own_path.with_suffix, found.suffixes)):
                notes += module.write(one, own_path)
        return list(dict.fromkeys(notes))
    except OSError as error:
        raise RecordingError(str(path), 0, error.strerror or str(error)) from error


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
