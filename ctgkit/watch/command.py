"""``ctgkit watch``: the live view, or lines for scripts."""

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ctgkit.cli.credentials import viewer_token
from ctgkit.cli.options import argument, command, json_option, option, viewer_token_option
from ctgkit.cli.streams import DASH, taken_from_stdin
from ctgkit.cli.types import PAUSE, SECONDS, Speed
from ctgkit.errors import CtgkitError, RecordingError
from ctgkit.recording.reading_options import RatedReadingOptions

DEFAULT_URL = "http://127.0.0.1:8080"
VIEW_BACKFILL_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions(RatedReadingOptions):
    """Options of `ctgkit watch`."""

    url: str = argument(metavar="[URL|FILE]", default=DEFAULT_URL)
    sensors: tuple[str, ...] = option(
        "--sensor",
        multiple=True,
        metavar="ID",
        help="Show only this sensor; the beginning of its id is enough (repeatable).",
    )
    beds: tuple[str, ...] = option(
        "--bed",
        multiple=True,
        metavar="NAME",
        help="Ask the backend only for this bed (repeatable).",
    )
    backfill_s: float | None = option(
        "--backfill",
        type=PAUSE,
        help=f"Start with the last S seconds; default: {VIEW_BACKFILL_S:g} in the view, 0 with"
        " --plain or --json.",
    )
    duration_s: float | None = option("--duration", type=SECONDS, help="End after S seconds.")
    plain: bool = option(
        "--plain", is_flag=True, help="Print one line per sensor and second; default without a TTY."
    )
    speed: float | None = option(
        "--speed",
        type=Speed(),
        help="Recorded seconds per second when playing a recording; default: 1. Keys + and -"
        " change it.",
    )
    analyse: bool | None = option(
        "--analyze/--no-analyze",
        default=None,
        help="Analyse a recording that has no results; default: only in the view.",
    )
    theme: str = option(
        "--theme",
        type=click.Choice(["auto", "light", "dark"]),
        default="auto",
        help="Colours of the view; auto keeps the terminal's background.",
    )
    viewer_token_file: Path | None = viewer_token_option(aliases=["--token-file"])
    as_json: bool = json_option("Print each result as one line of JSON.")


@command(
    WatchOptions,
    example="ctgkit watch --backfill 1800 http://127.0.0.1:8080. "
    "A test tool, not a medical device.",
)
def watch(options: WatchOptions) -> int:
    """Show CTG strips, alarms and predictions from the backend at URL, live, or from a recording.

    URL is http(s):// or ws(s)://, by default http://127.0.0.1:8080. FILE is a recording of any
    format. Results in the recording are shown as recorded; without any, the samples are shown with
    the findings of ctgkit's own analyzer. Press ? for the keys.
    """
    from ctgkit.net import eventloop
    from ctgkit.watch.feed import narrowed, viewer_url

    url = options.url
    file = _file(url)
    if file is None and options.analyse is not None:
        raise click.UsageError(f"--analyze is for recordings: no file {url}")
    if file is None and options.speed is not None:
        raise click.UsageError(f"--speed is for recordings: no file {url}")
    try:
        viewer_url(url if file is None else DEFAULT_URL)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="URL") from error
    if options.plain and options.as_json:
        raise click.UsageError("--plain and --json exclude each other")
    if options.beds and (file is not None or options.sensors):
        other = "--sensor" if options.sensors else "a recording, which knows no beds,"
        raise click.UsageError(f"--bed and {other} exclude each other")
    token = viewer_token(options.viewer_token_file)
    chosen = tuple(sensor.lower() for sensor in options.sensors)
    if file is None:
        url = narrowed(url, options.beds, chosen)
    backfill_s = options.backfill_s
    if not (options.plain or options.as_json) and _has_screen():
        backfill_s = VIEW_BACKFILL_S if backfill_s is None else backfill_s
        shown = {"backfill_s": backfill_s, "sensors": chosen, "theme": options.theme}
        eventloop.run(_view(url, options, file, **shown, token=token))
        return 0
    stream = None
    if file is not None:
        from ctgkit.watch.playback import Pace, messages_of, play

        messages = messages_of(file, options.reading(), analysed=bool(options.analyse))
        stream = play(messages, Pace(options.speed or 1.0))
    return eventloop.run(
        _lines(
            url,
            as_json=options.as_json,
            backfill_s=backfill_s or 0.0,
            duration_s=options.duration_s,
            sensors=chosen,
            token=token,
            stream=stream,
        )
    )


async def _lines(url: str, *, sensors: tuple[str, ...], **settings: Any) -> int:
    """Write lines, say when none came, and return the exit code."""
    from ctgkit.watch.lines import run_lines

    n_results = await run_lines(url, write=_print, sensors=sensors, **settings)
    if not n_results:
        only = f" of a sensor {', '.join(sensors)}" if sensors else ""
        click.echo(f"ctgkit: {url}: no result{only} came", err=True)
    return 0 if n_results else 1


def _file(text: str) -> Path | None:
    """Return the recording that is meant; None for an address.

    Raises
    ------
    RecordingError
        When it is the name of a file that isn't there: nobody looks it up in the DNS.
    """
    from ctgkit.net.addresses import names_a_file
    from ctgkit.recording.files.registry import existing

    if text == DASH:
        return taken_from_stdin(click.get_current_context())
    try:
        path = existing(Path(text))
        if path.exists():
            return path
    except (OSError, ValueError):  # a name that is too long
        return None
    if names_a_file(text):
        raise RecordingError(text, 0, "No such file or directory")
    return None


def _has_screen() -> bool:
    """Tell whether there is a terminal that can show the view and be typed at."""
    terminal = sys.stdout.isatty() and sys.stdin.isatty()
    return terminal and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


async def _view(url: str, asked: WatchOptions, file: Path | None, **options: Any) -> None:
    """Run the view for a while, or until SIGTERM; the terminal is given back either way."""
    from ctgkit.watch.live import run_view
    from ctgkit.watch.playback import Pace, load_and_play

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    if asked.duration_s is not None:
        loop.call_later(asked.duration_s, stop.set)
    if file is not None:
        pace = Pace(asked.speed or 1.0)
        analysed = asked.analyse is not False
        options["stream"] = load_and_play(file, asked.reading(), pace, analysed=analysed)
        options["pace"] = pace
    broken: BaseExceptionGroup[CtgkitError] | None = None
    try:
        await run_view(url, stop=stop, **options)
    except* CtgkitError as group:  # a file that can't be read
        broken = group
    if broken is not None:
        raise broken.exceptions[0]


def _print(text: str) -> None:
    print(text, flush=True)
