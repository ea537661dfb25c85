"""Columns of one file -> a recording, each channel at its own rows.

This module performs no I/O.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctgkit.recording import Recording
from ctgkit.recording.files import clocks
from ctgkit.recording.files.hearts import Heart
from ctgkit.recording.files.options import Report


def joined(
    sec: NDArray[np.float64],
    heart: Heart,
    others: list[tuple[str, NDArray[np.float64]]],
    labels: dict[str, Any],
    report: Report,
) -> Recording:
    """Return a recording of columns that may each be filled in rows of their own."""
    fhr = clocks.own_series(sec, heart.fhr_bpm)
    series = []
    for name, column in others:
        turns = clocks.in_turns(sec, [heart.fhr_bpm, column]) if len(fhr.sec) == len(sec) else None
        if turns:
            fhr = turns[0]
        series.append((name, turns[1] if turns else clocks.own_series(sec, column)))
    if len(fhr.sec) < len(sec):
        report.note(f"the heart rate has one sample every {clocks.step_of(fhr.sec):.4g} s")
    return recording_of(fhr, series, numbered(labels, heart), report)


def recording_of(
    heart: clocks.Series,
    others: list[tuple[str, clocks.Series]],
    labels: dict[str, Any],
    report: Report,
) -> Recording:
    """Return a recording at the heart rate's times of channels that each have their own."""
    whole = clocks.join(heart, others)
    report.note(*whole.notes)
    absent = np.full(len(whole.sec), np.nan)
    found = dict(zip((name for name, _ in others), whole.others, strict=True))
    return Recording(
        sec_from_start=whole.sec,
        fhr_bpm=whole.fhr_bpm,
        uterus=found.get("toco", absent),
        spasms=found.get("contraction intensity", absent.copy()),
        **labels,
    )


def numbered(labels: dict[str, Any], heart: Heart) -> dict[str, Any]:
    """Return a recording's labels with the number of its fetus, where there are several."""
    if not heart.fetus:
        return labels
    comments = (*labels.get("comments", ()), f"fetus {heart.fetus}: {heart.name}")
    more: dict[str, Any] = {"comments": comments}
    if labels.get("sensor_id") and heart.fetus > 1:
        more["sensor_id"] = f"{labels['sensor_id']}-fetus-{heart.fetus}"
    return labels | more
