"""Results as lines of text, for scripts and where there is no terminal."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from ctgkit.display import DISCLAIMER
from ctgkit.errors import Unreachable, WireError, excerpt
from ctgkit.watch.feed import Link, follow, viewer_url
from ctgkit.watch.state import Sensor, State, fold, refuse, set_link
from ctgkit.watch.values import alarm_text, number
from ctgkit.wire import decode_result

log = logging.getLogger(__name__)

CONNECT_WITHIN_S = 3.0
"""A backend that can't be reached for this long from the start is an error, seconds. Chosen."""
PLAIN_EVERY_S = 1.0

_UNPRINTABLE = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def json_line(frame: bytes) -> str:
    r"""Return a JSON message on one line, unchanged in meaning.

    Control characters that JSON allows in strings are escaped, so that a terminal doesn't obey;
    bytes that are no UTF-8, which members that nobody reads may hold, are replaced.

    >>> json_line('{"a":\n "\x9b31m"}'.encode())
    '{"a":"\\u009b31m"}'
    """
    text = msgspec.json.format(frame, indent=-1).decode(errors="replace")
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def plain_line(sensor: Sensor) -> str:
    """Return the newest of a sensor on one line of ``name value`` pairs."""
    said = sensor.prediction
    risk = f"{said.hypoxia_risk} {said.hypoxia_probability:.2f}" if said else "-"
    share, _ = sensor.quality()
    return (
        f"{excerpt(sensor.sensor_id)}  t {sensor.edge_s:.2f}  fhr {number(sensor.fhr_bpm).strip()}"
        f"  toco {number(sensor.toco).strip()}  signal {share:.0%}"
        f"  status {excerpt(sensor.status)}  risk {risk}  alarms {alarm_text(sensor) or '-'}"
    )


async def run_lines(
    url: str,
    *,
    write: Callable[[str], None],
    as_json: bool,
    backfill_s: float = 0.0,
    duration_s: float | None = None,
    sensors: tuple[str, ...] = (),
    token: str | None = None,
    stream: AsyncGenerator[Link | bytes] | None = None,
) -> int:
    """Write results line by line: each one as JSON, or per second the newest of each sensor.

    Parameters
    ----------
    url : str
        The backend; see :func:`~ctgkit.watch.feed.viewer_url`.
    write : callable
        Gets each line, without its end.
    as_json : bool
        Results as they came; otherwise text for people.
    backfill_s, duration_s : float
        How much of the past to ask for, and when to end, seconds.
    sensors, token, stream
        As :func:`~ctgkit.watch.live.run_view` takes them.

    Returns
    -------
    int
        How many results came.

    Raises
    ------
    Unreachable
        When no connection could be made within :data:`CONNECT_WITHIN_S`.
    """
    state = State(source=url, only=sensors)
    connected = asyncio.Event()
    nobody_reads = False
    try:
        async with asyncio.TaskGroup() as group:
            stream = stream or follow(viewer_url(url, backfill_s), token)
            reader = group.create_task(_read(state, stream, connected, write if as_json else None))
            try:
                async with asyncio.timeout(CONNECT_WITHIN_S):
                    await connected.wait()
                async with asyncio.timeout(duration_s):
                    await (reader if as_json else _write_plain(state, write, reader))
            except TimeoutError:  # either nobody is there, or the duration is over
                pass
            finally:
                reader.cancel()
    except* BrokenPipeError:
        nobody_reads = True
    if nobody_reads:
        raise BrokenPipeError
    if not connected.is_set():
        raise Unreachable(url, state.link_reason or "no answer")
    return state.n_results


async def _read(
    state: State,
    stream: AsyncGenerator[Link | bytes],
    connected: asyncio.Event,
    write: Callable[[str], None] | None,
) -> None:
    """Fold what the backend sends into the state, for ever; pass it on if there is *write*."""
    clock = asyncio.get_running_loop().time
    async with aclosing(stream):
        async for item in stream:
            if isinstance(item, Link):
                _note(state, item, connected)
                continue
            before = state.n_results
            try:
                fold(state, decode_result(item), clock())
            except WireError as error:
                refuse(state, str(error))
                if state.n_unreadable.bit_count() == 1:  # 1st, 2nd, 4th …: a burst stays readable
                    log.warning("unreadable message n=%d: %s", state.n_unreadable, error)
            if write and state.n_results > before:
                write(json_line(item))


def _note(state: State, link: Link, connected: asyncio.Event) -> None:
    set_link(state, link.phase, link.reason)
    if link.phase == "live":
        connected.set()
        log.info("connected url=%s (%s)", state.source, DISCLAIMER)
    elif link.phase == "ended":
        log.info("end of %s", state.source)
    elif link.phase == "lost":
        log.warning("not connected, trying again: %s", link.reason)


async def _write_plain(
    state: State, write: Callable[[str], None], reader: asyncio.Task[None]
) -> None:
    """Write each sensor that has news, once per second, until there is nothing more to read."""
    written: dict[str, float] = {}
    while not reader.done():
        await asyncio.wait((reader,), timeout=PLAIN_EVERY_S)
        for sensor in state.sensors.values():
            if written.get(sensor.sensor_id) != sensor.received_s:
                written[sensor.sensor_id] = sensor.received_s
                write(plain_line(sensor))
