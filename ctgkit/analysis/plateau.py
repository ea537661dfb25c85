"""Stage 2a: which level is the baseline, decided over minutes (a hidden Markov model).

Pure: arrays in, arrays out. With deep, repeated decelerations the heart rate spends more time
at their floor than at the baseline, so that no average and no median tells the two apart. What
does: where it was before, which level the returns reach, how long and how far a fetus
accelerates (seldom 30 beats/min, seldom minutes) and decelerates (often 60 beats/min, seldom
10 min), and where baselines lie. Each is a cost here; the cheapest course of levels is the
first estimate that :mod:`.baseline` refines. Costs are per 5 s mean; figures in docs/analysis.md.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

STEP_BINS: Final = 6
"""Means per step: the level may change every 30 s."""

FIRST_STEP_BINS: Final = 4
"""The first estimate comes after 20 s, the others every 30 s."""

OPEN_STEPS: Final = 2
"""Steps that are looked at again: the signal of the last 60 s isn't settled."""

LEVELS_BPM: Final = np.arange(60.0, 212.0, 4.0)

NEAR_BPM, FAR_BPM = 4.0, 11.0
BELOW, DEEP, DEEP_FROM_BPM, DEEP_TO_BPM = 1.0, 0.1, 20.0, 80.0
ABOVE, TALL, TALL_FROM_BPM, TALL_TO_BPM = 0.92, 2.0, 30.0, 65.0
LOW_BPM, LOW_PER_BPM = 110.0, 0.01
HIGH_BPM, HIGH_PER_BPM = 165.0, 0.01
CHANGE_PER_BPM, CHANGE_MAX = 0.45, 22.0
FLANK_SHARE = 0.4
DOUBT_BPM, DOUBT_COST = 12.0, 8.0

Floats = NDArray[np.float64]


def _tables() -> None:
    global _R, _COST, _PRIOR, _CLIMB
    _R = np.arange(-160.0, 161.0)
    up, down = np.maximum(_R, 0), np.maximum(-_R, 0)

    def ramp(x: Floats, low: float, high: float) -> Floats:
        return np.clip((x - low) / (high - low), 0, 1)

    _COST = (
        BELOW * ramp(down, NEAR_BPM, FAR_BPM)
        + DEEP * ramp(down, DEEP_FROM_BPM, DEEP_TO_BPM)
        + ABOVE * ramp(up, NEAR_BPM, FAR_BPM)
        + TALL * ramp(up, TALL_FROM_BPM, TALL_TO_BPM)
    )
    _PRIOR = LOW_PER_BPM * np.maximum(0, LOW_BPM - LEVELS_BPM) + HIGH_PER_BPM * np.maximum(
        0, LEVELS_BPM - HIGH_BPM
    )
    _CLIMB = CHANGE_PER_BPM * LEVELS_BPM


_tables()


class Plateaus:
    """The course of levels of one sensor; keeps the last *keep_steps* steps."""

    def __init__(self, keep_steps: int) -> None:
        self._keep = keep_steps
        self._costs: list[Floats] = []
        """After each settled step, the cost of the cheapest course that ends at each level."""
        self._open: list[Floats] = []
        self._path: list[int] = []
        """Level of each step, settled ones first."""
        self._settled = 0
        """Settled steps since the start, forgotten ones included."""

    def update(self, mean_bpm: Floats, weight: Floats, n_bins: int) -> tuple[Floats, float]:
        """Take the means up to now; return the level of each mean, and the doubt.

        Parameters
        ----------
        mean_bpm, weight : array of shape (n_window,)
            The last means, beats/min, without gaps, and what each counts, in [0, 1].
        n_bins : int
            Means since the start, forgotten ones included.
        """
        first_step = self._settled
        start = 0 if first_step == 0 else FIRST_STEP_BINS + (first_step - 1) * STEP_BINS
        fresh = n_bins - start
        values, counts = mean_bpm[-fresh:], weight[-fresh:]
        edges = np.arange(FIRST_STEP_BINS if first_step == 0 else STEP_BINS, fresh, STEP_BINS)
        index = (values[:, None] - LEVELS_BPM).astype(np.intp) + 160
        costs = (_COST[np.clip(index, 0, 320)] + _PRIOR) * counts[:, None]
        steps = np.add.reduceat(costs, np.concatenate(([0], edges)), axis=0)
        self._open = []
        before = self._costs[-1] if self._costs else None
        for step in steps:
            before = step if before is None else step + _reached(before)
            before = before - before.min()
            self._open.append(before)
        whole = (n_bins - FIRST_STEP_BINS) // STEP_BINS + 1
        self._trace_back()
        best = self._open[-1]
        level = self._path[-1]
        other = np.abs(LEVELS_BPM - LEVELS_BPM[level]) >= DOUBT_BPM
        doubt = float(best[other].min() - best[level])
        alternative = float(LEVELS_BPM[other][np.argmin(best[other])])
        settle = max(0, whole - OPEN_STEPS - self._settled)
        self._costs = (self._costs + self._open[:settle])[-self._keep :]
        self._settled += settle
        levels = LEVELS_BPM[self._path]
        sizes = np.full(len(levels), STEP_BINS)
        sizes[-1] = fresh - (int(edges[-1]) if edges.size else 0)
        return np.repeat(levels, sizes)[-mean_bpm.size :], doubt, alternative

    def _trace_back(self) -> None:
        """Follow the cheapest course back until it is the one of before."""
        costs = self._costs + self._open
        path = self._path[-(len(self._costs)) :] if self._costs else []
        path = path[: len(self._costs)]
        known = len(path)
        path += [-1] * (len(costs) - known)
        level = int(np.argmin(costs[-1]))
        path[-1] = level
        for n in range(len(costs) - 2, -1, -1):
            level = int(
                np.argmin(
                    costs[n]
                    + np.minimum(
                        CHANGE_PER_BPM * np.abs(LEVELS_BPM - LEVELS_BPM[level]), CHANGE_MAX
                    )
                )
            )
            if path[n] == level and n < known:
                break
            path[n] = level
        self._path = path


def _reached(before: Floats) -> Floats:
    """Return the cost of being at each level one step later, before the step's own cost."""
    up = np.minimum.accumulate(before - _CLIMB) + _CLIMB
    down = (np.minimum.accumulate((before + _CLIMB)[::-1])[::-1]) - _CLIMB
    return np.minimum(np.minimum(up, down), before.min() + CHANGE_MAX)
