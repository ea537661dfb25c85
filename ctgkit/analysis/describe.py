"""Stage 4b: what an event is like, and of which type a deceleration is.

Pure. The order of the tests and their sources: notes/analysis.md 5.4 (FIGO 2015, NICHD 2008).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ctgkit.analysis.contractions import Contraction
from ctgkit.analysis.morphology import Zone
from ctgkit.analysis.variability import inside
from ctgkit.analysis.windows import moving_mean
from ctgkit.events import DecelerationType, Event

ABRUPT_S = 30.0
"""Onset to nadir below this is abrupt: a variable deceleration (FIGO 2015, NICHD 2008)."""

PROLONGED_S = 180.0
"""Longer than this is prolonged (FIGO 2015; NICHD counts from 120 s)."""

FLANK = (0.25, 0.9)
"""Depths between which a flank is timed, as shares: its ends are lost in the variability."""

FLANK_SHARE, FOOT_SHARE = 0.46, 1 / 3
"""A smooth flank (half a cosine) spends 46 % of its length between those, a third before them."""

CONTRACTION_BEFORE_S, CONTRACTION_AFTER_S = 30.0, 90.0
"""A deceleration belongs to a contraction whose peak is at most 30 s after or 90 s before its
nadir (notes/analysis.md 5.4)."""

ONSET_BEFORE_S = 30.0
"""It doesn't belong to one that begins this much after its onset: an effect isn't before its
cause, but for the error of both onsets (chosen)."""

LATE_ONSET_S, LATE_NADIR_S = 20.0, 10.0
"""Late: onset more than 20 s after the contraction's and nadir more than 10 s after its peak."""

ONSET_ERROR_S = 10.0
"""How far a measured onset may be off in ordinary variability (chosen): onsets from 10 s on count
as late where the nadir is late, and falls from 20 s on as gradual where onset and nadir are late
and the return is slow."""

EARLY_NADIR_S = 15.0
"""Early: nadir at the contraction's peak, within 10 s (notes/analysis.md 5.4) and the error of a
measured nadir, 5 s."""

SLOW_RETURN_S, LONG_S, OVERSHOOT_BPM, SHOULDER_BPM = 30.0, 60.0, 8.0, 4.0
"""Atypical features of a variable deceleration (FIGO 2015, NG229; the sizes are chosen)."""

REDUCED_BPM = 5.0
"""Bandwidth below which variability is reduced (FIGO 2015)."""

CLINICAL_BPM, CLINICAL_S = 15.0, 15.0
"""An acceleration or deceleration exceeds 15 beats/min and lasts 15 s (FIGO 2015)."""

SIDE_S = 20
"""How far a shoulder or an overshoot is looked for to either side, seconds."""

Floats = NDArray[np.float64]


def contraction_event(found: Contraction, origin_s: float) -> Event:
    """Return a contraction as an event; *origin_s* is the data time of index 0."""
    return Event(
        kind="contraction",
        onset_s=origin_s + found.start,
        peak_s=origin_s + found.peak,
        end_s=origin_s + found.end,
        size=round(found.height, 1),
    )


def acceleration_event(zone: Zone, filled: Floats, baseline_bpm: Floats, origin_s: float) -> Event:
    """Return an acceleration as an event; see :func:`deceleration_event`."""
    deviation = filled[zone.start : zone.end] - baseline_bpm[zone.start : zone.end]
    peak = int(np.argmax(deviation))
    return Event(
        kind="acceleration",
        onset_s=origin_s + zone.start,
        peak_s=origin_s + zone.start + peak,
        end_s=origin_s + zone.end,
        size=round(float(deviation[peak]), 1),
        meets_clinical=bool(deviation[peak] > CLINICAL_BPM and deviation.size > CLINICAL_S),
        details={
            "baseline_bpm": round(float(baseline_bpm[zone.start]), 1),
            "area_bpm_s": round(zone.area_bpm_s),
            "missing_share": round(zone.missing_share, 2),
        },
    )


def deceleration_event(
    zone: Zone,
    filled: Floats,
    baseline_bpm: Floats,
    contractions: Sequence[Event] | None,
    origin_s: float,
) -> Event:
    """Return a deceleration as an event, with its type.

    Parameters
    ----------
    zone : Zone
        Where it is.
    filled, baseline_bpm : array of shape (n_seconds,)
        1 Hz, beats/min, without gaps.
    contractions : sequence of Event or None
        Those around; None when there is no tocogram to tell.
    origin_s : float
        Data time of index 0, seconds.
    """
    level = float(baseline_bpm[max(0, zone.start - 1)])
    signal = filled[zone.start : zone.end]
    depth = np.maximum(baseline_bpm[zone.start : zone.end], level) - signal
    smooth = moving_mean(depth, 3)
    low, deep, shallow, high = _flanks(smooth.tolist())
    nadir = int(np.argmax(smooth))
    fall_s = min((deep - low) / FLANK_SHARE, signal.size)
    rise_s = min((high - shallow) / FLANK_SHARE, signal.size)
    onset = max(0.0, low - FOOT_SHARE * fall_s)
    details: dict[str, float | str | bool | None] = {
        "baseline_bpm": round(level, 1),
        "nadir_bpm": round(float(signal.min()), 1),
        "area_bpm_s": round(zone.area_bpm_s),
        "onset_to_nadir_s": round(fall_s, 1),
        "recovery_s": round(rise_s, 1),
        "bandwidth_bpm": _inner_bandwidth(depth),
        "missing_share": round(zone.missing_share, 2),
    }
    middle_s = origin_s + zone.start + (deep + shallow) / 2
    linked = _linked(origin_s + zone.start + onset, middle_s, contractions)
    if linked is not None and linked.peak_s is not None:
        details["onset_lag_s"] = round(origin_s + zone.start + onset - linked.onset_s, 1)
        details["nadir_lag_s"] = round(middle_s - linked.peak_s, 1)
    duration_s = float(zone.end - zone.start)
    subtype = _type(duration_s, fall_s, details)
    if subtype == "variable":
        details["atypical"] = _atypical(zone, filled, level, rise_s, duration_s, details)
    return Event(
        kind="deceleration",
        subtype=subtype,
        onset_s=origin_s + zone.start,
        peak_s=origin_s + zone.start + nadir,
        end_s=origin_s + zone.end,
        size=round(float(depth.max()), 1),
        linked_contraction=linked.id if linked else "",
        meets_clinical=bool(depth.max() > CLINICAL_BPM and duration_s > CLINICAL_S),
        details=details,
    )


def _flanks(depth: list[float]) -> tuple[int, int, int, int]:
    """Return where the fall passes 25 and 90 % of the depth, and the rise 90 and 25 %."""
    size = len(depth)
    low, high = (share * max(depth) for share in FLANK)
    deep = next(n for n in range(size) if depth[n] >= high)
    shallow = next(n for n in reversed(range(size)) if depth[n] >= high)
    onset = next((n for n in reversed(range(deep)) if depth[n] <= low), 0)
    end = next((n for n in range(shallow, size) if depth[n] <= low), size)
    return onset, deep, shallow, end


def _inner_bandwidth(depth: Floats) -> float | None:
    """Return the bandwidth of the deeper half, beats/min."""
    found = inside(np.where(depth >= depth.max() / 2, depth, np.nan), 1.0)
    return None if found is None else round(found, 1)


def _linked(onset_s: float, nadir_s: float, contractions: Sequence[Event] | None) -> Event | None:
    near = [
        c
        for c in contractions or ()
        if c.peak_s is not None
        and -CONTRACTION_BEFORE_S <= nadir_s - c.peak_s <= CONTRACTION_AFTER_S
        and c.onset_s - onset_s < ONSET_BEFORE_S
    ]
    return min(near, key=lambda c: abs(nadir_s - (c.peak_s or 0.0)), default=None)


def _type(
    duration_s: float,
    fall_s: float,
    details: dict[str, float | str | bool | None],
) -> DecelerationType:
    if duration_s > PROLONGED_S:
        return "prolonged"
    onset_lag_s, nadir_lag_s = (_lag(details, name) for name in ("onset_lag_s", "nadir_lag_s"))
    late_nadir = nadir_lag_s is not None and nadir_lag_s > LATE_NADIR_S
    if onset_lag_s is not None and onset_lag_s > LATE_ONSET_S and late_nadir:
        recovery_s = details["recovery_s"]
        slow = isinstance(recovery_s, float) and recovery_s >= SLOW_RETURN_S
        if slow and fall_s >= ABRUPT_S - ONSET_ERROR_S:
            return "late"
    if fall_s < ABRUPT_S:
        return "variable"
    if onset_lag_s is None or nadir_lag_s is None:
        return "unclassified"  # no contraction to time it by
    if onset_lag_s > LATE_ONSET_S - ONSET_ERROR_S and late_nadir:
        return "late"
    if abs(nadir_lag_s) <= EARLY_NADIR_S:
        return "early"
    return "late_ambiguous"


def _lag(details: dict[str, float | str | bool | None], name: str) -> float | None:
    value = details.get(name)
    return value if isinstance(value, float) else None


def _atypical(
    zone: Zone,
    filled: Floats,
    level: float,
    rise_s: float,
    duration_s: float,
    details: dict[str, float | str | bool | None],
) -> str:
    """Return the atypical features of a variable deceleration, joined by commas."""
    before = filled[max(0, zone.start - SIDE_S) : zone.start]
    after = filled[zone.end : zone.end + SIDE_S]
    bandwidth = details["bandwidth_bpm"]
    features = {
        "long": duration_s > LONG_S,
        "slow_return": rise_s > SLOW_RETURN_S,
        "overshoot": after.size > 0 and float(after.mean()) - level > OVERSHOOT_BPM,
        "no_shoulders": before.size > 0 and float(before.max()) - level < SHOULDER_BPM,
        "reduced_variability": isinstance(bandwidth, float) and bandwidth < REDUCED_BPM,
    }
    return ",".join(name for name, present in features.items() if present)
