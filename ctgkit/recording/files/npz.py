"""NumPy archives: ``sec``, ``bpm``, ``uterus``, ``spasms``, and what is known besides.

Everything a Recording has is held, exactly.
"""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ctgkit.errors import RecordingError
from ctgkit.events import Event
from ctgkit.recording import Recording
from ctgkit.recording.files.labels import from_labels, to_labels

_NAMES = {
    "sec_from_start": ("sec", "sec_from_start", "t"),
    "fhr_bpm": ("bpm", "fhr", "fhr_bpm"),
    "uterus": ("uterus", "uc", "toco"),
    "spasms": ("spasms",),
}
_event_decoder = msgspec.json.Decoder(Event)


def read(path: Path) -> Iterator[Recording]:
    """Yield the one recording of a file; ``ctgkit generate`` writes such files too."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            stored = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordingError(str(path), 0, f"not an NPZ archive: {error}") from error
    arrays: dict[str, Any] = {}
    for channel, names in _NAMES.items():
        found = next((stored[name] for name in names if name in stored), None)
        if found is not None:
            arrays[channel] = np.array(found, dtype=float)
        elif channel in ("sec_from_start", "fhr_bpm"):
            raise RecordingError(str(path), 0, f"no array named {' or '.join(names)}")
    sec = arrays["sec_from_start"]
    if sec.ndim != 1 or not len(sec) or any(a.shape != sec.shape for a in arrays.values()):
        raise RecordingError(str(path), 0, "its arrays are not of one length, at least 1")
    if not (np.isfinite(sec).all() and sec[0] >= 0 and (np.diff(sec) > 0).all()):
        raise RecordingError(str(path), 0, "times must be finite, >= 0 and increasing")
    if any(np.isinf(values).any() for values in arrays.values()):
        raise RecordingError(str(path), 0, "infinite values")
    arrays["fhr_bpm"][arrays["fhr_bpm"] == 0] = np.nan
    for channel in ("uterus", "spasms"):
        arrays.setdefault(channel, np.full(len(sec), np.nan))
    labels = [str(line) for line in np.atleast_1d(stored.get("labels", np.array([], dtype=str)))]
    if "simulated" in stored and "labels" not in stored:
        labels.append(str(stored["simulated"]))
    lines = str(stored.get("events_jsonl", "")).encode().splitlines()
    try:
        events = tuple(_event_decoder.decode(line) for line in lines if b'"kind"' in line)
    except msgspec.MsgspecError as error:
        raise RecordingError(str(path), 0, f"events_jsonl: {error}") from error
    yield Recording(**arrays, **from_labels(labels), events=events)


def write(recording: Recording, path: Path) -> list[str]:
    """Write one file."""
    events = b"\n".join(msgspec.json.encode(event) for event in recording.events)
    np.savez_compressed(
        path,
        sec=recording.sec_from_start,
        bpm=recording.fhr_bpm,
        uterus=recording.uterus,
        spasms=recording.spasms,
        labels=np.array(to_labels(recording), dtype=str),
        events_jsonl=events.decode(),
    )
    return []
