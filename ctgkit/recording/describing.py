"""What a recording is, in numbers and in words: for ``ctgkit inspect``.

This module performs no I/O.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctgkit.recording import Recording
from ctgkit.recording.files.clocks import step_of

_GAP_STEPS = 1.5
_EVEN_S = 1e-6
_REMARKS_SHOWN = 5


def describe(one: Recording) -> dict[str, Any]:
    """Return what a recording is, ready for JSON.

    Returns
    -------
    dict
        ``sensor``, ``samples``, ``from_s``, ``to_s``, ``rate_hz`` (the usual one; None for a
        single sample), ``even`` (whether all samples lie on it), ``gaps`` (times without
        samples), a dict per channel, ``started``, ``simulated``, ``remarks``, ``events``.
    """
    sec = one.sec_from_start
    step_s = step_of(sec)
    steps_s = np.diff(sec)
    gaps = steps_s > _GAP_STEPS * step_s
    inside = steps_s[~gaps]
    return {
        "sensor": one.sensor_id,
        "samples": len(sec),
        "from_s": float(sec[0]),
        "to_s": float(sec[-1]),
        "rate_hz": round(1 / step_s, 6) if np.isfinite(step_s) else None,
        "even": bool(len(inside) == 0 or np.abs(inside - step_s).max() <= _EVEN_S),
        "gaps": _gaps(sec, steps_s, gaps),
        "heart_rate": _channel(one.fhr_bpm),
        "toco": _channel(one.uterus),
        "contraction_intensity": _channel(one.spasms),
        "started": one.started,
        "simulated": one.simulated,
        "remarks": list(one.comments),
        "events": len(one.events),
    }


def _gaps(
    sec: NDArray[np.float64], steps_s: NDArray[np.float64], gaps: NDArray[np.bool_]
) -> dict[str, Any]:
    if not gaps.any():
        return {"count": 0, "total_s": 0.0, "longest_s": 0.0, "longest_at_s": None}
    longest = int(np.argmax(steps_s))
    return {
        "count": int(gaps.sum()),
        "total_s": round(float(steps_s[gaps].sum()), 3),
        "longest_s": round(float(steps_s[longest]), 3),
        "longest_at_s": float(sec[longest]),
    }


def _channel(values: NDArray[np.float64]) -> dict[str, Any] | None:
    """Return how much of a channel there is, and its range; None where it wasn't recorded."""
    there = values[~np.isnan(values)]
    if not len(there):
        return None
    return {
        "share": round(len(there) / len(values), 4),
        "min": float(there.min()),
        "median": float(np.median(there)),
        "max": float(there.max()),
    }


def in_words(number: int, about: dict[str, Any]) -> list[str]:
    """Return the lines of text that say what :func:`describe` found."""
    who = f"recording {number}" + (f", sensor {about['sensor']}" if about["sensor"] else "")
    length_s = about["to_s"] - about["from_s"]
    rate = "" if about["rate_hz"] is None else f", {about['rate_hz']:.6g} per second"
    uneven = "" if about["even"] else " (uneven)"
    lines = [
        f"{who}: {about['samples']} samples, {about['from_s']:g} to {about['to_s']:g} s"
        f" ({length_s / 60:.1f} min){rate}{uneven}"
    ]
    names = {
        "heart_rate": ("heart rate", " bpm"),
        "toco": ("toco", ""),
        "contraction_intensity": ("contraction intensity", ""),
    }
    for key, (name, unit) in names.items():
        if (channel := about[key]) is not None:
            lines.append(
                f"  {name}: {100 * channel['share']:.1f} % of the samples, {channel['min']:g} to"
                f" {channel['max']:g}{unit}, median {channel['median']:g}"
            )
        elif key != "contraction_intensity":
            lines.append(f"  {name}: none")
    if gaps := about["gaps"]["count"]:
        longest = about["gaps"]
        lines.append(
            f"  gaps: {gaps} without samples, the longest {longest['longest_s']:g} s at"
            f" {longest['longest_at_s']:g} s"
        )
    lines.append(f"  started: {about['started'] or 'unknown'}")
    if about["simulated"] is not None:
        lines.append(f"  simulated: {'yes' if about['simulated'] else 'no'}")
    if about["events"]:
        lines.append(f"  events: {about['events']}")
    lines += [f"  remark: {line}" for line in about["remarks"][:_REMARKS_SHOWN]]
    if (more := len(about["remarks"]) - _REMARKS_SHOWN) > 0:
        lines.append(f"  … and {more} more remarks")
    return lines
