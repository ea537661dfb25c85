"""What travels: one sample of one sensor, one result about it, and the limits they obey.

This module performs no I/O and knows no wire names (those are in :mod:`ctgkit.wire`).
"""

from typing import Literal

import msgspec

RATE_HZ = 4.0
"""Default sampling rate, samples/s (PROTOCOL S-4.6; CTG monitors output every 250 ms)."""

FHR_MIN_BPM, FHR_MAX_BPM = 20.0, 300.0
"""Physical range of a heart rate on the wire, beats/min. Chosen: wider than any monitor's
display (30-240) and narrow enough to catch a wrong unit; 0 means no signal."""

TOCO_MIN, TOCO_MAX = -50.0, 300.0
"""Physical range of both toco channels, device units or mmHg. Chosen: tocodynamometers show
0-127, intrauterine pressure stays below 150 mmHg; a drifting belt may go below zero."""

SEC_FROM_START_MAX_S = 366 * 86400.0
"""Latest data time on the wire, seconds. Chosen: one year; later is a wrong unit (ms, epoch)."""

BATCH_MAX = 512
"""Samples in one frame. Chosen: more than 16 KiB hold of any with values; without a limit a frame
of 5,000 empty objects costs a tenth of a second."""

SEQ_MAX = 2**63 - 1
"""Largest sequence number: what SQLite stores in one integer."""

FIRST_PREDICTION_AFTER_S = 300.0
PREDICTION_EVERY_S = 30.0
PREDICTION_WINDOW_S = 600.0
"""First prediction, its period and its window, seconds of data time (PROTOCOL.md)."""

RISK_MEDIUM_ABOVE, RISK_HIGH_ABOVE, RISK_CRITICAL_ABOVE = 0.3, 0.5, 0.8
"""Probabilities above which (strictly) the risk is medium, high, critical (PROTOCOL.md)."""

GAP_S = 2.0
"""Two samples further apart than this, in data time, are not joined by a line, seconds. Chosen:
twice the slowest supported period (1 Hz)."""

Risk = Literal["low", "medium", "high", "critical"]
Status = Literal["ok", "warning", "critical", "error"]


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One reading of one sensor."""

    sensor_id: str
    """UUID of the sensor, lower case."""
    sec_from_start: float
    """Data time: seconds since this sensor's start, >= 0."""
    fhr_bpm: float | None
    """Fetal heart rate, beats/min; ``None`` when there is no signal. Never 0."""
    uterus: float | None
    """Uterine tone (toco), device units or mmHg; ``None`` when not measured."""
    spasms: float | None
    """Contraction intensity, device units or mmHg; ``None`` when not measured."""
    seq: int | None = None
    """Sequence number under ``ctgkit.v1``; ``None`` for fire-and-forget sensors."""


class SampleAndMother(Sample, frozen=True, gc=False):
    """A reading of a sensor that counts the mother's pulse as well."""

    mother_bpm: float | None = None
    """Her heart rate, beats/min; ``None`` when it isn't known."""


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What an ML service says about the last minutes."""

    hypoxia_probability: float
    """In [0, 1]."""
    hypoxia_risk: Risk
    alerts: list[str]
    confidence: float
    """In [0, 1]."""
    recommendations: list[str]


def risk_of(probability: float) -> Risk:
    """Return the risk band of a probability; the limits are exclusive below.

    >>> [risk_of(p) for p in (0.3, 0.31, 0.5, 0.51, 0.8, 0.81)]
    ['low', 'medium', 'medium', 'high', 'high', 'critical']
    """
    if probability > RISK_CRITICAL_ABOVE:
        return "critical"
    if probability > RISK_HIGH_ABOVE:
        return "high"
    return "medium" if probability > RISK_MEDIUM_ABOVE else "low"


def status_of(probability: float | None) -> Status:
    """Return the status that goes with a probability; ``None`` (no prediction yet) is ok.

    >>> [status_of(p) for p in (None, 0.5, 0.51, 0.81)]
    ['ok', 'ok', 'warning', 'critical']
    """
    if probability is None or probability <= RISK_HIGH_ABOVE:
        return "ok"
    return "critical" if probability > RISK_CRITICAL_ABOVE else "warning"
