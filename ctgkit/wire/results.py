"""JSON text <-> results of the ML service: clauses M-3 and V-3 of PROTOCOL.md. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ctgkit.errors import WireError, excerpt
from ctgkit.samples import Prediction, Sample, Status
from ctgkit.wire.json import read_json, read_typed
from ctgkit.wire.samples import SampleDataOut


class ResultOut(msgspec.Struct, frozen=True, gc=False):
    """A result as an ML service writes it (M-3.1), and a backend relays it (V-3.1)."""

    sensor_id: str = msgspec.field(name="sensorID")
    sec_from_start: float = msgspec.field(name="secFromStart")
    data: SampleDataOut
    prediction: Prediction | msgspec.Raw | None
    status: Status
    timestamp: str


class ErrorResult(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An ML service's answer to a request that it could not read (M-3.5)."""

    status: Literal["error"] = "error"
    message: str
    timestamp: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A result as a viewer reads it; unknown members are ignored."""

    sensor_id: str
    sec_from_start: float
    fhr_bpm: float | None
    uterus: float | None
    spasms: float | None
    prediction: Prediction | None
    status: str
    timestamp: str
    features: dict[str, Any] | None = None
    events: list[dict[str, Any]] | None = None
    figo: dict[str, Any] | None = None
    alert_details: Any = None
    """Our stub's alerts with their codes; no part of the contract, so it may be anything."""


class ResultData(msgspec.Struct):
    """The values of the sample that a result belongs to."""

    fhr_bpm: float | None = msgspec.field(name="BPMChild", default=None)
    uterus: float | None = None
    spasms: float | None = None


class ResultMessage(msgspec.Struct):
    """A result as a viewer reads it: unknown members are ignored."""

    sensor_id: str = msgspec.field(name="sensorID")
    sec_from_start: float = msgspec.field(name="secFromStart", default=0.0)
    data: ResultData = msgspec.field(default_factory=ResultData)
    prediction: Prediction | None = None
    status: str = "ok"
    timestamp: str = ""
    features: dict[str, Any] | None = None
    events: list[dict[str, Any]] | None = None
    figo: dict[str, Any] | None = None
    alert_details: Any = None


class ResultHead(msgspec.Struct, frozen=True, gc=False):
    """What the backend needs to know of a result; the rest is relayed as it came."""

    sensor_id: str = msgspec.field(name="sensorID")
    sec_from_start: float | None = msgspec.field(name="secFromStart", default=None)
    data: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    status: str | None = None


_result_decoder = msgspec.json.Decoder(ResultMessage)
_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OF_THE_SAMPLE = ("sensorID", "secFromStart", "data", "timestamp")
_head_decoder = msgspec.json.Decoder(ResultHead)
_encoder = msgspec.json.Encoder()


def encode_prediction(prediction: Prediction) -> msgspec.Raw:
    """Return a prediction encoded once, to be repeated in many results."""
    return msgspec.Raw(_encoder.encode(prediction))


def encode_result(
    sample: Sample,
    prediction: Prediction | msgspec.Raw | None,
    status: Status,
    timestamp: str,
    extra: Mapping[str, Any] | None = None,
) -> bytes:
    """Return a result: the sample, what is predicted, and members of our own in *extra*.

    ``timestamp`` is ISO 8601 with ``Z``. *extra* adds members, it never renames the contract's.
    """
    data = SampleDataOut(sample.fhr_bpm, sample.uterus, sample.spasms)
    head = _encoder.encode(
        ResultOut(sample.sensor_id, sample.sec_from_start, data, prediction, status, timestamp)
    )
    return head[:-1] + b"," + _encoder.encode(extra)[1:] if extra else head


def encode_error_result(message: str, timestamp: str) -> bytes:
    """Return an ML service's answer to a request that it could not read."""
    return _encoder.encode(ErrorResult(message=message, timestamp=timestamp))


def decode_result(frame: bytes | str) -> Result:
    """Decode a result as a viewer does.

    Raises
    ------
    WireError
        When it is not an object with ``sensorID``, or a member has the wrong type.
    """
    result = read_typed(_result_decoder, frame)
    data = result.data
    return Result(
        sensor_id=result.sensor_id,
        sec_from_start=result.sec_from_start,
        fhr_bpm=data.fhr_bpm or None,
        uterus=data.uterus,
        spasms=data.spasms,
        prediction=result.prediction,
        status=result.status,
        timestamp=result.timestamp,
        features=result.features,
        events=result.events,
        figo=result.figo,
        alert_details=result.alert_details,
    )


_usual = re.compile(
    rb'\{"sensorID":"[^"\\]*","secFromStart":[-+.0-9eE]*,"data":\{[^{}]*\}'
    rb'(,"prediction":.*),"timestamp":"[^"\\]*"\}', re.DOTALL
).fullmatch  # fmt: skip
"""A result written as ours are: what is between its data and its time can be compared unread. In
JSON a quote in a text is escaped, so `,"` begins a member, and the last `}` ends all."""


def without_sample(text: bytes) -> bytes:
    """Return what a result says beyond its sample: what two results that repeat one another share.

    Where it is equal nothing else differs; written in different ways, the same may be unequal.

    >>> without_sample(b'{"sensorID": "a", "secFromStart": 1, "status": "ok", "prediction": null}')
    b'{"status":"ok","prediction":null}'
    """
    if usual := _usual(text):
        return usual[1]
    members = _members_decoder.decode(text)
    for name in _OF_THE_SAMPLE:
        members.pop(name, None)
    return _encoder.encode(members)


def repeat_result(text: str, sample: Sample, timestamp: str) -> bytes:
    """Return a stored result said again of another sample; ``repeated`` marks it.

    Raises
    ------
    WireError
        When what is stored is no result.
    """
    result = read_typed(_members_decoder, text)
    data = SampleDataOut(sample.fhr_bpm, sample.uterus, sample.spasms)
    own = {"secFromStart": sample.sec_from_start, "data": data, "timestamp": timestamp}
    return _encoder.encode({**result, **own, "repeated": True})


def decode_result_head(frame: bytes | str) -> ResultHead:
    """Decode what the backend checks in a result before it relays the bytes.

    Raises
    ------
    WireError
        When it is not an object with a ``sensorID``, or a member has the wrong type.
    """
    head = read_typed(_head_decoder, frame)
    if not head.sensor_id:
        raise WireError("missing", "sensorID", "missing", excerpt(frame))
    return head


def is_error_result(frame: bytes | str) -> bool:
    """Return whether a message is an ML service's error answer, which names no sensor."""
    try:
        return bool(read_json(frame).get("status") == "error")
    except (WireError, AttributeError):
        return False
