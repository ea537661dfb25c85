"""Numbers as people write them: in ASCII digits, finite, times with an optional unit.

This module performs no I/O.
"""

import math
import re

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_PART = re.compile(r"(.*?[0-9.])\s*(h|min|m|s)\s*")
_SECONDS = {"h": 3600.0, "min": 60.0, "m": 60.0, "s": 1.0}
MAX_CHARS = 100
"""Longest number: more digits cost time and mean nothing."""


def number_of(text: str) -> float:
    """Return the finite number that *text* is.

    Raises
    ------
    ValueError
        When it is none: ``nan``, ``inf``, ``1_000`` and digits of other scripts are none.

    Examples
    --------
    >>> number_of(" 1e3 "), number_of("-.5")
    (1000.0, -0.5)
    """
    text = text.strip()
    number = float(text) if len(text) <= MAX_CHARS and _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def whole_of(text: str) -> int:
    """Return the whole number that *text* is, digits only; see :func:`number_of`."""
    text = text.strip()
    if len(text) > MAX_CHARS or not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError("not a whole number")
    return int(text)


def seconds_of(text: str) -> float:
    """Return a time in seconds: a number, or parts with ``h``, ``min`` (``m``) and ``s``.

    >>> seconds_of("90"), seconds_of("1.5h"), seconds_of("20 min"), seconds_of("1h30m")
    (90.0, 5400.0, 1200.0, 5400.0)

    Raises
    ------
    ValueError
        When it is neither; also where a smaller unit comes first, or one twice.
    """
    text = text.strip()
    total_s, at, least_s = 0.0, 0, math.inf
    while len(text) <= MAX_CHARS and (part := _PART.match(text, at)):
        unit_s, amount = _SECONDS[part[2]], number_of(part[1])
        if unit_s >= least_s or (at and amount < 0):
            raise ValueError("its parts are not in order")
        total_s, at, least_s = total_s + amount * unit_s, part.end(), unit_s
    return total_s if at and at == len(text) else number_of(text)
