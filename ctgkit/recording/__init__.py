"""Recordings: what happened on the wire, and files of samples in many formats.

- format, journal                  the native format: JSON lines of raw messages with their times
- tape, recorder, proxy            make them
- player, performer, casting       play them as the sensors
- stage                            play them as the backend
- expect, rehearsal                compare answers with the recorded ones
- formats                          the registry of file formats; one module per foreign format
- labels, grid                     what files of samples have in common: remarks, fixed rates
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ctgkit.events import Event

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """The samples of one sensor, as equally long arrays of shape (n_samples,), n_samples >= 1."""

    sec_from_start: "NDArray[np.float64]"
    """Data time, seconds, >= 0, strictly increasing; steps may be uneven."""
    fhr_bpm: "NDArray[np.float64]"
    """Heart rate, beats/min; NaN where there is no signal, never 0."""
    uterus: "NDArray[np.float64]"
    """Toco, device units or mmHg; NaN where not recorded."""
    spasms: "NDArray[np.float64]"
    """Contraction intensity; NaN where not recorded."""
    sensor_id: str = ""
    """Whose samples they are, where that is known."""
    simulated: bool | None = None
    """Whether they come from a simulation; None where nobody says."""
    started: str = ""
    """Wall time of second 0, ISO 8601, where that is known."""
    comments: tuple[str, ...] = ()
    """Remarks that came with them, such as a database's clinical data, line by line."""
    events: tuple[Event, ...] = ()
    """What is known to have happened."""


def read_recordings(path: Path, *, skip_bad: bool = False) -> Iterator[Recording]:
    """Read a file in any known format, one sensor after another.

    Parameters
    ----------
    path : Path
        The extension names the format; see :data:`~ctgkit.recording.files.registry.FORMATS`.
        A directory is the layout with two CSV files.
    skip_bad : bool
        In the native format: go on after lines that cannot be read.

    Raises
    ------
    RecordingError
        When the format is unknown or needs an extra that isn't installed, or the file is wrong.
    """
    from ctgkit.recording.files.registry import read

    return read(path, skip_bad=skip_bad)


def read_recording(path: Path) -> Recording:
    """Read the first, or only, sensor of a file; see :func:`read_recordings`."""
    return next(iter(read_recordings(path)))


def read_results(path: Path) -> Iterator[tuple[float, bytes]]:
    """Read what a viewer was sent, with the seconds since the recording began.

    Nothing comes from a file of samples, or from a recording that no viewer's stream is part of.

    Raises
    ------
    RecordingError
        See :func:`read_recordings`.
    """
    from ctgkit.recording.files.registry import format_of
    from ctgkit.recording.journal import JournalReader, viewer_stream

    if format_of(path).name == "native":
        for line in viewer_stream(JournalReader(path)):
            yield line.t_s, line.frame


def write_recordings(recordings: Iterable[Recording], path: Path) -> list[str]:
    """Write recordings in the format that the extension names, one sensor in memory at a time.

    Where one file holds one sensor, several become ``NAME-1.EXT``, ``NAME-2.EXT``, ….

    Returns
    -------
    list of str
        What the format could not hold; empty when nothing was lost.

    Raises
    ------
    RecordingError
        When the format is unknown, only read, or needs an extra that isn't installed.
    """
    from ctgkit.recording.files.registry import write

    return write(recordings, path)


def write_recording(recording: Recording, path: Path) -> list[str]:
    """Write one recording; see :func:`write_recordings`."""
    return write_recordings((recording,), path)
