"""``-`` for a file: standard input or output, through a file that is gone afterwards."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from ctgkit.errors import RecordingError

DASH = "-"
MOST_BYTES = 1 << 30
"""Most that is taken from standard input; as much as a file may unpack to by default."""
_BLOCK = 1 << 20
NAME_MAX_BYTES = 255
"""Longest name of a file on the systems that there are."""


def taken_from_stdin(ctx: click.Context) -> Path:
    """Return a file with all of standard input; it is there as long as the command runs.

    Raises
    ------
    RecordingError
        When there is more than :data:`MOST_BYTES`.
    """
    taken = ctx.meta.get("ctgkit.stdin")
    if isinstance(taken, Path):
        return taken
    folder = tempfile.TemporaryDirectory(prefix="ctgkit-", ignore_cleanup_errors=True)
    ctx.call_on_close(folder.cleanup)
    path = Path(folder.name) / "stdin"
    n_bytes = 0
    with path.open("wb") as file:
        while block := sys.stdin.buffer.read(_BLOCK):
            n_bytes += len(block)
            if n_bytes > MOST_BYTES:
                raise RecordingError("stdin", 0, f"holds more than {MOST_BYTES >> 20} MiB")
            file.write(block)
    ctx.meta["ctgkit.stdin"] = path
    return path


@contextmanager
def whole_or_not(path: Path) -> Iterator[Path]:
    """Yield the name of a file until it is whole, beside *path*, where an older one may stay.

    What could not be finished is removed, and an error names *path*. A pipe or a device is written
    itself, and so is a file in a folder where no other can be made, or with too long a name.
    """
    target = path.resolve()
    unfinished = target.with_name(f"unfinished-{path.name}")
    alone = target.is_file() and not os.access(target.parent, os.W_OK)
    too_long = len(os.fsencode(unfinished.name)) > NAME_MAX_BYTES
    if alone or too_long or (target.exists() and not target.is_file()):
        yield path
        return
    try:
        yield unfinished
        unfinished.replace(target)
    except BaseException as error:
        with suppress(OSError):  # it may never have begun
            unfinished.unlink()
        if isinstance(error, RecordingError) and error.path == str(unfinished):
            raise RecordingError(str(path), error.line, error.reason) from error
        if isinstance(error, OSError) and error.filename == str(unfinished):
            error.filename = str(path)
        raise


@contextmanager
def or_stdout(path: Path, ending: str) -> Iterator[Path]:
    """Yield *path*, or for ``-`` a file with another ending that goes to standard output."""
    if str(path) != DASH:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="ctgkit-", ignore_cleanup_errors=True) as folder:
        held = Path(folder) / f"stdout{ending}"
        yield held
        if not held.is_file():
            raise RecordingError("stdout", 0, f"more than one file of {ending} can't go there")
        sys.stdout.flush()
        with held.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
