"""What a backend checks in a result before it relays the bytes as they came (PROTOCOL M-4.1)."""

from typing import Annotated

import msgspec

from ctgkit.errors import WireError, excerpt
from ctgkit.wire.json import read_typed


class _Values(msgspec.Struct, frozen=True, gc=False):
    fhr_bpm: float | None = msgspec.field(name="BPMChild", default=None)
    uterus: float | None = None
    spasms: float | None = None


_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Prediction(msgspec.Struct, frozen=True, gc=False):
    hypoxia_probability: _Share | None = None
    hypoxia_risk: str | None = None
    alerts: list[str] | None = None
    confidence: _Share | None = None
    recommendations: list[str] | None = None


class CheckedResult(msgspec.Struct, frozen=True, gc=False):
    """A result whose members have the right types; further ones are ignored.

    Any text is a status: one that viewers don't know is theirs to judge. Without one a result says
    nothing, and a service that leaves it out is taken for faulty.
    """

    sensor_id: str = msgspec.field(name="sensorID")
    sec_from_start: float = msgspec.field(name="secFromStart")
    data: _Values
    status: str
    prediction: _Prediction | None = None


_decoder = msgspec.json.Decoder(CheckedResult)


def check_result(frame: bytes | str) -> CheckedResult:
    """Decode a result.

    Raises
    ------
    WireError
        When a member is missing or has the wrong type.
    """
    result = read_typed(_decoder, frame)
    if not result.sensor_id:
        raise WireError("missing", "sensorID", "missing", excerpt(frame))
    return result
