"""The one reader of TOML: configuration, scenarios, scripts of the ML stub.

Whatever the bytes are, the answer is a document of bounded depth with finite numbers, or one
ConfigError that names the file, the place in it and the reason. This module performs no I/O but
for :func:`read_text`.
"""

import bisect
import copy
import math
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ctgkit.errors import ConfigError, excerpt

T = TypeVar("T")

MAX_BYTES = 1 << 20
"""Largest document. Chosen: a hundred times the longest scenario that is shipped."""
MAX_DEPTH = 16
"""Tables and arrays within one another; the deepest of ours has five."""
INTEGER_MAX = 2**63 - 1

_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}""")
"""A dotted key of more than 32 parts: the library needs quadratic time for it."""
_PLAIN = (
    (r"^Object contains unknown field `(.*)`", r"unknown key '\1'"),
    (r"^Object missing required field `(.*)`", r"\1 is missing"),
    (r"`str` of length >= 1", "a string that is not empty"),
    (r" \| null", ""),
    (r"`object`", "a table"),
    (r"`array`", "a list"),
    (r"^Expected", "expected"),
    (r"^Invalid", "invalid"),
)
"""The library's words, and those of somebody who writes TOML."""
_STEP = re.compile(r"(\[\.\.\.\])|\[(\d+)\]|([^.\[\]]+)")
"""What a place is made of: any key of a table, an index, a member's name."""
_AT = re.compile(r"(.*?)(?: - at `\$\.?(.*)`)?", re.DOTALL)


def read_text(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """Return a file's text, UTF-8 with or without a byte order mark.

    Raises
    ------
    ConfigError
        When it cannot be read, is larger than *max_bytes*, or isn't UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(str(path), f"cannot be read: {reason}") from None
    return decoded(content, str(path), max_bytes)


def decoded(content: bytes, where: str, max_bytes: int = MAX_BYTES) -> str:
    """Return the text of a file's bytes; see :func:`read_text`."""
    if len(content) > max_bytes:
        raise ConfigError(where, f"is larger than {max_bytes >> 20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{where}, line {line}", "is not UTF-8") from None


def parse(text: str, where: str) -> dict[str, Any]:
    """Return the document in *text*.

    Parameters
    ----------
    text : str
        TOML.
    where : str
        The file, named in errors.

    Raises
    ------
    ConfigError
        When it is not TOML, too deep, or has a number that is not finite or beyond 64 bits.
    """
    if _LONG_KEY.search(text):
        raise ConfigError(where, "a key has more than 32 parts")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(where, f"not TOML: {excerpt(str(error))}") from None
    except RecursionError:
        raise ConfigError(where, f"is nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:  # an integer of thousands of digits, a date that doesn't exist
        raise ConfigError(where, f"not TOML: {excerpt(str(error))}") from None
    _check(document, where)
    return document


def _check(document: dict[str, Any], where: str) -> None:
    """Refuse what no document of ours has, without recursion."""
    rest: list[tuple[str, int, Any]] = [("", 0, document)]
    while rest:
        at, depth, value = rest.pop()
        if depth > MAX_DEPTH:
            raise ConfigError(f"{where}, {excerpt(at)}", f"is nested deeper than {MAX_DEPTH}")
        if isinstance(value, dict):
            rest += ((f"{at}.{k}" if at else k, depth + 1, v) for k, v in value.items())
        elif isinstance(value, list):
            rest += ((f"{at}[{i}]", depth + 1, v) for i, v in enumerate(value))
        elif isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{where}, {excerpt(at)}", "expected a number that is finite")
        elif isinstance(value, int) and abs(value) > INTEGER_MAX:
            raise ConfigError(f"{where}, {excerpt(at)}", "expected a number of 64 bits at most")


def converted(document: Any, as_type: type[T], where: str) -> T:
    """Return a document, or a part of one, as a msgspec type.

    Raises
    ------
    ConfigError
        Naming *where*, the place and the reason.
    """
    try:
        return msgspec.convert(document, as_type)
    except msgspec.ValidationError as error:
        match = _AT.fullmatch(str(error))
        assert match is not None
        reason, place = match[1], match[2]
        if place and "[...]" in place:
            place = _named(place, document, as_type, str(error))
        for pattern, plain in _PLAIN:
            reason = re.sub(pattern, plain, reason)
        at = f", {excerpt(place)}" if place else ""
        raise ConfigError(where + at, excerpt(reason)) from None


def _named(place: str, document: Any, as_type: Any, error: str) -> str:
    """Return a place with the names of keys, where the library says ``[...]`` for any of them."""
    node = document = copy.deepcopy(document)
    named = ""
    for any_key, index, key in _STEP.findall(place):
        if any_key:
            if not isinstance(node, dict):
                return place
            key = _first_wrong(node, document, as_type, error)
        elif index:
            node, named = node[int(index)], f"{named}[{index}]"
            continue
        node, named = node[key], f"{named}.{key}" if named else key
    return named


def _first_wrong(table: dict[str, Any], document: Any, as_type: Any, error: str) -> str:
    """Return the key of a table of a document because of which *error* is raised; keep it alone."""
    members = list(table.items())

    def fails(n_members: int) -> bool:
        table.clear()
        table.update(members[:n_members])
        try:
            msgspec.convert(document, as_type)
        except msgspec.ValidationError as found:
            return str(found) == error
        return False

    key, value = members[bisect.bisect_left(range(1, len(members) + 1), True, key=fails)]
    table.clear()
    table[key] = value
    return key
