"""Follow a backend's viewer stream: connect, read, connect again."""

import asyncio
from collections.abc import Callable
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from ctgkit.errors import excerpt
from ctgkit.watch.state import LinkPhase
from ctgkit.wire import BACKFILL_PARAMETER

RETRY_MIN_S, RETRY_MAX_S = 0.5, 5.0
"""Pause before the first and the later attempts to connect again, seconds. Chosen."""
OPEN_TIMEOUT_S = 5.0
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


def viewer_url(url: str, backfill_s: float = 0.0) -> str:
    """Return the address of the viewer stream that *url* means.

    Parameters
    ----------
    url : str
        ``http(s)://`` or ``ws(s)://``, or ``HOST:PORT``; the path defaults to ``/ws``.
    backfill_s : float
        How much of the past to ask for, seconds.

    Raises
    ------
    ValueError
        When it is no address of a server.

    Examples
    --------
    >>> viewer_url("http://127.0.0.1:8080", 600)
    'ws://127.0.0.1:8080/ws?backfill=600'
    >>> viewer_url("wss://ctg.example/live/ws/")
    'wss://ctg.example/live/ws/'
    """
    parts = urlsplit(url if "://" in url else f"ws://{url}")
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ValueError(f"{url!r} is not http(s)://HOST:PORT or ws(s)://HOST:PORT")
    assert parts.port is None or parts.port >= 0  # reading a bad port raises ValueError
    query = parse_qsl(parts.query)
    if backfill_s > 0 and BACKFILL_PARAMETER not in dict(query):
        query.append((BACKFILL_PARAMETER, f"{backfill_s:g}"))
    path = parts.path if parts.path.strip("/") else "/ws"
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, urlencode(query), ""))


async def follow(
    url: str,
    *,
    on_frame: Callable[[bytes], None],
    on_link: Callable[[LinkPhase, str], None],
    token: str | None = None,
) -> None:
    """Read the stream at *url* for ever; a lost connection is made again.

    Parameters
    ----------
    url : str
        What :func:`viewer_url` returned.
    on_frame : callable
        Gets each message as it came. It is called in the reader: while it runs nothing is read, so
        that no queue can grow.
    on_link : callable
        Gets each change of the connection and its reason, printable.
    token : str or None
        Viewer token of a server that asks for one.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else None
    pause_s = RETRY_MIN_S
    while True:
        on_link("connecting", "")
        try:
            async with connect(
                url, open_timeout=OPEN_TIMEOUT_S, close_timeout=1.0, additional_headers=headers
            ) as connection:
                on_link("live", "")
                pause_s = RETRY_MIN_S
                while True:
                    on_frame(await connection.recv(decode=False))
        except ConnectionClosed as closed:
            reason = str(closed.rcvd or closed.sent or "connection lost")
        except TimeoutError:
            reason = f"no answer within {OPEN_TIMEOUT_S:g} s"
        except (OSError, WebSocketException, EOFError) as error:
            reason = str(error) or type(error).__name__
        on_link("lost", excerpt(reason))
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, RETRY_MAX_S)
