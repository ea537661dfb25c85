"""Parameters of a request's query: read, or refused with words that say why. Pure."""

import math
from collections.abc import Mapping

from ctgkit.errors import excerpt

Query = Mapping[str, list[str]]


class BadQuery(ValueError):
    """A parameter is wrong or missing; the text says which and why."""


def first(query: Query, name: str) -> str:
    """Return a parameter, "" when it is absent."""
    return query.get(name, [""])[0]


def number(query: Query, name: str, default: float, low: float, high: float) -> float:
    """Return a number in a range; NaN as the default makes it required.

    >>> number({"bin": ["0.5"]}, "bin", 1.0, 0.0, 10.0)
    0.5
    """
    text = first(query, name)
    try:
        found = float(text) if text else default
    except ValueError:
        found = math.nan
    if not low <= found <= high:
        raise BadQuery(f"{name}={excerpt(text)!r} is not a number from {low:g} to {high:g}")
    return found


def whole(query: Query, name: str, low: int = 0, high: int = 10**18 - 1) -> int | None:
    """Return a whole number in a range; None when it is absent.

    >>> whole({"limit": ["20"]}, "limit", 1, 100)
    20
    """
    text = first(query, name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise BadQuery(f"{name}={excerpt(text)!r} is not a whole number from {low} to {high}")
    return int(text)
