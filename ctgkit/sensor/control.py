"""A sensor's control address: ``GET /api/on``, ``/api/off``, ``/api/health`` and ``/api/inject``.

The first three are what the backend's ``/api/sensors/start|stop`` and the original frontend call;
the last one forces an event, for an instructor or a test.
"""

import socket
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol
from urllib.parse import parse_qsl

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from ctgkit.errors import Unreachable
from ctgkit.net.connection import BoundedConnection
from ctgkit.net.http import PLAIN, Answer, json_answer, response
from ctgkit.net.origins import refuse_stranger

PORT_MAX = 65535


class SwitchError(Exception):
    """A sensor cannot be switched on or off; the text says why."""


class Switch(Protocol):
    """What can be switched on and off."""

    async def on(self) -> None:
        """Connect to the backend, or raise SwitchError."""
        ...

    async def off(self) -> None:
        """Disconnect, or raise SwitchError."""
        ...

    def inject(self, event: str, size: float | None, duration_s: float | None) -> float:
        """Force an event; return when it begins, seconds of data time; or raise SwitchError."""
        ...


def listen(address: tuple[str, int], count: int) -> list[socket.socket]:
    """Bind *count* consecutive ports from *address* on; port 0 takes any free ones.

    Raises
    ------
    Unreachable
        When one of them cannot be bound.
    """
    host, port = address
    sockets: list[socket.socket] = []
    for number in range(count):
        this = port + number if port else 0
        try:
            if this > PORT_MAX:
                raise OSError("there is no such port")
            sockets.append(socket.create_server((host, this)))
        except OSError as error:
            for bound in sockets:
                bound.close()
            raise Unreachable(f"http://{host}:{this}", f"cannot listen here: {error}") from error
    return sockets


def serve_control(sock: socket.socket, switch: Switch) -> AbstractAsyncContextManager[Server]:
    """Return a context that serves one sensor's control address on a bound socket."""

    async def answer(connection: ServerConnection, request: Request) -> Response:
        local_host = str(connection.local_address[0])
        refusal = refuse_stranger(request.headers.get_all, local_host, acts=True)
        return response(refusal or await _answer(request.path, switch))

    async def never(connection: ServerConnection) -> None:
        raise AssertionError("every request is answered before the upgrade")

    return serve(never, sock=sock, create_connection=BoundedConnection, process_request=answer)


async def _answer(target: str, switch: Switch) -> Answer:
    """Do what a request asks for."""
    path, _, query = target.partition("?")
    try:
        match path:
            case "/api/health":
                return _json({"status": "OK"})
            case "/api/on":
                failed = "connect"
                await switch.on()
            case "/api/off":
                failed = "disconnect"
                await switch.off()
            case "/api/inject":
                return _inject(dict(parse_qsl(query)), switch)
            case _:
                return Answer(404, b"", PLAIN, _READABLE)
    except SwitchError as error:
        message = f"failed to {failed}: {error}"
        return _json({"error": {"message": message, "code": 500}}, 500)
    return Answer(200, b"", PLAIN, _READABLE)


def _inject(query: Mapping[str, str], switch: Switch) -> Answer:
    """Answer ``/api/inject?event=NAME[&size=X][&duration_s=X]``."""
    event = query.get("event", "")
    try:
        numbers = [float(query[k]) if k in query else None for k in ("size", "duration_s")]
        at_s = switch.inject(event, *numbers)
    except (SwitchError, ValueError) as error:
        return _json({"error": {"message": f"failed to inject: {error}", "code": 400}}, 400)
    return _json({"event": event, "at_s": at_s})


_READABLE = (("Access-Control-Allow-Origin", "*"),)
"""By every page that was let in."""


def _json(body: Mapping[str, Any], status: int = 200) -> Answer:
    return json_answer(body, status, _READABLE)
