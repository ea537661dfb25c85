"""The start of a recording, for formats that have a place for it.

This module performs no I/O.
"""

from datetime import datetime, timedelta
from typing import Any

from ctgkit.recording.files.options import Report


def wall_time(started: str, first_s: float) -> datetime | None:
    """Return when the first sample was, as the clock on the wall showed it; None if unknown.

    Parameters
    ----------
    started : str
        Of second 0, ISO 8601, with or without an offset.
    first_s : float
        Time of the first sample, seconds.

    >>> wall_time("2025-12-31T23:59:30+03:00", 10.0)
    datetime.datetime(2025, 12, 31, 23, 59, 40)
    """
    try:
        zero = datetime.fromisoformat(started).replace(tzinfo=None) if started else None
    except ValueError:
        return None
    return zero + timedelta(seconds=first_s) if zero else None


def add_start(labels: dict[str, Any], first: datetime, first_s: float, report: Report) -> None:
    """Add the start that a header says to a recording's labels.

    What a remark of ours says is kept where it is the same, because it has the offset too.

    Parameters
    ----------
    labels : dict
        Keyword arguments of a Recording.
    first : datetime
        When the first sample was, without an offset.
    first_s : float
        Time of the first sample, seconds.
    report : Report
        Gets a warning where both differ.
    """
    said = wall_time(labels.get("started", ""), first_s)
    if said is not None and abs((said - first).total_seconds()) < 1:
        return
    if said is not None:
        report.warn(f"the header says that it starts at {first}, a remark says {labels['started']}")
    zero = first - timedelta(seconds=first_s)
    labels["started"] = zero.isoformat(timespec="milliseconds" if zero.microsecond else "seconds")
