"""Recordings in the native format on disk, a line at a time: nothing is ever held whole."""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from ctgkit import private
from ctgkit.errors import RecordingError, excerpt
from ctgkit.recording.files.opening import is_gzip, open_bytes, unpacked_most
from ctgkit.recording.format import (
    FormatError,
    Header,
    Line,
    decode_header,
    decode_line,
    encode_header,
    encode_line,
)

SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")

LINE_MAX_BYTES = 32 << 20
"""Longest line that is read: twice the longest message that is recorded, for escapes."""

BAD_LINES_MAX = 100_000
"""Lines that are skipped at most; a file with more bad ones is something else."""


class JournalWriter:
    """Writes a recording; use it in ``with``.

    Parameters
    ----------
    path : Path
        Compressed when it ends in ``.gz``.
    header : Header
        The first line.
    durable : bool
        Hand every line to the operating system at once, so that a crash of this process loses at
        most the last one. Conversions don't need it.
    replace : bool
        Whether an existing file may go.

    Raises
    ------
    RecordingError
        When the file exists, or cannot be written.
    """

    def __init__(
        self, path: Path, header: Header, *, durable: bool = False, replace: bool = True
    ) -> None:
        self.path = path
        self.lines = 0
        """Lines written, without the header."""
        self._durable = durable
        mode = "wb" if replace else "xb"
        try:
            self._file = _create(path, mode)
        except FileExistsError as error:
            raise RecordingError(str(path), 0, "exists already; --force replaces it") from error
        except OSError as error:
            raise RecordingError(str(path), 0, error.strerror or str(error)) from error
        self._put(encode_header(header))

    def write(self, line: Line) -> None:
        """Write one line.

        Raises
        ------
        RecordingError
            When the disk refuses.
        """
        self._put(encode_line(line))
        self.lines += 1

    def _put(self, text: bytes) -> None:
        try:
            self._file.write(text + b"\n")
            if self._durable:
                self._file.flush()
        except OSError as error:
            raise RecordingError(str(self.path), 0, error.strerror or str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise RecordingError(str(self.path), 0, error.strerror or str(error)) from error


class JournalReader:
    """Reads a recording; iterate over it, as often as needed.

    Parameters
    ----------
    path : Path
        The file.
    skip_bad : bool
        Go on after a line that cannot be read, and count it in :attr:`bad`.
    max_bytes : int or None
        Most that a compressed one may unpack to; by default a hundred times its size.

    Raises
    ------
    RecordingError
        When the file is missing, no recording, of a newer version; while iterating, when a line
        is corrupt or the file ends in the middle of one, with the line's number.
    """

    def __init__(self, path: Path, *, skip_bad: bool = False, max_bytes: int | None = None) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self.bad = 0
        """Lines skipped in the last iteration."""
        self.number = 1
        """Of the line that came last."""
        self.skip_bad = skip_bad
        with self._open() as file:
            first = self._next(file, 1)
        try:
            self.header = decode_header(first)
        except FormatError as error:
            raise RecordingError(str(path), 1, str(error)) from error

    def __iter__(self) -> Iterator[Line]:
        self.bad = 0
        version = self.header.version
        with self._open() as file:
            self._next(file, 1)
            number = 1
            while True:
                self.number = number = number + 1
                try:
                    text = self._next(file, number)
                    if not text:
                        return
                    yield decode_line(text, version)
                except FormatError as error:
                    bad = RecordingError(str(self.path), number, f"{error}: {excerpt(text)}")
                    self.skip(bad)
                except RecordingError as bad:
                    self.skip(bad)
                    return  # nothing follows a truncated line

    def skip(self, bad: RecordingError) -> None:
        """Count a line that cannot be used, or raise *bad* where that isn't wanted."""
        if not self.skip_bad or self.bad >= BAD_LINES_MAX:
            raise bad
        self.bad += 1

    def _open(self) -> BinaryIO:
        try:
            if not is_gzip(self.path):
                return self.path.open("rb")
            default = 1 << 62
            most = unpacked_most(self.path, self._max_bytes or default, default)
            return cast(BinaryIO, open_bytes(self.path, most))
        except OSError as error:
            raise RecordingError(str(self.path), 0, error.strerror or str(error)) from error

    def _next(self, file: BinaryIO, number: int) -> bytes:
        """Return the next line; empty at the end of the file."""
        try:
            text = file.readline(LINE_MAX_BYTES)
        except EOFError as error:
            reason = "truncated: the file ends in the middle of it"
            raise RecordingError(str(self.path), number, reason) from error
        except (OSError, zlib.error) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise RecordingError(str(self.path), number, reason) from error
        if text and not text.endswith(b"\n") and number > 1:
            reason = (
                "truncated: the file ends in the middle of it"
                if len(text) < LINE_MAX_BYTES
                else f"longer than {LINE_MAX_BYTES} bytes"
            )
            raise RecordingError(str(self.path), number, reason)
        return text


def viewer_stream(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield what one viewer was sent; where several watched at once, the first of them.

    >>> lines = [Line(0, "v1", "open"), Line(1, "v1", "<", b"a"), Line(1, "v2", "<", b"a")]
    >>> [line.frame for line in viewer_stream(lines)]
    [b'a']
    """
    followed: str | None = None
    for line in lines:
        if not line.link.startswith("v"):
            continue
        if followed is None and line.what in ("open", "<"):
            followed = line.link
        if line.link == followed:
            if line.what == "<":
                yield line
            elif line.what == "close":
                followed = None


def _create(path: Path, mode: str) -> BinaryIO:
    path.touch(mode=0o600, exist_ok=mode == "wb")  # for its owner only: it holds what was measured
    private.restrict(path)
    if path.suffix.lower() == ".gz":  # level 6: a recorder keeps up with a ward on one core
        return cast(BinaryIO, gzip.GzipFile(path, "wb", compresslevel=6))
    return path.open("wb")
