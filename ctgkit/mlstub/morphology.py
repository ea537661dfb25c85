"""Stage 3a: accelerations and decelerations, from the signal and its baseline.

Pure: arrays in, zones out. Works at 1 Hz.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit.mlstub.baseline import moving_mean

SMOOTH_S = 5
"""Length of the moving mean before zero crossings are looked for, seconds: an event ends where
the heart rate is back, not at the first beat that touches the baseline."""

HEIGHT_BPM = 12.0
"""Smallest peak deviation of the smoothed signal, beats/min. The guidelines say 15 (FIGO 2015,
NICHD 2008) of the signal as drawn, which is some 3 beats/min more than its mean over 5 s."""

LEVEL_BPM, LEVEL_S = 10.0, 14.0
"""An event is beyond 10 beats/min for at least 14 s. The guidelines' 15 s count between the
crossings of a baseline that nobody knows to a beat; scored against experts (docs/analysis.md),
the time beyond 10 beats/min separates best what they mark from what they leave."""

MISSING_MAX = 1 / 3
"""Largest share of the event without signal (FHRMA's rule, analysis.md 3)."""

PROLONGED_S = 120.0
"""From here on a deceleration is followed to its true end (NICHD 2008: prolonged from 2 min)."""

BASELINE_CHANGE_S = 600.0
"""A deviation that lasts this long is a change of the baseline (FIGO 2015, NICHD 2008)."""

RETURN_BPM, RETURN_S = 10.0, 15
"""A prolonged deceleration ends where the signal stays within 10 beats/min of the level before
it for 15 s."""

BEFORE_S = 90
"""How far back the level before a prolonged deceleration is measured, seconds."""

Floats = NDArray[np.float64]


class Zone(NamedTuple):
    """A deviation from the baseline; indices are seconds from the start of the arrays."""

    sign: int
    """1 above, -1 below the baseline."""
    start: int
    end: int
    """First index after it."""
    depth_bpm: float
    """Largest deviation of the smoothed signal, positive."""
    area_bpm_s: float
    missing_share: float


def zones(fhr_bpm: Floats, baseline_bpm: Floats, since: int = 0) -> list[Zone]:
    """Return the accelerations and decelerations that end after *since*, in order.

    Parameters
    ----------
    fhr_bpm : array of shape (n_seconds,)
        1 Hz, beats/min; NaN where there is no signal.
    baseline_bpm : array of shape (n_seconds,)
        Beats/min, finite.
    since : int
        Index; deviations that end before it are left out.
    """
    known = np.isfinite(fhr_bpm)
    if not known[since:].any():
        return []
    at = np.arange(fhr_bpm.size)
    filled = np.interp(at, at[known], fhr_bpm[known])
    deviation = moving_mean(filled - baseline_bpm, SMOOTH_S // 2)
    below = (deviation < 0).astype(np.int8)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(below)) + 1))
    ends = np.append(starts[1:], deviation.size)
    size = np.abs(deviation)
    depth = np.maximum.reduceat(size, starts)
    area = np.add.reduceat(size, starts)
    beyond_s = np.add.reduceat((size >= LEVEL_BPM).astype(float), starts)
    missing = 1 - np.add.reduceat(known.astype(float), starts) / (ends - starts)
    clear = (depth >= HEIGHT_BPM) & (beyond_s >= LEVEL_S)
    found = [
        Zone(
            -1 if below[starts[n]] else 1,
            int(starts[n]),
            int(ends[n]),
            float(depth[n]),
            float(area[n]),
            float(missing[n]),
        )
        for n in np.flatnonzero(clear & (missing <= MISSING_MAX) & (ends > since))
    ]
    return _follow_prolonged(found, filled, baseline_bpm)


def _follow_prolonged(found: list[Zone], filled: Floats, baseline_bpm: Floats) -> list[Zone]:
    """Return the zones with prolonged decelerations followed to their true end.

    While the heart rate stays low for minutes, the baseline begins to follow it; what counts is
    the level before. Past 10 min it is the baseline that has changed.
    """
    result: list[Zone] = []
    for zone in found:
        if result and zone.start < result[-1].end:
            continue  # part of a prolonged deceleration
        result.append(zone)
        before = slice(max(0, zone.start - BEFORE_S), zone.start)
        if zone.sign > 0 or before.stop - before.start < BEFORE_S // 2:
            continue
        level = float(np.median(baseline_bpm[before]))
        horizon = zone.start + int(BASELINE_CHANGE_S) + RETURN_S
        back = filled[zone.start : horizon] > level - RETURN_BPM
        bottom = int(np.argmin(filled[zone.start : zone.end]))
        end = zone.start + bottom + _first_run(back[bottom:], RETURN_S)
        duration = end - zone.start
        if max(PROLONGED_S, zone.end - zone.start) < duration <= BASELINE_CHANGE_S:
            below = level - filled[zone.start : end]
            result[-1] = zone._replace(
                end=end, depth_bpm=float(below.max()), area_bpm_s=float(below.clip(0).sum())
            )
    return result


def _first_run(flags: NDArray[np.bool_], length: int) -> int:
    """Return where the first run of *length* true values starts; the size when there is none."""
    total = np.concatenate(([0], np.cumsum(flags)))
    complete = np.flatnonzero(total[length:] - total[:-length] == length)
    return int(complete[0]) if complete.size else flags.size
