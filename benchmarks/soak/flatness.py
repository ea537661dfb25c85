"""A robust line through a series, and whether it is flat.

This module performs no I/O.
"""

import statistics
from dataclasses import dataclass
from itertools import combinations

MIN_POINTS = 8
"""Fewer points say nothing."""


@dataclass(frozen=True, kw_only=True)
class Flatness:
    """What a series did after the warm-up."""

    median: float
    maximum: float
    slope_per_hour: float
    """Of the Theil-Sen line: the median of the slopes between all pairs of points, which a third
    of wild points doesn't move."""
    growth: float
    """What the line gains over the judged stretch."""
    allowed: float
    """The bound of the growth."""
    judged_s: float
    """Length of the judged stretch, seconds."""

    @property
    def flat(self) -> bool:
        """Whether it stayed within its bound; falling is flat too."""
        return self.growth <= self.allowed


def flatness(points, *, share, least):
    """Judge a series.

    Parameters
    ----------
    points : sequence of (float, float)
        (seconds, value), ascending, without the warm-up.
    share, least : float
        The line may gain *share* of the median or *least*, whichever is more.

    Returns
    -------
    Flatness or None
        None when there are too few points to judge.
    """
    if len(points) < MIN_POINTS:
        return None
    slope = statistics.median(
        (after - before) / (t_after - t_before)
        for (t_before, before), (t_after, after) in combinations(points, 2)
    )
    values = [value for _, value in points]
    span_s = points[-1][0] - points[0][0]
    median = statistics.median(values)
    return Flatness(
        median=median,
        maximum=max(values),
        slope_per_hour=slope * 3600,
        growth=slope * span_s,
        allowed=max(share * median, least),
        judged_s=span_s,
    )
