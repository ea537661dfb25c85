"""Files for their owner's eyes: what holds measurements or tokens, written and read (SECURITY.md).

Files are made with mode 0600, folders with 0700; a file that is replaced gets the mode as well.
"""

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ctgkit.errors import ConfigError

log = logging.getLogger(__name__)


@contextmanager
def writing(*paths: Path) -> Iterator[None]:
    """Make what is created inside the block readable for its owner only, whoever creates it.

    Parameters
    ----------
    *paths : Path
        Files that may exist already: these get mode 0600 now. Pipes, devices and folders keep
        theirs.
    """
    before = os.umask(0o077)
    try:
        for path in paths:
            restrict(path)
        yield
    finally:
        os.umask(before)


def restrict(path: Path) -> None:
    """Give an existing regular file mode 0600; do nothing where there is none."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISREG(mode) and stat.S_IMODE(mode) & 0o077:
        path.chmod(0o600)


def write_text(path: Path, text: str) -> None:
    """Write a file, UTF-8, mode 0600; see :func:`write_bytes`."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, mode 0600; one that can't be finished is removed, and the error names it."""
    with writing(path):
        file = path.open("wb")
        try:
            with file:
                file.write(content)
        except BaseException as error:
            if path.is_file():
                path.unlink()
            if isinstance(error, OSError):
                error.filename = str(path)
            raise


class Access(NamedTuple):
    """Who besides us may use a file."""

    owner: int
    group: int
    mode: int
    regular: bool

    def complain(self, path: Path, *, secret: bool) -> None:
        """Refuse a file that somebody else may change, warn of a secret that others may read.

        Parameters
        ----------
        path : Path
            Named in the message.
        secret : bool
            Whether the file holds tokens or keys. One without may be writable for a group, as
            files of a shared checkout are.

        Raises
        ------
        ConfigError
            When others may write it, or it belongs to another user.
        """
        if not self.regular:
            return
        we = os.geteuid()
        if self.owner not in (we, 0) and we != 0:
            raise ConfigError(str(path), "belongs to another user: refused")
        mode = self.mode & ~0o070 if _is_private(self.owner, self.group) else self.mode
        writers = stat.S_IWOTH | (stat.S_IWGRP if secret else 0)
        if mode & writers:
            raise ConfigError(
                str(path),
                f"others can write it (mode {self.mode:04o}): refused; `chmod 600` makes it yours",
            )
        if secret and mode & (stat.S_IRGRP | stat.S_IROTH):
            log.warning(
                "%s contains secrets and others can read it (mode %04o): `chmod 600` fixes it",
                path,
                self.mode,
            )


def _is_private(owner: int, group: int) -> bool:
    """Return whether a group is the owner's alone, as most systems make one for each user."""
    import grp
    import pwd

    try:
        name, members = pwd.getpwuid(owner).pw_name, grp.getgrgid(group)
    except KeyError:
        return False
    return members.gr_name == name and set(members.gr_mem) <= {name}


def read(path: Path, max_bytes: int) -> tuple[bytes, Access]:
    """Return a file's first *max_bytes* + 1 bytes, and who may use it.

    Raises
    ------
    ConfigError
        When it cannot be read.
    """
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ConfigError(str(path), getattr(error, "strerror", None) or str(error)) from None
    access = Access(
        about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode), stat.S_ISREG(about.st_mode)
    )
    return content, access


def read_line(path: Path) -> str:
    """Return the one line of plain text, a token, in a file that is nobody else's to write.

    Raises
    ------
    ConfigError
        When it isn't that.
    """
    content, access = read(path, 4096)
    text = content.decode("ascii", "replace").strip()
    if not (text and text.isascii() and text.isprintable()):
        raise ConfigError(str(path), "is not one line of plain text")
    access.complain(path, secret=True)
    return text
