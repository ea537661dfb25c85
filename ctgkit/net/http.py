"""HTTP answers: what one is, and how it becomes a response of the WebSocket library."""

import http
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from websockets.datastructures import Headers
from websockets.http11 import Response

PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


NOT_FOUND = Answer(404, b"404 page not found\n", PLAIN)


def json_answer(
    content: Mapping[str, Any], status: int = 200, headers: tuple[tuple[str, str], ...] = ()
) -> Answer:
    """Return *content* as JSON, ended by a newline as the original backend does."""
    body = json.dumps(content, ensure_ascii=False).encode() + b"\n"
    return Answer(status, body, headers=headers)


def response(answer: Answer) -> Response:
    """Return the HTTP response for an answer: never kept by a cache, never guessed at."""
    status = http.HTTPStatus(answer.status)
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
    return Response(status.value, status.phrase, headers, answer.body)
