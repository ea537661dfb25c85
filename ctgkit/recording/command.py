"""``ctgkit record``."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctgkit.cli.options import (
    Address,
    announce,
    common_options,
    current_config,
    viewer_token,
    websocket_option,
)

if TYPE_CHECKING:
    from ctgkit.recording.tape import Tape

DEFAULT_BACKEND = "http://127.0.0.1:8080"


@click.command(
    epilog="Example: ctgkit record --listen 127.0.0.1:9000 --to ws://127.0.0.1:8080 "
    "--url http://127.0.0.1:8080 --out run.jsonl.gz"
)
@common_options
@click.option(
    "--url",
    help=f"Backend whose viewer stream is recorded; without --listen {DEFAULT_BACKEND}.",
)
@click.option(
    "--listen",
    type=Address(),
    multiple=True,
    help="Stand between a client and --to, and record both directions (repeatable, in pairs).",
)
@click.option("--to", "targets", multiple=True, metavar="URL", help="Where --listen leads.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="FILE.jsonl, or FILE.jsonl.gz",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option(
    "--duration",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="End after S seconds; default: until Ctrl-C.",
)
@click.option(
    "--simulated/--not-simulated", default=None, help="Note whether the data are simulated."
)
@click.option(
    "--connect-timeout", type=click.FloatRange(0), default=10.0, show_default=True, metavar="S"
)
@click.option(
    "--viewer-token-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Viewer token, for a backend beyond this machine; default from ctgkit.toml.",
)
@click.option("--ready-file", type=click.Path(path_type=Path), help="Gets the proxy's address.")
@click.option("--json", "as_json", is_flag=True, help="Print addresses and summary as JSON.")
def record(
    url: str | None,
    listen: tuple[tuple[str, int], ...],
    targets: tuple[str, ...],
    out: Path,
    ready_file: Path | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Record a backend's viewer stream, or what passes between two parties, or both in one file.

    With --listen and --to it is a transparent proxy: point the sensors (or the backend's --ml) at
    --listen. Messages are recorded byte for byte, tokens are left out. Exit code 1 when nothing
    was recorded, 3 when the stream was never reached.
    """
    if len(listen) != len(targets):
        raise click.UsageError("--listen and --to come in pairs")
    from ctgkit.net import eventloop
    from ctgkit.recording.journal import SUFFIXES
    from ctgkit.recording.recorder import RecorderSettings

    if not out.name.endswith(SUFFIXES):
        raise click.BadParameter(f"{out.name}: expected .jsonl or .jsonl.gz", param_hint="--out")
    if url is None and not listen:
        url = DEFAULT_BACKEND
    settings = RecorderSettings(
        out=out,
        replace=options["force"],
        stream_url=url and websocket_option(url, "/ws", "--url"),
        viewer_token=viewer_token(options["viewer_token_file"]),
        proxies=tuple(
            (address, websocket_option(target, "/", "--to"))
            for address, target in zip(listen, targets, strict=True)
        ),
        simulated=options["simulated"],
        connect_timeout_s=options["connect_timeout"],
        on_ready=lambda address: announce(address, as_json=as_json, ready_file=ready_file),
    )
    tape = eventloop.run(_record(settings, options["duration"]))
    frames = dict(sorted(tape.frames.items()))
    summary = {"file": str(out), "connections": dict(tape.links), "frames": frames}
    if as_json:
        click.echo(json.dumps(summary))
    else:
        counted = ", ".join(f"{count} {what}" for what, count in frames.items()) or "nothing"
        click.echo(f"{out}: {tape.links.total()} connections; messages: {counted}")
    return 0 if frames else 1


async def _record(settings: Any, duration_s: float | None) -> "Tape":
    from ctgkit.net.eventloop import stop_on_signals
    from ctgkit.recording.recorder import run_recorder

    stop = stop_on_signals()
    if duration_s is not None:
        asyncio.get_running_loop().call_later(duration_s, stop.set)
    return await run_recorder(settings, stop)


def _viewer_token(file: Path | None) -> str | None:
    token = file.read_text(encoding="utf-8").strip() if file else None
    return token or current_config().viewer_token
