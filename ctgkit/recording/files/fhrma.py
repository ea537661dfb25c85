"""FHRMA files, ``.fhr`` and ``.fhrm``: 4 Hz, little-endian (only read).

Four bytes of Unix time, then 6 bytes per sample (8 in ``.fhrm``): heart rate and second heart
rate in quarters of a beat/min, in ``.fhrm`` the mother's too, toco in halves, and a quality byte.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ctgkit.errors import RecordingError
from ctgkit.recording import Recording
from ctgkit.recording.files.grid import to_recording

_PERIOD_S = 0.25
_HEART = [("fhr1", "<u2"), ("fhr2", "<u2")]
_TAIL = [("toco", "u1"), ("quality", "u1")]
_ROW = {
    ".fhr": np.dtype(_HEART + _TAIL),
    ".fhrm": np.dtype([*_HEART, ("mhr", "<u2"), *_TAIL]),
}


def read(path: Path) -> Iterator[Recording]:
    """Yield the first heart rate, and the second as another recording if there is any."""
    row = _ROW[path.suffix.lower()]
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordingError(str(path), 0, error.strerror or str(error)) from error
    body = data[4:]
    if len(body) < row.itemsize:
        raise RecordingError(str(path), 0, "no samples")
    if len(body) % row.itemsize:
        reason = f"its length is not 4 + n x {row.itemsize} bytes: truncated, or not {path.suffix}"
        raise RecordingError(str(path), 0, reason)
    rows = np.frombuffer(body, dtype=row)
    stamp = int.from_bytes(data[:4], "little")
    started = datetime.fromtimestamp(stamp, UTC).isoformat().replace("+00:00", "Z") if stamp else ""
    comments = ("the mother's heart rate is not read",) * (path.suffix.lower() == ".fhrm")
    for name in ("fhr1", "fhr2"):
        if name == "fhr1" or rows[name].any():
            channels = {"fhr_bpm": rows[name] / 4, "uterus": rows["toco"] / 2}
            yield Recording(
                **to_recording(channels, _PERIOD_S, 0.0), started=started, comments=comments
            )
