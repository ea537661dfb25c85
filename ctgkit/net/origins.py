"""Which web pages and host names may talk to us (PROTOCOL S-2).

A browser sends requests to this machine for any page that it shows: from another site (cross-site
request forgery, WebSocket hijacking), or under a name that the page's owner points at us (DNS
rebinding). Programs send neither ``Origin`` nor ``Sec-Fetch-Site``, so they notice nothing.

``Host`` and ``Origin`` are compared as parsed: scheme, host, port with its default. This module
performs no I/O.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

from ctgkit.errors import excerpt
from ctgkit.net.addresses import is_loopback, plain_host, split_authority
from ctgkit.net.http import Answer, Asked, problem

_DEFAULT_PORTS = {"http": 80, "https": 443}
_OWN_SITE = {"same-origin", "none"}
"""``Sec-Fetch-Site`` of our own page, and of an address that somebody typed in."""


class Origin(NamedTuple):
    """Where a page comes from."""

    scheme: str
    host: str
    port: int | None
    """With the scheme's default; None for a scheme without one."""


def parse_origin(text: str) -> Origin:
    """Return the origin that ``SCHEME://HOST[:PORT]`` means.

    Raises
    ------
    ValueError
        When it is anything else: ``null``, a path, a user name, a backslash.

    Examples
    --------
    >>> parse_origin("https://CTG.example") == parse_origin("https://ctg.example:443")
    True
    """
    scheme, found, rest = text.partition("://")
    if not found or not scheme.isascii() or not scheme.replace("-", "").isalnum():
        raise ValueError(f"{text!r} is not http(s)://HOST[:PORT]")
    host, port = split_authority(rest)
    return Origin(scheme.lower(), host, _port(port, scheme.lower()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which pages and names one server admits.

    Parameters
    ----------
    hosts : collection of str or None
        Further names that ``Host`` may carry, besides loopback ones and the address on which the
        connection arrived. None: any name on a connection that arrived beyond loopback (container
        names differ with each installation).
    origins : collection of str or None
        Foreign origins that are allowed, as ``scheme://host[:port]``. None: any on a connection
        that arrived beyond loopback; a relay's target judges them.
    acts : callable
        Whether a request changes something: then an image or a link on a foreign page, which
        carries no ``Origin``, is refused too.
    options : bool
        Whether the user can add hosts and origins: then the log names the option.
    """

    hosts: Collection[str] | None = None
    origins: Collection[str] | None = ()
    acts: Callable[[Asked], bool] = lambda asked: False
    options: bool = False

    def refusal(self, asked: Asked) -> Answer | None:
        """Return the refusal of a request that a foreign page makes, None for all others."""
        given = asked.header("Host")
        if len(given) != 1:
            return problem(400, "one Host header is required", f"{len(given)} were sent")
        try:
            name, port = split_authority(given[0])
        except ValueError:
            return problem(403, "host not allowed", f"{excerpt(given[0])!r} is not a host name")
        if not self._admits(name, asked.local_host):
            return problem(403, "host not allowed", self._why_host(name, asked.local_host))
        asking = asked.header("Origin")
        if self.origins is None and not is_loopback(asked.local_host):
            return None
        for origin in asking:
            if why := self._why_origin(origin, name, port, asked.secure):
                return problem(403, "origin not allowed", why)
        sites = set(asked.header("Sec-Fetch-Site"))
        if not asking and not sites <= _OWN_SITE and self.acts(asked):
            why = f"Sec-Fetch-Site is {excerpt(', '.join(sorted(sites)))!r}: another site's page"
            return problem(403, "not allowed from another site's page", why)
        return None

    def _admits(self, name: str, local_host: str) -> bool:
        if is_loopback(name) or name == plain_host(local_host):
            return True
        if self.hosts is None:
            return not is_loopback(local_host)
        return name in {_named(host) for host in self.hosts}

    def _why_host(self, name: str, local_host: str) -> str:
        known = ["localhost", plain_host(local_host), *sorted(self.hosts or ())]
        advice = f"; --allow-host {name} lets it in" if self.options else ""
        return f"Host {excerpt(name)!r} is not one of {', '.join(dict.fromkeys(known))}{advice}"

    def _why_origin(self, text: str, host: str, port: int | None, secure: bool) -> str:
        """Return why a page may not talk to us, "" if it may: ours, a developer's, a named one."""
        try:
            origin = parse_origin(text)
        except ValueError:
            what = "a file:// page, or a sandboxed one" if text == "null" else "no http(s) origin"
            return (
                f"Origin {excerpt(text)!r} is {what}, which no option lets in;"
                " serve the page over http(s)"
            )
        for allowed in self.origins or ():
            try:
                if parse_origin(allowed) == origin:
                    return ""
            except ValueError:
                continue  # it can't match anything
        if origin.scheme in _DEFAULT_PORTS:
            if is_loopback(origin.host):
                return ""
            # without TLS of ours, a proxy in front may have taken it off: either scheme is ours
            if origin.scheme == "https" or not secure:
                own = Origin(origin.scheme, host, _port(port, origin.scheme))
                if origin == own:
                    return ""
        advice = f"; --origin {excerpt(text)} lets it in" if self.options else ""
        own_text = host if port is None else f"{host}:{port}"
        return f"Origin {excerpt(text)!r} is neither that of Host {own_text!r} nor loopback{advice}"


def _named(host: str) -> str:
    """Return the host of an allowed ``HOST`` or ``HOST:PORT``."""
    try:
        return split_authority(host)[0]
    except ValueError:
        return plain_host(host)


def _port(port: int | None, scheme: str) -> int | None:
    return _DEFAULT_PORTS.get(scheme) if port is None else port
