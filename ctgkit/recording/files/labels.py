"""Remarks in files: what is known of a recording, as lines of text where a format has only those.

This module performs no I/O.
"""

from collections.abc import Iterable
from typing import Any

from ctgkit.recording import Recording

SIMULATED = "simulated by ctgkit: not a patient"
NOT_SIMULATED = "simulated: no"
_KEYS = ("sensor_id", "started")


def to_labels(recording: Recording) -> list[str]:
    """Return a recording's remarks, one line each."""
    lines = []
    if recording.simulated is not None:
        lines.append(SIMULATED if recording.simulated else NOT_SIMULATED)
    lines += [f"{key}: {getattr(recording, key)}" for key in _KEYS if getattr(recording, key)]
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
