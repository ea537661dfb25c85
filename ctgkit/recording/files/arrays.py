"""Named arrays -> recordings: what NumPy archives and Parquet have in common.

This module performs no I/O.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctgkit.errors import RecordingError
from ctgkit.recording import Recording
from ctgkit.recording.files import channels, clock
from ctgkit.recording.files.channels import Chosen, NotFound
from ctgkit.recording.files.hearts import hearts_of
from ctgkit.recording.files.joining import joined
from ctgkit.recording.files.options import Implausible, ReadOptions, Report
from ctgkit.recording.files.order import Ordered, StartsAnew, in_order

_RATES = ("fs", "rate", "rate_hz", "sampling_rate", "sampling_frequency", "sample_rate")
"""Scalars that say how many samples are in a second."""


def chosen_of(
    path: Path,
    names: list[str],
    options: ReadOptions,
    report: Report,
    *,
    what: str,
) -> Chosen:
    """Choose among the names; see :func:`~ctgkit.recording.files.channels.choose`.

    Raises
    ------
    RecordingError
        When there is no heart rate or time, or the choice is the user's.
    """
    try:
        return channels.choose(names, options, report, what=what)
    except NotFound as error:
        raise RecordingError(str(path), 0, str(error)) from error


def rate_among(scalars: Mapping[str, Any]) -> float | None:
    """Return the rate that an archive has as a number of its own, samples/s."""
    for name in _RATES:
        value = scalars.get(name)
        if value is not None and np.size(value) == 1 and 0 < float(value) < 1000:
            return float(value)
    return None


def recordings_of(
    path: Path,
    names: list[str],
    arrays: Mapping[int, NDArray[Any]],
    chosen: Chosen,
    options: ReadOptions,
    report: Report,
    labels: dict[str, Any],
) -> Iterator[Recording]:
    """Yield a recording per fetus of one sensor.

    Parameters
    ----------
    path : Path
        For errors.
    names : list of str
        As in the file.
    arrays : mapping
        Index of a name -> its values, shape (n,): numbers, texts or dates.
    chosen : Chosen
        What they are.
    options, report : ReadOptions, Report
        What the user says; gets what was found out.
    labels : dict
        What is known besides, as keyword arguments of a Recording.
    """
    hearts = [(fetus, n) for fetus, probes in sorted(chosen.hearts.items()) for n in probes]
    n_samples = len(arrays[hearts[0][1]])
    if not n_samples:
        raise RecordingError(str(path), 0, "no samples")
    columns = {n: _numbers(path, names[n], arrays[n]) for _, n in hearts}
    for place in (chosen.toco, chosen.spasms):
        if place is not None:
            columns[place] = _numbers(path, names[place], arrays[place])
    times, ordered = _ordered(path, arrays, chosen, options, columns[hearts[0][1]])
    report.note(*times.notes)
    report.warn(*ordered.warnings)
    if ordered.rows is not None:
        columns = {n: column[ordered.rows] for n, column in columns.items()}
    if times.started:
        labels = labels | {"started": times.started}
    others = [
        (name, columns[n])
        for name, n in (("toco", chosen.toco), ("contraction intensity", chosen.spasms))
        if n is not None
    ]
    measured = [
        (fetus, channels.quoted(names[n]), np.where(columns[n] == 0, np.nan, columns[n]))
        for fetus, n in hearts
    ]
    try:
        found = hearts_of(measured, options, report)
    except ValueError as error:
        raise RecordingError(str(path), 0, str(error)) from error
    for heart in found:
        own = len(found) == 1 and ordered.sec.flags.writeable
        yield joined(ordered.sec if own else np.array(ordered.sec), heart, others, labels, report)


def _numbers(path: Path, name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise RecordingError(str(path), 0, f"{channels.quoted(name)} has no numbers") from error
    if np.isinf(numbers).any():
        raise RecordingError(str(path), 0, f"{channels.quoted(name)} has infinite values")
    return numbers


def _ordered(
    path: Path,
    arrays: Mapping[int, NDArray[Any]],
    chosen: Chosen,
    options: ReadOptions,
    heart_bpm: NDArray[np.float64],
) -> tuple[clock.Times, Ordered]:
    try:
        times = _times(arrays, chosen, options, len(heart_bpm))
        if (times.sec < 0).any():
            raise clock.BadTime(int(np.argmax(times.sec < 0)), "time is negative")
        return times, in_order(times.sec, heart_bpm)
    except (clock.BadTime, StartsAnew) as error:
        raise RecordingError(str(path), 0, f"row {error.row + 1}: {error.reason}") from error
    except Implausible as error:
        raise RecordingError(str(path), 0, str(error)) from error


def _times(
    arrays: Mapping[int, NDArray[Any]], chosen: Chosen, options: ReadOptions, n_samples: int
) -> clock.Times:
    if options.rate_hz is not None or chosen.time is None:
        rate_hz = options.rate_hz or 1.0
        note = f"times from the rows, {rate_hz:g} per second"
        return clock.Times(np.arange(n_samples) / rate_hz, "", (note,))
    values = arrays[chosen.time]
    if values.dtype.kind in "US":
        return clock.from_texts([str(value) for value in values.tolist()])
    if values.dtype.kind == "O" and n_samples and isinstance(values[0], str):
        return clock.from_texts([str(value) for value in values.tolist()])
    if values.dtype.kind == "M":
        seconds = values.astype("datetime64[us]").astype(np.float64) / 1e6
        times = clock.from_numbers(seconds, "s")
        started = times.started.removesuffix("Z")  # dates without a zone
        note = f"dates with times: counted from the first, {started}"
        return times._replace(started=started, notes=(note,) if started else times.notes)
    if values.dtype.kind == "m":
        return clock.from_numbers(values.astype("timedelta64[us]").astype(np.float64) / 1e6, "s")
    numbers = np.asarray(values, dtype=np.float64)
    try:
        return clock.from_numbers(numbers, chosen.time_unit)
    except Implausible:
        if not options.accept_implausible:
            raise
        return clock.from_numbers(numbers, "s")
