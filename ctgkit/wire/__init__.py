"""JSON text <-> samples and results. The only module that knows the names on the wire.

This module performs no I/O. Whatever bytes come in, each decoder returns a value or raises one
:class:`~ctgkit.errors.WireError` that names where and what (PROTOCOL.md, clauses S-4, M-2, M-3).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from ctgkit.errors import WireError, excerpt
from ctgkit.samples import (
    FHR_MAX_BPM,
    FHR_MIN_BPM,
    SEC_FROM_START_MAX_S,
    SEQ_MAX,
    TOCO_MAX,
    TOCO_MIN,
    Prediction,
    Sample,
    Status,
)
from ctgkit.wire.json import read_json, read_typed, wire_error

SUBPROTOCOL: Final = "ctgkit.v1"
TOKEN_HEADER: Final = "X-Auth-Sensor-Token"
SENSOR_ID_PARAMETER: Final = "sensor_id"
BACKFILL_PARAMETER: Final = "backfill"

MlFormat = Literal["nested", "flat", "both"]

_Toco = Annotated[float, msgspec.Meta(ge=TOCO_MIN, le=TOCO_MAX)] | None
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=SEC_FROM_START_MAX_S)]
_Seq = Annotated[int, msgspec.Meta(ge=0, le=SEQ_MAX)]
_Fhr = Annotated[float, msgspec.Meta(ge=0, le=FHR_MAX_BPM)] | None


class _Data(msgspec.Struct, gc=False):
    fhr_bpm: _Fhr | msgspec.UnsetType = msgspec.field(name="BPMChild", default=msgspec.UNSET)
    uterus: _Toco | msgspec.UnsetType = msgspec.field(name="uterus", default=msgspec.UNSET)
    spasms: _Toco | msgspec.UnsetType = msgspec.field(name="spasms", default=msgspec.UNSET)


class _Message(msgspec.Struct, gc=False, omit_defaults=True):
    """A sample in the nested shape of the specification."""

    sec_from_start: _Seconds = msgspec.field(name="secFromStart")
    data: _Data
    sensor_id: str | None = msgspec.field(name="sensorID", default=None)
    seq: _Seq | None = None


class _Request(_Data, gc=False, kw_only=True):
    """A sample for an ML service: its values nested, or flat beside the rest."""

    sensor_id: str = msgspec.field(name="sensorID")
    sec_from_start: _Seconds = msgspec.field(name="secFromStart")
    data: _Data | msgspec.UnsetType = msgspec.UNSET
    seq: _Seq | None = None


class _DataOut(msgspec.Struct, gc=False, frozen=True):
    fhr_bpm: float | None = msgspec.field(name="BPMChild")
    uterus: float | None
    spasms: float | None


class _SampleOut(msgspec.Struct, gc=False, frozen=True, omit_defaults=True):
    sensor_id: str = msgspec.field(name="sensorID")
    sec_from_start: float = msgspec.field(name="secFromStart")
    data: _DataOut
    seq: int | None = None


class _FlatOut(msgspec.Struct, gc=False, frozen=True):
    sensor_id: str = msgspec.field(name="sensorID")
    sec_from_start: float = msgspec.field(name="secFromStart")
    fhr_bpm: float = msgspec.field(name="BPMChild")
    uterus: float
    spasms: float


class _BothOut(_FlatOut, frozen=True, gc=False):
    data: _DataOut


class _ResultOut(msgspec.Struct, frozen=True, gc=False):
    sensor_id: str = msgspec.field(name="sensorID")
    sec_from_start: float = msgspec.field(name="secFromStart")
    data: _DataOut
    prediction: Prediction | msgspec.Raw | None
    status: Status
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


class _ResultData(msgspec.Struct):
    fhr_bpm: float | None = msgspec.field(name="BPMChild", default=None)
    uterus: float | None = None
    spasms: float | None = None


class _ResultIn(msgspec.Struct):
    sensor_id: str = msgspec.field(name="sensorID")
    sec_from_start: float = msgspec.field(name="secFromStart", default=0.0)
    data: _ResultData = msgspec.field(default_factory=_ResultData)
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


class Ack(msgspec.Struct, frozen=True, tag=False, gc=False):
    """Everything up to ``ack`` is committed (``ctgkit.v1``)."""

    ack: int


class Reject(msgspec.Struct, frozen=True, gc=False):
    """The sample ``seq`` was rejected (``ctgkit.v1``); ``seq`` is None where it was unreadable."""

    error: str
    seq: int | None = None


_message_decoder = msgspec.json.Decoder(_Message)
_messages_decoder = msgspec.json.Decoder(list[_Message])
_request_decoder = msgspec.json.Decoder(_Request)
_result_decoder = msgspec.json.Decoder(_ResultIn)
_head_decoder = msgspec.json.Decoder(ResultHead)
_reply_decoder = msgspec.json.Decoder(dict[str, int | str | None])
_encoder = msgspec.json.Encoder()

_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_FOLDED = {
    name.lower(): name
    for name in ("sensorID", "secFromStart", "data", "seq", "BPMChild", "uterus", "spasms")
}
_FLAT_NAMES = ("BPMChild", "uterus", "spasms")


# --- samples in ---------------------------------------------------------------------------------


def decode_frame(frame: bytes | str, sensor_id: str) -> tuple[list[Sample], list[WireError]]:
    """Decode what an authenticated sensor sent: one sample, or an array of samples.

    Parameters
    ----------
    frame : bytes or str
        Text or binary message.
    sensor_id : str
        The authenticated id, lower case; a sample may repeat it or leave it out.

    Returns
    -------
    samples : list of Sample
        The valid samples, in order.
    errors : list of WireError
        One per rejected sample; one in all when the frame itself is unreadable.
    """
    sample = decode_sample(frame, sensor_id)
    if sample is not None:
        return [sample], []
    try:
        samples = [_plain(m, m.data, sensor_id) for m in _messages_decoder.decode(frame)]
    except _UNREADABLE:
        samples = []
    plain = [sample for sample in samples if sample is not None]
    return (plain, []) if plain and len(plain) == len(samples) else _decode_slowly(frame, sensor_id)


def decode_sample(frame: bytes | str, sensor_id: str) -> Sample | None:
    """Decode the usual frame: one valid sample, keys spelt as specified, no channel left out.

    Return None for any other frame, good or bad: :func:`decode_frame` says what is in it. This is
    its hot path, at half the cost.
    """
    try:
        message = _message_decoder.decode(frame)
    except _UNREADABLE:
        return None
    return _plain(message, message.data, sensor_id)


def decode_request(frame: bytes | str) -> Sample:
    """Decode one sample sent to an ML service, nested or flat; its ``sensorID`` is required.

    Raises
    ------
    WireError
        Naming the field and the reason.
    """
    try:
        message = _request_decoder.decode(frame)
    except _UNREADABLE:
        return _decode_request_slowly(frame)
    data = message if message.data is msgspec.UNSET else message.data
    sample = _plain(message, data, message.sensor_id.lower())
    return _decode_request_slowly(frame) if sample is None else sample


def _decode_request_slowly(frame: bytes | str) -> Sample:
    """Decode other spellings of the keys and absent channels, or name what is wrong."""
    item = read_json(frame)
    if not isinstance(item, dict):
        raise WireError("type", "frame", "a JSON object is expected", excerpt(frame))
    folded = _fold(item)
    if "data" not in folded:
        folded["data"] = {name: folded[name] for name in _FLAT_NAMES if name in folded}
        if not folded["data"]:
            raise WireError("missing", "data", "missing", excerpt(frame))
    message = _convert(folded, excerpt(frame))
    if not message.sensor_id:
        raise WireError("missing", "sensorID", "missing", excerpt(frame), message.seq)
    return _sample(message, message.sensor_id.lower())


def _plain(message: _Message | _Request, data: _Data, sensor_id: str) -> Sample | None:
    """Return the sample when the keys are exact and all there, and it is valid."""
    claimed = message.sensor_id
    fhr, uterus, spasms = data.fhr_bpm, data.uterus, data.spasms
    if not sensor_id or (claimed and claimed != sensor_id and claimed.lower() != sensor_id):
        return None
    if fhr is msgspec.UNSET or uterus is msgspec.UNSET or spasms is msgspec.UNSET:
        return None  # perhaps spelt in another case
    if not fhr:
        fhr = None
    elif fhr < FHR_MIN_BPM:
        return None
    return Sample(sensor_id, message.sec_from_start, fhr, uterus, spasms, message.seq)


def _sample(message: _Message, sensor_id: str) -> Sample:
    """Return the sample when absent channels are allowed to be absent."""
    claimed, data = message.sensor_id, message.data
    if claimed and claimed.lower() != sensor_id:
        raise _not_own(claimed, message.seq)
    fhr = None if data.fhr_bpm is msgspec.UNSET else data.fhr_bpm
    if fhr and fhr < FHR_MIN_BPM:
        raise _fhr_too_low(fhr, message.seq)
    return Sample(
        sensor_id,
        message.sec_from_start,
        fhr or None,
        None if data.uterus is msgspec.UNSET else data.uterus,
        None if data.spasms is msgspec.UNSET else data.spasms,
        message.seq,
    )


def _not_own(claimed: str, seq: int | None) -> WireError:
    reason = "is not the authenticated sensor"
    return WireError("sensor_id", "sensorID", reason, excerpt(claimed), seq)


def _fhr_too_low(fhr_bpm: float, seq: int | None) -> WireError:
    reason = f"{fhr_bpm:g} is neither 0 (no signal) nor in [{FHR_MIN_BPM:g}, {FHR_MAX_BPM:g}]"
    return WireError("range", "data.BPMChild", reason, seq=seq)


def _decode_slowly(frame: bytes | str, sensor_id: str) -> tuple[list[Sample], list[WireError]]:
    """Decode item by item: other spellings of the keys, and a precise error for each bad one."""
    shown = excerpt(frame)
    try:
        parsed = read_json(frame)
        if parsed == []:
            raise WireError("missing", "frame", "an array without samples")
    except WireError as error:
        return [], [error]
    samples: list[Sample] = []
    errors: list[WireError] = []
    for item in parsed if isinstance(parsed, list) else [parsed]:
        try:
            if not isinstance(item, dict):
                raise WireError("type", "frame", "a JSON object is expected", shown)
            samples.append(_sample(_convert(_fold(item), shown), sensor_id))
        except WireError as error:
            errors.append(error)
    return samples, errors


def _fold(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return *item* with the keys spelt as specified; an exact spelling wins over another one."""
    folded: dict[str, Any] = {}
    for key, value in item.items():
        name = _FOLDED.get(key.lower())
        if name and (name == key or name not in item):
            folded[name] = _fold(value) if name == "data" and isinstance(value, dict) else value
    return folded


def _convert(folded: dict[str, Any], shown: str) -> _Message:
    seq = folded.get("seq")
    if type(seq) is not int or not 0 <= seq <= SEQ_MAX:
        seq = None
    try:
        return msgspec.convert(folded, _Message)
    except msgspec.ValidationError as error:
        raise wire_error(error, shown, seq) from error


# --- members of any message ---------------------------------------------------------------------

MEMBERS: Final[Mapping[str, str]] = {
    "id": "sensorID",
    "time": "secFromStart",
    "seq": "seq",
    "fhr": "BPMChild",
    "uterus": "uterus",
    "spasms": "spasms",
}
"""What faults call a member of a message -> its name on the wire."""


# --- samples out --------------------------------------------------------------------------------


def encode_sample(sample: Sample, ml_format: MlFormat = "nested") -> bytes:
    """Return a sample as JSON text.

    ``nested`` is the specification's shape (no signal is ``null``); ``flat`` has the original ML
    service's keys, where no signal is 0 because it takes numbers only; ``both`` carries both.
    """
    if ml_format == "nested":
        return _encoder.encode(
            _SampleOut(
                sample.sensor_id,
                sample.sec_from_start,
                _DataOut(sample.fhr_bpm, sample.uterus, sample.spasms),
                sample.seq,
            )
        )
    fhr_bpm, uterus, spasms = sample.fhr_bpm or 0.0, sample.uterus or 0.0, sample.spasms or 0.0
    if ml_format == "flat":
        flat = _FlatOut(sample.sensor_id, sample.sec_from_start, fhr_bpm, uterus, spasms)
        return _encoder.encode(flat)
    data = _DataOut(sample.fhr_bpm, sample.uterus, sample.spasms)
    both = _BothOut(sample.sensor_id, sample.sec_from_start, fhr_bpm, uterus, spasms, data)
    return _encoder.encode(both)


# --- acks ---------------------------------------------------------------------------------------


def encode_ack(seq: int) -> bytes:
    """Return the acknowledgement of everything up to *seq*."""
    return _encoder.encode(Ack(seq))


def encode_reject(error: WireError) -> bytes:
    """Return the reply to a rejected sample."""
    return _encoder.encode(Reject(f"{error.code}: {error.where}: {error.reason}", error.seq))


def decode_reply(frame: bytes | str) -> Ack | Reject:
    """Decode what a ``ctgkit.v1`` server sends to a sensor.

    Raises
    ------
    WireError
        When it is neither an acknowledgement nor a rejection.
    """
    try:
        reply = _reply_decoder.decode(frame)
        match reply:
            case {"error": str(reason)}:
                seq = reply.get("seq")
                return Reject(reason, seq if isinstance(seq, int) else None)
            case {"ack": int(seq)}:
                return Ack(seq)
    except _UNREADABLE as error:
        raise WireError("json", "frame", "not a reply", excerpt(frame)) from error
    raise WireError("type", "frame", "neither ack nor error", excerpt(frame))


# --- results ------------------------------------------------------------------------------------


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
    data = _DataOut(sample.fhr_bpm, sample.uterus, sample.spasms)
    head = _encoder.encode(
        _ResultOut(sample.sensor_id, sample.sec_from_start, data, prediction, status, timestamp)
    )
    return head[:-1] + b"," + _encoder.encode(extra)[1:] if extra else head


def encode_error_result(message: str, timestamp: str) -> bytes:
    """Return an ML service's answer to a request that it could not read."""
    return _encoder.encode({"status": "error", "message": message, "timestamp": timestamp})


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
