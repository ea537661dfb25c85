"""Recordings: what happened on the wire, and files of samples in many formats.

- format, journal                  the native format: JSON lines of raw messages with their times
- captures                         messages that others kept, read as if they were that
- tape, recorder, passage          make them
- files/registry                   the file formats, one module each
- files/channels, clock, clocks    names of channels, times, channels with times of their own
- files/plausible                  the last look at everything that was read
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ctgkit.dsn import Dsn, is_dsn, read_dsn
from ctgkit.events import Event

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ctgkit.recording.files.options import ReadOptions, Report


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

    def to_frame(self, library: Literal["pandas", "polars"] | None = None) -> Any:
        """Return the samples as a data frame, NaN where there is none.

        Parameters
        ----------
        library : {"pandas", "polars"} or None
            None: the first of them that is installed.

        Raises
        ------
        CtgkitError
            When it isn't installed.
        """
        from ctgkit.recording.showing import data_frame

        return data_frame(self, library)

    def _repr_html_(self) -> str:
        from ctgkit.recording.showing import as_html

        return as_html(self)

    def _repr_png_(self) -> bytes | None:
        from ctgkit.recording.showing import as_png

        return as_png(self)


def read_recordings(
    path: Path | str | Dsn,
    options: "ReadOptions | None" = None,
    report: "Report | None" = None,
    *,
    skip_bad: bool = False,
) -> Iterator[Recording]:
    """Read a file in any known format, one sensor after another.

    Values are those of the file, or NaN: what cannot be a heart rate, or marks no signal, becomes
    NaN, and that is said. What was taken for what is logged, unless there is a *report*.

    Parameters
    ----------
    path : Path or Dsn
        The extension names the format; see :data:`ctgkit.recording.files.registry.FORMATS`. A
        directory is the layout with two CSV files.
    options : ReadOptions or None
        Which columns, which rate, which fetus, where the file doesn't say it.
    report : Report or None
        Gets what was taken for what, and what was not read.
    skip_bad : bool
        In the native format: go on after lines that cannot be read.

    Raises
    ------
    RecordingError
        When the format is unknown or needs an extra that isn't installed, or the file is wrong.
    """
    from dataclasses import replace

    from ctgkit.recording.files.options import ReadOptions
    from ctgkit.recording.files.registry import read

    wanted = options or ReadOptions()
    return read(_meant(path), replace(wanted, skip_bad=True) if skip_bad else wanted, report)


def _meant(path: "Path | str | Dsn") -> "Path | Dsn":
    """Return a path, or the address of a database, that may have been given as text."""
    if isinstance(path, str):
        return read_dsn(path) if is_dsn(path) else Path(path)
    return path


def read_recording(path: Path | str | Dsn, options: "ReadOptions | None" = None) -> Recording:
    """Read the first, or only, recording of a file; see :func:`read_recordings`."""
    with contextlib.closing(read_recordings(path, options)) as recordings:  # type: ignore[type-var]
        return next(iter(recordings))


def read_one(path: Path | Dsn, options: "ReadOptions | None" = None, sensor: str = "") -> Recording:
    """Read the one recording that is meant; see :func:`read_recordings`.

    Parameters
    ----------
    path, options
        As there.
    sensor : str
        Start of the sensor's id, where the file holds several; or its number, from 1.

    Raises
    ------
    RecordingError
        When the file holds several and none is chosen, or not the one that is.
    """
    from ctgkit.recording.files.choosing import only

    with contextlib.closing(read_recordings(path, options)) as recordings:  # type: ignore[type-var]
        return only(path, recordings, sensor)


def read_chosen(
    path: Path | Dsn, options: "ReadOptions | None" = None, sensor: str = ""
) -> Iterator[Recording]:
    """Read all recordings of a file, or with *sensor* the one that is meant; see :func:`read_one`.

    Parameters
    ----------
    path, options, sensor
        As there; without *sensor* all are meant.
    """
    if sensor:
        yield read_one(path, options, sensor)
    else:
        yield from read_recordings(path, options)


def read_results(
    path: Path | Dsn, options: "ReadOptions | None" = None
) -> Iterator[tuple[float, bytes]]:
    """Read what a viewer was sent, with the seconds since the recording began.

    Nothing comes from a file of samples, or from a recording that no viewer's stream is part of.
    Of *options* only the limit counts.

    Raises
    ------
    RecordingError
        See :func:`read_recordings`.
    """
    from ctgkit.recording.captures import open_recording
    from ctgkit.recording.files.registry import format_of
    from ctgkit.recording.journal import viewer_stream

    if not isinstance(path, Dsn) and format_of(path).module == "native":
        limit = options.chosen_max_bytes if options else None
        for line in viewer_stream(open_recording(path, max_bytes=limit)):
            yield line.t_s, line.frame


def write_recordings(recordings: Iterable[Recording], path: Path | str) -> list[str]:
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

    return write(recordings, Path(path))


def write_recording(recording: Recording, path: Path | str) -> list[str]:
    """Write one recording; see :func:`write_recordings`."""
    return write_recordings((recording,), path)
