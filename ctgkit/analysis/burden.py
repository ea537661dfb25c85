"""Stage 4d: what the last hour asked of the fetus; what the risk rests on.

Pure. Acidosis builds up over an hour rather than in a deceleration: how much time and area the
decelerations took, whether that grows, and whether the baseline rises (FIGO 2015: gradually
evolving hypoxia).
"""

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from ctgkit.events import Event

if TYPE_CHECKING:
    from ctgkit.analysis.features import Minute, Value

HOUR_S, HALF_S = 3600.0, 1800.0

LEAST_S = 600.0
"""Shorter windows count as this long: one deceleration in 5 min isn't six in 30 (chosen)."""

TREND_MIN, TREND_LEAST = 15, 5
"""The trend is the mean baseline of the last 15 min minus that of the first 15 of the hour, each
with 5 known minutes at least (chosen)."""


def burden(
    minutes: Sequence["Minute"], events: Iterable[Event], now_s: float, examined_s: float
) -> dict[str, "Value"]:
    """Return the features of the last hour.

    Parameters
    ----------
    minutes : sequence of Minute
        The last hour, oldest first.
    events : iterable of Event
        Of the last hour.
    now_s : float
        Data time, seconds.
    examined_s : float
        How much there is of the examination, seconds.
    """
    hour_s = min(HOUR_S, max(LEAST_S, examined_s))
    half_s = min(HALF_S, hour_s)
    total = late = lasted_s = deep = 0.0
    for event in events:
        if event.kind != "deceleration" or event.end_s <= now_s - HOUR_S:
            continue
        area = event.details.get("area_bpm_s")
        area = area if isinstance(area, int | float) else 0.0
        total += area
        late += area * (event.end_s > now_s - HALF_S)
        lasted_s += event.duration_s
        deep = max(deep, event.size or 0.0)
    before_s = hour_s - half_s
    growth = late / half_s - (total - late) / before_s if before_s >= LEAST_S else None
    return {
        "deceleration_area_60min_bpm": round(total / hour_s, 3),
        "deceleration_share_60min": round(lasted_s / hour_s, 3),
        "deceleration_growth_bpm": None if growth is None else round(growth, 3),
        "deceleration_depth_bpm": round(deep, 1),
        "baseline_trend_bpm": _trend(minutes),
    }


def _trend(minutes: Sequence["Minute"]) -> float | None:
    if len(minutes) < 2 * TREND_MIN:
        return None
    first, last = (
        [m.baseline_bpm for m in part if m.baseline_bpm is not None]
        for part in (minutes[-60:][:TREND_MIN], minutes[-TREND_MIN:])
    )
    if min(len(first), len(last)) < TREND_LEAST:
        return None
    return round(fmean(last) - fmean(first), 1)
