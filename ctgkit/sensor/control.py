"""A sensor's control address: ``GET /api/on|off|health|inject|change``.

The first three are what the backend's ``/api/sensors/start|stop`` and the original frontend call;
``/api/on`` may choose a scenario and a seed. The others force an event and let a knob go elsewhere.
All of that is for an instructor or a test.
"""

import socket
from collections.abc import Mapping
from typing import Any, Protocol

from websockets.asyncio.server import ServerConnection

from ctgkit.errors import excerpt
from ctgkit.net import server
from ctgkit.net.http import PLAIN, Answer, Asked, json_answer, only
from ctgkit.net.origins import Rules
from ctgkit.net.server import OpenServer, open_server

SEED_DIGITS = 18


class SwitchError(Exception):
    """A sensor cannot be switched on or off; the text says why."""


class Switch(Protocol):
    """What can be switched on and off."""

    def choose(self, scenario: str | None, seed: int | None) -> None:
        """Choose what is played from the next start on, or raise SwitchError."""
        ...

    async def on(self) -> None:
        """Connect to the backend, or raise SwitchError."""
        ...

    async def off(self) -> None:
        """Disconnect, or raise SwitchError."""
        ...

    def inject(self, event: str, size: float | None, duration_s: float | None) -> float:
        """Force an event; return when it begins, seconds of data time; or raise SwitchError."""
        ...

    def change(self, knob: str, to: float, ramp_s: float) -> float:
        """Let a knob go elsewhere; return when that begins, as above, or raise SwitchError."""
        ...


def listen(address: tuple[str, int], count: int) -> list[list[socket.socket]]:
    """Bind *count* consecutive ports from *address* on; port 0 takes any free ones.

    Returns
    -------
    list of list of socket
        Per port: ``localhost`` has two addresses.

    Raises
    ------
    ConfigError
        When one of them cannot be bound.
    """
    host, port = address
    bound: list[list[socket.socket]] = []
    try:
        for number in range(count):
            bound += [server.listen(host, port + number if port else 0)]
    except BaseException:
        for sock in (one for sockets in bound for one in sockets):
            sock.close()
        raise
    return bound


async def serve_control(sockets: list[socket.socket], switch: Switch) -> OpenServer:
    """Serve one sensor's control address on bound sockets."""

    async def answer(_connection: ServerConnection, asked: Asked) -> Answer:
        return await _answer(asked, switch)

    async def never(connection: ServerConnection) -> None:
        raise AssertionError("every request is answered before the upgrade")

    return await open_server(never, answer, sockets, rules=Rules(acts=lambda asked: True))


async def _answer(asked: Asked, switch: Switch) -> Answer:
    """Do what a request asks for."""
    if asked.path == "/api/health":
        return _json({"status": "OK"}) if asked.reads else only("GET", "HEAD")
    if asked.path not in ("/api/on", "/api/off", "/api/inject", "/api/change"):
        return Answer(404, b"", PLAIN, _READABLE)
    if asked.method != "GET":  # HEAD too: it may not change anything
        return only("GET")
    failed = "disconnect" if asked.path == "/api/off" else "connect"
    try:
        match asked.path:
            case "/api/on":
                _choose(asked.query, switch)
                await switch.on()
            case "/api/off":
                await switch.off()
            case "/api/inject":
                return _inject(_plain(asked.query), switch)
            case _:
                return _change(_plain(asked.query), switch)
    except SwitchError as error:
        message = f"failed to {failed}: {error}"
        return _json({"error": {"message": message, "code": 500}}, 500)
    return Answer(200, b"", PLAIN, _READABLE)


def _plain(query: Mapping[str, list[str]]) -> dict[str, str]:
    return {name: values[0] for name, values in query.items()}


def _choose(query: Mapping[str, list[str]], switch: Switch) -> None:
    """Do what ``/api/on?scenario=NAME&seed=N`` says before it is switched on."""
    scenario, seed = (query.get(name, [None])[0] for name in ("scenario", "seed"))
    if scenario is None and seed is None:
        return
    if seed is not None and not (seed.isascii() and seed.isdigit() and len(seed) <= SEED_DIGITS):
        raise SwitchError(f"seed={excerpt(seed)!r} is not a whole number from 0 on")
    switch.choose(scenario, None if seed is None else int(seed))


def _number(query: Mapping[str, str], name: str) -> float:
    text = query.get(name, "")
    try:
        return float(text)
    except ValueError:
        raise SwitchError(f"{name}={excerpt(text)!r} is not a number") from None


def _inject(query: Mapping[str, str], switch: Switch) -> Answer:
    """Answer ``/api/inject?event=NAME[&size=X][&duration_s=X]``."""
    event = query.get("event", "")
    try:
        numbers = [_number(query, k) if k in query else None for k in ("size", "duration_s")]
        at_s = switch.inject(event, *numbers)
    except (SwitchError, ValueError) as error:
        return _json({"error": {"message": f"failed to inject: {error}", "code": 400}}, 400)
    return _json({"event": event, "at_s": at_s})


def _change(query: Mapping[str, str], switch: Switch) -> Answer:
    """Answer ``/api/change?knob=NAME&to=X[&ramp_s=X]``."""
    knob = query.get("knob", "")
    try:
        ramp_s = _number(query, "ramp_s") if "ramp_s" in query else 60.0
        at_s = switch.change(knob, _number(query, "to"), ramp_s)
    except (SwitchError, ValueError) as error:
        return _json({"error": {"message": f"failed to change: {error}", "code": 400}}, 400)
    return _json({"knob": knob, "at_s": at_s})


_READABLE = (("Access-Control-Allow-Origin", "*"),)
"""By every page that was let in."""


def _json(body: Mapping[str, Any], status: int = 200) -> Answer:
    return json_answer(body, status, _READABLE)
