"""The gate: who may come in, and what each HTTP path is.

This module performs no I/O. It turns a request into one of the values below; the app acts on it
(PROTOCOL S-1, S-2, V-1, H-1).
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from ctgkit.net.http import NOT_FOUND, PLAIN, Answer, json_answer
from ctgkit.net.origins import HeaderValues, refuse_stranger
from ctgkit.wire import BACKFILL_PARAMETER, SENSOR_ID_PARAMETER, TOKEN_HEADER

CONTROL_PATH = "/api/sensors/"
"""What lies below switches sensors on and off."""
BACKFILL_MAX_S = 14_400.0
"""Longest past that a viewer may ask for, seconds. Chosen: what a terminal view can scroll."""

_NO_SUCH_SENSOR = bytes(32)
"""Compared against when the sensor is unknown, so that both refusals do the same work."""


@dataclass(frozen=True, slots=True)
class SensorEnters:
    """An authenticated sensor wants its WebSocket."""

    sensor_id: str


@dataclass(frozen=True, slots=True)
class ViewerEnters:
    """A viewer wants its WebSocket."""

    backfill_s: float
    admitted: bool
    """False: it must send the access token as its first message."""


@dataclass(frozen=True, slots=True)
class StartSensors:
    """``/api/sensors/start``."""

    count: int


@dataclass(frozen=True, slots=True)
class Report:
    """A path whose answer depends on the state of the backend: its name."""

    name: str


Route = Answer | SensorEnters | ViewerEnters | StartSensors | Report

_REPORTS = {
    "/api/health": "health",
    "/livez": "livez",
    "/readyz": "readyz",
    "/metrics": "metrics",
    "/api/sensors/stop": "stop",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Who is known and what is allowed."""

    token_digests: Mapping[str, bytes]
    """Sensor id, lower case -> :func:`token_digest`."""
    hosts: frozenset[str]
    """Names that a ``Host`` header may carry, besides loopback ones and the address itself."""
    origins: frozenset[str]
    """Foreign origins that are allowed, as ``scheme://host[:port]``."""
    viewer_token: str | None
    """Asked from viewers when set."""
    page: Mapping[str, Answer] = field(default_factory=dict)
    """The files of the live page, by path."""

    def route(self, method: str, path: str, header: HeaderValues, local_host: str) -> Route:
        """Decide about one request.

        Parameters
        ----------
        method, path : str
            As in the request line.
        header : callable
            Name -> all its values.
        local_host : str
            The address on which the connection arrived.
        """
        acts = path.startswith(CONTROL_PATH)
        refusal = refuse_stranger(
            header, local_host, hosts=self.hosts, origins=self.origins, acts=acts
        )
        if refusal:
            return refusal
        try:
            parts = urlsplit(path)
            query = parse_qs(parts.query)
        except ValueError:
            return _problem(400, "bad request target")
        if method != "GET":
            return Answer(405, b"", PLAIN, (("Allow", "GET"),))
        if parts.path == "/ws/sensor":
            return self._sensor(query, header)
        if parts.path in ("/ws", "/ws/"):
            return self._viewer(query, header)
        if acts and self.viewer_token is not None and not self._shows_token(header):
            return _problem(401, "access token required")
        if parts.path == "/api/sensors/start":
            count = _number(query, "count", 1.0)
            valid = count is not None and count == int(count) and 1 <= count <= 10_000
            return StartSensors(int(count)) if valid and count else _problem(400, "bad count")
        if parts.path in _REPORTS:
            return Report(_REPORTS[parts.path])
        return self.page.get(parts.path, NOT_FOUND)

    def _sensor(self, query: Mapping[str, list[str]], header: HeaderValues) -> Route:
        sensor_id = query.get(SENSOR_ID_PARAMETER, [""])[0].lower()
        if not sensor_id:
            return _problem(400, f"{SENSOR_ID_PARAMETER} is missing")
        digest = token_digest(sensor_id, ",".join(header(TOKEN_HEADER)))
        expected = self.token_digests.get(sensor_id, _NO_SUCH_SENSOR)
        if not hmac.compare_digest(digest, expected):
            return _problem(401, "unknown sensor or wrong token")
        return SensorEnters(sensor_id)

    def _viewer(self, query: Mapping[str, list[str]], header: HeaderValues) -> Route:
        backfill_s = _number(query, BACKFILL_PARAMETER, 0.0)
        if backfill_s is None or backfill_s < 0:
            return _problem(400, f"{BACKFILL_PARAMETER} is not a number of seconds")
        shown = self.viewer_token is not None and bool(header("Authorization"))
        if shown and not self._shows_token(header):
            return _problem(401, "wrong access token")
        admitted = shown or self.viewer_token is None
        return ViewerEnters(min(backfill_s, BACKFILL_MAX_S), admitted)

    def _shows_token(self, header: HeaderValues) -> bool:
        return self.is_viewer_token(",".join(header("Authorization")).removeprefix("Bearer "))

    def is_viewer_token(self, given: str) -> bool:
        """Return whether *given* is the viewers' access token."""
        expected = self.viewer_token
        return expected is not None and hmac.compare_digest(
            *(hashlib.sha256(text.encode()).digest() for text in (given, expected))
        )


def token_digest(sensor_id: str, token: str) -> bytes:
    """Return what is kept of a sensor's token, 32 bytes.

    Plain SHA-256: a random token of 192 bits can't be guessed whatever the hash, and a slow one
    would let anybody use up our time with wrong tokens. The id goes in, so that a digest admits
    one sensor only and equal tokens don't look equal.

    >>> token_digest("a", "secret") == token_digest("b", "secret")
    False
    """
    return hashlib.sha256(f"{sensor_id}\0{token}".encode()).digest()


def _problem(status: int, reason: str) -> Answer:
    return json_answer({"error": reason}, status)


def _number(query: Mapping[str, list[str]], name: str, default: float) -> float | None:
    """Return a finite number from the query, the default when absent, None when it is neither."""
    try:
        number = float(query.get(name, [str(default)])[0])
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
