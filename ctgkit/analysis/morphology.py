"""Stage 3a: accelerations and decelerations, from the signal and its baseline.

Pure: arrays in, zones out. Works at 1 Hz.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit.analysis.windows import moving_mean

SMOOTH_S = 5
"""Length of the moving mean before zero crossings are looked for, seconds: an event ends where
the heart rate is back, not at the first beat that touches the baseline."""

HEIGHT_BPM = {1: 15.0, -1: 9.0}
"""Smallest peak of the smoothed deviation, beats/min (FIGO 2015, NICHD 2008: 15); where the
variability is reduced, late decelerations count from 10 on (FIGO 2015), in the signal as drawn."""

TOUCH_BPM = 0.1
"""Nearer than this the signal is on the baseline."""

AREA_BPM_S = {1: 200.0, -1: 350.0}
"""Least area. 15 beats/min for 15 s are 225 as a box and 113 as a triangle; scored against experts
(docs/analysis.md), the area separates best what they mark from what they leave: shallow
late decelerations that last are marked, short ones are left."""

NOISE_SHARE = 0.75
"""An event is at least this share of the usual bandwidth: what variability does alone is none."""

SHOULDER_SHARE, SHOULDER_GAP_S, SHOULDER_DEPTH_BPM = 0.25, 20, 20.0
"""An acceleration within 20 s of a deceleration of 20 beats/min or more, and of less than a quarter
of its area, is its shoulder or the overshoot of its return."""

RETURNING_BPM = 80.0
"""What rises from a level below this returns from a deceleration, or tries to, and accelerates not
(chosen: FIGO 2015 calls for intervention below 80)."""

MISSING_MAX = 1 / 3
"""Largest share of the event without signal (FHRMA's rule, notes/analysis.md 3)."""

PROLONGED_S = 120.0
"""From here on a deceleration is followed to its true end (NICHD 2008: prolonged from 2 min)."""

BASELINE_CHANGE_S = 600.0
"""A deviation that lasts this long is a change of the baseline (FIGO 2015, NICHD 2008)."""

RETURN_BPM, RETURN_S = 15.0, 15
"""A prolonged deceleration ends where the signal stays within 15 beats/min of the level before
it for 15 s."""

AGAIN_BPM = 30.0
"""A fall to this after such a return, 15 beats/min more, is another deceleration although the
baseline was not quite reached; less is the tail of the one before."""

BEFORE_S = 90
"""How far back the level before a prolonged deceleration is measured, seconds."""

_FOLLOWED_S = int(BASELINE_CHANGE_S) + RETURN_S

STEP_BPM = 15.0
"""A baseline that falls by this within 2 x 90 s may follow a prolonged deceleration."""

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


def fill(fhr_bpm: Floats) -> Floats:
    """Return the heart rate with its gaps bridged by lines; there has to be some."""
    known = np.flatnonzero(np.isfinite(fhr_bpm))
    return np.interp(np.arange(fhr_bpm.size), known, fhr_bpm[known])


def zones(
    fhr_bpm: Floats,
    filled: Floats,
    baseline_bpm: Floats,
    since: int = 0,
    bandwidth_bpm: float = 0.0,
) -> list[Zone]:
    """Return the accelerations and decelerations that end after *since*, in order.

    Parameters
    ----------
    fhr_bpm, filled : array of shape (n_seconds,)
        1 Hz, beats/min; NaN where there is no signal, and the same with its gaps filled.
    baseline_bpm : array of shape (n_seconds,)
        Beats/min, finite.
    since : int
        Index; deviations that end before it are left out.
    bandwidth_bpm : float
        Usual variability, beats/min: smaller deviations are its own.
    """
    if not np.isfinite(fhr_bpm[since:]).any():
        return []
    deviation = moving_mean(filled - baseline_bpm, SMOOTH_S // 2)
    side = (deviation > TOUCH_BPM).astype(np.int8) - (deviation < -TOUCH_BPM)
    edges = np.flatnonzero(side[1:] != side[:-1]) + 1
    starts = np.concatenate(([0], edges))
    size = np.abs(deviation)
    large = np.maximum.reduceat(size, starts) >= min(HEIGHT_BPM.values())
    ends = np.append(edges, size.size)
    found = []
    for start, end in zip(starts[large].tolist(), ends[large].tolist(), strict=True):
        returning = side[start] > 0 and baseline_bpm[start] < RETURNING_BPM
        if returning or end <= since - BASELINE_CHANGE_S:
            continue
        spans = [(start, end)]
        if end - start >= BASELINE_CHANGE_S:
            spans = _apart(start, size[start:end]) if side[start] < 0 else []
        for low, high in spans:
            zone = _measured(
                int(side[start]), low, high, size[low:high], fhr_bpm[low:high], bandwidth_bpm
            )
            found += [zone] if zone else []
    followed = _prolonged(found, filled, baseline_bpm)
    rest = []
    for zone in found:
        over = [p.end for p in followed if p.start < zone.end and zone.start < p.end]
        low = max(over, default=zone.start)
        if not over:
            rest.append(zone)
        elif zone.sign < 0 and size[low : zone.end].max(initial=0.0) >= AGAIN_BPM:
            deepest = int(np.argmax(size[low : zone.end]))
            low += int(np.argmin(size[low : low + deepest + 1]))
            again = slice(low, zone.end)
            left = _measured(-1, low, zone.end, size[again], fhr_bpm[again], bandwidth_bpm)
            rest += [left] if left else []
    found = sorted(rest + followed, key=lambda z: z.start)
    return [z for z in _without_shoulders(found) if z.end > since]


def _apart(start: int, depth: Floats) -> list[tuple[int, int]]:
    """Return the parts of a long deviation between its returns, which miss the baseline."""
    back = depth < RETURN_BPM
    edges = np.flatnonzero(np.diff(np.concatenate(([False], back, [False])).astype(np.int8)))
    cuts = [0]
    for low, high in edges.reshape(-1, 2).tolist():
        if high - low >= RETURN_S:
            cuts.append(low + int(np.argmin(depth[low:high])))
    cuts.append(depth.size)
    return [(start + a, start + b) for a, b in pairwise(cuts) if 0 < b - a < BASELINE_CHANGE_S]


def _measured(
    sign: int, start: int, end: int, size: Floats, fhr_bpm: Floats, bandwidth_bpm: float
) -> Zone | None:
    """Return a deviation that is large and long enough, and measured well enough."""
    depth = float(size.max())
    area_bpm_s = float(size.sum())
    least_bpm = max(HEIGHT_BPM[sign], NOISE_SHARE * bandwidth_bpm)
    missing = int(np.count_nonzero(np.isnan(fhr_bpm))) / (end - start)
    if depth < least_bpm or area_bpm_s < AREA_BPM_S[sign] or missing > MISSING_MAX:
        return None
    return Zone(sign, start, end, depth, area_bpm_s, missing)


def _without_shoulders(found: list[Zone]) -> list[Zone]:
    """Return the zones without accelerations that are the shoulder of a deceleration."""
    falls = [z for z in found if z.sign < 0 and z.depth_bpm >= SHOULDER_DEPTH_BPM]
    return [
        z
        for z in found
        if z.sign < 0
        or not any(
            z.area_bpm_s < SHOULDER_SHARE * f.area_bpm_s
            and max(z.start - f.end, f.start - z.end) < SHOULDER_GAP_S
            for f in falls
        )
    ]


def _prolonged(found: list[Zone], filled: Floats, baseline_bpm: Floats) -> list[Zone]:
    """Return the prolonged decelerations, followed to their true end.

    While the heart rate stays low for minutes, the baseline begins to follow it; what counts is
    the level before. Past 10 min it is the baseline that has changed.
    """
    falls = [z for z in found if z.sign < 0]
    followed = [*(z.start for z in falls[1:]), baseline_bpm.size]
    starts = [
        z.start
        for z, next_start in zip(falls, followed, strict=False)
        if not _is_back(z, next_start, baseline_bpm)
    ]
    starts += _steps_down(filled, baseline_bpm)
    result: list[Zone] = []
    for start in sorted(starts):
        covered = bool(result) and start < result[-1].end
        if not BEFORE_S // 2 <= start < filled.size or covered:
            continue
        before = baseline_bpm[max(0, start - BEFORE_S) : start - BEFORE_S // 4]
        below = before.sum() / before.size - filled[start : start + _FOLLOWED_S]
        bottom = int(np.argmax(below[: int(PROLONGED_S)]))
        soon = below[bottom : int(PROLONGED_S) + RETURN_S] < RETURN_BPM
        if _first_run(soon, RETURN_S) < soon.size:
            continue  # most are over within 2 min: spare them the rest
        end = bottom + _first_run(below[bottom:] < RETURN_BPM, RETURN_S)
        if not PROLONGED_S < end <= BASELINE_CHANGE_S:
            continue
        area = float(below[:end].clip(0).sum())
        if below[:end].sum() >= HEIGHT_BPM[-1] * end:
            result.append(Zone(-1, start, start + end, float(below[:end].max()), area, 0.0))
    return result


def _is_back(zone: Zone, next_start: int, baseline_bpm: Floats) -> bool:
    """Whether a deceleration has plainly ended: within 2 min, on a baseline that stayed."""
    if next_start - zone.end < RETURN_S or zone.end - zone.start > PROLONGED_S:
        return False
    return bool(baseline_bpm[zone.end] > baseline_bpm[zone.start] - STEP_BPM)


def _steps_down(filled: Floats, baseline_bpm: Floats) -> list[int]:
    """Return where the signal leaves a baseline that falls by 15 beats/min within 3 min."""
    reach = BEFORE_S
    if baseline_bpm.size <= 2 * reach:
        return []
    fall = baseline_bpm[: -2 * reach] - baseline_bpm[2 * reach :]
    falling = fall > STEP_BPM
    edges = np.flatnonzero(np.diff(np.concatenate(([False], falling, [False])).astype(np.int8)))
    starts = []
    for low, high in edges.reshape(-1, 2):
        level = baseline_bpm[low]
        window = filled[low : high + 2 * reach]
        left = np.flatnonzero(window > level - RETURN_BPM)
        starts.append(int(low + left[-1] + 1) if left.size else int(low))
    return starts


def _first_run(flags: NDArray[np.bool_], length: int) -> int:
    """Return where the first run of *length* true values starts; the size when there is none."""
    breaks = np.concatenate(([-1], np.flatnonzero(~flags), [flags.size]))
    long_enough = np.flatnonzero(np.diff(breaks) > length)
    return int(breaks[long_enough[0]]) + 1 if long_enough.size else flags.size
