"""What is said about one sensor in words and figures. This module performs no I/O."""

import math

from ctgkit.display import CONTRACTIONS_OVER_S, POOR_SIGNAL_SHARE, STATUS_SIGNS, clock
from ctgkit.errors import excerpt
from ctgkit.watch.digits import large
from ctgkit.watch.ink import Line, Palette, Part, line
from ctgkit.watch.state import Sensor

_RISK_INKS = {"low": "ok", "medium": "warning", "high": "warning+bold", "critical": "critical+bold"}
_STATUS_INKS = {"ok": "ok", "warning": "warning+bold", "critical": "critical+bold"}


def number(value: float | None) -> str:
    """Return a value on three places; dashes for none.

    >>> number(142.4), number(9), number(None)
    ('142', '  9', '---')
    """
    return "---" if value is None else f"{value:3.0f}"


def large_values(sensor: Sensor, width: int, styles: Palette, now_s: float) -> list[Line]:
    """Return three rows: figures on the left, what the analyzer says on the right."""
    fhr, toco = large(number(sensor.fhr_bpm)), large(number(sensor.toco))
    fhr_ink, toco_ink = _inks(sensor, now_s)
    advice = " · ".join(sensor.prediction.recommendations[:3]) if sensor.prediction else ""
    said = (verdict(sensor, now_s), quality(sensor), [(excerpt(advice), "faint")])
    labels = ((" FHR ", "  TOCO "), (" bpm ", "       "), ("     ", "       "))
    return [
        line(
            [
                (labels[row][0], "faint"),
                (fhr[row], fhr_ink),
                (labels[row][1], "faint"),
                (toco[row], toco_ink),
                ("  ", "ink"),
                *said[row],
            ],
            width,
            styles,
        )
        for row in range(3)
    ]


def small_values(sensor: Sensor, now_s: float) -> list[Part]:
    """Return the figures and the verdict for one row."""
    fhr_ink, toco_ink = _inks(sensor, now_s)
    return [
        (" FHR ", "faint"),
        (number(sensor.fhr_bpm), fhr_ink),
        (" toco ", "faint"),
        (number(sensor.toco), toco_ink),
        ("  ", "ink"),
        *verdict(sensor, now_s, short=True),
    ]


def _inks(sensor: Sensor, now_s: float) -> tuple[str, str]:
    return ("faint", "faint") if sensor.is_silent(now_s) else ("fhr+bold", "toco")


def verdict(sensor: Sensor, now_s: float, *, short: bool = False) -> list[Part]:
    """Say what the analyzer thinks, or why it doesn't; in short the risk only."""
    if sensor.is_silent(now_s):
        return [(f"✕ silent for {now_s - sensor.received_s:.0f} s", "critical+bold")]
    sign = STATUS_SIGNS.get(sensor.status, STATUS_SIGNS["error"])
    ink = _STATUS_INKS.get(sensor.status, "critical+bold")
    if sensor.prediction is None:
        words = {"error": "no analyzer", "ok": "no prediction yet"}
        return [(f"{sign} {words.get(sensor.status) or excerpt(sensor.status)}", ink)]
    said = sensor.prediction
    if short:
        return [(f"{sign} risk {said.hypoxia_risk} {said.hypoxia_probability:.0%}", ink)]
    parts = [
        (f"{sign} {excerpt(sensor.status)}", ink),
        (
            f"  risk {said.hypoxia_risk} {said.hypoxia_probability:.0%}",
            _RISK_INKS[said.hypoxia_risk],
        ),
        (f"  confidence {said.confidence:.0%}", "faint"),
    ]
    return [*parts, (f"  FIGO {excerpt(sensor.figo)}", "ink")] if sensor.figo else parts


def quality(sensor: Sensor) -> list[Part]:
    """Say how good the signal is, and how often the uterus contracts where that is known."""
    share, rate_hz = sensor.quality()
    if math.isnan(share):
        return []
    poor = share < POOR_SIGNAL_SHARE
    parts = [(f"{'▲ ' if poor else ''}signal {share:.0%}", "warning+bold" if poor else "ink")]
    if not math.isnan(rate_hz):
        parts.append((f"  {rate_hz:.3g} Hz", "faint"))
    contractions = [e for e in sensor.events.values() if e.kind == "contraction"]
    if contractions:
        since_s = sensor.trace.last_s - CONTRACTIONS_OVER_S
        n_recent = sum(e.end_s > since_s for e in contractions)
        parts.append((f"  {n_recent} UC/10 min", "ink"))
    return parts


def alarm_text(sensor: Sensor) -> str:
    """Return what is alarmed about a sensor, the unacknowledged first; empty when nothing is."""
    texts = []
    for alarm in sensor.alarms.open or sensor.alarms.raised.values():
        over = "" if alarm.active else " (over)"
        texts.append(f"{alarm.text}{over} since {clock(alarm.since_s, seconds=True)}")
    if not texts:
        return ""
    return ("⚠ " if sensor.alarms.open else "acknowledged: ") + " · ".join(texts)
