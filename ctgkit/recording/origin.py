"""Whose samples, truth or results these are, as far as they say so: what differs isn't a pair.

This module performs no I/O.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ctgkit.errors import RecordingError, excerpt

_MARK = re.compile(
    r"simulated by ctgkit \S+, scenario (?P<scenario>.+), seed (?P<seed>-?\d+),"
    r" sensor (?P<sensor>\d+), signal_version (?P<signal_version>\S+): not a patient"
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
BEYOND_S = 1.0
"""How much longer than its truth a recording may be, seconds: the time of one sample."""


class Origin(NamedTuple):
    """Where something comes from; None is what it doesn't say."""

    scenario: str | None = None
    seed: int | None = None
    sensor: int | None = None
    """Number of the patient."""
    signal_version: str | None = None
    sensor_id: str | None = None

    def __str__(self) -> str:
        return ", ".join(
            f"{name.replace('_', ' ')} {excerpt(str(value))}" for name, value in self.said().items()
        )

    def said(self) -> dict[str, str | int]:
        """Return what is said, by its name."""
        return {name: value for name, value in self._asdict().items() if value is not None}


def mark(version: str, about: Mapping[str, Any], signal_version: str) -> str:
    """Return the remark by which a simulated recording says what it is.

    Parameters
    ----------
    version : str
        Of ctgkit.
    about : mapping
        ``scenario``, ``seed`` and ``sensor``.
    signal_version : str
        Of the simulated signal.

    >>> mark("1.0", {"scenario": "labour", "seed": 3, "sensor": 0}, "6.0")
    'simulated by ctgkit 1.0, scenario labour, seed 3, sensor 0, signal_version 6.0: not a patient'
    """
    return (
        f"simulated by ctgkit {version}, scenario {about['scenario']}, seed {about['seed']}, "
        f"sensor {about['sensor']}, signal_version {signal_version}: not a patient"
    )


def by_remarks(remarks: Iterable[str], sensor_id: str = "") -> Origin:
    """Return what a recording's remarks and the id of its sensor say.

    >>> by_remarks(["simulated by ctgkit 1.0, scenario a, seed 3, sensor 0, signal_version 6.0: "
    ...             "not a patient"])[:4]
    ('a', 3, 0, '6.0')
    """
    found = next(filter(None, map(_MARK.fullmatch, remarks)), None)
    said: dict[str, Any] = found.groupdict() if found else {}
    numbers = {name: int(said[name]) for name in ("seed", "sensor") if found}
    return Origin(**said | numbers, sensor_id=_unique(sensor_id))


def by_header(header: Mapping[str, Any]) -> Origin:
    """Return what the first line of a truth says, or what a report says of its recording."""
    kinds = {"seed": int, "sensor": int}
    said = {
        name: header[name]
        for name in Origin._fields
        if isinstance(header.get(name), kinds.get(name, str))
    }
    return Origin(**said | {"sensor_id": _unique(said.get("sensor_id", ""))})


def _unique(sensor_id: str) -> str | None:
    """Return an id that is nobody else's: other names are made up by whoever wrote the file."""
    return sensor_id.lower() if _UUID.fullmatch(sensor_id) else None


def differing(one: Origin, other: Origin) -> tuple[Origin, Origin] | None:
    """Return of both what differs; None where nothing that both say does."""
    apart = {
        name
        for name, a, b in zip(Origin._fields, one, other, strict=True)
        if a is not None and b is not None and a != b
    }
    if not apart:
        return None
    rest = dict.fromkeys(set(Origin._fields) - apart)
    return one._replace(**rest), other._replace(**rest)


def refuse_other(name: str, own: Origin, other_name: str, other: Origin) -> None:
    """Refuse what belongs to another recording.

    Raises
    ------
    RecordingError
        About the file *name*, with what is said there and in *other_name*.
    """
    if (apart := differing(own, other)) is not None:
        mine, theirs = apart
        reason = f"is of {mine}, {other_name} of {theirs}: not the same recording"
        raise RecordingError(name, 0, reason)


def refuse_longer(name: str, length_s: float, other_name: str, end_s: float) -> None:
    """Refuse a truth that ends before its recording, whose last sample is at *end_s*.

    Raises
    ------
    RecordingError
        Naming both lengths.
    """
    if end_s > length_s + BEYOND_S:
        reason = f"ends at {length_s:g} s, {other_name} at {end_s:g} s: not the same recording"
        raise RecordingError(name, 0, reason)
