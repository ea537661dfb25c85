"""Files opened within bounds: what unpacks to far more than its size is refused, not unpacked."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, cast

from ctgkit.errors import RecordingError, excerpt

GZIP_MAGIC: Final = b"\x1f\x8b"
RATIO_MAX: Final = 100
"""Most that a compressed file may unpack to, times its size. Chosen: recordings give 5 to 30."""
ALWAYS_BYTES: Final = 64 << 20
"""What any file may unpack to."""
LINE_MAX_CHARS: Final = 1 << 20
"""Longest line of a table."""
_BLOCK_CHARS = 1 << 20


class Bounded(io.RawIOBase):
    """A binary stream that ends with an error where it gets too long."""

    def __init__(self, file: IO[bytes], path: Path, most: int) -> None:
        self._file, self._path = file, path
        self._read = getattr(file, "read1", file.read)
        self._left = self._most = most

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read, and count what was read."""
        # read1: what came before a broken end is delivered first
        data = self._read(min(len(buffer), self._left + 1))
        if len(data) > self._left:
            raise too_long(self._path, self._most)
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file too."""
        self._file.close()
        super().close()


def too_long(path: Path, most: int) -> RecordingError:
    """Return the error of a file that holds more than *most* bytes."""
    reason = f"unpacks to more than {most >> 20} MiB: --max-mb raises the limit"
    return RecordingError(str(path), 0, reason)


def unpacked_most(path: Path, max_bytes: int, default_bytes: int) -> int:
    """Return how many bytes a compressed file may unpack to, by its size and the user's limit."""
    if max_bytes != default_bytes:
        return max_bytes
    return min(max(ALWAYS_BYTES, RATIO_MAX * path.stat().st_size), max_bytes)


def is_gzip(path: Path) -> bool:
    """Tell whether a file is gzipped, whatever its name."""
    with path.open("rb") as file:
        return file.read(2) == GZIP_MAGIC


def open_bytes(path: Path, most: int) -> io.BufferedReader:
    """Open a file, gzipped or not, that may hold *most* bytes.

    Raises
    ------
    RecordingError
        While reading, when it holds more.
    """
    opened = gzip.open(path) if is_gzip(path) else path.open("rb")  # noqa: SIM115
    file = cast(IO[bytes], opened)
    return io.BufferedReader(Bounded(file, path, most), 1 << 18)


def blocks_of(stream: io.TextIOBase, path: Path) -> Iterator[tuple[list[str], bool]]:
    """Yield the lines of a text, many at a time, none of them absurdly long.

    Yields
    ------
    tuple
        The lines without their ends, and whether one of them begins with ``#``.
    """
    rest, number = "", 0
    while block := stream.read(_BLOCK_CHARS):
        text = rest + block
        lines = text.split("\n")
        rest = lines.pop()
        number += len(lines)
        if len(rest) > LINE_MAX_CHARS:
            raise RecordingError(str(path), number + 1, f"longer than {LINE_MAX_CHARS} characters")
        yield lines, text.startswith("#") or "\n#" in text
    if rest:
        yield [rest], rest.startswith("#")


@contextmanager
def one_error(path: Path) -> Iterator[None]:
    """Turn what broken files raise into a RecordingError."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise RecordingError(str(path), 0, excerpt(reason)) from error
    except MemoryError as error:
        raise RecordingError(str(path), 0, "needs more memory than there is") from error
