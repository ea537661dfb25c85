"""Stage 2a: which level is the baseline, decided over minutes (a hidden Markov model).

Pure: arrays in, arrays out. With deep, repeated decelerations the heart rate spends more time
at their floor than at the baseline, so that no average and no median tells the two apart. What
does: where it was before, which level the returns reach, how long and how far a fetus
accelerates (seldom 40 beats/min, seldom minutes) and decelerates (often 60 beats/min, seldom
10 min), and where baselines lie. Each is a cost here, and the cheapest course of levels (Viterbi)
is the first estimate, which :mod:`.baseline` refines. What was chosen and how: docs/analysis.md.

All costs are per mean of 5 s that counts in full.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ctgkit.analysis.windows import moving_max

STEP_BINS: Final = 6
"""The level may change every 30 s, with each estimate."""

OPEN_STEPS: Final = 2
"""Steps that are judged again: the signal of the last 60 s isn't settled."""

LEVELS_BPM: Final = np.arange(60.0, 212.0, 4.0)

NEAR_BPM, FAR_BPM = 4.0, 7.0
"""Nearer to the level than this costs nothing, further costs in full; between, a share."""

BELOW, ABOVE = 1.0, 0.95
"""Being below the level (decelerating), and above it (accelerating): a fetus spends more time
above its baseline than below."""

TALL, TALL_BPM = 3.0, (40.0, 75.0)
"""What is added over this range of distances above the level: decelerations of any depth are
common, accelerations of more than 40 beats/min are not."""

USUAL_BPM, UNUSUAL, UNUSUAL_BPM = (110.0, 165.0), 0.2, 30.0
"""What a level costs that is 30 beats/min outside (FIGO 2015: 110-160); less near, more further, by
the square: 90 is seen in labour, 60 is the floor of a deceleration."""

CHANGE_PER_BPM, FALL_MAX, RISE_MAX = 1.0, 14.0, 20.0
"""A change of level, per beat/min and at most: a level drifts by small steps, and falls within a
minute or two of signal that fits nothing else. A rise needs more: minutes of accelerations that
run into each other are common, a baseline that jumps up isn't."""

UNREACHED, UNREACHED_BPM = 0.5, (8.0, 25.0)
RETURN_BINS, RETURN_BACK, RETURN_AHEAD = 3, 38, 12
"""A level costs up to so much more that lies this far above all returns (means of 15 s) of the
last 3 min and the next one: a baseline is what decelerations return to."""

FAMILIAR, FAMILIAR_STEPS, FAMILIAR_BPM = 0.15, 30.0, 8.0
"""A level that was the baseline lately costs up to so much less; what was long ago counts less with
this time constant (15 min), and so does what was so near."""

FLANK_SHARE, STEADY_REACH, STEADY_RANGE_BPM = 0.35, 2, 10.0
"""What a mean counts where the heart rate moves, as a share of one where it is steady; half way
between where the means range over 10 beats/min within 10 s to either side. A baseline is where the
heart rate stays: the floor of a U and the top of a rounded acceleration are passed, a return to
the baseline lasts."""

OTHER_BPM, OTHER_COST = 12.0, 8.0
"""A level this far away is nearly as likely when it costs at most so much more: 40 s that fit it
would be enough."""

_BETWEEN = LEVELS_BPM[:, None] - LEVELS_BPM
_CHANGES = np.minimum(CHANGE_PER_BPM * np.abs(_BETWEEN), np.where(_BETWEEN > 0, RISE_MAX, FALL_MAX))
"""What each change costs, of shape (n_to, n_from)."""

_FAR = 256
_DISTANCES = np.arange(-_FAR, _FAR + 1.0)
"""Heart rates are between 50 and 220 beats/min, and 0 where there never was one."""

Floats = NDArray[np.float64]


@lru_cache(maxsize=1)
def _tables() -> tuple[Floats, Floats]:
    """Return the cost by distance from the level, and by level."""
    up, down = np.maximum(_DISTANCES, 0), np.maximum(-_DISTANCES, 0)

    def ramp(distance: Floats, low: float, high: float) -> Floats:
        return np.clip((distance - low) / (high - low), 0, 1)

    distance = (
        BELOW * ramp(down, NEAR_BPM, FAR_BPM)
        + ABOVE * ramp(up, NEAR_BPM, FAR_BPM)
        + TALL * ramp(up, *TALL_BPM)
    )
    low, high = USUAL_BPM
    outside = np.maximum(0, low - LEVELS_BPM) + np.maximum(0, LEVELS_BPM - high)
    return distance, UNUSUAL * (outside / UNUSUAL_BPM) ** 2


class Plateaus:
    """The levels of one sensor.

    Parameters
    ----------
    keep_steps : int
        How many steps are remembered one by one; what was before them is in their costs.
    """

    def __init__(self, keep_steps: int) -> None:
        self._keep = keep_steps
        self._costs: list[Floats] = []
        """After each settled step, what the cheapest course to each level costs."""
        self._path: list[int] = []
        """The course of the last update; its first *exact* steps rest on settled costs only."""
        self._exact = 0
        self._settled = 0
        """Settled steps, forgotten ones included."""
        self._familiar = np.zeros(LEVELS_BPM.size)
        """How much of the last time was spent at each level, in [0, 1]."""

    def update(self, mean_bpm: Floats, weight: Floats, n_bins: int) -> tuple[Floats, float | None]:
        """Take the means up to now.

        Parameters
        ----------
        mean_bpm, weight : array of shape (n_window,)
            The last means, beats/min, without gaps, and what each counts, in [0, 1].
        n_bins : int
            Means since the start, forgotten ones included.

        Returns
        -------
        levels_bpm : array of shape (n_window,)
            The level of each mean.
        other_bpm : float or None
            Another level that is nearly as likely now; None when there is none.
        """
        fresh = n_bins - self._settled * STEP_BINS
        starts = np.arange(0, fresh, STEP_BINS)
        returns_bpm = _returns(mean_bpm, fresh)
        open_costs = self._judged(mean_bpm[-fresh:], returns_bpm, weight[-fresh:], starts)
        path = self._course(open_costs)
        settle = max(0, n_bins // STEP_BINS - OPEN_STEPS - self._settled)
        for level in path[len(self._costs) :][:settle]:
            self._familiar += (_near(level) - self._familiar) / FAMILIAR_STEPS
        drop = max(0, len(self._costs) + settle - self._keep)
        self._exact = max(0, len(self._costs) - drop)
        self._costs = (self._costs + open_costs[:settle])[drop:]
        self._path = path[drop:]
        self._settled += settle
        sizes = np.full(len(path), STEP_BINS)
        sizes[-1] = fresh - starts[-1]
        return np.repeat(LEVELS_BPM[path], sizes)[-mean_bpm.size :], _other(
            open_costs[-1], path[-1]
        )

    def _judged(
        self,
        mean_bpm: Floats,
        returns_bpm: Floats,
        weight: Floats,
        starts: NDArray[np.intp],
    ) -> list[Floats]:
        """Return the costs after each open step."""
        by_distance, by_level = _tables()
        at = (mean_bpm[:, None] - (LEVELS_BPM - _FAR)).astype(np.intp)
        usual = by_level - FAMILIAR * self._familiar
        low, high = UNREACHED_BPM
        above = (LEVELS_BPM - returns_bpm[:, None] - low) / (high - low)
        each = by_distance.take(at) + usual
        if (above > 0).any():
            each += UNREACHED * above.clip(0, 1)
        steps = np.add.reduceat(each * weight[:, None], starts, axis=0)
        costs, before = [], self._costs[-1] if self._costs else None
        for step in steps:
            total = step if before is None else step + (before + _CHANGES).min(axis=1)
            before = total - total.min()
            costs.append(before)
        return costs

    def _course(self, open_costs: list[Floats]) -> list[int]:
        """Return the cheapest course, followed back until it is the one of before."""
        costs = self._costs + open_costs
        path = self._path[: len(self._costs)] + [-1] * len(open_costs)
        level = int(np.argmin(costs[-1]))
        path[-1] = level
        for n in range(len(costs) - 2, -1, -1):
            level = int(np.argmin(costs[n] + _CHANGES[level]))
            if path[n] == level and n < self._exact:
                break
            path[n] = level
        return path


def steadiness(mean_bpm: Floats) -> Floats:
    """Return what each mean counts, in (:data:`FLANK_SHARE`, 1]; there are no gaps."""
    edges = np.full(STEADY_REACH, mean_bpm[0]), np.full(STEADY_REACH, mean_bpm[-1])
    around = np.concatenate((edges[0], mean_bpm, edges[1]))
    width = 2 * STEADY_REACH + 1
    relative = (moving_max(around, width) + moving_max(-around, width)) / STEADY_RANGE_BPM
    counts: Floats = FLANK_SHARE + (1 - FLANK_SHARE) / (1 + relative * relative * relative)
    return counts


def _returns(mean_bpm: Floats, fresh: int) -> Floats:
    """Return the highest level that is reached around each of the last *fresh* means."""
    before = mean_bpm[-(fresh + RETURN_BACK + RETURN_BINS) :]
    held = np.minimum(np.minimum(before[:-2], before[1:-1]), before[2:])
    needed = fresh + RETURN_BACK
    padded = np.concatenate((np.zeros(max(0, needed - held.size)), held[-needed:]))
    padded = np.concatenate((padded, np.zeros(RETURN_AHEAD)))
    width = RETURN_BACK + RETURN_AHEAD + 1
    highest: Floats = moving_max(padded, width)[-fresh:]
    return highest


@lru_cache(maxsize=LEVELS_BPM.size)
def _near(level: int) -> Floats:
    near: Floats = (np.abs(LEVELS_BPM - LEVELS_BPM[level]) <= FAMILIAR_BPM).astype(float)
    return near


def _other(costs: Floats, level: int) -> float | None:
    away = np.abs(LEVELS_BPM - LEVELS_BPM[level]) >= OTHER_BPM
    other = int(np.argmin(np.where(away, costs, np.inf)))
    return float(LEVELS_BPM[other]) if costs[other] - costs[level] <= OTHER_COST else None
