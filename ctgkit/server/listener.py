"""The listening socket, and what is agreed on at the handshake."""

import socket
from collections.abc import Sequence

from websockets.asyncio.server import ServerConnection
from websockets.typing import Subprotocol

from ctgkit.errors import ConfigError
from ctgkit.wire import SUBPROTOCOL

SEND_BUFFER_BYTES = 131_072
"""Kernel's send buffer per connection: a viewer that never reads is noticed in 2 s instead of 5
(performance.md, trap 1)."""


BACKLOG = 1024
"""Connections that wait to be accepted; with fewer, sensors that all come back at once after a
restart are turned away by the kernel and knock again only after 1 s, 3 s, 7 s."""


def listen(host: str, port: int) -> socket.socket:
    """Bind an address; an accepted connection inherits its buffer size.

    Raises
    ------
    ConfigError
        When it cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(f"{host}:{port}", error.strerror or str(error)) from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return listener


def select_subprotocol(
    _connection: ServerConnection, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    """Speak ours with those who offer it, the specification's with all others."""
    return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in offered else None
