"""What the backend answers to a sensor under ``ctgkit.v1``: clause S-6 of PROTOCOL.md. Pure."""

import msgspec

from ctgkit.errors import WireError, excerpt
from ctgkit.wire.json import UNREADABLE


class Ack(msgspec.Struct, frozen=True, tag=False, gc=False):
    """Everything up to ``ack`` is committed (``ctgkit.v1``)."""

    ack: int


class Reject(msgspec.Struct, frozen=True, gc=False):
    """The sample ``seq`` was rejected (``ctgkit.v1``); ``seq`` is None where it was unreadable."""

    error: str
    seq: int | None = None


_reply_decoder = msgspec.json.Decoder(dict[str, int | str | None])
_encoder = msgspec.json.Encoder()


def encode_ack(seq: int) -> bytes:
    """Return the acknowledgement of everything up to *seq*."""
    return _encoder.encode(Ack(seq))


def encode_reject(error: WireError) -> bytes:
    """Return the reply to a rejected sample."""
    return _encoder.encode(Reject(f"{error.code}: {error.where}: {error.reason}", error.seq))


def plain_ack(frame: bytes) -> int | None:
    """Return the number of an acknowledgement as servers usually write it, or None.

    Of anything else :func:`decode_reply` says what it is.

    >>> plain_ack(b'{"ack":17}'), plain_ack(b'{"ack": 17}'), plain_ack(b'{"ack":-1}')
    (17, None, None)
    """
    digits = frame[7:-1]
    if len(digits) > 19 or not digits.isdigit() or frame[:7] != b'{"ack":' or frame[-1:] != b"}":
        return None
    return int(digits)


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
    except UNREADABLE as error:
        raise WireError("json", "frame", "not a reply", excerpt(frame)) from error
    raise WireError("type", "frame", "neither ack nor error", excerpt(frame))
