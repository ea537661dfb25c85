"""Recording: a backend's viewer stream, and what passes through proxies, into one file."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed

from ctgkit import __version__
from ctgkit.clock import utc_timestamp
from ctgkit.errors import CtgkitError, Unreachable
from ctgkit.net.backoff import Backoff
from ctgkit.net.client import NotConnected, dial
from ctgkit.net.relay import FRAME_MAX_BYTES, ClientEnd, how_closed
from ctgkit.recording.format import VERSION, Header
from ctgkit.recording.journal import JournalWriter
from ctgkit.recording.passage import recording_relay
from ctgkit.recording.tape import Tape

log = logging.getLogger(__name__)

RETRY_MIN_S, RETRY_MAX_S = 0.25, 5.0
"""Pause before the first and the later attempts to connect again, seconds. Chosen."""
OPEN_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderSettings:
    """What to record, and where to."""

    out: Path
    replace: bool = False
    stream_url: str | None = None
    """A backend's viewer stream."""
    viewer_token: str | None = None
    proxies: tuple[tuple[tuple[str, int], str], ...] = ()
    """(host, port) to listen on, and the target for which that stands."""
    simulated: bool | None = None
    connect_timeout_s: float = 10.0
    """How long to dial for the first connection to the stream, seconds."""
    on_ready: Callable[[str], None] = lambda address: None
    """Called with each proxy's address once all listen."""


async def run_recorder(settings: RecorderSettings, stop: asyncio.Event) -> Tape:
    """Record until *stop* is set.

    Returns
    -------
    Tape
        With what was counted.

    Raises
    ------
    RecordingError
        When the file cannot be written.
    Unreachable
        When the stream was never reached, or a proxy's address cannot be bound.
    """
    header = Header(
        version=VERSION,
        created=utc_timestamp(),
        made_by=f"ctgkit {__version__}",
        simulated=settings.simulated,
        what=", ".join(
            [f"viewer stream of {settings.stream_url}"] * bool(settings.stream_url)
            + [f"what passes to {target}" for _, target in settings.proxies]
        ),
    )
    with JournalWriter(settings.out, header, durable=True, replace=settings.replace) as journal:
        tape = Tape(journal, stop)
        failure: CtgkitError | None = None
        async with contextlib.AsyncExitStack() as servers:
            addresses = [
                await servers.enter_async_context(recording_relay(target, tape).serve(host, port))
                for (host, port), target in settings.proxies
            ]
            for address in addresses:
                settings.on_ready(address)
            if settings.stream_url is None:
                await stop.wait()
            else:
                failure = await follow(
                    settings.stream_url,
                    tape,
                    stop,
                    token=settings.viewer_token,
                    connect_timeout_s=settings.connect_timeout_s,
                )
    if failure := tape.failure or failure:
        raise failure
    return tape


async def follow(
    url: str,
    tape: Tape,
    stop: asyncio.Event,
    *,
    token: str | None,
    connect_timeout_s: float,
    connected: asyncio.Event | None = None,
) -> Unreachable | None:
    """Record a viewer stream until *stop* is set; a lost connection is made again.

    Parameters
    ----------
    url : str
        Its WebSocket address.
    tape : Tape
        Where to record.
    stop : asyncio.Event
        Ends it.
    token : str or None
        Viewer token of a backend that asks for one.
    connect_timeout_s : float
        How long to dial for the first connection, seconds.
    connected : asyncio.Event or None
        Set once the stream stands, or never will.

    Returns
    -------
    Unreachable or None
        Why it gave up: the first connection was not made in time, or refused for good.
    """
    connected = connected or asyncio.Event()
    give_up_at_s = time.monotonic() + connect_timeout_s
    backoff = Backoff(RETRY_MIN_S, RETRY_MAX_S)
    while not stop.is_set():
        try:
            stream = await _dial_stream(url, token)
        except NotConnected as error:
            if error.is_final or (not connected.is_set() and time.monotonic() >= give_up_at_s):
                connected.set()
                return Unreachable(url, error.reason)
            log.debug("cannot connect to the stream: %s", error.reason)
        else:
            connected.set()
            backoff.reset()
            log.info("recording the stream of %s", url)
            await _record_connection(stream, urlsplit(url).path, tape, stop)
            if not stop.is_set():
                log.warning("the stream ended, reconnecting")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(backoff.next_s()):
                await stop.wait()
    return None


async def _dial_stream(url: str, token: str | None) -> ClientEnd:
    return await dial(
        url,
        kind=ClientEnd,
        headers={"Authorization": f"Bearer {token}"} if token else {},
        max_bytes=FRAME_MAX_BYTES,
        max_queue=4096,  # a disk that stalls for a moment must not look like a slow viewer
        open_timeout_s=OPEN_TIMEOUT_S,
    )


async def _record_connection(stream: ClientEnd, path: str, tape: Tape, stop: asyncio.Event) -> None:
    link = tape.open("v", {"path": path, "offered": [], "subprotocol": None})
    async with asyncio.TaskGroup() as tasks:
        closing = tasks.create_task(_close_when(stop, stream))
        with contextlib.suppress(ConnectionClosed):
            while True:
                frame, is_text = await stream.receive()
                tape.frame(link, "<", frame, is_text)
        closing.cancel()
    whose, code, reason = how_closed(stream)
    tape.close(link, "recorder" if whose == "local" else "server", code, reason)


async def _close_when(stop: asyncio.Event, stream: ClientEnd) -> None:
    await stop.wait()
    await stream.close()
