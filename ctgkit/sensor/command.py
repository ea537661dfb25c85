"""``ctgkit sensor``."""

import asyncio
import json
import os
import signal
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctgkit.cli.options import (
    TOKEN_VARIABLE,
    FaultOption,
    Speed,
    announce,
    common_options,
    known_sensors,
)
from ctgkit.config import SensorEntry
from ctgkit.errors import Unreachable, printable
from ctgkit.recording.reading_options import reading_options, taken_from
from ctgkit.samples import RATE_HZ

if TYPE_CHECKING:
    from ctgkit.sensor.fleet import Summary


@click.command(epilog="Example: ctgkit sensor --sensors 3 --duration 60 --speed 10")
@common_options
@click.option(
    "--url", default="ws://127.0.0.1:8080/ws/sensor", show_default=True, help="Sensor endpoint."
)
@click.option("--id", "sensor_id", type=click.UUID, help="Which sensor to be; default the first.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help=f"File with the token of --id; default ${TOKEN_VARIABLE}, then the configuration.",
)
@click.option(
    "--sensors",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How many, with the configuration's credentials in order.",
)
@click.option(
    "--ramp",
    type=click.FloatRange(0),
    default=0.0,
    metavar="S",
    help="Spread the connects over S seconds.",
)
@click.option(
    "--scenario",
    default="normal-reactive",
    show_default=True,
    metavar="NAME|FILE",
    help="What the sensors simulate; `ctgkit scenario list` names them.",
)
@click.option(
    "--from",
    "recording",
    type=click.Path(path_type=Path),
    help="Play a recording of any format instead of a scenario: the first sensor the first in it,"
    " and so on.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the scenario and the faults.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    metavar="HZ",
    help=f"Samples/s of the scenario, or of the rows of --from.  [default: {RATE_HZ:g}]",
)
@click.option(
    "--speed",
    type=Speed(),
    default=1.0,
    show_default=True,
    help="Data seconds per second, or max: as fast as the backend acknowledges.",
)
@click.option(
    "--duration",
    type=click.FloatRange(0, min_open=True),
    default=float("inf"),
    metavar="S",
    help="Stop after S seconds of data time.",
)
@click.option(
    "--connect-timeout",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    metavar="S",
    help="Give up when nothing listens for S seconds. A lost connection is redialled for ever.",
)
@click.option(
    "--control",
    metavar="HOST:PORT",
    help="Wait for GET /api/on there; further sensors have the next ports. GET /api/inject?event="
    "prolonged_deceleration forces an event.",
)
@click.option(
    "--fault",
    type=FaultOption(),
    multiple=True,
    help="Let things go wrong between sensor and socket, e.g. drop:rate=0.01 or"
    " partition:at=60,for=10 (repeatable); `ctgkit proxy --list` names them.",
)
@click.option(
    "--truth",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what truly happened as JSON lines; of many sensors FILE-0, FILE-1, …",
)
@click.option(
    "--allow-rejected", is_flag=True, help="Exit with 0 although the backend rejected samples."
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@reading_options(rate=False)
def sensor(
    url: str, recording: Path | None, truth: Path | None, as_json: bool, **options: Any
) -> int:
    """Run one or many fake sensors against a backend.

    Each connects, paces its samples, sends again what was not acknowledged, and reconnects by
    itself. While disconnected it keeps measuring; when 2400 samples wait it pauses, and catches up
    later. A summary is printed at the end. Exit code 3 when a sensor gave up, 1 when nothing was
    sent or the backend rejected samples that no fault had altered.
    """
    _check_url(url)
    if any(each.direction != "up" for each in options["fault"]):
        raise click.UsageError("--fault: direction: a sensor's faults are in what it sends")
    if recording is not None and truth is not None:
        raise click.UsageError("--truth is for scenarios: nobody knows a recording's")
    credentials = _credentials(options["sensors"], options["sensor_id"], options["token_file"])

    from ctgkit.net import eventloop
    from ctgkit.simulate.repertoire import Repertoire

    rate_hz = options["rate"] or RATE_HZ
    seed = options["seed"]
    reading = replace(taken_from(options), rate_hz=options["rate"] if recording else None)
    repertoire = Repertoire(
        options["scenario"],
        recording,
        seed,
        rate_hz,
        options["fault"],
        reading,
        len(credentials),
    )
    summary, ended_by = eventloop.run(
        _run(
            url=url,
            credentials=credentials,
            make_source=repertoire.source,
            make_line=repertoire.line,
            on_fault=repertoire.note_fault,
            first_seq=int(datetime.now(UTC).timestamp() * 1_000_000),
            speed=options["speed"],
            duration_s=options["duration"],
            ramp_s=options["ramp"],
            connect_timeout_s=options["connect_timeout"],
            seed=seed,
            control=_address(options["control"]),
            on_control=lambda bound: announce(bound, as_json=as_json, ready_file=None),
        )
    )
    if truth is not None:
        repertoire.write_truth(truth, [entry.id for entry in credentials])
    click.echo(json.dumps(summary.as_dict()) if as_json else _as_text(summary))
    if summary.failures:
        raise Unreachable(url, "; ".join(summary.failures))
    if summary.unacked and ended_by is None:
        raise Unreachable(url, f"{summary.unacked} samples were never taken or acknowledged")
    if ended_by is signal.SIGINT:
        return 130
    return 0 if summary.sent and not _are_refused(summary, options["allow_rejected"]) else 1


def _are_refused(summary: "Summary", allowed: bool) -> bool:
    """Tell, and say why, that the backend rejected what it should have taken."""
    if not summary.rejected or allowed or (summary.faults and summary.acked):
        return False
    reasons = "; ".join(f"{n} x {reason}" for reason, n in summary.reject_reasons.items())
    click.echo(
        f"ctgkit: {summary.rejected} of {summary.sent} samples rejected: {printable(reasons)}"
        " (--allow-rejected takes that for success)",
        err=True,
    )
    return True


def _check_url(url: str) -> None:
    from websockets.exceptions import InvalidURI
    from websockets.uri import parse_uri

    try:
        parse_uri(url)
    except (InvalidURI, ValueError) as error:
        raise click.UsageError(f"--url: {error}") from error


async def _run(**settings: Any) -> "tuple[Summary, signal.Signals | None]":
    """Run the fleet; a signal lets it flush and is returned, a second Ctrl-C does not wait."""
    from ctgkit.sensor.fleet import run_fleet
    from ctgkit.sensor.settings import FleetSettings

    fleet_settings = FleetSettings(**settings)
    loop = asyncio.get_running_loop()
    ended_by: signal.Signals | None = None

    def end(by: signal.Signals) -> None:
        nonlocal ended_by
        ended_by = by
        click.echo("stopping when all is acknowledged; Ctrl-C ends at once", err=True)
        fleet_settings.stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    return await run_fleet(fleet_settings), ended_by


def _credentials(
    count: int, sensor_id: uuid.UUID | None, token_file: Path | None
) -> tuple[SensorEntry, ...]:
    token = os.environ.get(TOKEN_VARIABLE)
    if token_file is not None:
        token = token_file.read_bytes().decode("ascii", "replace").strip()
        if not (token and token.isascii() and token.isprintable()):
            raise click.UsageError(f"--token-file: {token_file} is not one line of plain text")
    if token and sensor_id is None:
        raise click.UsageError("a token needs --id: whose is it?")
    known: tuple[SensorEntry, ...]
    if token:
        known = (SensorEntry(id=str(sensor_id), token=token),)
    else:
        known = known_sensors()
        if not known:
            raise click.UsageError(
                "no credentials: start `ctgkit serve` on this machine first, write a"
                " configuration with `ctgkit init`, or give --id and --token-file"
            )
        if sensor_id is not None:
            known = tuple(entry for entry in known if entry.id == str(sensor_id))
            if not known:
                raise click.UsageError(f"no credentials for sensor {sensor_id}: give --token-file")
    if count > len(known):
        raise click.UsageError(
            f"--sensors {count}: there are credentials for {len(known)}; `ctgkit init --sensors"
            f" {count}` writes more"
        )
    return known[:count]


def _address(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise click.UsageError(f"--control: {text!r} is not HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def _as_text(summary: "Summary") -> str:
    s = summary
    lines = [
        f"sent {s.sent} samples: {s.acked} acked, {s.rejected} rejected, {s.unacked} outstanding;"
        f" {s.resent} sent again, {s.reconnects} reconnects",
        f"{s.sensors} sensor{'s' if s.sensors > 1 else ''}, {s.duration_s:.1f} s",
    ]
    if s.samples_per_s is not None:
        lines[1] += f", {s.samples_per_s:.1f} samples/s"
    if s.rate_hz is not None:
        lines[1] += f", {s.rate_hz:.3f} Hz each"
    if s.lag_ms is not None:
        lag = s.lag_ms
        lines[1] += f"; lag p50 {lag.p50:.1f}, p99 {lag.p99:.1f}, max {lag.max:.1f} ms"
    if s.faults:
        struck = ", ".join(f"{n} {kind}" for kind, n in s.faults.items())
        lines.append(f"faults: {struck}; {s.withdrawn} samples dropped, altered or late")
    return "\n".join(lines)
