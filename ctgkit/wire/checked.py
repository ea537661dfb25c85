"""What a backend checks in a result before it relays the bytes as they came (PROTOCOL M-4.1)."""

import msgspec

from ctgkit.errors import WireError, excerpt
from ctgkit.wire.json import read_typed


class _Values(msgspec.Struct, frozen=True, gc=False):
    fhr_bpm: float | None = msgspec.field(name="BPMChild", default=None)
    uterus: float | None = None
    spasms: float | None = None


class _Prediction(msgspec.Struct, frozen=True, gc=False):
    hypoxia_probability: float | None = None
    hypoxia_risk: str | None = None
    alerts: list[str] | None = None
    confidence: float | None = None
    recommendations: list[str] | None = None


class CheckedResult(msgspec.Struct, frozen=True, gc=False):
    """A result whose members have the right types; further ones are ignored."""

    sensor_id: str = msgspec.field(name="sensorID")
    sec_from_start: float | None = msgspec.field(name="secFromStart", default=None)
    data: _Values | None = None
    prediction: _Prediction | None = None
    status: str | None = None


_decoder = msgspec.json.Decoder(CheckedResult)


def check_result(frame: bytes | str) -> CheckedResult:
    """Decode a result.

    Raises
    ------
    WireError
        When it is not an object with a ``sensorID``, or a member has the wrong type.
    """
    result = read_typed(_decoder, frame)
    if not result.sensor_id:
        raise WireError("missing", "sensorID", "missing", excerpt(frame))
    return result
