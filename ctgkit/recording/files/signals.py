"""Signals at fixed rates -> recordings: what WFDB, EDF and FHRMA have in common.

This module performs no I/O.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit.errors import RecordingError
from ctgkit.recording import Recording
from ctgkit.recording.files import channels
from ctgkit.recording.files.channels import Chosen, NotFound
from ctgkit.recording.files.clocks import Series
from ctgkit.recording.files.hearts import Heart, hearts_of
from ctgkit.recording.files.joining import numbered, recording_of
from ctgkit.recording.files.options import ReadOptions, Report


class Signal(NamedTuple):
    """One signal of a file."""

    name: str
    unit: str
    sec: NDArray[np.float64]
    """Seconds from the start; strictly increasing."""
    values: NDArray[np.float64]
    """NaN where the file itself marks no value."""


def chosen_of(
    path: Path, names: Sequence[str], units: Sequence[str], options: ReadOptions, report: Report
) -> Chosen:
    """Choose among a file's signals; see :func:`~ctgkit.recording.files.channels.choose`.

    Raises
    ------
    RecordingError
        When there is none, or the choice is the user's.
    """
    if options.rate_hz is not None:
        report.note("--rate is not used: the file says its own")
    try:
        return channels.choose(names, options, report, units, what="signal", timed=False)
    except NotFound as error:
        raise RecordingError(str(path), 0, str(error)) from error


def recordings_of(
    path: Path,
    signals: dict[int, Signal],
    chosen: Chosen,
    options: ReadOptions,
    report: Report,
    labels: dict[str, Any],
) -> Iterator[Recording]:
    """Yield a recording per fetus.

    Parameters
    ----------
    path : Path
        For errors.
    signals : dict
        By the index that *chosen* has; those that were chosen at least.
    chosen : Chosen
        What they are.
    options, report : ReadOptions, Report
        What the user says; gets what was found out.
    labels : dict
        What is known besides, as keyword arguments of a Recording.
    """
    others = [
        (name, Series(signals[n].sec, signals[n].values))
        for name, n in (("toco", chosen.toco), ("contraction intensity", chosen.spasms))
        if n is not None
    ]
    measured: list[tuple[int, str, Signal]] = []
    for fetus, probes in sorted(chosen.hearts.items()):
        for n in probes:
            one = signals[n]
            own = one._replace(values=np.where(one.values == 0, np.nan, one.values))
            measured.append((fetus, channels.quoted(one.name), own))
    for sec, hearts in _with_times(path, measured, options, report):
        for heart in hearts:
            yield recording_of(Series(sec, heart.fhr_bpm), others, numbered(labels, heart), report)


def _with_times(
    path: Path, measured: list[tuple[int, str, Signal]], options: ReadOptions, report: Report
) -> list[tuple[NDArray[np.float64], list[Heart]]]:
    """Return hearts with their times: compared and joined where they have the same."""
    sec = measured[0][2].sec
    if all(np.array_equal(one.sec, sec) for _, _, one in measured):
        values = [(fetus, name, one.values) for fetus, name, one in measured]
        try:
            return [(sec, hearts_of(values, options, report))]
        except ValueError as error:
            raise RecordingError(str(path), 0, str(error)) from error
    wanted = [one for one in measured if options.fetus in (0, one[0])]
    if not wanted:
        reason = f"--fetus {options.fetus}: it has {len(measured)} heart rates"
        raise RecordingError(str(path), 0, reason)
    report.note(f"{len(measured)} heart rates at different rates: each a recording")
    return [
        (one.sec, [Heart(number, name, one.values)])
        for number, (_, name, one) in enumerate(wanted, 1)
    ]


def without_absent(one: Recording, present: NDArray[np.bool_]) -> Recording:
    """Return a recording without the places that hold no sample, as our own EDF marks them."""
    from dataclasses import replace

    return replace(
        one,
        sec_from_start=one.sec_from_start[present],
        fhr_bpm=one.fhr_bpm[present],
        uterus=one.uterus[present],
        spasms=one.spasms[present],
    )
