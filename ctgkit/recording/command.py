"""``ctgkit record``."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctgkit.cli.credentials import viewer_token
from ctgkit.cli.options import (
    announce,
    command,
    connect_timeout_option,
    json_option,
    option,
    ready_file_option,
    simulated_option,
    viewer_token_option,
)
from ctgkit.cli.types import SECONDS, Address, OutFile, Url

if TYPE_CHECKING:
    from ctgkit.recording.tape import Tape

DEFAULT_BACKEND = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """Options of `ctgkit record`."""

    url: str | None = option(
        "--url",
        type=Url("/ws"),
        help="Backend whose viewer stream is recorded; default without --listen:"
        f" {DEFAULT_BACKEND}.",
    )
    out: Path = option("--out", type=OutFile(), required=True, help="FILE.jsonl, or FILE.jsonl.gz.")
    duration: float | None = option(
        "--duration", type=SECONDS, help="End after S seconds; default: until Ctrl-C."
    )
    force: bool = option("--force", is_flag=True, help="Replace an existing file.")
    listen: tuple[tuple[str, int], ...] = option(
        "--listen",
        type=Address(),
        multiple=True,
        section="As a proxy",
        help="Address of a proxy that forwards to --to and records both directions (repeatable, in"
        " pairs).",
    )
    targets: tuple[str, ...] = option(
        "--to",
        type=Url("/"),
        multiple=True,
        section="As a proxy",
        help="Upstream URL (one for each --listen).",
    )
    connect_timeout: float = connect_timeout_option()
    viewer_token_file: Path | None = viewer_token_option()
    simulated: bool | None = simulated_option()
    ready_file: Path | None = ready_file_option("Write the proxy's address to FILE.")
    as_json: bool = json_option("Print addresses and summary as JSON.")


@command(
    RecordOptions,
    example="ctgkit record --listen 127.0.0.1:9000 --to ws://127.0.0.1:8080 "
    "--url http://127.0.0.1:8080 --out run.jsonl.gz",
)
def record(options: RecordOptions) -> int:
    """Record a backend's viewer stream, the traffic between a client and a server, or both.

    With --listen and --to it is a transparent proxy: point the sensors (or the backend's --ml) at
    --listen. Messages are recorded byte for byte; tokens are left out. Both kinds of recording go
    into the same file. Exit code 1 if nothing was recorded, 3 if the stream was never reached.
    """
    if len(options.listen) != len(options.targets):
        raise click.UsageError("each --listen needs a --to")
    from ctgkit.net import eventloop
    from ctgkit.net.addresses import websocket_url
    from ctgkit.recording.journal import SUFFIXES
    from ctgkit.recording.recorder import RecorderSettings

    out, as_json = options.out, options.as_json
    if not out.name.endswith(SUFFIXES):
        raise click.BadParameter(f"{out.name}: expected .jsonl or .jsonl.gz", param_hint="--out")
    url = options.url
    if url is None and not options.listen:
        url = websocket_url(DEFAULT_BACKEND, "/ws")
    settings = RecorderSettings(
        out=out,
        replace=options.force,
        stream_url=url,
        viewer_token=viewer_token(options.viewer_token_file),
        proxies=tuple(zip(options.listen, options.targets, strict=True)),
        simulated=options.simulated,
        connect_timeout_s=options.connect_timeout,
        on_ready=lambda address: announce(address, as_json=as_json, ready_file=options.ready_file),
    )
    tape = eventloop.run(_record(settings, options.duration))
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
