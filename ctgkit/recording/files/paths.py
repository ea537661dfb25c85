"""Names that come from data as parts of paths: one safe component, or an error.

This module performs no I/O.
"""

import re
from pathlib import PurePath

from ctgkit.errors import RecordingError, excerpt

_SAFE = re.compile(r"[^\W_][\w .@+=~#-]{0,150}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that mean a device on some systems."""


def component(name: str, path: PurePath) -> str:
    """Return a name that data brought, if it can be one part of a path and nothing else.

    Parameters
    ----------
    name : str
        Such as a sensor's id.
    path : PurePath
        What is written; for the error.

    Raises
    ------
    RecordingError
        When it has a separator, begins with a dot, is reserved, or is too long.

    >>> component("0c7f0a3e-5b3a", PurePath("out"))
    '0c7f0a3e-5b3a'
    """
    if not _SAFE.fullmatch(name) or _RESERVED.fullmatch(name) or name.endswith((" ", ".")):
        reason = f"sensor id {excerpt(name)!r} can't be part of a file's name: choose another"
        raise RecordingError(str(path), 0, reason)
    return name
