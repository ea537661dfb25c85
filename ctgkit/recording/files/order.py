"""Rows in the order of time: repeated times spread, rows sorted, what starts anew refused.

This module performs no I/O.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit.recording.files.clock import RATE_MAX_HZ

_RUNS_ALIKE = 0.8
"""Share of equally long runs of one time from which on they are samples of one tick."""

_REPEATED_MAX = 0.1
"""Share of rows that may be left out because they repeat a time."""


_TURNS = (
    "rows of several recordings? name the column that says whose each is `sensor`; if they are"
    " samples of one, give --rate"
)
_TURNS_FROM, _TURNS_BPM = 20, 3.0
"""Pairs of rows, and a difference, from which on recordings are seen to take turns. Chosen."""


class Ordered(NamedTuple):
    """Times that increase, and which rows they belong to."""

    sec: NDArray[np.float64]
    rows: NDArray[np.intp] | None
    """Indices of the file's rows, in the order of time; None when all are as they were."""
    warnings: list[str]


class StartsAnew(ValueError):
    """Times fall back into what was before: two recordings, or a clock set back."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(row, reason)
        self.row, self.reason = row, reason


def in_order(sec: NDArray[np.float64], heart_bpm: NDArray[np.float64]) -> Ordered:
    """Return times that increase strictly.

    A time that is repeated evenly (whole seconds at 4 samples/s) is spread over its tick. Rows in
    disorder are sorted. Of rows that repeat a time the first is kept.

    Parameters
    ----------
    sec : ndarray of shape (n_rows,)
        Times as they come, seconds.
    heart_bpm : ndarray of shape (n_rows,)
        Heart rates in the same rows, which tell samples of one tick from several recordings.

    Raises
    ------
    StartsAnew
        When times start again, so that sorting would mix two recordings, or rows of several
        recordings take turns.
    """
    if len(sec) < 2 or (np.diff(sec) > 0).all():
        return Ordered(sec, None, [])
    warnings: list[str] = []
    rows: NDArray[np.intp] | None = None
    if (np.diff(sec) < 0).any():
        rows = np.argsort(sec, kind="stable")
        if (np.diff(sec) <= 0).all():  # backwards: within a repeated time too
            rows = np.arange(len(sec))[::-1]
        else:
            _refuse_mixing(sec, rows)
        falls = int((np.diff(sec) < 0).sum())
        warnings.append(f"rows are not in the order of time ({falls} times): sorted")
        sec = sec[rows]
    spread = _spread(sec)
    if spread is not None:
        tick_s, count, sec = spread
        _refuse_turns(heart_bpm if rows is None else heart_bpm[rows], count)
        warnings.append(f"times repeat: {count} rows of each {tick_s:g} s spread evenly")
    first = np.concatenate(([True], np.diff(sec) > 0))
    if (~first).sum() > max(_REPEATED_MAX * len(sec), 3):
        row = int(np.argmin(first))
        raise StartsAnew(row, f"time {sec[row]:g} s is repeated, as many others are: {_TURNS}")
    if not first.all():
        at_s = float(sec[np.argmin(first)])
        repeated = int((~first).sum())
        warnings.append(f"{repeated} rows repeat a time and are left out, first at {at_s:g} s")
        sec = sec[first]
        rows = np.flatnonzero(first) if rows is None else rows[first]
    return Ordered(sec, rows, warnings)


def _refuse_turns(heart_bpm: NDArray[np.float64], count: int) -> None:
    """Refuse rows of one time that are nearer to the same rows of the next than to one another."""
    heart = np.where(heart_bpm > 0, heart_bpm, np.nan)
    beside, below = (np.abs(heart[n:] - heart[:-n]) for n in (1, count))
    beside, below = beside[~np.isnan(beside)], below[~np.isnan(below)]
    if min(len(beside), len(below)) < _TURNS_FROM:
        return
    if np.median(beside) > 2 * np.median(below) + _TURNS_BPM:
        reason = f"{count} rows of each time jump by {np.median(beside):.0f} beats/min: {_TURNS}"
        raise StartsAnew(1, reason)


def _refuse_mixing(sec: NDArray[np.float64], rows: NDArray[np.intp]) -> None:
    """Refuse when sorting shuffles long stretches of rows into one another."""
    run = np.concatenate(([0], np.cumsum(np.diff(sec) < 0)))
    sorted_runs = run[rows]
    changes = int((np.diff(sorted_runs) != 0).sum())
    runs = int(run[-1]) + 1
    in_two = (np.diff(sec[rows]) == 0) & (np.diff(sorted_runs) != 0)
    if changes > 4 * runs + 4 or in_two.sum() > max(_REPEATED_MAX * len(sec), 3):
        row = int(np.argmax(np.diff(sec) < 0)) + 1
        raise StartsAnew(
            row,
            f"time goes back from {sec[row - 1]:g} s to {sec[row]:g} s: more than one recording in"
            " it, or a clock that was set back",
        )


def _spread(sec: NDArray[np.float64]) -> tuple[float, int, NDArray[np.float64]] | None:
    """Return the tick, the rows in it and the spread times; None where times don't repeat so."""
    starts = np.flatnonzero(np.concatenate(([True], np.diff(sec) > 0)))
    counts = np.diff(np.append(starts, len(sec)))
    inner = counts[1:-1] if len(counts) > 2 else counts[counts == counts.max()]  # whole ticks
    count = int(np.median(inner))
    ticks = sec[starts]
    if count < 2 or (np.abs(inner - count) <= 1).mean() < _RUNS_ALIKE or (ticks % 1).any():
        return None
    tick_s = float(np.percentile(np.diff(ticks), 50, method="lower")) if len(ticks) > 1 else 0.0
    if count > tick_s * RATE_MAX_HZ:
        return None
    within = np.arange(len(sec)) - np.repeat(starts, counts)
    slots = np.maximum(counts, count)
    slots = np.repeat(slots, counts)
    # what a first, cut tick lacks came before it
    if counts[0] < count:
        within[: counts[0]] += count - counts[0]
    return tick_s, count, np.round(np.repeat(ticks, counts) + within * tick_s / slots, 9)
