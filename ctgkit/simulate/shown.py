"""What the noise-free composite shows: one excursion, and the type of a deceleration by it.

This module performs no I/O.
"""

from typing import Any, NamedTuple

import numpy as np

from ctgkit.simulate.signal.contraction import Contraction
from ctgkit.simulate.signal.stream import Floats

BACK_BPM = 0.5
"""Deviation from the baseline at which an event of the composite begins and ends. Chosen: the
composite has no noise, so this only allows for rounding."""

RETURN_BPM = 2.5
"""Deviation at which the heart is seen to be back between two events: half the least normal band.
Chosen."""
SIZE_BPM = 15.0
"""Of accelerations and decelerations at least (FIGO 2015)."""

GRADUAL_S = 30.0
"""From onset to nadir: variable ones are faster, early and late ones slower (NICHD 2008)."""
PROLONGED_S = 180.0
LATE_AFTER_ONSET_S = 20.0
EARLY_WITHIN_S = 15.0
"""Early: nadir at the peak of the contraction, give or take. Chosen."""


class Measured(NamedTuple):
    """One excursion of the composite from its baseline."""

    onset_s: float
    peak_s: float
    end_s: float
    size_bpm: float
    first_s: float
    """Where it is deepest for the first time: of overlapping events the first's peak."""


def excursion(t_s: Floats, deviation_bpm: Floats, near_s: float) -> Measured:
    """Return the excursion around *near_s*: from baseline to baseline, or to the next one.

    Parameters
    ----------
    t_s : ndarray of shape (n_samples,)
        Times, seconds, evenly spaced.
    deviation_bpm : ndarray of shape (n_samples,)
        How far the heart rate is from its baseline in the direction of the event, bpm.
    near_s : float
        A time inside it, seconds.
    """
    here = int(np.clip(np.searchsorted(t_s, near_s), 0, len(t_s) - 1))
    away = deviation_bpm > (RETURN_BPM if deviation_bpm[here] > RETURN_BPM else BACK_BPM)
    low, high = _ends(~away, here)
    # from there on it ends at the baseline, or where the next one begins
    slope = np.diff(deviation_bpm)
    back = deviation_bpm <= BACK_BPM
    low, _ = _ends(back | np.append(False, slope <= 0), low)
    _, high = _ends(back | np.append(slope >= 0, False), high - 1)
    inside = deviation_bpm[low : high + 1]
    peak = int(np.argmax(inside))
    nadirs = (inside[1:-1] >= inside[:-2]) & (inside[1:-1] > inside[2:])
    nadirs &= inside[1:-1] >= max(SIZE_BPM, inside[peak] / 2)
    first = 1 + int(np.argmax(nadirs)) if nadirs.any() else peak
    return Measured(
        float(t_s[low]), float(t_s[low + peak]), float(t_s[high]), float(inside[peak]),
        float(t_s[low + min(first, peak)]),
    )  # fmt: skip


def _ends(out: "np.ndarray[Any, np.dtype[np.bool_]]", here: int) -> tuple[int, int]:
    """Return the last index up to *here* that is out, and the first after it."""
    before, after = np.flatnonzero(out[: here + 1]), np.flatnonzero(out[here + 1 :])
    low = int(before[-1]) if len(before) else 0
    return low, here + 1 + int(after[0]) if len(after) else len(out) - 1


def shown_type(type_: str, m: Measured, c: Contraction | None) -> str:
    """Return the type that the trace shows: what was drawn, unless a neighbour or oxygen debt made
    it another."""  # noqa: D205, D209
    tried = (type_, "prolonged", "variable", "late", "early")
    return next((t for t in tried if fits_type(t, m, c)), type_)


def fits_type(type_: str, m: Measured, c: Contraction | None) -> bool:
    """Return whether a measured deceleration satisfies the definition of its type.

    Early and late ones fall over at least 30 s, variable ones in less (NICHD 2008); early ones
    have their nadir at the contraction's peak, late ones start more than 20 s after its onset,
    reach their nadir after its peak and end after it; prolonged ones last over 3 minutes
    (FIGO 2015).
    """
    fall_s = m.peak_s - m.onset_s
    if type_ == "prolonged":
        return m.end_s - m.onset_s > PROLONGED_S
    if type_ in ("variable", "atypical"):
        return m.first_s - m.onset_s < GRADUAL_S and m.end_s - m.onset_s <= PROLONGED_S
    if fall_s < GRADUAL_S or c is None or c.peak_s < 0:  # before the start nobody sees it
        return False
    if type_ == "early":
        return abs(m.peak_s - c.peak_s) <= EARLY_WITHIN_S
    return m.onset_s - c.onset_s > LATE_AFTER_ONSET_S and m.peak_s > c.peak_s and m.end_s > c.end_s
