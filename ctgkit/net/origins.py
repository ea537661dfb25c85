"""Which web pages may talk to us (PROTOCOL S-2).

A browser sends requests to this machine for any page that it shows: from another site (cross-site
request forgery, WebSocket hijacking), or under a name that the page's owner points at us (DNS
rebinding). Programs send neither ``Origin`` nor ``Sec-Fetch-Site``, so they notice nothing.

This module performs no I/O.
"""

import ipaddress
import re
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from ctgkit.net.http import Answer, json_answer

HeaderValues = Callable[[str], list[str]]
"""Name -> all values of that header."""

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s/@\\?#:\[\]]+))(?::\d*)?")
"""``NAME[:PORT]`` or ``[IPV6][:PORT]``."""

_OWN_SITE = {"same-origin", "none"}
"""``Sec-Fetch-Site`` of our own page, and of an address that somebody typed in."""


def refuse_stranger(
    header: HeaderValues,
    local_host: str,
    *,
    hosts: Collection[str] | None = None,
    origins: Collection[str] = (),
    acts: bool = False,
) -> Answer | None:
    """Return the refusal of a request that a stranger's page makes, None for all others.

    Parameters
    ----------
    header : callable
        Name -> all its values.
    local_host : str
        The address on which the connection arrived: always a good ``Host``.
    hosts : collection of str or None
        Further names that ``Host`` may carry, besides loopback ones. None: any name on a connection
        that arrived beyond loopback (container names differ with each installation).
    origins : collection of str
        Foreign origins that are allowed, as ``scheme://host[:port]``.
    acts : bool
        Whether the request changes something: then an image or a link on a foreign page, which
        carries no ``Origin``, is refused too.
    """
    given = header("Host")
    if len(given) != 1:
        return json_answer({"error": "one Host header is required"}, 400)
    matched = _HOST.fullmatch(given[0])
    name = (matched[1] or matched[2]).lower() if matched else ""
    if hosts is None and not is_loopback(local_host):
        hosts = (name,)
    if not name or not (is_loopback(name) or name == local_host or name in (hosts or ())):
        return json_answer({"error": "host not allowed"}, 403)
    asking = header("Origin")
    if not all(_may_ask(origin, given[0], origins) for origin in asking):
        return json_answer({"error": "origin not allowed"}, 403)
    if acts and not asking and not set(header("Sec-Fetch-Site")) <= _OWN_SITE:
        return json_answer({"error": "not allowed from another site's page"}, 403)
    return None


def is_loopback(host: str) -> bool:
    """Return whether a name or address means this machine.

    >>> [is_loopback(h) for h in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "127.evil.example")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _may_ask(origin: str, host: str, allowed: Collection[str]) -> bool:
    """Return whether a page of this origin may talk to us: ours, a developer's, or a named one."""
    try:
        parts = urlsplit(origin)
        ours = parts.netloc == host or is_loopback(parts.hostname or "")
    except ValueError:
        ours = False
    return (ours and parts.scheme in ("http", "https")) or origin in allowed
