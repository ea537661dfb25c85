"""The view on a terminal: draws the state, reads keys, follows the stream."""

import asyncio
import logging
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from ctgkit import private
from ctgkit.errors import WireError
from ctgkit.watch.controls import press
from ctgkit.watch.feed import Link, follow, viewer_url
from ctgkit.watch.ink import palette
from ctgkit.watch.keys import keys_pressed
from ctgkit.watch.picture import svg_picture
from ctgkit.watch.screen import Screen
from ctgkit.watch.state import State, fold, notify, refuse, set_link
from ctgkit.watch.view import render, strip_cells
from ctgkit.wire import decode_result

if TYPE_CHECKING:
    from ctgkit.watch.playback import Pace

FRAME_S = 0.1
"""Time between two looks at the state, seconds; a picture is drawn when it would differ."""
HELD_LOG_LINES = 1000


def _keyboard(
    state: State, console: Console, stop: asyncio.Event, pace: "Pace | None"
) -> Callable[[str], None]:
    """Return what carries out a key."""
    clock = asyncio.get_running_loop().time

    def typed(key: str) -> None:
        action = press(state, key)
        if action == "quit":
            stop.set()
        elif action in ("faster", "slower") and pace is not None:
            state.playing = pace.change(2.0 if action == "faster" else 0.5)
            notify(state, f"playing {state.playing:g} seconds per second", clock())
        elif action == "save":
            notify(state, save_picture(state, console, clock()), clock())

    return typed


async def run_view(
    url: str,
    *,
    backfill_s: float = 600.0,
    stop: asyncio.Event | None = None,
    sensors: tuple[str, ...] = (),
    theme: str = "auto",
    token: str | None = None,
    stream: AsyncGenerator[Link | bytes] | None = None,
    pace: "Pace | None" = None,
) -> State:
    """Show a backend's results on the terminal until *stop* is set or ``q`` is pressed.

    Parameters
    ----------
    url : str
        The backend; see :func:`~ctgkit.watch.feed.viewer_url`.
    backfill_s : float
        How much of the past to ask for at each connection, seconds.
    stop : asyncio.Event or None
        Ends the view; it is set when the user quits.
    sensors : tuple of str
        Beginnings of the sensor ids to show, lower case; all when empty.
    theme : str
        One of :data:`~ctgkit.watch.state.THEMES`.
    token : str or None
        Viewer token of a server that asks for one.
    stream : async generator or None
        What to show instead of the backend at *url*; see :func:`ctgkit.watch.playback.play`.
    pace : Pace or None
        How fast that is; keys change it.

    Returns
    -------
    State
        What was shown last.
    """
    stop = stop or asyncio.Event()
    state = State(
        source=url, only=sensors, theme=theme, playing=None if pace is None else pace.speed
    )
    clock = asyncio.get_running_loop().time
    console = Console()
    typed = _keyboard(state, console, stop, pace)
    async with asyncio.TaskGroup() as group:
        stream = stream or follow(viewer_url(url, backfill_s), token)
        reader = group.create_task(_read(state, stream, clock))
        try:
            with (
                held_logs(lambda text: notify(state, text, clock())),
                Screen(console) as screen,
                keys_pressed(typed),
            ):
                await _draw(state, screen, stop, clock)
        finally:
            reader.cancel()
    return state


async def _read(
    state: State, stream: AsyncGenerator[Link | bytes], clock: Callable[[], float]
) -> None:
    """Fold what comes into the state, to its end."""
    async with aclosing(stream):
        async for item in stream:
            if isinstance(item, Link):
                set_link(state, item.phase, item.reason)
                continue
            try:
                fold(state, decode_result(item), clock())
            except WireError as error:
                refuse(state, str(error))


async def _draw(
    state: State, screen: Screen, stop: asyncio.Event, clock: Callable[[], float]
) -> None:
    """Draw when the state, the size or the second has changed."""
    drawn: tuple[object, ...] = ()
    while not stop.is_set():
        state.strip_cells = strip_cells(state, screen.size[0])
        current = (state.changes, screen.size, int(clock()))
        if current != drawn:
            screen.draw(render(state, *screen.size, clock()))
            drawn = current
        await asyncio.sleep(FRAME_S)


@contextmanager
def held_logs(on_line: Callable[[str], None]) -> Iterator[None]:
    """Keep log lines off the screen while the context lasts; they are written at its end.

    The newest :data:`HELD_LOG_LINES` are kept; warnings and errors are also given to *on_line*.
    """

    class Holder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            held.append(record)
            if record.levelno >= logging.WARNING:
                on_line(record.getMessage())

    held: deque[logging.LogRecord] = deque(maxlen=HELD_LOG_LINES)
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, [Holder()]
    try:
        yield
    finally:
        root.handlers = handlers
        for record in held:
            root.handle(record)


def save_picture(state: State, console: Console, now_s: float) -> str:
    """Write the screen to a new SVG file in the working directory; return what to tell.

    It is drawn on light paper, or on dark paper where the theme is dark.
    """
    width, height = console.size
    styles = palette("dark" if state.theme == "dark" else "light")
    lines = render(state, width, height, now_s, styles)
    sensor = state.focused
    name = re.sub(r"[^0-9A-Za-z-]", "", sensor.name) if sensor else ""
    path = Path(f"ctgkit-{name or 'watch'}-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}Z.svg")
    try:
        private.write_text(path, svg_picture(lines, width, height, styles))
    except OSError as error:
        return f"not saved: {error}"
    return f"saved {path}"
