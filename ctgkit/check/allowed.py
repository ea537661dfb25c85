"""Deviations that the user knows of: ``--allow ID=REASON``, or a file of them.

This module performs no I/O.
"""

from collections.abc import Iterable

from ctgkit.check.checks import Catalogue, matches


def parse_allowed(texts: Iterable[str]) -> dict[str, str]:
    """Return address -> reason of ``ID=REASON`` or ``ID REASON``; empty lines and # are no entries.

    >>> parse_allowed(["S-4.8/nan=our parser", "", "# later", "H-1 no such pages", "V-1.1"])
    {'S-4.8/nan': 'our parser', 'H-1': 'no such pages', 'V-1.1': 'the user allows it'}
    """
    found = {}
    for text in texts:
        line = text.strip()
        if line and not line.startswith("#"):
            address, _, reason = line.replace("=", " ", 1).partition(" ")
            found[address] = reason.strip() or "the user allows it"
    return found


def allowed_checks(allowed: dict[str, str], catalogue: Catalogue) -> dict[str, str]:
    """Return check id -> reason.

    Raises
    ------
    LookupError
        When an address names no check; its text says which.
    """
    chosen: dict[str, str] = {}
    for address, reason in allowed.items():
        named = [c for c in catalogue.checks if matches(c, address)]
        if not named:
            raise LookupError(address)
        chosen |= dict.fromkeys(named, reason)
    return chosen
