"""The bytes of a reply -> what it says, as a profile's pointers tell. Pure."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from ctgkit.errors import WireError, excerpt
from ctgkit.profile.model import EventShape, Reply
from ctgkit.samples import Prediction, risk_of

ALERTS_MAX = 100
"""Alerts of one reply that are kept. Chosen: a person reads none beyond."""
EVENTS_MAX = 10_000
"""Events of one reply that are kept. Chosen: more than ten minutes can hold."""


class Said(NamedTuple):
    """What a reply says."""

    prediction: Prediction
    events: tuple[dict[str, Any], ...] = ()
    """``type``, ``start_s`` and ``end_s`` each, as ``ctgkit score`` reads them."""


def pointed(document: Any, pointer: str) -> Any:
    """Return what a JSON pointer (RFC 6901) leads to.

    Raises
    ------
    LookupError
        Naming the step that leads nowhere.

    Examples
    --------
    >>> pointed({"a": [{"b/c": 5}]}, "/a/0/b~1c")
    5
    """
    value = document
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        try:
            value = value[int(key)] if isinstance(value, list) and key.isdecimal() else value[key]
        except (KeyError, IndexError, TypeError):
            raise LookupError(f"nothing at {pointer!r}, from {key!r} on") from None
    return value


def read_reply(status: int, body: bytes, rule: Reply, window_s: float = 0.0) -> Said | None:
    """Read a reply to a window.

    Parameters
    ----------
    status : int
        Of HTTP; 200 for a message.
    body : bytes
        What came.
    rule : Reply
        Where it says what.
    window_s : float
        Data time of the window's first sample, seconds.

    Returns
    -------
    Said or None
        None for a status that means that there is no result yet.

    Raises
    ------
    WireError
        In one line: another status, no JSON, or nothing where a pointer leads.
    """
    if status in rule.skip:
        return None
    if 300 <= status < 400:
        raise WireError("status", "reply", f"is a redirect ({status}), which is not followed")
    if status not in rule.accept:
        raise WireError("status", "reply", f"has status {status}", excerpt(body))
    document = read_document(body)
    try:
        p = _probability(document, rule)
        alerts = _alerts(pointed(document, rule.alerts)) if rule.alerts else []
        events: tuple[dict[str, Any], ...] = ()
        if rule.events:
            events = _events(pointed(document, rule.events), rule.event, window_s)
    except LookupError as error:
        raise WireError("missing", "reply", str(error.args[0]), excerpt(body)) from None
    prediction = Prediction(
        hypoxia_probability=p,
        hypoxia_risk=risk_of(p),
        alerts=alerts,
        confidence=1.0,
        recommendations=[],
    )
    return Said(prediction, events)


def read_document(body: bytes) -> Any:
    """Return the JSON of a reply, or raise WireError."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise WireError("json", "reply", "is no JSON", excerpt(body)) from None


def _probability(document: Any, rule: Reply) -> float:
    if rule.probability:
        value = pointed(document, rule.probability)
        if not _is_number(value):
            raise WireError("type", rule.probability, f"{excerpt(repr(value))} is not a number")
        p = float(value) / rule.scale
        if not 0 <= p <= 1:
            raise WireError("range", rule.probability, f"{p:g} is not a probability from 0 to 1")
        return p
    level = pointed(document, rule.level)
    if not isinstance(level, str | int) or str(level) not in rule.levels:
        known = ", ".join(rule.levels)
        raise WireError("type", rule.level, f"{excerpt(repr(level))} is not one of {known}")
    return rule.levels[str(level)]


def _alerts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, Mapping):
        return [str(key) for key, on in value.items() if on][:ALERTS_MAX]
    if isinstance(value, list):
        return [one if isinstance(one, str) else excerpt(repr(one)) for one in value[:ALERTS_MAX]]
    return []


def _events(value: Any, shape: EventShape | None, window_s: float) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, list) or shape is None:
        raise WireError("type", "events", f"{excerpt(repr(value))} is not a list")
    origin_s = window_s if shape.origin == "window" else 0.0
    found = []
    for item in value[:EVENTS_MAX]:
        kind = shape.kind[1:] if shape.kind.startswith("=") else str(pointed(item, shape.kind))
        if shape.kinds:
            if kind not in shape.kinds:
                continue
            kind = shape.kinds[kind]
        start, end = pointed(item, shape.start), pointed(item, shape.end)
        if not (_is_number(start) and _is_number(end) and start <= end):
            raise WireError("type", "events", f"{excerpt(repr(item))} has no finite times in order")
        name, _, subtype = kind.partition(".")
        event = {
            "type": name,
            "start_s": start * shape.unit_s + origin_s,
            "end_s": end * shape.unit_s + origin_s,
        }
        found.append(event | ({"subtype": subtype} if subtype else {}))
    return tuple(found)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
