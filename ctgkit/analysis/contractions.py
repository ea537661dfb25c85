"""Stage 3b: contractions, from the tocogram.

Pure: an array in, contractions out. Works at 1 Hz. External tocograms have no absolute scale, are
re-zeroed and drift, so everything is measured from a moving floor (notes/analysis.md 5.3).
"""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ctgkit.analysis.variability import spread
from ctgkit.analysis.windows import moving_max, moving_mean

SMOOTH_S = 5
CLOSE_S = 20
"""Pushing efforts closer than this are one contraction: efforts come every 12-15 s."""

FLOOR_WINDOW_S, FLOOR_EVERY_S, FLOOR_PERCENT = 600, 120, 10
"""The resting tone is the 10th percentile over 10 min: it survives drift and re-zeroing."""

PROMINENCE_MIN = 10.0
"""Smallest rise over the valleys to either side, device units."""

PROMINENCE_SHARE = 0.2
"""The same as a share of the window's 5-95 % range."""

FOOT_SHARE = 0.1
"""A contraction begins and ends at this share of its height over the tone beside it."""

VALLEY_SHARE, APART_S = 0.5, 75.0
"""Two peaks with a valley higher than this share of the lower one are one contraction, unless they
are so far apart, seconds: under a saturated or re-zeroed tone valleys stay high, and even in
tachysystole contractions come some 90 s apart (chosen)."""

LONG_S, LONG_FOOT_SHARE = 150.0, 0.3
"""What lasts longer has its feet in a drift: it is measured higher up (chosen)."""

STEP_SHARES, STEP_S, LIFTED_S, LIFTED_RANGE = (0.15, 0.7), 4, 30, 1.0
"""A rise or fall between these shares of the height within 4 s, with a flat line (range of 1 unit,
or no signal) for the 30 s beyond, is a belt that was put on or taken off: contractions build
up over 20 s and more, and a belt that is worn shows the mother's breathing (chosen)."""

TURN_STEP = 4
"""Peaks and valleys are looked for at every 4th second; a contraction lasts 30 s or more."""

DURATION_MIN_S, DURATION_MAX_S = 30.0, 360.0
"""Shorter or longer is none, s (notes/analysis.md 5.3, but there 240 at most: a hypertonus
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
    jump = np.abs(smooth[STEP_S + 1 :] - smooth[: -STEP_S - 1])
    found = []
    for valley, _, next_valley in _peaks(closed, prominence):
        if next_valley < since:
            continue
        top = valley + int(np.argmax(height[valley : next_valley + 1]))
        start, end = _ends(height, valley, top, next_valley, FOOT_SHARE)
        if end - start > LONG_S:
            start, end = _ends(height, valley, top, next_valley, LONG_FOOT_SHARE)
        long_enough = DURATION_MIN_S <= end - start <= DURATION_MAX_S
        if not long_enough:
            continue
        least = (STEP_SHARES[1] - STEP_SHARES[0]) * (
            height[top] - height[valley : next_valley + 1].min()
        )
        steep = least <= jump[max(0, valley - STEP_S) : next_valley + 1].max()
        if not (steep and _is_belt(toco, smooth, valley, top, next_valley)):
            found.append(Contraction(start, top, end, float(height[top])))
    return found


def _ends(height: Floats, valley: int, top: int, next_valley: int, share: float) -> tuple[int, int]:
    """Return where a contraction begins and ends, *share* of its height over the tone beside it."""
    rising = np.flatnonzero(height[valley:top] <= _foot(height[top], height[valley], share))
    after = height[top : next_valley + 1]
    falling = np.flatnonzero(after <= _foot(height[top], height[next_valley], share))
    start = valley + int(rising[-1]) + 1 if rising.size else valley
    return start, top + int(falling[0]) if falling.size else next_valley


def _is_belt(toco: Floats, smooth: Floats, valley: int, top: int, next_valley: int) -> bool:
    """Whether a rise or fall is that of a belt put on or taken off."""
    before, after = toco[max(0, valley - LIFTED_S) : top], toco[top : next_valley + LIFTED_S]
    return _steps(smooth[valley : top + 1], before) or _steps(
        smooth[top : next_valley + 1][::-1], after[::-1]
    )


def _steps(rise: Floats, from_lifted: Floats) -> bool:
    """Whether a flank is a step from a flat line; both from the valley to the top."""
    low, high = (rise[0] + share * (rise[-1] - rise[0]) for share in STEP_SHARES)
    below = np.flatnonzero(rise <= low)
    above = np.flatnonzero(rise >= high)
    if not below.size or not above.size or above[0] - below[-1] > STEP_S:
        return False
    foot = from_lifted.size - (rise.size - int(below[-1])) - SMOOTH_S // 2
    line = from_lifted[max(0, foot - LIFTED_S) : max(0, foot)]
    known = line[np.isfinite(line)]
    return known.size < LIFTED_S / 2 or float(np.ptp(known)) <= LIFTED_RANGE


def _foot(top: float, valley: float, share: float) -> float:
    """Return where a contraction begins or ends; beside it the tone may be higher than at rest."""
    return valley + share * (top - valley) if valley > 0 else share * top


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
            near = peak - before[1] < APART_S
            if near and height[valley] > VALLEY_SHARE * lower:
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
