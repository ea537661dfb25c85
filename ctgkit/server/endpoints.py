"""The HTTP paths of the backend: what the door serves, and ``ctgkit schema openapi`` says. Pure.

The WebSocket paths are in the AsyncAPI document (:mod:`ctgkit.wire.schema`).
"""

from typing import Any, Final, Literal

import msgspec

from ctgkit import __version__
from ctgkit.wire.schema import NOTE


class Health(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How the backend is (H-1.1); what begins with ``node`` only where there may be several."""

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
    """Share of the samples sent to the ML service that got no usable answer, in [0, 1]; of several
    services that of the worst."""
    ml_services: int
    """How many are configured."""
    ml_services_up: int
    sensors: int
    viewers: int
    examinations_open: int
    flooders_closed: int
    bus: Literal["up", "down"] | msgspec.UnsetType = msgspec.UNSET
    """Whether other nodes' results are heard at once."""
    bus_missed: int | msgspec.UnsetType = msgspec.UNSET
    """How often some may have been missed; they are read from the database then."""
    node: str | msgspec.UnsetType = msgspec.UNSET
    generation: int | msgspec.UnsetType = msgspec.UNSET
    """Begins anew when the node was cut off from the database for longer than its lease."""
    fenced: int | msgspec.UnsetType = msgspec.UNSET
    """How often that happened."""
    ambiguous: int | msgspec.UnsetType = msgspec.UNSET
    """Commits whose outcome had to be asked for again."""
    taken: int | msgspec.UnsetType = msgspec.UNSET
    """Sensors taken over from other nodes while they were connected there."""
    displaced: int | msgspec.UnsetType = msgspec.UNSET
    """Sensors that came again elsewhere while they were connected here."""


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


class SensorState(msgspec.Struct):
    """A sensor that the backend knows."""

    id: str
    bed: str
    connected: bool
    examination: int | None
    """The one that it takes part in; null while it isn't connected."""
    controllable: bool
    """Whether ``/api/sensors/start`` can switch it on."""


class Sensors(msgspec.Struct):
    """All sensors that the backend knows."""

    sensors: list[SensorState]


class Examination(msgspec.Struct):
    """An examination and the numbers of its rows; null where only counting them all could tell."""

    id: int
    bed: str | None
    state: str
    """``open``, ``closed``, or ``interrupted`` by the end of a backend."""
    start_time: str | None
    """ISO 8601 with Z."""
    end_time: str | None
    samples: int
    with_signal: int | None
    sensors: int
    predictions: int | None


class SensorPart(msgspec.Struct):
    """What one sensor contributed to an examination."""

    uuid: str
    samples: int
    with_signal: int | None
    first_sec: float | None
    last_sec: float | None


class ExaminationParts(Examination):
    """An examination with what each sensor contributed."""

    by_sensor: list[SensorPart]


class Examinations(msgspec.Struct):
    """A page of examinations, oldest first."""

    examinations: list[Examination]
    next: int | None
    """Give it as ``after`` for the following page; null at the end."""


class StoredSample(msgspec.Struct):
    """A sample as it is stored; null is no signal."""

    uuid: str
    seq: int | None
    sec_from_start: float
    bpm: float | None
    uterus: float | None
    spasms: float | None
    created_at: str


class Samples(msgspec.Struct):
    """A page of samples, in the order in which they were stored."""

    samples: list[StoredSample]
    next: int | None
    """Give it as ``after`` for the following page; null at the end."""


class ReportedEvent(msgspec.Struct, omit_defaults=True):
    """An event as it was last reported; members with nothing to say are left out."""

    sensor: str
    kind: str
    onset_s: float
    end_s: float
    id: str = ""
    subtype: str = ""
    peak_s: float | None = None
    size: float | None = None
    tier: str = "final"


class Events(msgspec.Struct):
    """Events of an examination, by sensor and onset."""

    events: list[ReportedEvent]


PAGE_DEFAULT, PAGE_MAX = 1000, 10_000
"""Rows of a page. Chosen: a minute of four sensors; a megabyte."""
_LIMIT = {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE_DEFAULT}
ID_MAX = 2**63 - 1
_AFTER = {"type": "integer", "minimum": 0, "maximum": ID_MAX, "default": 0}
_UUID = {"type": "string", "description": "Only of this sensor."}


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One path."""

    name: str
    path: str
    summary: str
    bodies: dict[int, type[msgspec.Struct] | None]
    """Status -> type of the JSON body; None for plain text."""
    acts: bool = False
    """It switches something: GET only, and beyond loopback with the access token."""
    reads: bool = False
    """It tells what is stored: beyond loopback with the access token."""
    query: dict[str, dict[str, Any]] = {}
    """Parameter -> its JSON Schema."""

    @property
    def places(self) -> list[str]:
        """Names of the parts of its path that vary."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]


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
    Endpoint(
        name="change", path="/api/sensors/one/change", acts=True,
        summary="Let a knob of one sensor of ours go to another value, from now on",
        bodies={200: Obeyed, 400: Problem, 401: Problem},
        query={
            "sensor": _TEXT, "knob": _TEXT, "to": {"type": "number"},
            "ramp_s": {"type": "number", "minimum": 0, "default": 60},
        },
    ),
    Endpoint(
        name="sensors", path="/api/sensors", reads=True, summary="All sensors that are known",
        bodies={200: Sensors, 401: Problem},
    ),
    Endpoint(
        name="sensor", path="/api/sensors/{sensor}", reads=True, summary="One sensor, by its UUID",
        bodies={200: SensorState, 401: Problem, 404: Problem},
    ),
    Endpoint(
        name="examinations", path="/api/examinations", reads=True,
        summary="A page of examinations, oldest first",
        bodies={200: Examinations, 400: Problem, 401: Problem, 503: Problem},
        query={"bed": {"type": "string"}, "after": _AFTER, "limit": _LIMIT},
    ),
    Endpoint(
        name="examination", path="/api/examinations/{examination}", reads=True,
        summary="One examination, with what each sensor contributed",
        bodies={200: ExaminationParts, 400: Problem, 401: Problem, 404: Problem, 503: Problem},
    ),
    Endpoint(
        name="samples", path="/api/examinations/{examination}/samples", reads=True,
        summary="A page of its samples, as they were stored",
        bodies={200: Samples, 400: Problem, 401: Problem, 404: Problem, 503: Problem},
        query={"sensor": _UUID, "after": _AFTER, "limit": _LIMIT},
    ),
    Endpoint(
        name="events", path="/api/examinations/{examination}/events", reads=True,
        summary="What the ML service found in it",
        bodies={200: Events, 400: Problem, 401: Problem, 404: Problem, 503: Problem},
        query={"sensor": _UUID},
    ),
)  # fmt: skip
REFUSALS: Final = {
    400: "The request target is not in origin form.",
    403: "Its Host or Origin is not allowed (S-2).",
    405: "Another method.",
}
"""What any path may answer."""


def endpoint_at(path: str) -> tuple[Endpoint, dict[str, str]] | None:
    """Return the endpoint at a path, and what stands in the parts that vary.

    >>> found = endpoint_at("/api/examinations/3/samples")
    >>> found[0].name, found[1], endpoint_at("/api/examinations//samples")
    ('samples', {'examination': '3'}, None)
    """
    if path in _EXACT:
        return _EXACT[path], {}
    given = path.split("/")
    for one, parts in _VARYING:
        if len(parts) != len(given):
            continue
        places = {p[1:-1]: g for p, g in zip(parts, given, strict=True) if p.startswith("{")}
        if all(places.values()) and [places.get(p[1:-1], p) for p in parts] == given:
            return one, places
    return None


_EXACT = {one.path: one for one in ENDPOINTS if not one.places}
_VARYING = [(one, one.path.split("/")) for one in ENDPOINTS if one.places]


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
        parameters: list[dict[str, Any]] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in one.places
        ]
        parameters += [
            {"name": name, "in": "query", "schema": schema} for name, schema in one.query.items()
        ]
        if parameters:
            made["parameters"] = parameters
        if one.acts or one.reads:
            made["security"] = [{"viewer": []}, {}]
        return made

    verbs = ("get",) if one.acts else ("get", "head")
    return {verb: operation(verb) for verb in verbs}
