"""Addresses: what people type, what a ``Host`` header says, and how a bound one is written.

This module performs no I/O.
"""

import ipaddress
import re
from urllib.parse import urlsplit, urlunsplit

from ctgkit.errors import excerpt

PORT_MAX = 65_535

_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{0,5}))?")
"""``NAME[:PORT]`` or ``[IPV6][:PORT]``: no user, no zone, no escapes."""
_ENDINGS = (
    ".csv", ".tsv", ".txt", ".gz", ".jsonl", ".ndjson", ".json", ".har", ".log", ".edf", ".hea",
    ".dat", ".npz", ".parquet", ".xlsx", ".db", ".sqlite", ".fhr", ".toml", ".xml", ".html",
)  # fmt: skip
"""Of files that people have here; no top-level domain is called so."""
_NOT_IN_URLS = re.compile(r"[^\x21-\x7e]|[\\#<>\"{}|^`]")


def split_authority(text: str) -> tuple[str, int | None]:
    """Return host and port of ``HOST[:PORT]``; an IPv6 address stands in brackets.

    Returns
    -------
    host : str
        In lower case; an IP address in its shortest form.
    port : int or None
        None when none is given.

    Raises
    ------
    ValueError
        When it is anything else: a user name, a zone, an escape, a backslash, a space.

    Examples
    --------
    >>> split_authority("CTG.example:443"), split_authority("[0::1]")
    (('ctg.example', 443), ('::1', None))
    """
    matched = _AUTHORITY.fullmatch(text)
    if matched is None:
        raise ValueError(f"{excerpt(text)!r} is not HOST or HOST:PORT")
    v6, name, digits = matched.groups()
    host = str(ipaddress.IPv6Address(v6)) if v6 else plain_host(name)
    port = int(digits) if digits else None
    if port is not None and port > PORT_MAX:
        raise ValueError(f"{text!r}: there is no port {port}")
    return host, port


def plain_host(host: str) -> str:
    """Return a host as it is compared: lower case, IP addresses in one spelling, no brackets.

    >>> plain_host("[0:0::1]"), plain_host("::ffff:127.0.0.1"), plain_host("CTG.example")
    ('::1', '127.0.0.1', 'ctg.example')
    """
    host = host.lower()
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def is_loopback(host: str) -> bool:
    """Return whether a name or address means this machine.

    >>> [is_loopback(h) for h in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "127.evil.example")]
    [True, True, True, False, False]
    """
    host = plain_host(host)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_and_port(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT`` as people type it; without a host, loopback.

    Raises
    ------
    ValueError
        When there is no port, or no such one.

    Examples
    --------
    >>> host_and_port("ward-3:9001"), host_and_port("[::1]:80"), host_and_port(":0")
    (('ward-3', 9001), ('::1', 80), ('127.0.0.1', 0))
    """
    host, colon, digits = text.rpartition(":")
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    try:
        name, port = split_authority(f"{host or '127.0.0.1'}{colon}{digits}")
    except ValueError:
        port = None
    if port is None:
        raise ValueError(f"{excerpt(text.removeprefix(':'))!r} is not HOST:PORT")
    return name, port


def names_a_file(text: str) -> bool:
    """Return whether *text* is the name of a file rather than an address.

    >>> [names_a_file(t) for t in ("run.csv", "./run", "localhost", "ward-3:80", "ws://a/b.csv")]
    [True, True, False, False, False]
    """
    if "://" in text or ":" in text.partition("/")[0]:
        return False
    return text.startswith(("/", "./", "../", "~")) or text.lower().endswith(_ENDINGS)


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
    wrong = ValueError(f"{excerpt(url)!r} is not http(s)://HOST:PORT or ws(s)://HOST:PORT")
    if names_a_file(url):
        raise ValueError(f"{excerpt(url)!r} is a file's name, not ws://HOST:PORT")
    if _NOT_IN_URLS.search(url):
        raise wrong
    try:
        parts = urlsplit(url if "://" in url else f"ws://{url}")
        checked_host(split_authority(parts.netloc.rpartition("@")[2])[0])
    except ValueError:
        raise wrong from None
    if parts.scheme not in _SCHEMES or parts.port == 0:
        raise wrong
    path = parts.path if parts.path.strip("/") else default_path
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


def checked_host(name: str) -> str:
    """Return the name or number of a host, if it is one that can be looked up.

    Raises
    ------
    ValueError
        When it is empty, too long, or has characters that no name has.

    Examples
    --------
    >>> checked_host("[::1]"), checked_host("ward-3")
    ('::1', 'ward-3')
    """
    try:
        if name.startswith("[") and name.endswith("]"):  # as in an address
            return str(ipaddress.IPv6Address(name[1:-1]))
        if ":" in name:
            return str(ipaddress.ip_address(name))
        name.encode("idna")  # fails for what a resolver cannot take: empty and long parts
        if _AUTHORITY.fullmatch(name):
            return name
    except ValueError:
        pass
    raise ValueError(f"{excerpt(name)!r} is not a host name")


def authority(host: str, port: int) -> str:
    """Return ``HOST:PORT`` as it stands in an address.

    >>> authority("127.0.0.1", 80), authority("::1", 80)
    ('127.0.0.1:80', '[::1]:80')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
