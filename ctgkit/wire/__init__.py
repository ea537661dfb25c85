"""JSON text <-> samples, replies and results. The only package that knows the names on the wire.

It performs no I/O. Whatever bytes come in, each decoder returns a value or raises one
:class:`~ctgkit.errors.WireError` that names where and what (PROTOCOL.md, clauses S-4, M-2, M-3).
"""

from ctgkit.wire.names import (
    ACKS_HEADER,
    BACKFILL_PARAMETER,
    BED_PARAMETER,
    GROUPED,
    MEMBERS,
    SENSOR_ID_PARAMETER,
    SENSOR_PARAMETER,
    STREAM_HEADER,
    SUBPROTOCOL,
    TOKEN_HEADER,
)
from ctgkit.wire.replies import Ack, Reject, decode_reply, encode_ack, encode_reject, plain_ack
from ctgkit.wire.results import (
    Result,
    ResultHead,
    decode_result,
    decode_result_head,
    encode_error_result,
    encode_prediction,
    encode_result,
    is_error_result,
    repeat_result,
    without_sample,
)
from ctgkit.wire.samples import (
    MlFormat,
    decode_frame,
    decode_request,
    decode_sample,
    encode_request,
    encode_sample,
)

__all__ = [
    "ACKS_HEADER",
    "BACKFILL_PARAMETER",
    "BED_PARAMETER",
    "GROUPED",
    "MEMBERS",
    "SENSOR_ID_PARAMETER",
    "SENSOR_PARAMETER",
    "STREAM_HEADER",
    "SUBPROTOCOL",
    "TOKEN_HEADER",
    "Ack",
    "MlFormat",
    "Reject",
    "Result",
    "ResultHead",
    "decode_frame",
    "decode_reply",
    "decode_request",
    "decode_result",
    "decode_result_head",
    "decode_sample",
    "encode_ack",
    "encode_error_result",
    "encode_prediction",
    "encode_reject",
    "encode_request",
    "encode_result",
    "encode_sample",
    "is_error_result",
    "plain_ack",
    "repeat_result",
    "without_sample",
]
