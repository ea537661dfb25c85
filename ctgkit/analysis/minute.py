"""Stage 4c: one minute of signal, when it is over. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit.analysis import baseline, validity, variability
from ctgkit.analysis.features import Minute
from ctgkit.analysis.trace import SLOT_HZ, Trace
from ctgkit.events import Event
from ctgkit.samples import PREDICTION_WINDOW_S

USUAL_MIN, USUAL_BPM = 10, 10.0
"""The usual bandwidth is the median of 10 min, 10 beats/min before anything is measured (chosen:
the median of real recordings, analysis of CTU-UHB, is 12)."""

AROUND_S = 60 + int(variability.BESIDE_S[1])
"""A minute and what is before it: the signal wanders after a gap, seconds."""

Floats = NDArray[np.float64]


class Level(NamedTuple):
    """The baseline of the window, as it was looked at last."""

    second_bpm: Floats
    """1 Hz, beats/min."""
    estimate: baseline.Estimate
    """By means of 5 s."""


def close(
    trace: Trace, level: Level, ended_s: int, events: Iterable[Event], has_toco: bool
) -> Minute:
    """Return the minute that ended *ended_s* before the last look.

    Parameters
    ----------
    trace : Trace
        The signal.
    level : Level
        Its baseline.
    ended_s : int
        Seconds, at least 0.
    events : iterable of Event
        Accelerations and decelerations.
    has_toco : bool
        Whether the tocogram says anything.
    """
    start_s = trace.judged_s - ended_s - 60
    fhr_bpm = trace.fhr_bpm[_last(ended_s * SLOT_HZ, 60 * SLOT_HZ)]
    valid_share = float(np.count_nonzero(np.isfinite(fhr_bpm))) / fhr_bpm.size
    tone = _tone(trace.toco[_last(round(trace.now_s - start_s) - 60, 60)]) if has_toco else None
    if valid_share == 0:
        return Minute(start_s, None, 0.0, valid_share, resting_tone=tone)
    second_bpm = level.second_bpm[_last(ended_s, 60)]
    bins = _last(int(ended_s / baseline.BIN_S), int(60 / baseline.BIN_S))
    reliability = float(level.estimate.reliability[bins].mean())
    measured = float(level.estimate.measured[bins].mean()) >= baseline.RELIABLE_FROM
    in_event, rising = np.zeros(fhr_bpm.size, bool), False
    for event in events:
        rising |= event.kind == "acceleration" and event.end_s > start_s - 540
        low, high = (int((t - start_s) * SLOT_HZ) for t in (event.onset_s, event.end_s))
        in_event[max(0, low) : max(0, high)] = True
    ten = _last(ended_s, int(PREDICTION_WINDOW_S))
    complete = level.second_bpm.size >= ended_s + PREDICTION_WINDOW_S
    sinusoidal = (
        complete
        and not rising
        and variability.is_sinusoidal(trace.fhr_1hz[ten], level.second_bpm[ten])
    )
    around = trace.fhr_bpm[_last(ended_s * SLOT_HZ, AROUND_S * SLOT_HZ)]
    faded = variability.beside_gaps(around)[-fhr_bpm.size :]
    reasons = trace.reason[_last(ended_s * SLOT_HZ, 60 * SLOT_HZ)]
    doubled = (reasons == validity.Reason.DOUBLED) | (reasons == validity.Reason.HALVED)
    return Minute(
        start_s,
        float(second_bpm.mean()) if measured else None,
        reliability,
        valid_share,
        variability.minute(fhr_bpm, np.repeat(second_bpm, SLOT_HZ), in_event, faded),
        sinusoidal,
        tone,
        float(doubled.mean()),
        held=measured and reliability < baseline.RELIABLE_FROM,
    )


def usual_bandwidth(minutes: Sequence[Minute]) -> float:
    """Return the median bandwidth of the last minutes, beats/min, inside events where need be."""
    recent = [minutes[-n].variability for n in range(1, min(USUAL_MIN, len(minutes)) + 1)]
    bands = sorted(b for v in recent if (b := v.bandwidth_bpm or v.inside_bpm) is not None)
    return bands[len(bands) // 2] if bands else USUAL_BPM


def _tone(toco: Floats) -> float | None:
    known = toco[np.isfinite(toco)]
    return None if known.size < 30 else float(np.sort(known)[known.size // 10])


def _last(ended: int, length: int) -> slice:
    """Return the slice of *length* values that ended *ended* values before the end."""
    return slice(-(ended + length), -ended if ended else None)
