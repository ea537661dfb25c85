"""Remarks in files: what is known of a recording, as lines of text where a format has only those.

This module performs no I/O.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from ctgkit.recording import Recording

SIMULATED = "simulated by ctgkit: not a patient"
NOT_SIMULATED = "simulated: no"
_KEYS = ("sensor_id", "started")


def to_labels(recording: Recording, *, with_id: bool = True) -> list[str]:
    """Return a recording's remarks, one line each; the sensor's id only where it is wanted."""
    lines = []
    marks = [line for line in recording.comments if line.startswith("simulated by ")]
    if recording.simulated is not None:
        mark = marks[0] if marks else SIMULATED
        lines.append(mark if recording.simulated else NOT_SIMULATED)
    keys = _KEYS if with_id else _KEYS[1:]
    lines += [f"{key}: {getattr(recording, key)}" for key in keys if getattr(recording, key)]
    said = [line for line in recording.comments if not line.startswith("simulated by ")]
    return lines + [" ".join(line.split("\n")) for line in said]


def from_labels(lines: Iterable[str]) -> dict[str, Any]:
    """Return what lines of remarks say, as keyword arguments of a Recording."""
    found: dict[str, Any] = {}
    comments = []
    for line in lines:
        key, _, value = line.partition(": ")
        if line.startswith("simulated by "):
            found["simulated"] = True
            if line != SIMULATED:
                comments.append(line)
        elif line == NOT_SIMULATED:
            found["simulated"] = False
        elif key in _KEYS:
            found[key] = value
        else:
            comments.append(line)
    return found | {"comments": tuple(comments)}


def unique_ids(
    recordings: Iterable[Recording], unnamed: Callable[[int], str] = str
) -> Iterator[Recording]:
    """Yield recordings that each have an id of their own, for files that sort samples by it.

    One without gets what *unnamed* makes of its number; the second, third … of one id gets ``-2``,
    ``-3`` … behind it.
    """
    seen: set[str] = set()
    for number, one in enumerate(recordings, 1):
        name = unique = one.sensor_id or unnamed(number)
        count = 1
        while unique.lower() in seen:
            count += 1
            unique = f"{name}-{count}"
        seen.add(unique.lower())
        yield one if unique == one.sensor_id else replace(one, sensor_id=unique)
