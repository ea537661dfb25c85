"""The truth beside the samples: typed events, measured on the noise-free composite.

This module performs no I/O.
"""

from ctgkit.events import Event
from ctgkit.simulate.plan import Plan


def truth_events(plan: Plan, until_s: float) -> list[Event]:
    """Return all events that began in [0, *until_s*), by onset.

    Parameters
    ----------
    plan : Plan
        What happens.
    until_s : float
        Seconds from the sensor's start.
    """
    if until_s <= 0:
        return []
    window = plan.window(0.0, until_s)
    events = [
        Event(kind="contraction", id=c.id, onset_s=c.onset_s, peak_s=c.peak_s, end_s=c.end_s,
              size=c.height)
        for c in window.contractions
    ]  # fmt: skip
    events += [
        Event(kind="acceleration", id=a.id, onset_s=a.onset_s, end_s=a.end_s, size=a.height_bpm,
              peak_s=a.onset_s + a.rise * a.duration_s)
        for a in window.accelerations
    ]  # fmt: skip
    return sorted((e for e in events if 0 <= e.onset_s < until_s), key=lambda e: e.onset_s)
