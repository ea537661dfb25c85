"""Stage 1: which heart-rate samples are the fetus, and why the others are not.

Pure: arrays in, arrays out. Everything here works on the 4 Hz grid of :mod:`ctgkit.analysis.trace`.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ctgkit.samples import RATE_HZ

ACCEPTED_MIN_BPM, ACCEPTED_MAX_BPM = 50.0, 220.0
"""Fetal heart rates that are believed (notes/analysis.md 5.1; monitors display 50-210)."""

JUMP_BPM, JUMP_S = 25.0, 2.0
"""A change larger than this within so little time has no flank and is not the fetus' own: the
steepest decelerations fall some 15 beats/min each second (notes/analysis.md 5.1)."""

ISLAND_S = 5.0
"""A run of signal between two breaks that is shorter than this is noise (notes/analysis.md 5.1)."""

BREAK_S = 5.0
"""A loss longer than this separates two runs. Chosen: half of all losses last under 2 s."""

EXCURSION_S = 30.0
"""A jump that is undone within this time is an artefact (notes/analysis.md 5.1)."""

RATIO_TOLERANCE = 0.06
"""How near to twice or half the previous level a doubled or halved rate lies, as a share."""

CAPTURE_BPM, CAPTURE_S = (20.0, 60.0), 0.5
"""A step of this size within this time suggests that the monitor has turned to the mother's pulse,
or back (notes/analysis.md 5.1; the fetus' own steps are spread over seconds)."""


class Reason(IntEnum):
    """Why a sample is not used; 0 is a good one."""

    GOOD = 0
    NO_SIGNAL = 1
    OUT_OF_RANGE = 2
    ISLAND = 3
    EXCURSION = 4
    DOUBLED = 5
    HALVED = 6


def judge(fhr_bpm: NDArray[np.float64]) -> NDArray[np.int8]:
    """Return the :class:`Reason` of each sample.

    The first and the last run of the array are incomplete: the first is taken as it is, the
    last counts as complete. So judge with more context than needed, and again when more is known.

    Parameters
    ----------
    fhr_bpm : array of shape (n_samples,)
        4 Hz, beats/min; 0 or NaN where there is no signal.

    Returns
    -------
    array of shape (n_samples,)
        Values of :class:`Reason`.
    """
    present = fhr_bpm > 0
    believed = present & (fhr_bpm >= ACCEPTED_MIN_BPM) & (fhr_bpm <= ACCEPTED_MAX_BPM)
    reason = np.where(believed, Reason.GOOD, Reason.OUT_OF_RANGE).astype(np.int8)
    reason[~present] = Reason.NO_SIGNAL
    where = np.flatnonzero(believed)
    if where.size < 2:
        reason[where] = Reason.ISLAND
        return reason
    gap_s = np.diff(where) / RATE_HZ
    jump = (np.abs(np.diff(fhr_bpm[where])) > JUMP_BPM) & (gap_s <= JUMP_S)
    first = np.concatenate(([0], np.flatnonzero(jump | (gap_s > BREAK_S)) + 1))
    if first.size > 1:
        _judge_runs(fhr_bpm[where], where, first, jump, reason)
    return reason


def _judge_runs(
    value: NDArray[np.float64],
    where: NDArray[np.intp],
    first: NDArray[np.intp],
    jump: NDArray[np.bool_],
    reason: NDArray[np.int8],
) -> None:
    """Write the reasons of whole runs; *first* indexes their first samples in *value*."""
    count = np.diff(np.append(first, value.size))
    last = first + count - 1
    length_s = (where[last] - where[first] + 1) / RATE_HZ
    level = np.add.reduceat(value, first) / count
    short = length_s < ISLAND_S
    short[0] = False
    jumped_in = np.concatenate(([False], jump[first[1:] - 1]))
    jumped_out = np.append(jumped_in[1:], False)

    runs = np.arange(first.size)
    trusted = np.maximum.accumulate(np.where(short, 0, runs))
    before = level[np.concatenate(([0], trusted[:-1]))]
    after = np.append(level[1:], level[-1])
    ratio = level / before
    verdict = np.zeros(first.size, np.int8)
    undone = jumped_in & jumped_out & (np.abs(after - before) < JUMP_BPM)
    verdict[undone & (length_s < EXCURSION_S)] = Reason.EXCURSION
    verdict[short] = Reason.ISLAND
    verdict[jumped_in & (np.abs(ratio - 2) < 2 * RATIO_TOLERANCE)] = Reason.DOUBLED
    verdict[jumped_in & (np.abs(ratio - 0.5) < 0.5 * RATIO_TOLERANCE)] = Reason.HALVED
    if verdict.any():
        reason[where] = np.repeat(verdict, count)


def captured_s(fhr_bpm: NDArray[np.float64]) -> float:
    """Return how long the mother's pulse may have been recorded, seconds.

    That is what lies between a drop of 20-60 beats/min without a flank and a rise without one.

    Parameters
    ----------
    fhr_bpm : array of shape (n_samples,)
        4 Hz, beats/min, NaN where there is no good signal; some 10 min.
    """
    low, high = CAPTURE_BPM
    where = np.flatnonzero(np.isfinite(fhr_bpm))
    step = np.diff(fhr_bpm[where])
    size = np.abs(step)
    sudden = (np.diff(where) <= CAPTURE_S * RATE_HZ) & (size >= low) & (size <= high)
    at, rises = where[1:][sudden], step[sudden] > 0
    total = 0.0
    for n in range(at.size - 1):
        if not rises[n] and rises[n + 1]:
            total += float(at[n + 1] - at[n]) / RATE_HZ
    return total


def below_share(fhr_bpm: NDArray[np.float64], limit_bpm: float) -> float | None:
    """Return the share of a time with a heart rate below a limit.

    None when less than half of it has a usable signal.

    Parameters
    ----------
    fhr_bpm : array of shape (n_samples,)
        Beats/min, NaN where there is no good signal.
    limit_bpm : float
        Beats/min.
    """
    known = np.count_nonzero(np.isfinite(fhr_bpm))
    if known < fhr_bpm.size / 2:
        return None
    return round(int(np.count_nonzero(fhr_bpm < limit_bpm)) / int(known), 2)
