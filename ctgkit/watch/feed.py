"""Follow a backend's viewer stream: connect, read, connect again."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from ctgkit.config import sensor_id_of
from ctgkit.errors import excerpt
from ctgkit.net.addresses import websocket_url
from ctgkit.net.backoff import Backoff
from ctgkit.net.client import NotConnected, dial
from ctgkit.watch.state import LinkPhase
from ctgkit.wire import BACKFILL_PARAMETER, BED_PARAMETER, SENSOR_PARAMETER

RETRY_MIN_S, RETRY_MAX_S = 0.5, 5.0
"""Pause before the first and the later attempts to connect again, seconds. Chosen."""
OPEN_TIMEOUT_S = 5.0


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
    parts = urlsplit(websocket_url(url, "/ws"))
    query = parse_qsl(parts.query)
    if backfill_s > 0 and BACKFILL_PARAMETER not in dict(query):
        query.append((BACKFILL_PARAMETER, f"{backfill_s:g}"))
    return urlunsplit(parts._replace(query=urlencode(query)))


def narrowed(url: str, beds: Sequence[str] = (), sensors: Sequence[str] = ()) -> str:
    """Return the address of a part of what *url* shows (PROTOCOL V-2.5).

    Beginnings of sensor ids aren't asked for: only whoever reads the stream can compare those.

    >>> narrowed("http://127.0.0.1:8080", beds=("3 a", "4"))
    'ws://127.0.0.1:8080/ws?bed=3+a&bed=4'
    """
    query = [(BED_PARAMETER, bed) for bed in beds]
    with suppress(ValueError):
        query += [(SENSOR_PARAMETER, sensor_id_of(sensor)) for sensor in sensors]
    if len(query) < len(beds) + len(sensors) or not query:
        return url
    parts = urlsplit(viewer_url(url))
    return urlunsplit(parts._replace(query=urlencode(parse_qsl(parts.query) + query)))


class Link(NamedTuple):
    """What became of the connection."""

    phase: LinkPhase
    reason: str = ""
    """Why it was lost, printable."""


async def follow(url: str, token: str | None = None) -> AsyncGenerator[Link | bytes]:
    """Read the stream at *url* for ever; a lost connection is made again.

    Nothing is read while the caller is busy with a message, so that no queue can grow.

    Parameters
    ----------
    url : str
        What :func:`viewer_url` returned.
    token : str or None
        Viewer token of a server that asks for one.

    Yields
    ------
    Link or bytes
        Each change of the connection, and each message as it came.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    clock = asyncio.get_running_loop().time
    backoff = Backoff(RETRY_MIN_S, RETRY_MAX_S)
    while True:
        yield Link("connecting")
        began_s = clock()
        try:
            connection: ClientConnection = await dial(
                url, headers=headers, open_timeout_s=OPEN_TIMEOUT_S
            )
        except NotConnected as error:
            reason = error.reason
        else:
            try:
                yield Link("live")
                with suppress(ConnectionClosed):
                    while True:
                        yield await connection.recv(decode=False)
            finally:  # who goes is no fault inside: 1000, not the 1011 of `async with`
                await connection.close()
            reason = _reason(connection)
        if clock() - began_s > RETRY_MAX_S:
            backoff.reset()
        yield Link("lost", excerpt(reason))
        await asyncio.sleep(backoff.next_s())


def _reason(connection: ClientConnection) -> str:
    if connection.close_reason:
        return f"{connection.close_code} {connection.close_reason}"
    return f"closed by the server ({connection.close_code})"
