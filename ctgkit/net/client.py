"""How we dial: the one way, for all clients.

No proxy from the environment (what we talk to is on this machine or in this network), no redirects
(whoever answers could have a token sent anywhere), and one sentence that says why it failed.
"""

import errno
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    WebSocketException,
)
from websockets.http11 import Response
from websockets.typing import Subprotocol

from ctgkit.errors import Unreachable, excerpt

OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
MESSAGE_MAX_BYTES = 1 << 20

PASSING_STATUSES = {408, 425, 429}
"""Refusals below 500 that another attempt may change."""

C = TypeVar("C", bound=ClientConnection)


class NotConnected(Unreachable):
    """A connection could not be made; *reason* is one sentence.

    Parameters
    ----------
    url : str
        What was dialled.
    reason : str
        Why it failed, printable.
    response : websockets.http11.Response or None
        The refusal, when it answered.
    refused : bool
        Whether nothing listens there.
    """

    def __init__(
        self, url: str, reason: str, *, response: Response | None = None, refused: bool = False
    ) -> None:
        super().__init__(url, reason)
        self.response, self.refused = response, refused

    @property
    def status(self) -> int | None:
        """The HTTP status that it answered."""
        return self.response.status_code if self.response else None

    @property
    def is_final(self) -> bool:
        """Whether another attempt would fail alike: it answered, and not that it is busy."""
        return self.status is not None and self.status < 500 and self.status not in PASSING_STATUSES


class _Direct(connect):
    """``connect`` that follows no redirect.

    The library drops ``Authorization`` when it is sent to another host, but not a header of ours.
    """

    def process_redirect(self, exc: Exception) -> Exception:
        """Return the refusal instead of the address that it names."""
        return exc


async def dial(
    url: str,
    *,
    kind: Callable[..., C] = ClientConnection,  # type: ignore[assignment]
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    offers: Sequence[str] = (),
    open_timeout_s: float = OPEN_TIMEOUT_S,
    close_timeout_s: float = CLOSE_TIMEOUT_S,
    max_bytes: int | None = MESSAGE_MAX_BYTES,
    max_queue: int | None = 16,
    pings: bool = True,
    **more: Any,
) -> C:
    """Connect to a WebSocket.

    Parameters
    ----------
    url : str
        ``ws://…`` or ``wss://…``.
    kind : type or callable
        Makes the connection.
    headers, offers : mapping or iterable of pairs, sequence of str
        Further headers (tokens), and subprotocols.
    open_timeout_s, close_timeout_s : float
        For the handshake, and for the peer's answer to a close frame, seconds.
    max_bytes, max_queue : int or None
        Largest message, and messages that wait to be read; None: no bound.
    pings, **more
        Whether we ping, and give up a peer that doesn't answer; for ``connect`` of websockets.

    Raises
    ------
    NotConnected
        When that fails, whatever the cause.
    """
    if not pings:
        more["ping_interval"] = None
    try:
        made = await _Direct(
            url,
            create_connection=cast(type[ClientConnection], kind),
            additional_headers=headers or None,
            subprotocols=[Subprotocol(name) for name in offers] or None,
            compression=None,  # small messages: it costs more than it saves
            proxy=None,
            open_timeout=open_timeout_s,
            close_timeout=close_timeout_s,
            max_size=max_bytes,
            max_queue=max_queue,
            **more,
        )
    except (OSError, EOFError, WebSocketException, ValueError, TypeError) as error:
        raise NotConnected(
            url,
            why_failed(error, url, open_timeout_s),
            response=error.response if isinstance(error, InvalidStatus) else None,
            refused=errno.ECONNREFUSED in _errnos(error),
        ) from error
    _forget_headers(made)
    return cast(C, made)


def _forget_headers(connection: ClientConnection) -> None:
    """Free what nobody asks for once a connection stands, 4 KiB of it."""
    for head in (connection.request, connection.response):
        if head is not None:
            head.headers.clear()


def why_failed(error: Exception, url: str, timeout_s: float = OPEN_TIMEOUT_S) -> str:
    """Return in one printable sentence why dialling *url* failed."""
    secure = url.startswith(("wss:", "https:"))
    match error:
        case InvalidStatus():
            return _answered(error.response)
        case ssl.SSLCertVerificationError():
            return f"its certificate isn't trusted: {excerpt(error.verify_message)}"
        case ssl.SSLError() if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
            return "it does not use TLS: use ws:// or http:// instead of wss:// or https://"
        case TimeoutError() if not error.errno:
            return f"no answer within {timeout_s:g} s"
        case socket.gaierror():
            return f"the host name is unknown: {excerpt(error.strerror or str(error))}"
    numbers = _errnos(error)
    if errno.ECONNREFUSED in numbers:
        return "connection refused: nothing listens there"
    hung_up = isinstance(error, ConnectionResetError | BrokenPipeError | EOFError | InvalidMessage)
    if hung_up or numbers & {errno.ECONNRESET, errno.EPIPE}:
        if isinstance(error, InvalidMessage) and isinstance(error.__cause__, ValueError):
            return "its answer was not HTTP"
        if secure:
            return (
                "it hung up during the TLS handshake: if it does not use TLS, use ws:// or http://"
            )
        return "it hung up during the handshake: if it uses TLS, use wss:// or https://"
    if numbers:
        return "; ".join(os.strerror(number) for number in sorted(numbers))
    if isinstance(error, InvalidHandshake):
        return f"it is not a WebSocket server: {excerpt(str(error))}"
    return excerpt(str(error)) or type(error).__name__


def _answered(response: Response) -> str:
    body = bytes(response.body or b"").strip()
    if 300 <= response.status_code < 400:
        where = excerpt(response.headers.get("Location", "nowhere"))
        return f"answered {response.status_code}, to {where}: redirects aren't followed"
    return f"answered {response.status_code}" + (f": {excerpt(body)}" if body else "")


def _errnos(error: BaseException) -> set[int]:
    """Return the system's error numbers: of a name with several addresses there are several."""
    if isinstance(error, OSError) and error.errno:
        return {error.errno}
    if isinstance(error, OSError) and str(error).startswith("Multiple exceptions"):
        return {int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error))}
    return set()
