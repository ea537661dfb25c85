"""``ctgkit proxy``."""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctgkit import private
from ctgkit.cli.options import (
    OUTPUT,
    announce,
    command,
    json_option,
    option,
    ready_file_option,
    seed_option,
)
from ctgkit.cli.types import JSON_LINES, SECONDS, Address, FaultOption, OutFile, Url
from ctgkit.errors import CtgkitError, Unreachable

if TYPE_CHECKING:
    from ctgkit.faults.fault import Fault
    from ctgkit.proxy.passage import Report

log = logging.getLogger(__name__)


def _list(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        from ctgkit.faults.schema import listing

        click.echo("\n".join(listing()))
        ctx.exit()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyOptions:
    """Options of `ctgkit proxy`."""

    listen: tuple[str, int] = option(
        "--listen", type=Address(), required=True, help="Address at which clients connect."
    )
    target: str = option("--to", type=Url("/"), required=True, help="Upstream URL.")
    fault: "tuple[Fault, ...]" = option(
        "--fault",
        type=FaultOption(),
        multiple=True,
        help="Fault to inject (repeatable); without any, everything passes unchanged.",
    )
    duration: float | None = option(
        "--duration", type=SECONDS, help="End after S seconds; default: until Ctrl-C."
    )
    seed: int = seed_option("the faults")
    show_list: None = option(
        "--list",
        is_flag=True,
        is_eager=True,
        callback=_list,
        help="List the faults and their parameters and exit.",
    )
    out: Path | None = option(
        "--out",
        type=OutFile(**JSON_LINES),
        section=OUTPUT,
        help="Write each fault that occurred, with its time, to FILE as JSON lines.",
    )
    ready_file: Path | None = ready_file_option("Write the proxy's address to FILE.")
    as_json: bool = json_option("Print address, faults and summary as JSON.")


@command(
    ProxyOptions,
    example="ctgkit proxy --listen 127.0.0.1:9000 --to ws://127.0.0.1:8080 "
    "--fault drop:rate=0.01 --fault partition:at=60,for=10",
)
def proxy(options: ProxyOptions) -> int:
    """Inject faults into the messages and connections between a client and a server.

    Point sensors, viewers or a backend's --ml at --listen. Paths, headers, subprotocols, refusals
    and close codes pass through. Faults occur at given data times or at random; the same seed gives
    the same faults. Exit code 1 if nothing passed through, 3 if the target was never reached.
    """
    from ctgkit.net import eventloop
    from ctgkit.proxy.passage import Report

    lines = _Lines(options.out)

    def tell(strike: dict[str, Any]) -> None:
        lines.write(json.dumps(strike))
        if options.as_json:
            click.echo(json.dumps(strike))

    report = Report(tell)

    def ready(address: str) -> None:
        announce(address, as_json=options.as_json, ready_file=options.ready_file)

    eventloop.run(_run(options, report, ready))
    summary = {
        "connections": report.connections,
        "messages": dict(report.messages),
        "faults": dict(report.faults),
        "unreached": report.unreached,
    }
    click.echo(json.dumps(summary) if options.as_json else _as_text(report))
    lines.close()
    if report.unreached and not report.connections:
        raise Unreachable(options.target, "could not be reached")
    return 0 if report.messages else 1


class _Lines:
    """The file of strikes, or none; unbuffered, so that it can be watched."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._failure: OSError | None = None
        try:
            with private.writing(*filter(None, [path])):
                self._file = path.open("wb", buffering=0) if path else None
        except OSError as error:
            raise click.BadParameter(f"{path}: {error.strerror}", param_hint="--out") from error

    def write(self, line: str) -> None:
        """Write a line, unless writing has failed before; what passes doesn't suffer from it."""
        if self._file is not None and self._failure is None:
            try:
                self._file.write(line.encode() + b"\n")
            except OSError as error:
                self._failure = error
                log.error("cannot write faults to %s: %s", self._path, error.strerror)

    def close(self) -> None:
        """Close the file; raise CtgkitError when it isn't whole."""
        if self._file is not None:
            self._file.close()
        if self._failure is not None:
            raise CtgkitError(f"{self._path}: {self._failure.strerror}")


async def _run(options: ProxyOptions, report: "Report", ready: Callable[[str], None]) -> None:
    from ctgkit.net.eventloop import stop_on_signals
    from ctgkit.proxy.parties import Parties
    from ctgkit.proxy.passage import faulty_relay

    stop = stop_on_signals()
    if options.duration is not None:
        asyncio.get_running_loop().call_later(options.duration, stop.set)
    relay = faulty_relay(options.target, Parties(options.fault, options.seed), report)
    async with relay.serve(*options.listen) as address:
        ready(address)
        await stop.wait()


def _as_text(report: "Report") -> str:
    struck = ", ".join(f"{n} {kind}" for kind, n in report.faults.items()) or "none"
    up, down = report.messages["up"], report.messages["down"]
    return f"{report.connections} connections; {up} messages up, {down} down; faults: {struck}"
