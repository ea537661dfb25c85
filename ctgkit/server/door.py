"""The door: who may come in, and what each HTTP path is.

This module performs no I/O. It turns a request, parsed and let through by the rules for web pages
(:mod:`ctgkit.net.origins`), into one of the values below; the app acts on it (PROTOCOL S-1, V-1,
H-1).
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from sys import float_info
from typing import Any

from ctgkit.config import sensor_id_of
from ctgkit.errors import excerpt
from ctgkit.net.http import NOT_FOUND, Answer, Asked, HeaderValues, only, problem
from ctgkit.net.query import BadQuery, number
from ctgkit.server.endpoints import Endpoint, endpoint_at
from ctgkit.server.numbering import is_stream_id
from ctgkit.server.pageasks import PAGE_PATH, Order
from ctgkit.wire import (
    BACKFILL_PARAMETER,
    BED_PARAMETER,
    SENSOR_ID_PARAMETER,
    SENSOR_PARAMETER,
    STREAM_HEADER,
    SUBPROTOCOL,
    TOKEN_HEADER,
)

API_PATH = "/api/"
CONTROL_PATH = "/api/sensors/"
"""What lies below switches sensors on and off."""
GUARDED_PATHS = (CONTROL_PATH, PAGE_PATH)
"""What lies below asks for the access token, and isn't for the pages of others."""
BACKFILL_MAX_S = 14_400.0
"""Longest past that a viewer may ask for, seconds. Chosen: what a terminal view can scroll."""

WRONG_BURST, WRONG_PER_S = 100, 5.0
"""Wrong tokens of one address that are answered at once, and how many per second later. Chosen: a
ward whose tokens were changed may come back at once, and `ctgkit check` tries some 60."""
WRONG_PAUSE_MAX_S = 4.0
"""Longest wait for the answer to a wrong token, seconds: below every client's own timeout."""
RIGHT_PAUSE_S = 0.5
ADDRESSES_MAX = 10_000
"""Addresses with wrong tokens that are remembered."""

_NO_SUCH_SENSOR = bytes(32)
"""Compared against when the sensor is unknown, so that both refusals do the same work."""


@dataclass(frozen=True, slots=True)
class SensorEnters:
    """An authenticated sensor wants its WebSocket."""

    sensor_id: str
    stream: str | None = None
    """What it calls its stream of numbers (PROTOCOL S-6.7)."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a viewer wants to see: some beds, and some sensors besides (PROTOCOL V-2.5)."""

    beds: frozenset[str]
    sensors: frozenset[str]

    def shows(self, sensor_id: str, bed: str | None) -> bool:
        """Return whether a sensor's results are part of it."""
        return sensor_id in self.sensors or bed in self.beds


@dataclass(frozen=True, slots=True)
class ViewerEnters:
    """A viewer wants its WebSocket."""

    backfill_s: float
    admitted: bool
    """False: it must send the access token as its first message."""
    part: Part | None = None
    """None: everything."""


@dataclass(frozen=True, slots=True)
class StartSensors:
    """``/api/sensors/start``."""

    count: int


@dataclass(frozen=True, slots=True)
class Report:
    """A path whose answer depends on the state of the backend: its name."""

    name: str


@dataclass(frozen=True, slots=True)
class PageAsks:
    """Something under ``/api/page/``, for whom may see it."""

    name: str
    query: Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class Reads:
    """Somebody who may wants to know what is stored."""

    name: str
    places: Mapping[str, str]
    query: Mapping[str, list[str]]


Route = Answer | SensorEnters | ViewerEnters | StartSensors | Report | Reads | PageAsks | Order

PREFLIGHT = Answer(
    204,
    headers=(
        ("Access-Control-Allow-Methods", "GET, HEAD"),
        ("Access-Control-Allow-Headers", "Authorization"),
        ("Access-Control-Max-Age", "600"),
    ),
)
"""To a browser that asks before it sends a page's token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Who is known and what is allowed."""

    token_digests: Mapping[str, bytes]
    """Sensor id, lower case -> :func:`token_digest`."""
    viewer_token: str | None
    """Asked from viewers when set."""
    page: Mapping[str, Answer] = field(default_factory=dict)
    """The files of the live page, by path."""

    def route(self, asked: Asked) -> Route:
        """Decide about one request."""
        if asked.path == "/ws/sensor":
            return self._sensor(asked) if asked.method == "GET" else only("GET")
        if asked.path in ("/ws", "/ws/"):
            return self._viewer(asked) if asked.method == "GET" else only("GET")
        if asked.path.startswith(API_PATH) and is_preflight(asked):
            return PREFLIGHT
        found = endpoint_at(asked.path)
        if found and found[0].reads:
            return self._reading(asked, *found)
        if acts(asked):
            return self._control(asked, found[0].name if found else "")
        if not asked.reads:
            return only("GET", "HEAD")
        if found:
            return Report(found[0].name)
        return self.page.get(asked.path, NOT_FOUND)

    def _reading(self, asked: Asked, one: Endpoint, places: Mapping[str, str]) -> Route:
        if not asked.reads:
            return only("GET", "HEAD")
        return self._token_missing(asked) or Reads(one.name, places, asked.query)

    def _token_missing(self, asked: Asked) -> Answer | None:
        """Return the refusal of who doesn't show the access token; None for who needn't or does."""
        if self.viewer_token is None or self._shows_token(asked.header):
            return None
        shown = "a wrong" if asked.header("Authorization") else "no"
        return problem(401, "access token required", f"{shown} access token was shown")

    def _control(self, asked: Asked, name: str) -> Route:
        if asked.method != "GET":  # HEAD too: it may not change anything
            return only("GET")
        if refusal := self._token_missing(asked):
            return refusal
        if asked.path.startswith(PAGE_PATH):
            return PageAsks(asked.path.removeprefix(PAGE_PATH), asked.query)
        match name:
            case "start_one" | "stop_one" | "inject" | "change":
                try:
                    return Order.of(name.removesuffix("_one"), asked.query)
                except BadQuery as error:
                    return problem(400, str(error))
            case "start":
                try:
                    count = number(asked.query, "count", 1.0, 1, 10_000)
                except BadQuery:
                    count = 0.5
                return (
                    StartSensors(int(count)) if count == int(count) else problem(400, "bad count")
                )
            case "stop":
                return Report("stop")
            case _:
                return NOT_FOUND

    def _sensor(self, asked: Asked) -> Route:
        sensor_id = asked.query.get(SENSOR_ID_PARAMETER, [""])[0].lower()
        if not sensor_id:
            return problem(400, f"{SENSOR_ID_PARAMETER} is missing")
        digest = token_digest(sensor_id, ",".join(asked.header(TOKEN_HEADER)))
        expected = self.token_digests.get(sensor_id, _NO_SUCH_SENSOR)
        if not hmac.compare_digest(digest, expected):
            why = f"sensor {excerpt(sensor_id)}: the id is unknown, or {TOKEN_HEADER} is wrong"
            return problem(401, "unknown sensor or wrong token", why)
        streams = asked.header(STREAM_HEADER)
        if streams and not (len(streams) == 1 and is_stream_id(streams[0])):
            return problem(400, f"{STREAM_HEADER} is not a stream id: letters, digits, -, _ and .")
        return SensorEnters(sensor_id, streams[0] if streams else None)

    def _viewer(self, asked: Asked) -> Route:
        try:
            backfill_s = number(asked.query, BACKFILL_PARAMETER, 0.0, 0.0, float_info.max)
        except BadQuery:
            return problem(400, f"{BACKFILL_PARAMETER} is not a number of seconds")
        beds, sensors = (asked.query.get(name, []) for name in (BED_PARAMETER, SENSOR_PARAMETER))
        try:
            ids = frozenset(sensor_id_of(sensor) for sensor in sensors)
        except ValueError as error:
            return problem(400, f"{SENSOR_PARAMETER}: {error}")
        shown = self.viewer_token is not None and bool(asked.header("Authorization"))
        if shown and not self._shows_token(asked.header):
            return problem(401, "wrong access token", "a viewer showed a wrong access token")
        admitted = shown or self.viewer_token is None
        part = Part(frozenset(beds), ids) if beds or sensors else None
        return ViewerEnters(min(backfill_s, BACKFILL_MAX_S), admitted, part)

    def _shows_token(self, header: HeaderValues) -> bool:
        scheme, _, token = ",".join(header("Authorization")).partition(" ")
        return scheme.lower() == "bearer" and self.is_viewer_token(token.strip())

    def is_viewer_token(self, given: str) -> bool:
        """Return whether *given* is the viewers' access token."""
        expected = self.viewer_token
        return expected is not None and hmac.compare_digest(
            *(hashlib.sha256(text.encode()).digest() for text in (given, expected))
        )

    def token_was_right(self, route: Route) -> bool | None:
        """Return whether the token behind a decision was right; None when none was judged."""
        match route:
            case SensorEnters():
                return True
            case Answer(status=401):
                return False
            case ViewerEnters(admitted=True) | StartSensors() | Report("stop") | Reads():
                return True if self.viewer_token is not None else None
            case PageAsks() | Order():
                return True if self.viewer_token is not None else None
            case _:
                return None


def is_preflight(asked: Asked) -> bool:
    """Return whether a browser asks on behalf of a page, let through, whether it may ask."""
    wanted = asked.header("Access-Control-Request-Method")
    return asked.method == "OPTIONS" and bool(asked.header("Origin")) and bool(wanted)


def for_page(asked: Asked, answer: Answer) -> Answer:
    """Return an answer so that the page which asked, of an allowed origin, may read it."""
    origin = asked.header("Origin")
    if not asked.path.startswith(API_PATH) or len(origin) != 1:
        return answer
    cors = (("Access-Control-Allow-Origin", origin[0]), ("Vary", "Origin"))
    return replace(answer, headers=(*answer.headers, *cors))


def acts(asked: Asked) -> bool:
    """Return whether a request switches sensors on or off, or is the live page's own."""
    return asked.path.startswith(GUARDED_PATHS)


class Attempts:
    """Slows down who tries tokens, by address, and locks nobody out.

    Wrong tokens beyond a burst are answered at a slow pace, each after the ones before. While an
    address is that far, its right ones wait a moment too: otherwise silence would say "wrong" at
    once. A right token is never refused for what others did.

    Examples
    --------
    >>> attempts = Attempts()
    >>> [attempts.pause_s("10.0.0.5", False, 0.0) for _ in range(WRONG_BURST + 2)][-3:]
    [0.0, 0.2, 0.4]
    >>> attempts.pause_s("10.0.0.5", True, 0.0), attempts.pause_s("10.0.0.6", False, 0.0)
    (0.5, 0.0)
    """

    def __init__(self) -> None:
        self._settled_at_s: dict[str, float] = {}
        """Address -> when its wrong tokens are forgotten."""

    def pause_s(self, address: str, right: bool | None, at_s: float) -> float:
        """Return how long the answer has to wait, seconds.

        Parameters
        ----------
        address : str
            Of the peer; those of one IPv6 network (/64) count as one.
        right : bool or None
            Whether its token was; None when it showed none.
        at_s : float
            Now, seconds of the monotonic clock.
        """
        if right is None:
            return 0.0
        key = _network(address)
        settled_at_s = self._settled_at_s.pop(key, at_s)
        allowed_s = WRONG_BURST / WRONG_PER_S
        if right:
            if settled_at_s > at_s:
                self._settled_at_s[key] = settled_at_s
            return RIGHT_PAUSE_S if settled_at_s - at_s > allowed_s else 0.0
        settled_at_s = max(settled_at_s, at_s) + 1 / WRONG_PER_S
        settled_at_s = min(settled_at_s, at_s + allowed_s + WRONG_PAUSE_MAX_S)
        self._settled_at_s[key] = settled_at_s
        if len(self._settled_at_s) > ADDRESSES_MAX:
            del self._settled_at_s[next(iter(self._settled_at_s))]
        return round(max(0.0, settled_at_s - at_s - allowed_s), 9)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return address if parsed.version == 4 else parsed.exploded[:19]


def token_digest(sensor_id: str, token: str) -> bytes:
    """Return what is kept of a sensor's token, 32 bytes.

    Plain SHA-256: a random token of 192 bits can't be guessed whatever the hash, and a slow one
    would let anybody use up our time with wrong tokens. The id goes in, so that a digest admits
    one sensor only and equal tokens don't look equal.

    >>> token_digest("a", "secret") == token_digest("b", "secret")
    False
    """
    return hashlib.sha256(f"{sensor_id}\0{token}".encode()).digest()


def select_subprotocol(_connection: object, offered: Sequence[str]) -> Any:
    """Speak ours with those who offer it, the specification's with all others."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None
