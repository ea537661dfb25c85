"""The gate: who may come in, and what each HTTP path is.

This module performs no I/O. It turns a request into one of the values below; the app acts on it
(PROTOCOL S-1, S-2, V-1, H-1).
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from ctgkit.answers import NOT_FOUND, PLAIN, Answer, json_answer
from ctgkit.wire import BACKFILL_PARAMETER, SENSOR_ID_PARAMETER, TOKEN_HEADER

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
BACKFILL_MAX_S = 14_400.0
"""Longest past that a viewer may ask for, seconds. Chosen: what a terminal view can scroll."""

_NO_SUCH_SENSOR_TOKEN = "x" * 32
"""Compared against when the sensor is unknown, so that both refusals take the same time."""


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

    tokens: Mapping[str, str]
    """Sensor id, lower case -> token."""
    hosts: frozenset[str]
    """Names that a ``Host`` header may carry, besides loopback ones and the address itself."""
    origins: frozenset[str]
    """Foreign origins that are allowed, as ``scheme://host[:port]``."""
    viewer_token: str | None
    """Asked from viewers when set."""
    page: Mapping[str, Answer] = field(default_factory=dict)
    """The files of the live page, by path."""

    def route(
        self, method: str, path: str, header: Callable[[str], list[str]], local_host: str
    ) -> Route:
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
        refusal = self._refuse_stranger(header, local_host)
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
        if parts.path == "/api/sensors/start":
            count = _number(query, "count", 1.0)
            valid = count is not None and count == int(count) and 1 <= count <= 10_000
            return StartSensors(int(count)) if valid and count else _problem(400, "bad count")
        if parts.path in _REPORTS:
            return Report(_REPORTS[parts.path])
        return self.page.get(parts.path, NOT_FOUND)

    def _refuse_stranger(
        self, header: Callable[[str], list[str]], local_host: str
    ) -> Answer | None:
        """Refuse other sites' pages (cross-site hijacking) and other names (DNS rebinding)."""
        hosts = header("Host")
        if len(hosts) != 1:
            return _problem(400, "one Host header is required")
        host = _host_name(hosts[0])
        if host is None or host not in LOOPBACK_NAMES | self.hosts | {local_host}:
            return _problem(403, "host not allowed")
        for origin in header("Origin"):
            try:
                parts = urlsplit(origin)
                own = parts.scheme in ("http", "https") and parts.netloc == hosts[0]
                loopback = parts.hostname in LOOPBACK_NAMES
            except ValueError:
                own = loopback = False
            if not (own or loopback or origin in self.origins):
                return _problem(403, "origin not allowed")
        return None

    def _sensor(self, query: Mapping[str, list[str]], header: Callable[[str], list[str]]) -> Route:
        sensor_id = query.get(SENSOR_ID_PARAMETER, [""])[0].lower()
        if not sensor_id:
            return _problem(400, f"{SENSOR_ID_PARAMETER} is missing")
        token = ",".join(header(TOKEN_HEADER))
        expected = self.tokens.get(sensor_id)
        matches = hmac.compare_digest(token.encode(), (expected or _NO_SUCH_SENSOR_TOKEN).encode())
        if expected is None or not matches:
            return _problem(401, "unknown sensor or wrong token")
        return SensorEnters(sensor_id)

    def _viewer(self, query: Mapping[str, list[str]], header: Callable[[str], list[str]]) -> Route:
        backfill_s = _number(query, BACKFILL_PARAMETER, 0.0)
        if backfill_s is None or backfill_s < 0:
            return _problem(400, f"{BACKFILL_PARAMETER} is not a number of seconds")
        admitted = self.viewer_token is None
        if not admitted and (given := ",".join(header("Authorization"))):
            if not self.is_viewer_token(given.removeprefix("Bearer ")):
                return _problem(401, "wrong access token")
            admitted = True
        return ViewerEnters(min(backfill_s, BACKFILL_MAX_S), admitted)

    def is_viewer_token(self, given: str) -> bool:
        """Return whether *given* is the viewers' access token."""
        return hmac.compare_digest(given.encode(), (self.viewer_token or "").encode())


def _problem(status: int, reason: str) -> Answer:
    return json_answer({"error": reason}, status)


def _number(query: Mapping[str, list[str]], name: str, default: float) -> float | None:
    """Return a finite number from the query, the default when absent, None when it is neither."""
    try:
        number = float(query.get(name, [str(default)])[0])
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _host_name(host: str) -> str | None:
    """Return the name in ``Host: name[:port]``, lower case, without brackets."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
