"""``ctgkit watch``: the live view, or lines for scripts."""

import asyncio
import io
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from ctgkit.cli.options import Speed, common_options, current_config
from ctgkit.recording.reading_options import reading_options, taken_from

DEFAULT_URL = "http://127.0.0.1:8080"
VIEW_BACKFILL_S = 600.0


@click.command(
    epilog="Example: ctgkit watch --backfill 1800 http://127.0.0.1:8080. "
    "A test tool, not a medical device."
)
@click.argument("url", metavar="[URL|FILE]", default=DEFAULT_URL)
@click.option("--plain", is_flag=True, help="A line per sensor and second; default without a TTY.")
@click.option("--json", "as_json", is_flag=True, help="Each result as one line of JSON.")
@click.option(
    "--backfill",
    "backfill_s",
    type=click.FloatRange(min=0),
    metavar="S",
    help="Seconds of the past to start with; default 600 in the view, 0 for lines.",
)
@click.option(
    "--sensor", "sensors", multiple=True, metavar="ID", help="Only this sensor; a prefix will do."
)
@click.option(
    "--duration",
    "duration_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="End after so many seconds.",
)
@click.option("--speed", type=Speed(), help="Of a recording, its seconds per second; default 1.")
@click.option(
    "--theme",
    type=click.Choice(["auto", "light", "dark"]),
    default="auto",
    show_default=True,
    help="Paper of the view; auto leaves the terminal's background alone.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Viewer token, for a backend beyond this machine; default from ctgkit.toml.",
)
@reading_options()
@common_options
def watch(
    url: str,
    *,
    plain: bool,
    as_json: bool,
    backfill_s: float | None,
    sensors: tuple[str, ...],
    duration_s: float | None,
    speed: float | None,
    theme: str,
    token_file: Path | None,
    **options: Any,
) -> int:
    """Watch the backend at URL, or play a recording: CTG strips, alarms and predictions, live.

    URL is http(s):// or ws(s)://, by default http://127.0.0.1:8080. FILE is a recording of any
    format; the results that a viewer was sent are shown as recorded, else the samples alone.
    Press ? for the keys.
    """
    from ctgkit.net import eventloop
    from ctgkit.watch.feed import viewer_url

    stream = None
    if Path(url).exists():
        from ctgkit.watch.playback import messages_of, play

        stream = play(messages_of(Path(url), taken_from(options)), speed or 1.0)
    elif speed is not None:
        raise click.UsageError(f"--speed is for recordings: there is no file {url}")
    try:
        viewer_url(url if stream is None else DEFAULT_URL)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="URL") from error
    if plain and as_json:
        raise click.UsageError("--plain and --json exclude each other")
    token = token_file.read_text(encoding="utf-8").strip() if token_file else None
    token = token or current_config().viewer_token
    chosen = tuple(sensor.lower() for sensor in sensors)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a locale without our signs is no reason to stop
    if not (plain or as_json) and _has_screen():
        backfill_s = VIEW_BACKFILL_S if backfill_s is None else backfill_s
        eventloop.run(
            _view(
                url,
                duration_s,
                backfill_s=backfill_s,
                sensors=chosen,
                theme=theme,
                token=token,
                stream=stream,
            )
        )
        return 0
    return eventloop.run(
        _lines(
            url,
            as_json=as_json,
            backfill_s=backfill_s or 0.0,
            duration_s=duration_s,
            sensors=chosen,
            token=token,
            stream=stream,
        )
    )


async def _lines(url: str, *, sensors: tuple[str, ...], **options: Any) -> int:
    """Write lines, say when none came, and return the exit code."""
    from ctgkit.watch.lines import run_lines

    n_results = await run_lines(url, write=_print, sensors=sensors, **options)
    if not n_results:
        only = f" of a sensor {', '.join(sensors)}" if sensors else ""
        click.echo(f"ctgkit: {url}: no result{only} came", err=True)
    return 0 if n_results else 1


def _has_screen() -> bool:
    """Tell whether there is a terminal that can show the view and be typed at."""
    terminal = sys.stdout.isatty() and sys.stdin.isatty()
    return terminal and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


async def _view(url: str, duration_s: float | None, **options: Any) -> None:
    """Run the view for a while, or until SIGTERM; the terminal is given back either way."""
    from ctgkit.watch.live import run_view

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    if duration_s is not None:
        loop.call_later(duration_s, stop.set)
    await run_view(url, stop=stop, **options)


def _print(text: str) -> None:
    print(text, flush=True)
