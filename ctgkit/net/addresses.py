"""Addresses: what people type, and how a bound one is written."""

import re
from urllib.parse import urlsplit, urlunsplit

_HOST_PORT = re.compile(r"(|[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", re.ASCII)
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


def websocket_url(url: str, default_path: str) -> str:
    """Return the WebSocket address that *url* means, with ``HOST:PORT`` for ``ws://HOST:PORT``.

    Raises
    ------
    ValueError
        When it is no address of a server.

    Examples
    --------
    >>> websocket_url("127.0.0.1:8080", "/ws"), websocket_url("https://ctg.example/live", "/ws")
    ('ws://127.0.0.1:8080/ws', 'wss://ctg.example/live')
    """
    parts = urlsplit(url if "://" in url else f"ws://{url}")
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.port == 0:
        raise ValueError(f"{url!r} is not http(s)://HOST:PORT or ws(s)://HOST:PORT")
    path = parts.path if parts.path.strip("/") else default_path
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


def authority(host: str, port: int) -> str:
    """Return ``HOST:PORT`` as it stands in an address.

    >>> authority("127.0.0.1", 80), authority("::1", 80)
    ('127.0.0.1:80', '[::1]:80')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_and_port(text: str) -> tuple[str, int]:
    """Return what ``HOST:PORT`` or ``[IPV6]:PORT`` names; without a host it is loopback.

    Raises
    ------
    ValueError
        When it is something else.

    Examples
    --------
    >>> host_and_port("ward-3:9001"), host_and_port("[::1]:80"), host_and_port(":0")
    (('ward-3', 9001), ('::1', 80), ('127.0.0.1', 0))
    """
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match[2]) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return match[1].strip("[]") or "127.0.0.1", int(match[2])
