"""JSON text <-> samples: clauses S-4 and M-2 of PROTOCOL.md. Pure."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from ctgkit.errors import WireError, excerpt
from ctgkit.samples import (
    BATCH_MAX,
    FHR_MAX_BPM,
    FHR_MIN_BPM,
    SEC_FROM_START_MAX_S,
    SEQ_MAX,
    TOCO_MAX,
    TOCO_MIN,
    Sample,
    SampleAndMother,
)
from ctgkit.wire.json import UNREADABLE, read_json, wire_error

MlFormat = Literal["nested", "flat", "both"]

_Toco = Annotated[float, msgspec.Meta(ge=TOCO_MIN, le=TOCO_MAX)] | None
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=SEC_FROM_START_MAX_S)]
_Seq = Annotated[int, msgspec.Meta(ge=0, le=SEQ_MAX)]
_Fhr = Annotated[float, msgspec.Meta(ge=0, le=FHR_MAX_BPM)] | None


class SampleData(msgspec.Struct, gc=False):
    """The values of a sample. `BPMChild` of null, 0 or absent means no signal."""

    fhr_bpm: _Fhr | msgspec.UnsetType = msgspec.field(name="BPMChild", default=msgspec.UNSET)
    uterus: _Toco | msgspec.UnsetType = msgspec.field(name="uterus", default=msgspec.UNSET)
    spasms: _Toco | msgspec.UnsetType = msgspec.field(name="spasms", default=msgspec.UNSET)


class SampleMessage(msgspec.Struct, gc=False, omit_defaults=True):
    """A sample in the nested shape of the specification (S-4.1)."""

    sec_from_start: _Seconds = msgspec.field(name="secFromStart")
    data: SampleData
    sensor_id: str | None = msgspec.field(name="sensorID", default=None)
    seq: _Seq | None = None


class MlRequest(SampleData, gc=False, kw_only=True):
    """A sample for an ML service: its values nested, or flat beside the rest."""

    sensor_id: str = msgspec.field(name="sensorID")
    sec_from_start: _Seconds = msgspec.field(name="secFromStart")
    data: SampleData | msgspec.UnsetType = msgspec.UNSET
    seq: _Seq | None = None


class SampleDataOut(msgspec.Struct, gc=False, frozen=True):
    """The values of a sample as we write them; null means no signal, or not measured."""

    fhr_bpm: float | None = msgspec.field(name="BPMChild")
    uterus: float | None
    spasms: float | None


class SampleDataAndMotherOut(SampleDataOut, gc=False, frozen=True):
    """With the mother's heart rate: a member that other programs ignore (S-4.2)."""

    mother_bpm: float | None = msgspec.field(name="BPMMother")


class SampleOut(msgspec.Struct, gc=False, frozen=True, omit_defaults=True):
    """A sample as our sensors write it, and as a backend sends it to an ML service."""

    sensor_id: str = msgspec.field(name="sensorID")
    sec_from_start: float = msgspec.field(name="secFromStart")
    data: SampleDataOut
    seq: int | None = None
    past: bool = False
    """In a request: sent again for what the service has to know; its answer is discarded (M-2.3).
    """


class FlatSample(msgspec.Struct, gc=False, frozen=True):
    """A sample in the flat shape of the original ML service; 0 means no signal."""

    sensor_id: str = msgspec.field(name="sensorID")
    sec_from_start: float = msgspec.field(name="secFromStart")
    fhr_bpm: float = msgspec.field(name="BPMChild")
    uterus: float
    spasms: float


class NestedAndFlatSample(FlatSample, frozen=True, gc=False, omit_defaults=True):
    """A sample with its values both flat and nested."""

    data: SampleDataOut
    past: bool = False


_message_decoder = msgspec.json.Decoder(SampleMessage)
_messages_decoder = msgspec.json.Decoder(list[SampleMessage])
_request_decoder = msgspec.json.Decoder(MlRequest)
_encoder = msgspec.json.Encoder()

_FOLDED = {
    name.lower(): name
    for name in ("sensorID", "secFromStart", "data", "seq", "BPMChild", "uterus", "spasms")
}
_FLAT_NAMES = ("BPMChild", "uterus", "spasms")


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
    except UNREADABLE:
        samples = []
    plain = [sample for sample in samples[:BATCH_MAX] if sample is not None]
    return (plain, []) if plain and len(plain) == len(samples) else _decode_slowly(frame, sensor_id)


def decode_sample(frame: bytes | str, sensor_id: str) -> Sample | None:
    """Decode the usual frame: one valid sample, keys spelt as specified, no channel left out.

    Return None for any other frame, good or bad: :func:`decode_frame` says what is in it. This is
    its hot path, at half the cost.
    """
    try:
        message = _message_decoder.decode(frame)
    except UNREADABLE:
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
    except UNREADABLE:
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


def _plain(message: SampleMessage | MlRequest, data: SampleData, sensor_id: str) -> Sample | None:
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


def _sample(message: SampleMessage, sensor_id: str) -> Sample:
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
        if isinstance(parsed, list) and len(parsed) > BATCH_MAX:
            raise WireError("range", "frame", f"{len(parsed)} samples, more than {BATCH_MAX}")
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


def _convert(folded: dict[str, Any], shown: str) -> SampleMessage:
    seq = folded.get("seq")
    if type(seq) is not int or not 0 <= seq <= SEQ_MAX:
        seq = None
    try:
        return msgspec.convert(folded, SampleMessage)
    except msgspec.ValidationError as error:
        raise wire_error(error, shown, seq) from error


def encode_sample(sample: Sample, ml_format: MlFormat = "nested") -> bytes:
    """Return a sample as JSON text, as a sensor sends it: nested with its ``seq``, if it has one.

    With the mother's heart rate, if the sensor counts it. In another format it is a request
    (:func:`encode_request`).
    """
    if ml_format != "nested":
        return encode_request(sample, ml_format)
    data = SampleDataOut(sample.fhr_bpm, sample.uterus, sample.spasms)
    if isinstance(sample, SampleAndMother):
        data = SampleDataAndMotherOut(data.fhr_bpm, data.uterus, data.spasms, sample.mother_bpm)
    return _encoder.encode(SampleOut(sample.sensor_id, sample.sec_from_start, data, sample.seq))


def encode_request(sample: Sample, ml_format: MlFormat, *, past: bool = False) -> bytes:
    """Return a sample as JSON text, as a backend sends it to an ML service (M-2.1).

    ``nested`` is the specification's shape (no signal is ``null``); ``flat`` has the original ML
    service's keys, where no signal is 0 because it takes numbers only; ``both`` carries both.
    *past* marks one that is sent again (M-2.3); the flat format has no place for it.
    """
    if ml_format == "nested":
        data = SampleDataOut(sample.fhr_bpm, sample.uterus, sample.spasms)
        return _encoder.encode(SampleOut(sample.sensor_id, sample.sec_from_start, data, past=past))
    fhr_bpm, uterus, spasms = sample.fhr_bpm or 0.0, sample.uterus or 0.0, sample.spasms or 0.0
    if ml_format == "flat":
        flat = FlatSample(sample.sensor_id, sample.sec_from_start, fhr_bpm, uterus, spasms)
        return _encoder.encode(flat)
    data = SampleDataOut(sample.fhr_bpm, sample.uterus, sample.spasms)
    both = NestedAndFlatSample(
        sample.sensor_id, sample.sec_from_start, fhr_bpm, uterus, spasms, data, past
    )
    return _encoder.encode(both)
