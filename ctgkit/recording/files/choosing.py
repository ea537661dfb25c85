"""One recording of a file that holds several: the one that is meant, or an error that lists them.

This module performs no I/O.
"""

from collections.abc import Iterable
from pathlib import PurePath

from ctgkit.dsn import Dsn
from ctgkit.errors import RecordingError, excerpt
from ctgkit.recording import Recording

_LISTED = 8


def only(path: PurePath | Dsn, recordings: Iterable[Recording], sensor: str) -> Recording:
    """Return the recording of a sensor, or the only one.

    Parameters
    ----------
    path : PurePath
        For the error.
    recordings : iterable of Recording
        All of the file, one in memory at a time.
    sensor : str
        Start of its id, or its number from 1; empty where there is one only.

    Raises
    ------
    RecordingError
        When there are several and none is chosen, or not the one that is.
    """
    meant: Recording | None = None
    names: list[str] = []
    count = matches = 0
    for count, one in enumerate(recordings, 1):
        name = _name(one, count)
        if len(names) < _LISTED:
            names.append(name)
        if one.sensor_id.lower().startswith(sensor.lower()) or sensor == str(count):
            exact = sensor != "" and sensor in (str(count), one.sensor_id)
            matches = 1 if exact else matches + 1
            meant = one
            if exact:
                return one
    if matches == 1 and meant is not None:
        return meant
    listed = ", ".join(names) + (" …" if count > len(names) else "")
    if not sensor:
        reason = f"{count} recordings in it: choose one with --sensor N; they are {listed}"
    else:
        reason = f"{matches or 'no'} recordings match --sensor {excerpt(sensor)}; it has {listed}"
    raise RecordingError(str(path), 0, reason)


def name_of(path: PurePath | Dsn, one: Recording, number: int) -> str:
    """Return what one of several recordings of a file is called."""
    fetus = [line for line in one.comments if line.startswith("fetus ")]
    parts = [*([one.sensor_id] if one.sensor_id else []), *fetus]
    if not parts and one.comments:
        parts = [excerpt(one.comments[0])]  # a folder's cases have the names of their files there
    return f"{path.name} ({', '.join(parts) or number})"


def _name(one: Recording, number: int) -> str:
    about = one.sensor_id or next(iter(one.comments), "")
    return f"{number} ({excerpt(about)})" if about else str(number)
