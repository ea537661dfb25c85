"""One database, one owner: a lock on a file beside it, which the system drops with its process."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from ctgkit.errors import StoreError, excerpt

LOCK_SUFFIX = "-owner"
"""What the lock's file is called, after the database: it says who holds it."""
_HELD_AT = 4096
"""The byte that is locked where locks are mandatory (Windows): beyond what others read."""

if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _lock(fd: int) -> None:
        os.lseek(fd, _HELD_AT, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def owned(path: Path) -> Iterator[None]:
    """Own a database for as long as the context lasts.

    Raises
    ------
    StoreError
        When another process owns it; it is named. Or when the lock's file cannot be made.
    """
    try:
        real = path.resolve()  # the same through every symbolic link
        if real.exists() and (names := real.stat().st_nlink) > 1:
            reason = f"has {names} names (hard links): SQLite keeps a log for one name only"
            raise StoreError(str(path), reason)
    except (OSError, RuntimeError) as error:  # Python 3.11 raises RuntimeError for a loop
        raise StoreError(str(path), excerpt(str(error))) from error
    beside = real.with_name(real.name + LOCK_SUFFIX)
    try:
        fd = _open_locked(beside)
    except BlockingIOError as error:
        raise StoreError(
            str(path), f"is in use by another ctgkit serve: {_said(beside)}"
        ) from error
    except OSError as error:
        raise StoreError(str(path), f"cannot lock it ({beside}: {error.strerror})") from error
    try:
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no file that is open
            beside.unlink()
        os.close(fd)


def _open_locked(beside: Path) -> int:
    """Return the locked file; BlockingIOError when somebody has it."""
    while True:
        fd = os.open(beside, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(fd)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), os.stat(beside)):
                    return fd
        except PermissionError as error:  # what Windows says of a lock that is held
            os.close(fd)
            raise BlockingIOError(str(error)) from error
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # its last owner has just removed it


def _said(beside: Path) -> str:
    try:
        return excerpt(beside.read_bytes().strip()) or "an unknown process"
    except OSError:
        return "an unknown process"
