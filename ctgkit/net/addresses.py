"""Addresses: what people type, and how a bound one is written."""

from urllib.parse import urlsplit, urlunsplit

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
