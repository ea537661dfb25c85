"""What options may be: numbers within bounds and with a unit, addresses, files, tokens' owners.

Each type refuses what its option cannot mean before anything runs, with exit code 2: nan, infinity,
digits of other scripts, names that no resolver takes, folders that don't exist.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click
from click.core import ParameterSource

from ctgkit.cli.streams import DASH, taken_from_stdin
from ctgkit.config import sensor_id_of
from ctgkit.dsn import Dsn, is_dsn, read_dsn
from ctgkit.errors import excerpt
from ctgkit.net.addresses import checked_host, host_and_port, websocket_url
from ctgkit.quantities import number_of, seconds_of, whole_of
from ctgkit.samples import SEC_FROM_START_MAX_S

if TYPE_CHECKING:
    from ctgkit.faults.fault import Fault

T = TypeVar("T")

RATE_MIN_HZ, RATE_MAX_HZ = 0.001, 1000.0
"""Chosen: a sample in a quarter of an hour; a raw electrocardiogram."""
SPEED_MIN, SPEED_MAX = 0.001, 1e6
SEED_MAX = 2**63 - 1
SENSORS_MAX = 10_000
"""As many as `ctgkit serve` has connections by default."""


class Refined(click.ParamType[T], Generic[T]):
    """A type with a metavar of its own, whose reader raises ValueError."""

    def __init__(self, name: str, read: Callable[[str], T]) -> None:
        self.name, self._read = name, read

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return the name as it is, not in capitals."""
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return what the text means, or what is a value already."""
        if isinstance(value, bool):
            self.fail(f"{value} is not {self.name}", param, ctx)
        if not isinstance(value, str | int | float):
            return value
        try:
            return self._read(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Number(Refined[float]):
    """A number in [low, high], or with *above* in (low, high]."""

    def __init__(
        self,
        unit: str,
        low: float,
        high: float,
        read: Callable[[str], float],
        *,
        above: bool = False,
    ) -> None:
        super().__init__(unit, read)
        self.low, self.high, self.above = low, high, above

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        if isinstance(value, float) and value == math.inf:  # a default: without end
            return value
        number = super().convert(value, param, ctx)
        if not self.low <= number <= self.high or (self.above and number == self.low):
            bounds = (self.low, self.high)
            low, high = (str(b) if isinstance(b, int) else f"{b:.10g}" for b in bounds)
            span = f"{low} to {high}"
            self.fail(f"{value} is outside {'more than ' * self.above}{span}", param, ctx)
        return number


def number(unit: str, low: float, high: float, *, above: bool = False) -> Number:
    """Return the type of a finite number."""
    return Number(unit, low, high, _quoting(number_of, "a finite number"), above=above)


def whole(unit: str, low: int, high: int) -> Number:
    """Return the type of a whole number."""
    return Number(unit, low, high, _quoting(whole_of, "a whole number"))


def seconds(low: float = 0.0, high: float = SEC_FROM_START_MAX_S, *, above: bool = False) -> Number:
    """Return the type of a time: seconds, or with a unit as in ``20min``; up to a leap year."""
    read = _quoting(seconds_of, "a time in seconds, or one such as 20min or 1h30m")
    return Number("S", low, high, read, above=above)


def whole_seconds(low: int, high: int) -> Number:
    """Return the type of a time of whole seconds, with or without a unit."""

    def read(text: str) -> int:
        time_s = seconds_of(text)
        if time_s != int(time_s):
            raise ValueError
        return int(time_s)

    return Number("S", low, high, _quoting(read, "a time of whole seconds, such as 120 or 2min"))


def _quoting(read: Callable[[str], T], wanted: str) -> Callable[[str], T]:
    def quoting(text: str) -> T:
        try:
            return read(text)
        except ValueError:
            raise ValueError(f"{excerpt(text)!r} is not {wanted}") from None

    return quoting


SECONDS = seconds(above=True)
PAUSE = seconds()
"""A time that may be none."""
RATE = number("HZ", RATE_MIN_HZ, RATE_MAX_HZ)
SEED = whole("N", -SEED_MAX, SEED_MAX)
SENSORS = whole("N", 1, SENSORS_MAX)
PORT = whole("PORT", 0, 65535)
SHARE = number("X", 0.0, 1.0)


def _speed(text: str) -> float:
    if text.strip() == "max":
        return math.inf
    try:
        factor = number_of(text)
    except ValueError:
        factor = math.nan
    if not SPEED_MIN <= factor <= SPEED_MAX:
        raise ValueError(f"{excerpt(text)!r} is neither a positive number nor 'max'")
    return factor


class Speed(Refined[float]):
    """A positive factor, or ``max`` for as fast as possible (infinity)."""

    def __init__(self) -> None:
        super().__init__("X|max", _speed)


class Address(Refined[tuple[str, int]]):
    """``HOST:PORT``, or the port alone on loopback; with port 0 any free one."""

    def __init__(self) -> None:
        super().__init__(
            "HOST:PORT", lambda text: host_and_port(text if ":" in text else f":{text}")
        )


class Host(Refined[str]):
    """The name or number of an interface to listen on."""

    def __init__(self) -> None:
        super().__init__("ADDRESS", checked_host)


class Url(Refined[str]):
    """Where a WebSocket server is: ``ws(s)://``, ``http(s)://`` or ``HOST:PORT``.

    Parameters
    ----------
    default_path : str
        Added where the address has none.
    schemes : tuple of str
        Others are refused.
    word : str
        This word instead of an address stands for itself.
    as_is : bool
        Check it only: the command decides what is spoken there.
    """

    def __init__(
        self,
        default_path: str,
        *,
        schemes: tuple[str, ...] = ("ws", "wss", "http", "https"),
        word: str = "",
        as_is: bool = False,
    ) -> None:
        def read(text: str) -> str:
            if word and text == word:
                return word
            url = websocket_url(text, default_path)
            if "://" in text and text.partition(":")[0].lower() not in schemes:
                raise ValueError(f"{excerpt(text)!r} is not {schemes[0]}://HOST:PORT/PATH")
            scheme, separator, rest = text.partition("://")
            return f"{scheme.lower()}{separator}{rest}" if as_is else url

        super().__init__(f"URL|{word}" if word else "URL", read)


SENSOR_ID = Refined("UUID", sensor_id_of)


KNOWN_ENDINGS = frozenset(
    (
        ".csv", ".tsv", ".json", ".jsonl", ".gz", ".edf", ".hea", ".dat", ".npz", ".parquet",
        ".xlsx", ".db", ".xml", ".html", ".pdf", ".png", ".svg", ".toml",
    )
)  # fmt: skip
"""Endings of names that promise something."""
JSON_LINES: dict[str, Any] = {"holds": "JSON lines", "suffixes": (".jsonl", ".json")}


class FaultOption(click.ParamType["Fault"]):
    """A fault, such as ``drop:rate=0.01``."""

    name = "KIND[:NAME=VALUE,…]"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return the name as it is."""
        return self.name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Fault":
        """Return the fault."""
        from ctgkit.faults.schema import FaultError, parse_fault

        try:
            return parse_fault(str(value))
        except FaultError as error:
            self.fail(f"{excerpt(str(value))}: {error}", param, ctx)


def refuse_typed_password(
    dsn: Dsn, param: click.Parameter | None, ctx: click.Context | None, kind: click.ParamType[Any]
) -> None:
    """Refuse a password on the command line."""
    if dsn.has_password and is_typed(param, ctx):
        reason = "lists of processes would show the password: use PGPASSWORD, PGPASSFILE,"
        kind.fail(f"{reason} a CTGKIT_… variable or ctgkit.toml", param, ctx)


def is_typed(param: click.Parameter | None, ctx: click.Context | None) -> bool:
    """Return whether a value stands on the command line, where everybody sees it."""
    if ctx is None or param is None:
        return False
    return ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE


class File(click.Path):
    """A file to read; it need not exist unless *exists* says so: then its reader complains."""

    def __init__(
        self,
        *,
        exists: bool = False,
        dir_okay: bool = False,
        name: str = "FILE",
        stdin: bool = False,
    ) -> None:
        super().__init__(exists=exists, dir_okay=dir_okay, path_type=Path)
        self.name = name
        self._stdin = stdin
        """Whether ``-`` means standard input."""

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return the name as it is."""
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if not isinstance(value, str | os.PathLike) or not str(value) or "\0" in str(value):
            self.fail(f"{excerpt(str(value))!r} is not a file name", param, ctx)
        if self._stdin and str(value) == DASH and ctx and not ctx.resilient_parsing:
            return taken_from_stdin(ctx)
        try:
            return super().convert(value, param, ctx)
        except (OSError, ValueError) as error:  # too long, or not of this locale's characters
            reason = getattr(error, "strerror", None) or "no name in this locale"
            self.fail(f"{excerpt(str(value))}: {reason}", param, ctx)


class Recorded(File):
    """A recording to read: a file or folder, or the address of a PostgreSQL database."""

    def __init__(self) -> None:
        super().__init__(dir_okay=True, stdin=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a path, or an address."""
        if isinstance(value, Dsn):
            return value
        if not isinstance(value, str) or not is_dsn(value):
            return super().convert(value, param, ctx)
        try:
            dsn = read_dsn(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        refuse_typed_password(dsn, param, ctx, self)
        return dsn


class OutFile(File):
    """A file to write, in a folder that exists unless *parents* are made.

    Where it *holds* one kind of thing only, names that promise another are refused: those with an
    ending that people know, unless it is among *suffixes*. With *stdout* ``-`` is let through.
    """

    def __init__(
        self,
        *,
        parents: bool = False,
        dir_okay: bool = False,
        name: str = "FILE",
        holds: str = "",
        suffixes: tuple[str, ...] = (),
        stdout: bool = False,
    ) -> None:
        super().__init__(dir_okay=dir_okay, name=name)
        self._parents, self._holds, self._suffixes = parents, holds, suffixes
        self._stdout = stdout

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; said before an hour's run, not after."""
        path: Path = super().convert(value, param, ctx)
        if self._stdout and str(path) == DASH:
            return path
        ending = path.suffix.lower()
        if (
            path.name[:1] == "."
            and {f".{part}" for part in path.name.lower()[1:].split(".")} <= KNOWN_ENDINGS
        ):
            self.fail(f"{path}: only an ending; name the file, as in trace{path.name}", param, ctx)
        if self._holds and ending in KNOWN_ENDINGS and ending not in self._suffixes:
            better = " or ".join(self._suffixes)
            self.fail(f"{path}: {self._holds} goes into {better}, not {ending}", param, ctx)
        folder = path.parent
        try:
            path.exists()  # raises for a name that is too long
            while self._parents and not folder.exists() and folder != folder.parent:
                folder = folder.parent
            if not folder.is_dir():
                self.fail(f"{path}: no such directory", param, ctx)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "no name in this locale"
            self.fail(f"{excerpt(str(path))}: {reason}", param, ctx)
        if not os.access(path if path.exists() else folder, os.W_OK):
            self.fail(f"{path}: permission denied", param, ctx)
        return path
