"""The errors CTGKit raises on purpose.

- CtgkitError                the command line prints it on one line and exits with ``exit_code``

  - WireError                a peer sent something that breaks PROTOCOL.md
  - StoreError               the database cannot be opened, migrated or written
  - RecordingError           a recording is unreadable or from a newer version
  - ScenarioError            a scenario has an unknown key or a value out of range
  - ConfigError              the configuration is wrong
  - Unreachable              the peer cannot be reached, or went away for good
  - MissingExtra             a library is needed that comes with one of the package's extras

A peer's fault is one of these; our own caller's fault is a ``ValueError`` or ``TypeError``.
"""

from collections.abc import Iterable

EXCERPT_MAX_CHARS = 80
"""Longest piece of a peer's text that is ever logged or sent back (PROTOCOL.md: 80)."""


def excerpt(data: bytes | str) -> str:
    """Return the start of *data*, at most 80 printable characters, safe for logs and terminals."""
    if isinstance(data, bytes):
        data = data[: 4 * EXCERPT_MAX_CHARS].decode("utf-8", "replace")
    text = printable(data[: EXCERPT_MAX_CHARS + 1])
    return text if len(text) <= EXCERPT_MAX_CHARS else text[: EXCERPT_MAX_CHARS - 1] + "…"


def printable(text: str) -> str:
    r"""Return *text* on one line, without what a terminal would obey or XML cannot carry.

    >>> printable("a\x1b[31m\nb")
    'a�[31m�b'
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else "�" for c in text)


def legible(name: str) -> str:
    r"""Return a file's name as text: with a sign for each byte of it that is none.

    >>> legible("a\udcff.csv")
    'a�.csv'
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def near(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean …?`` when something known is close to *word*."""
    import difflib  # not for --help

    close = difflib.get_close_matches(word, list(known), cutoff=0.5)
    close.sort(key=lambda one: sorted(one) != sorted(word))  # two letters swapped, before others
    return f"; did you mean {close[0]!r}?" if close else ""


class CtgkitError(Exception):
    """Base of all errors that are somebody's fault and have one line of explanation."""

    exit_code = 1


class WireError(CtgkitError):
    """A message breaks PROTOCOL.md.

    Parameters
    ----------
    code : str
        Short stable word, used as a metric label and in error replies.
    where : str
        The field, or ``"frame"``.
    reason : str
        What is wrong with it.
    shown : str
        Excerpt of the offending text, at most 80 characters.
    seq : int or None
        The sample's sequence number where it could be read.
    """

    def __init__(
        self, code: str, where: str, reason: str, shown: str = "", seq: int | None = None
    ) -> None:
        super().__init__(code, where, reason, shown, seq)
        self.code, self.where, self.reason = code, where, reason
        self.shown, self.seq = shown, seq

    def __str__(self) -> str:
        tail = f": {self.shown}" if self.shown else ""
        return f"{self.where}: {self.reason}{tail}"


class StoreError(CtgkitError):
    """The database at *path* cannot be used."""

    exit_code = 4

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"database {self.path}: {self.reason}"


class RecordingError(CtgkitError):
    """A recording cannot be read; *line* counts from 1, 0 means the whole file."""

    exit_code = 4

    def __init__(self, path: str, line: int, reason: str) -> None:
        super().__init__(path, line, reason)
        self.path, self.line, self.reason = path, line, reason

    def __str__(self) -> str:
        at = f"{self.path}, line {self.line}" if self.line else self.path
        return f"{at}: {self.reason}"


class ScenarioError(CtgkitError):
    """A scenario is wrong at *key* (a dotted path)."""

    exit_code = 4

    def __init__(self, scenario: str, key: str, reason: str) -> None:
        super().__init__(scenario, key, reason)
        self.scenario, self.key, self.reason = scenario, key, reason

    def __str__(self) -> str:
        at = f"scenario {self.scenario}, {self.key}" if self.key else f"scenario {self.scenario}"
        return f"{at}: {self.reason}"


class ConfigError(CtgkitError):
    """The configuration in *where* is wrong."""

    exit_code = 4

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(where, reason)
        self.where, self.reason = where, reason

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


class Unreachable(CtgkitError):
    """The peer at *url* cannot be reached or was lost."""

    exit_code = 3

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url, self.reason = url, reason

    def __str__(self) -> str:
        return f"{self.url}: {self.reason}"


class MissingExtra(CtgkitError):
    """Something needs a library that isn't installed: one of the package's extras brings it."""

    exit_code = 2

    def __init__(self, what: str, library: str, extra: str) -> None:
        super().__init__(what, library, extra)
        self.what, self.library, self.extra = what, library, extra

    def __str__(self) -> str:
        return f"{self.what} needs {self.library}: pip install 'ctgkit[{self.extra}]'"
