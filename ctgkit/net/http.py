"""HTTP: a request, parsed once, and its answer.

A request's target is parsed strictly (:func:`split_target`), and every rule and every answer sees
what was parsed: two readings of one path are how a check is bypassed.
"""

import http
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from websockets.datastructures import Headers
from websockets.http11 import Response

PLAIN = "text/plain; charset=utf-8"

HeaderValues = Callable[[str], list[str]]
"""Name -> all values of that header."""

_TARGET = re.compile(
    r"(/(?!/)(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)(?:\?([!\"$-~]*))?"
)
"""Origin-form (RFC 9112, 3.2.1), but no path that begins like an authority; a query may hold
any visible ASCII but ``#``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request: what every rule and every answer sees."""

    method: str
    path: str
    """As it was sent; escapes aren't undone, so an escaped path is not one of ours."""
    query: Mapping[str, list[str]]
    target: str
    """Path and query, as sent."""
    header: HeaderValues
    local_host: str = "127.0.0.1"
    """The address on which the connection arrived."""
    peer_host: str = ""
    secure: bool = False
    """Whether it came over TLS of ours."""

    @property
    def reads(self) -> bool:
        """Whether it is a GET, or a HEAD, which is the same without the body."""
        return self.method in ("GET", "HEAD")


def split_target(target: str) -> tuple[str, dict[str, list[str]]]:
    """Return path and query of a request's target.

    Raises
    ------
    ValueError
        When it is anything but a path with an optional query: a whole URL, ``//host/path``, a
        fragment, a control character, a space.

    Examples
    --------
    >>> split_target("/ws?backfill=600")
    ('/ws', {'backfill': ['600']})
    """
    matched = _TARGET.fullmatch(target)
    if matched is None:
        raise ValueError("not a path with an optional query")
    return matched[1], parse_qs(matched[2] or "")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    why: str = field(default="", compare=False)
    """For our log only: what a refusal rests on, and what would let the request in."""


NOT_FOUND = Answer(404, b"404 page not found\n", PLAIN)


def only(*methods: str) -> Answer:
    """Return the answer to a method that a path doesn't know."""
    return Answer(405, b"", PLAIN, (("Allow", ", ".join(methods)),))


def json_answer(
    content: Mapping[str, Any], status: int = 200, headers: tuple[tuple[str, str], ...] = ()
) -> Answer:
    """Return *content* as JSON, ended by a newline as the original backend does."""
    body = json.dumps(content, ensure_ascii=False).encode() + b"\n"
    return Answer(status, body, headers=headers)


def problem(status: int, reason: str, why: str = "") -> Answer:
    """Return a refusal: *reason* is sent, *why* is logged."""
    return Answer(status, json.dumps({"error": reason}).encode() + b"\n", why=why or reason)


def response(answer: Answer, *, with_body: bool = True) -> Response:
    """Return the HTTP response for an answer: never kept by a cache, never guessed at."""
    headers = Headers(
        [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            ("Connection", "close"),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            *answer.headers,
        ]
    )
    body = answer.body if with_body else b""
    return Response(answer.status, phrase(answer.status), headers, body)


def phrase(status: int) -> str:
    """Return what a status is called, "" for one that nobody has named.

    >>> phrase(404), phrase(520)
    ('Not Found', '')
    """
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""
