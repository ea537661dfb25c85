"""The wire as documents for machines: JSON Schema and AsyncAPI, made from the message types.

Pure. PROTOCOL.md is the contract; these documents say the same as far as their languages can.
"""

from typing import Annotated, Any, Final

import msgspec

from ctgkit import __version__
from ctgkit.samples import BATCH_MAX, FHR_MAX_BPM, FHR_MIN_BPM
from ctgkit.wire.names import (
    BACKFILL_PARAMETER,
    BED_PARAMETER,
    SENSOR_ID_PARAMETER,
    SENSOR_PARAMETER,
    SUBPROTOCOL,
    TOKEN_HEADER,
)
from ctgkit.wire.replies import Ack, Reject
from ctgkit.wire.results import ErrorResult, ResultOut
from ctgkit.wire.samples import FlatSample, NestedAndFlatSample, SampleMessage, SampleOut

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
NOTE: Final = "Simulated or test data only: a test tool, not a medical device."

Batch = Annotated[
    list[SampleMessage],
    msgspec.Meta(
        min_length=1,
        max_length=BATCH_MAX,
        title="Batch",
        description="Samples in one frame (S-4.5).",
    ),
]
MESSAGES: Final[dict[str, Any]] = {
    "SampleMessage": SampleMessage,
    "Batch": Batch,
    "Ack": Ack,
    "Reject": Reject,
    "SampleOut": SampleOut,
    "FlatSample": FlatSample,
    "NestedAndFlatSample": NestedAndFlatSample,
    "ResultOut": ResultOut,
    "ErrorResult": ErrorResult,
}
"""Name in the documents -> type of the message."""


def _schemas(place: str) -> dict[str, Any]:
    """Return every message's schema by name; *place* is the template of references."""
    shapes, parts = msgspec.json.schema_components(MESSAGES.values(), ref_template=place)
    found: dict[str, Any] = dict(parts)
    found |= {name: s for name, s in zip(MESSAGES, shapes, strict=True) if "$ref" not in s}
    rate = found["SampleData"]["properties"]["BPMChild"]
    rate["anyOf"] = [
        {"const": 0},
        {"type": "number", "minimum": FHR_MIN_BPM, "maximum": FHR_MAX_BPM},
        {"type": "null"},
    ]
    found["ResultOut"]["properties"]["prediction"] = {
        "anyOf": [{"$ref": place.format(name="Prediction")}, {"type": "null"}]
    }
    for share in ("hypoxia_probability", "confidence"):
        found["Prediction"]["properties"][share] |= {"minimum": 0, "maximum": 1}
    return dict(sorted(found.items()))


def json_schema() -> dict[str, Any]:
    """Return one JSON Schema document with every message under ``$defs``.

    A validator takes one of them: ``{"$ref": "urn:ctgkit:wire#/$defs/ResultOut"}``. Keys of a
    sample are matched without regard to case (S-4.2), which JSON Schema cannot say.
    """
    return {
        "$schema": DIALECT,
        "$id": "urn:ctgkit:wire",
        "title": "Messages of the CTGKit protocol",
        "description": NOTE,
        "$comment": f"made by ctgkit {__version__}",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in MESSAGES],
        "$defs": _schemas("#/$defs/{name}"),
    }


def _channel(address: str, title: str, messages: list[str], **more: Any) -> dict[str, Any]:
    refs = {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
    return {"address": address, "title": title, "messages": refs, **more}


def _operation(action: str, channel: str, summary: str, messages: list[str]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
    }


def _binding(query: dict[str, Any], headers: dict[str, Any]) -> dict[str, Any]:
    """Return the WebSocket binding of a channel: its query parameters and headers."""
    binding = {
        "method": "GET",
        "query": {"type": "object", "properties": query},
        "headers": {"type": "object", "properties": headers},
        "bindingVersion": "0.1.0",
    }
    return {"ws": binding}


_TEXT: Final = {"type": "string"}
_UUID: Final = {"type": "string", "format": "uuid"}
_VIEWER_QUERY: Final = {
    BACKFILL_PARAMETER: {"type": "number", "minimum": 0, "description": "Seconds of the past."},
    BED_PARAMETER: {
        "type": "array", "items": _TEXT, "description": "Only these beds, repeated (V-2.5)."
    },
    SENSOR_PARAMETER: {
        "type": "array", "items": _UUID, "description": "These sensors, repeated (V-2.5)."
    },
}  # fmt: skip


def asyncapi() -> dict[str, Any]:
    """Return an AsyncAPI 3.0 document: the backend as the application, and the ML service."""
    samples, replies = ["SampleMessage", "Batch"], ["Ack", "Reject"]
    requests = ["SampleOut", "FlatSample", "NestedAndFlatSample"]
    results = ["ResultOut", "ErrorResult"]
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "CTGKit protocol", "version": __version__, "description": NOTE},
        "defaultContentType": "application/json",
        "servers": {
            "backend": {"host": "127.0.0.1:8080", "protocol": "ws"},
            "ml": {"host": "127.0.0.1:8081", "protocol": "ws"},
        },
        "channels": _channels(samples + replies, requests + results),
        "operations": {
            "takeSamples": _operation("receive", "sensor", "Takes samples (S-4).", samples),
            "acknowledge": _operation(
                "send", "sensor", f"Acknowledges under {SUBPROTOCOL} (S-6).", replies
            ),
            "showResults": _operation("send", "viewer", "Shows results (V-2).", ["ResultOut"]),
            "askMlService": _operation("send", "ml", "Asks about each sample (M-2).", requests),
            "takeResults": _operation("receive", "ml", "Takes results (M-3).", results),
        },
        "components": {
            "messages": {
                name: {"name": name, "payload": {"$ref": f"#/components/schemas/{name}"}}
                for name in MESSAGES
            },
            "schemas": _schemas("#/components/schemas/{name}"),
        },
    }


def _channels(of_sensors: list[str], of_ml: list[str]) -> dict[str, Any]:
    sensor = _binding(
        {SENSOR_ID_PARAMETER: _UUID},
        {TOKEN_HEADER: _TEXT, "Sec-WebSocket-Protocol": {"type": "string", "const": SUBPROTOCOL}},
    )
    viewer = _binding(
        _VIEWER_QUERY,
        {"Authorization": {"type": "string", "description": "Bearer TOKEN, beyond loopback."}},
    )
    return {
        "sensor": _channel(
            "/ws/sensor",
            "One sensor's samples",
            of_sensors,
            servers=[{"$ref": "#/servers/backend"}],
            bindings=sensor,
        ),
        "viewer": _channel(
            "/ws",
            "Results for viewers",
            ["ResultOut"],
            servers=[{"$ref": "#/servers/backend"}],
            bindings=viewer,
        ),
        "ml": _channel(
            "/ws/ctg",
            "Samples of all sensors to the ML service, and its results",
            of_ml,
            servers=[{"$ref": "#/servers/ml"}],
        ),
    }
