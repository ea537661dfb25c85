"""The literal texts that the checker sends, and what it reads in what comes back.

This module performs no I/O. Nothing here comes from ``ctgkit.wire``: what judges an
implementation must not share its mistakes.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TOKEN_HEADER = "X-Auth-Sensor-Token"
SUBPROTOCOL = "ctgkit.v1"
STREAM_HEADER = "X-Sensor-Stream"
BAD_SEC_MIN, BAD_SEC_MAX = 500.5, 999.75
"""Data times of bad samples, seconds: none of the good ones has them."""
BAD_SEC = str(BAD_SEC_MIN)
"""Stands for one of them in a frame, until it is sent."""
BAD_UTERUS = 15.25
TIMESTAMP = "2026-01-01T00:00:00.000Z"
UPGRADE = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "Y3Rna2l0IGNoZWNrIGtleQ=="),
)


def sample(
    sec: float | str,
    fhr: float | str = 140.5,
    uterus: float | str = 15.25,
    spasms: float | str = 0.5,
    *,
    sensor_id: str = "",
    seq: int | str | None = None,
) -> str:
    """Return a sample's text; each value is a number or any piece of text in its place.

    >>> sample(1, "NaN")
    '{"sensorID": "", "secFromStart": 1, "data": {"BPMChild": NaN, "uterus": 15.25, "spasms": 0.5}}'
    """
    tail = "" if seq is None else f', "seq": {seq}'
    return (
        f'{{"sensorID": "{sensor_id}", "secFromStart": {sec}, "data": '
        f'{{"BPMChild": {fhr}, "uterus": {uterus}, "spasms": {spasms}}}{tail}}}'
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """A sample as somebody downstream of the backend sees it."""

    sensor_id: str
    sec: Any
    fhr: Any
    uterus: Any
    spasms: Any
    flat: bool = False
    """In the ML service's flat format, where no signal is 0."""

    def __str__(self) -> str:
        return f"secFromStart={self.sec} BPMChild={self.fhr} uterus={self.uterus}"


def parsed(text: str | bytes) -> Any:
    """Return the JSON in *text*, or None when there is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def reading(text: str | bytes) -> Reading | None:
    """Return the sample in a request or result, nested or flat; None when it isn't one.

    >>> reading('{"sensorID": "A", "secFromStart": 2, "BPMChild": 0, "uterus": 1, "spasms": 2}')
    Reading(sensor_id='a', sec=2, fhr=0, uterus=1, spasms=2, flat=True)
    """
    message = parsed(text)
    if not isinstance(message, dict) or not isinstance(message.get("sensorID"), str):
        return None
    flat = not isinstance(message.get("data"), dict)
    data = message if flat else message["data"]
    return Reading(
        message["sensorID"].lower(),
        message.get("secFromStart"),
        data.get("BPMChild"),
        data.get("uterus"),
        data.get("spasms"),
        flat,
    )


def result(request: str, **changes: Any) -> str:
    """Return a plain valid result for a request, with changes."""
    seen = reading(request)
    if seen is None:
        return json.dumps({"status": "error", "message": "no sample", "timestamp": TIMESTAMP})
    body = {
        "sensorID": seen.sensor_id,
        "secFromStart": seen.sec,
        "data": {"BPMChild": seen.fhr, "uterus": seen.uterus, "spasms": seen.spasms},
        "prediction": None,
        "status": "ok",
        "timestamp": TIMESTAMP,
    }
    return json.dumps(body | changes)


PREDICTION = {
    "hypoxia_probability": 0.62,
    "hypoxia_risk": "high",
    "alerts": ["check"],
    "confidence": 0.75,
    "recommendations": ["none: this is a test"],
}


def shape_problem(text: str | bytes, fallback: bool = False) -> str | None:
    """Return what is wrong with a result's shape (PROTOCOL M-3.1), or None.

    Parameters
    ----------
    text : str or bytes
        The result.
    fallback : bool
        It is the backend's own, for a sample that got no answer: ``"prediction": null,
        "status": "error"``.
    """
    message = parsed(text)
    if not isinstance(message, dict):
        return "not a JSON object"
    numbers: Callable[[Any], bool] = lambda v: v is None or _is_number(v)  # noqa: E731
    data = message.get("data")
    if not isinstance(data, dict):
        return "data is not an object"
    rules: tuple[tuple[str, bool], ...] = (
        ("sensorID is not a text", isinstance(message.get("sensorID"), str)),
        ("secFromStart is not a number", _is_number(message.get("secFromStart"))),
        *(
            (f"data.{name} is missing or no number", name in data and numbers(data[name]))
            for name in ("BPMChild", "uterus", "spasms")
        ),
        ("prediction is missing", "prediction" in message),
        (
            f"status is {message.get('status')!r}",
            message.get("status") in ("ok", "warning", "critical", "error"),
        ),
        ("timestamp is not a text", isinstance(message.get("timestamp"), str)),
    )
    if fallback:
        rules += (
            ("prediction is not null", message.get("prediction") is None),
            (f"status is {message.get('status')!r}", message.get("status") == "error"),
        )
    return next((problem for problem, holds in rules if not holds), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def excerpt(text: str | bytes) -> str:
    """Return the start of a text, safe to print."""
    shown = repr(text[:120])
    return shown + "…" if len(text) > 120 else shown
