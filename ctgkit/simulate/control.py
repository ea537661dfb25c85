"""A sensor's control address: ``GET /api/on``, ``/api/off``, ``/api/health`` and ``/api/inject``.

The first three are what the backend's ``/api/sensors/start|stop`` and the original frontend call;
the last one forces an event, for an instructor or a test.
"""

import json
import socket
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from ctgkit.errors import Unreachable
from ctgkit.handshakes import unless_broken

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
        try:
            match request.path.partition("?")[0]:
                case "/api/health":
                    return _respond(connection, HTTPStatus.OK, {"status": "OK"})
                case "/api/on":
                    failed = "connect"
                    await switch.on()
                    return _respond(connection, HTTPStatus.OK)
                case "/api/off":
                    failed = "disconnect"
                    await switch.off()
                    return _respond(connection, HTTPStatus.OK)
                case "/api/inject":
                    return _inject(connection, request, switch)
        except SwitchError as error:
            message = f"failed to {failed}: {error}"
            body = {"error": {"message": message, "code": 500}}
            return _respond(connection, HTTPStatus.INTERNAL_SERVER_ERROR, body)
        return _respond(connection, HTTPStatus.NOT_FOUND)

    async def never(connection: ServerConnection) -> None:
        raise AssertionError("every request is answered before the upgrade")

    return serve(never, sock=sock, process_request=unless_broken(answer))


def _inject(connection: ServerConnection, request: Request, switch: Switch) -> Response:
    """Answer ``/api/inject?event=NAME[&size=X][&duration_s=X]``."""
    query = dict(parse_qsl(urlsplit(request.path).query))
    event = query.get("event", "")
    try:
        numbers = [float(query[k]) if k in query else None for k in ("size", "duration_s")]
        at_s = switch.inject(event, *numbers)
    except (SwitchError, ValueError) as error:
        body = {"error": {"message": f"failed to inject: {error}", "code": 400}}
        return _respond(connection, HTTPStatus.BAD_REQUEST, body)
    return _respond(connection, HTTPStatus.OK, {"event": event, "at_s": at_s})


def _respond(
    connection: ServerConnection, status: HTTPStatus, body: object | None = None
) -> Response:
    response = connection.respond(status, "" if body is None else json.dumps(body) + "\n")
    response.headers["Access-Control-Allow-Origin"] = "*"
    if body is not None:
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "application/json"
    return response
