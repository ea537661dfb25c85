"""How a fault declares what can be set: name, unit, range, default and meaning, in one place.

Parsing, ``ctgkit proxy --list`` and docs/faults.md come from these. This module performs no I/O.
"""

from dataclasses import field
from typing import Any, NamedTuple


class Parameter(NamedTuple):
    """One thing that can be set: a number in a range, or one of a few words."""

    name: str
    unit: str
    low: float
    high: float
    default: float | str | None
    meaning: str
    words: tuple[str, ...] = ()
    whole: bool = False


def number(
    name: str,
    unit: str,
    low: float,
    high: float,
    default: float | None,
    meaning: str,
    *,
    whole: bool = False,
) -> Any:
    """Return a dataclass field for a number in [*low*, *high*]."""
    if default is not None and not whole:
        default = float(default)
    parameter = Parameter(name, unit, low, high, default, meaning, whole=whole)
    return field(default=default, metadata={"parameter": parameter})


def word(name: str, words: tuple[str, ...], default: str, meaning: str) -> Any:
    """Return a dataclass field for one of *words*."""
    parameter = Parameter(name, "", 0, 0, default, meaning, words)
    return field(default=default, metadata={"parameter": parameter})
