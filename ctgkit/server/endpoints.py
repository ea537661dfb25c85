"""The HTTP paths of the backend: what the door serves, and ``ctgkit schema openapi`` says. Pure.

The WebSocket paths are in the AsyncAPI document (:mod:`ctgkit.wire.schema`).
"""

from typing import Any, Final, Literal

import msgspec

from ctgkit import __version__
from ctgkit.wire.schema import NOTE


class Health(msgspec.Struct, kw_only=True):
    """How the backend is (H-1.1)."""

    status: Literal["ok", "degraded"]
    service: str
    timestamp: str
    """ISO 8601 with Z."""
    version: str
    store: str
    """``ok``, or why nothing can be written."""
    ml: Literal["up", "down", "stalled", "off"]
    """``stalled``: it answers nothing; ``off``: none is configured."""
    ml_unanswered_share: float
    """Share of the samples sent to the ML service that got no usable answer, in [0, 1]."""
    sensors: int
    viewers: int
    examinations_open: int
    flooders_closed: int


class Problem(msgspec.Struct):
    """Why a request was refused."""

    error: str


class StartedSensor(msgspec.Struct):
    """A sensor that was switched on."""

    uuid: str
    ip: str
    """HOST:PORT of its control address."""
    connected: bool


class Started(msgspec.Struct, omit_defaults=True):
    """The answer to starting sensors (H-2.1)."""

    message: str
    sensor: StartedSensor
    sensors: list[StartedSensor] | msgspec.UnsetType = msgspec.UNSET
    """All of them, when more than one was asked for."""


class Obeyed(msgspec.Struct):
    """The answer to what one sensor was told to do."""

    message: str
    sensor: str
    at_s: float
    """When an event begins, seconds of data time."""


class Stopped(msgspec.Struct):
    """The answer to stopping all sensors (H-2.2)."""

    message: str


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One path."""

    name: str
    path: str
    summary: str
    bodies: dict[int, type[msgspec.Struct] | None]
    """Status -> type of the JSON body; None for plain text."""
    acts: bool = False
    """It switches something: GET only, and beyond loopback with the access token."""
    query: dict[str, dict[str, Any]] = {}
    """Parameter -> its JSON Schema."""


_TEXT: Final = {"type": "string"}
ENDPOINTS: Final = (
    Endpoint(name="health", path="/api/health", summary="How it is", bodies={200: Health}),
    Endpoint(name="livez", path="/livez", summary="Whether it runs", bodies={200: None}),
    Endpoint(
        name="readyz", path="/readyz", summary="Whether it takes new peers",
        bodies={200: None, 503: None},
    ),
    Endpoint(name="metrics", path="/metrics", summary="Metrics for Prometheus", bodies={200: None}),
    Endpoint(
        name="start", path="/api/sensors/start", acts=True,
        summary="Switch on the next sensors that have a control address",
        bodies={200: Started, 400: Problem, 401: Problem},
        query={"count": {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 1}},
    ),
    Endpoint(
        name="stop", path="/api/sensors/stop", acts=True, summary="Switch off all sensors",
        bodies={200: Stopped, 401: Problem},
    ),
    Endpoint(
        name="start_one", path="/api/sensors/one/start", acts=True,
        summary="Switch on one sensor, with another scenario or seed if it is one of ours",
        bodies={200: Obeyed, 400: Problem, 401: Problem},
        query={"sensor": _TEXT, "scenario": _TEXT, "seed": {"type": "integer", "minimum": 0}},
    ),
    Endpoint(
        name="stop_one", path="/api/sensors/one/stop", acts=True, summary="Switch off one sensor",
        bodies={200: Obeyed, 400: Problem, 401: Problem}, query={"sensor": _TEXT},
    ),
    Endpoint(
        name="inject", path="/api/sensors/one/inject", acts=True,
        summary="Force an event on one sensor of ours, now",
        bodies={200: Obeyed, 400: Problem, 401: Problem},
        query={
            "sensor": _TEXT, "event": _TEXT, "size": {"type": "number"},
            "duration_s": {"type": "number"},
        },
    ),
)  # fmt: skip
REFUSALS: Final = {
    400: "The request is no request in origin form.",
    403: "Its Host or Origin is not allowed (S-2).",
    405: "Another method.",
}
"""What any path may answer."""


def openapi() -> dict[str, Any]:
    """Return an OpenAPI 3.1 document of the backend's HTTP paths."""
    types = {body for one in ENDPOINTS for body in one.bodies.values() if body}
    ordered = sorted(types, key=lambda body: body.__name__)
    place = "#/components/schemas/{name}"
    _, schemas = msgspec.json.schema_components(ordered, ref_template=place)
    return {
        "openapi": "3.1.0",
        "info": {"title": "CTGKit backend", "version": __version__, "description": NOTE},
        "servers": [{"url": "http://127.0.0.1:8080"}],
        "paths": {one.path: _item(one) for one in ENDPOINTS},
        "components": {
            "schemas": schemas,
            "securitySchemes": {"viewer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _item(one: Endpoint) -> dict[str, Any]:
    def operation(verb: str) -> dict[str, Any]:
        answers: dict[str, Any] = {str(s): {"description": text} for s, text in REFUSALS.items()}
        for status, body in one.bodies.items():
            kind = "application/json" if body else "text/plain"
            schema = (
                {"$ref": f"#/components/schemas/{body.__name__}"} if body else {"type": "string"}
            )
            answers[str(status)] = {"description": one.summary if status == 200 else "Not now."}
            if verb == "get":
                answers[str(status)]["content"] = {kind: {"schema": schema}}
        made: dict[str, Any] = {
            "operationId": f"{verb}_{one.name}",
            "summary": one.summary,
            "responses": dict(sorted(answers.items())),
        }
        if one.query:
            made["parameters"] = [
                {"name": name, "in": "query", "schema": schema}
                for name, schema in one.query.items()
            ]
        if one.acts:
            made["security"] = [{"viewer": []}, {}]
        return made

    verbs = ("get",) if one.acts else ("get", "head")
    return {verb: operation(verb) for verb in verbs}
