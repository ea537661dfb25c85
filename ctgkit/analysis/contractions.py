"""Stage 3b: contractions, from the tocogram.

Pure: an array in, contractions out. Works at 1 Hz. External tocograms have no absolute scale, are
re-zeroed and drift, so everything is measured from a moving floor (analysis.md 5.3).
"""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ctgkit.analysis.baseline import moving_max, moving_mean
from ctgkit.analysis.variability import spread

SMOOTH_S = 5
CLOSE_S = 20
"""Pushing efforts closer than this are one contraction: efforts come every 12-15 s."""

FLOOR_WINDOW_S, FLOOR_EVERY_S, FLOOR_PERCENT = 600, 60, 10
"""The resting tone is the 10th percentile over 10 min: it survives drift and re-zeroing."""

PROMINENCE_MIN = 10.0
"""Smallest rise over the valleys to either side, device units."""

PROMINENCE_SHARE = 0.2
"""The same as a share of the window's 5-95 % range."""

FOOT_SHARE = 0.1
"""A contraction begins and ends at this share of its height over the tone beside it."""

VALLEY_SHARE = 0.5
"""Two peaks with a valley higher than this share of the lower one are one contraction."""

TURN_STEP = 4
"""Peaks and valleys are looked for at every 4th second; a contraction lasts 30 s or more."""

DURATION_MIN_S, DURATION_MAX_S = 30.0, 360.0
"""What is shorter or longer is none, seconds (analysis.md 5.3, but there 240 at most: a hypertonus
of four minutes, measured with its feet, has to fit)."""
KNOWN_MIN = 0.5
"""Share of the last 10 min that has to be measured, for anything to be said."""

Floats = NDArray[np.float64]


class Contraction(NamedTuple):
    """One contraction; times are seconds from the start of the array."""

    start: int
    peak: int
    end: int
    height: float
    """Over the resting tone, device units."""


def find(toco: Floats, since: int = 0) -> list[Contraction]:
    """Return the contractions in a window, in order.

    Parameters
    ----------
    toco : array of shape (n_seconds,)
        1 Hz, device units or mmHg; NaN where not measured. At least 10 min.
    since : int
        Index; contractions that end before it may be left out.
    """
    known = np.isfinite(toco)
    if not measured(toco):
        return []
    at = np.arange(toco.size)
    smooth = moving_mean(np.interp(at, at[known], toco[known]), SMOOTH_S // 2)
    smooth[: int(np.argmax(known))] = smooth[np.argmax(known)]
    height = smooth - resting_tone(smooth)
    closed = _close(height)
    prominence = max(PROMINENCE_MIN, PROMINENCE_SHARE * spread(closed[known], 5, 95))
    found = []
    for valley, _, next_valley in _peaks(closed, prominence):
        if next_valley < since:
            continue
        top = valley + int(np.argmax(height[valley : next_valley + 1]))
        rising = np.flatnonzero(height[valley:top] <= _foot(height[top], height[valley]))
        falling = np.flatnonzero(
            height[top : next_valley + 1] <= _foot(height[top], height[next_valley])
        )
        start = valley + int(rising[-1]) + 1 if rising.size else valley
        end = top + int(falling[0]) if falling.size else next_valley
        if DURATION_MIN_S <= end - start <= DURATION_MAX_S:
            found.append(Contraction(start, top, end, float(height[top])))
    return found


def _foot(top: float, valley: float) -> float:
    """Return where a contraction begins or ends; beside it the tone may be higher than at rest."""
    return valley + FOOT_SHARE * (top - valley) if valley > 0 else FOOT_SHARE * top


def measured(toco: Floats) -> bool:
    """Whether the last 10 min of a 1 Hz tocogram say anything; all zero is a lifted sensor."""
    recent = toco[-FLOOR_WINDOW_S:]
    known = recent[np.isfinite(recent)]
    return bool(known.size >= KNOWN_MIN * FLOOR_WINDOW_S and known.max() > known.min())


def resting_tone(toco: Floats) -> Floats:
    """Return the moving floor of a 1 Hz tocogram without gaps, an array of the same shape."""
    coarse = toco[::5]
    window, step = FLOOR_WINDOW_S // 5, FLOOR_EVERY_S // 5
    views = sliding_window_view(coarse, min(window, coarse.size))[::step]
    rank = views.shape[1] * FLOOR_PERCENT // 100
    floors = np.partition(views, rank, axis=1)[:, rank]
    centres = np.arange(len(views)) * FLOOR_EVERY_S + views.shape[1] * 5 / 2
    return np.interp(np.arange(toco.size), centres, floors)


def _close(height: Floats) -> Floats:
    """Fill valleys narrower than :data:`CLOSE_S`."""
    reach = CLOSE_S // 2
    edges = np.full(2 * reach, height[0]), np.full(2 * reach, height[-1])
    widened = moving_max(np.concatenate((edges[0], height, edges[1])), 2 * reach + 1)
    return -moving_max(-widened, 2 * reach + 1)


def _peaks(height: Floats, prominence: float) -> list[tuple[int, int, int]]:
    """Return (valley, peak, valley) of each rise and fall by at least *prominence*."""
    turns = [n * TURN_STEP for n in _turns(height[::TURN_STEP].tolist(), prominence)]
    peaks = [tuple(turns[n : n + 3]) for n in range(0, len(turns) - 2, 2)]
    merged: list[tuple[int, int, int]] = []
    for valley, peak, next_valley in peaks:
        if merged:
            before = merged[-1]
            lower = min(height[before[1]], height[peak])
            if height[valley] > VALLEY_SHARE * lower:
                top = before[1] if height[before[1]] >= height[peak] else peak
                merged[-1] = (before[0], top, next_valley)
                continue
        merged.append((valley, peak, next_valley))
    return merged


def _turns(height: list[float], prominence: float) -> list[int]:
    """Return where the curve turns: valley, peak, valley, …, each by at least *prominence*."""
    turns: list[int] = []
    extreme, rising = 0, False
    for n, value in enumerate(height):
        if (value > height[extreme]) == rising:
            extreme = n
        elif abs(value - height[extreme]) >= prominence:
            turns.append(extreme)
            extreme, rising = n, not rising
    if turns and not rising:
        turns.append(extreme)
    return turns
