"""``ctgkit sensor``."""

import json
import logging
import math
import signal
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ctgkit.cli.credentials import sensor_id_option, sensors_for, token_file_option
from ctgkit.cli.options import (
    OUTPUT,
    announce,
    command,
    connect_timeout_option,
    json_option,
    option,
    seed_option,
)
from ctgkit.cli.types import (
    JSON_LINES,
    PAUSE,
    RATE,
    SECONDS,
    SENSORS,
    Address,
    FaultOption,
    File,
    OutFile,
    Speed,
    Url,
)
from ctgkit.errors import Unreachable, printable
from ctgkit.net.addresses import websocket_url
from ctgkit.recording.reading_options import ReadingOptions
from ctgkit.samples import RATE_HZ
from ctgkit.simulate.scenario_option import scenario_option

if TYPE_CHECKING:
    from ctgkit.config import SensorEntry
    from ctgkit.faults.fault import Fault
    from ctgkit.sensor.fleet import Summary
    from ctgkit.simulate.repertoire import Repertoire

log = logging.getLogger(__name__)
CONNECTION = "Connection"
SEEDS = 10**9
"""Different seeds that ids make; few enough to type."""
TOLD_MAX = 20
"""Sensors that the table of who is who names. Chosen: a screen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorOptions(ReadingOptions):
    """Options of `ctgkit sensor`."""

    url: str = option(
        "--url",
        type=Url("/ws/sensor", as_is=True),
        default="ws://127.0.0.1:8080/ws/sensor",
        help="The backend's sensor endpoint; with --profile: replaces the profile's host and path.",
    )
    sensors: int | None = option(
        "--sensors",
        type=SENSORS,
        help="Number of sensors; each uses the next credentials of the configuration.  [default:"
        " as many as --scenario names]",
    )
    scenario: str = scenario_option(
        "What the sensors simulate; with several, separated by commas, each sensor takes the next",
        metavar="NAME|FILE[,…]",
    )
    recording: Path | None = option(
        "--from",
        type=File(dir_okay=True, stdin=True),
        help="Play a recording of any format instead of a scenario: the first sensor plays the"
        " first one in it, and so on.",
    )
    profile: str | None = option(
        "--profile",
        metavar="NAME|FILE.toml",
        help="Send to a system with a different wire format (docs/profiles.md).",
    )
    speed: float = option(
        "--speed",
        type=Speed(),
        default=1.0,
        help="Data seconds per second, or max: as fast as the backend acknowledges.",
    )
    duration: float = option(
        "--duration", type=SECONDS, default=math.inf, help="Stop after S seconds of data time."
    )
    fault: "tuple[Fault, ...]" = option(
        "--fault",
        type=FaultOption(),
        multiple=True,
        help="Inject a fault between sensor and socket, e.g. drop:rate=0.01 or"
        " partition:at=60,for=10 (repeatable); `ctgkit proxy --list` lists them.",
    )
    sensor_id: str | None = sensor_id_option(
        "Id of the sensor; default: the first one configured; with --profile, a generated id.",
        section=CONNECTION,
        aliases=["--id"],
    )
    token_file: Path | None = token_file_option(section=CONNECTION)
    connect_timeout: float = connect_timeout_option()
    ramp: float = option(
        "--ramp",
        type=PAUSE,
        default=0.0,
        section=CONNECTION,
        help="Spread the sensors' first connections over S seconds.",
    )
    control: tuple[str, int] | None = option(
        "--control",
        type=Address(),
        section=CONNECTION,
        help="Listen there and start at GET /api/on (?scenario=NAME&seed=N chooses the scenario);"
        " further sensors use the next ports. GET /api/inject?event=prolonged_deceleration forces"
        " an event, /api/change?knob=fhr.baseline_bpm&to=100&ramp_s=120 changes a knob.",
    )
    rate: float | None = option(
        "--rate",
        type=RATE,
        section="Signal",
        help="Samples/s of the scenario, or of the rows of --from.  [default: the profile's, or"
        f" {RATE_HZ:g}]",
    )
    seed: int | None = seed_option(
        "the scenario and the faults",
        section="Signal",
        default=None,
        show_default="0, or made from --sensor-id",
    )
    mother: bool = option(
        "--mother",
        is_flag=True,
        section="Signal",
        help="Send the mother's heart rate too, as BPMMother beside BPMChild: a member that"
        " backends ignore unless they know it (PROTOCOL.md, S-4.2).",
    )
    truth: Path | None = option(
        "--truth",
        type=OutFile(**JSON_LINES),
        section=OUTPUT,
        help="Write the true events to FILE as JSON lines; with several sensors to FILE-0, FILE-1,"
        " …",
    )
    stdout: bool = option(
        "--stdout",
        is_flag=True,
        section=OUTPUT,
        help="With --profile: write the messages to stdout, one per line, and send nothing.",
    )
    allow_rejected: bool = option(
        "--allow-rejected",
        is_flag=True,
        section=OUTPUT,
        help="Exit with 0 even if the backend rejected samples.",
    )
    as_json: bool = json_option("Print the summary as JSON.")

    @property
    def count(self) -> int:
        """How many sensors there are."""
        from ctgkit.simulate.repertoire import names_in

        named = 1 if self.recording else len(names_in(self.scenario))
        if self.sensors and named > self.sensors:
            raise click.UsageError(f"--scenario names {named}, --sensors {self.sensors}")
        return self.sensors or named

    @property
    def chosen_seed(self) -> int:
        """The seed: one sensor that was named differs from others in other processes."""
        if self.seed is not None:
            return self.seed
        return uuid.UUID(self.sensor_id).int % SEEDS if self.sensor_id else 0


@command(
    SensorOptions,
    example="ctgkit sensor --sensors 3 --duration 60 --speed 10; ctgkit sensor --profile mine.toml",
)
def sensor(options: SensorOptions) -> int:
    """Run one or many fake sensors against a backend.

    Each sensor connects, paces its samples, resends what was not acknowledged, and reconnects by
    itself. It keeps measuring while disconnected; when 2400 samples are waiting it pauses and
    catches up later. A summary is printed at the end. Exit code 3 if a sensor gave up, 1 if nothing
    was sent or the backend rejected samples that no fault had altered.

    With --profile the sensors use another system's wire format, over WebSocket or HTTP, as
    described in a TOML file. Messages may be lost or arrive twice there; exit code 1 if nothing, or
    only a part, was accepted.
    """
    if options.recording is not None and options.truth is not None:
        raise click.UsageError("--truth is for scenarios: the truth of a recording is unknown")
    if options.profile is not None:
        from ctgkit.sensor.foreign import play_profile

        source = click.get_current_context().get_parameter_source("url")
        given = source is ParameterSource.COMMANDLINE
        return play_profile(options, options.url if given else None)
    if options.stdout:
        raise click.UsageError("--stdout needs --profile")
    if options.mother and options.recording is not None:
        raise click.UsageError("--mother needs a scenario: recordings play without her heart rate")
    return _play(options)


def _play(options: SensorOptions) -> int:
    """Run sensors against a backend that speaks PROTOCOL.md; return the exit code."""
    url = websocket_url(options.url, "/ws/sensor")
    if any(each.direction != "up" for each in options.fault):
        raise click.UsageError("--fault: direction: a sensor's faults are in what it sends")
    credentials = sensors_for(options.sensor_id, options.token_file)
    if options.count > len(credentials):
        raise click.UsageError(
            f"--sensors {options.count}: there are credentials for {len(credentials)};"
            f" `ctgkit init --sensors {options.count}` writes more"
        )
    credentials = credentials[: options.count]

    from ctgkit.net import eventloop
    from ctgkit.simulate.repertoire import Repertoire

    repertoire = Repertoire(
        options.scenario,
        options.recording,
        options.chosen_seed,
        options.rate or RATE_HZ,
        options.fault,
        options.reading(rate_hz=options.rate if options.recording else None),
        len(credentials),
    )
    _tell_who_is_who(credentials, repertoire)
    summary, ended_by = eventloop.run(
        _run(
            url=url,
            credentials=credentials,
            make_source=repertoire.source,
            make_line=repertoire.line,
            choose=repertoire.choose,
            on_fault=repertoire.note_fault,
            first_seq=int(datetime.now(UTC).timestamp() * 1_000_000),
            speed=options.speed,
            duration_s=options.duration,
            mother=options.mother,
            ramp_s=options.ramp,
            connect_timeout_s=options.connect_timeout,
            seed=options.chosen_seed,
            control=options.control,
            on_control=lambda bound: announce(bound, as_json=options.as_json, ready_file=None),
        )
    )
    if options.truth is not None:
        repertoire.write_truth(options.truth, [entry.id for entry in credentials])
    click.echo(json.dumps(summary.as_dict()) if options.as_json else _as_text(summary))
    if summary.failures:
        raise Unreachable(url, "; ".join(summary.failures))
    if summary.unacked and ended_by is None:
        raise Unreachable(url, f"{summary.unacked} samples were never taken or acknowledged")
    if ended_by is signal.SIGINT:
        return 130
    return 0 if summary.sent and not _are_refused(summary, options.allow_rejected) else 1


def _tell_who_is_who(credentials: "Sequence[SensorEntry]", repertoire: "Repertoire") -> None:
    """Log a table of the sensors: id, bed, and what each plays."""
    bed_width = max(len(one.bed) for one in credentials[:TOLD_MAX])
    for number, one in enumerate(credentials[:TOLD_MAX]):
        plays = repertoire.plays(number)
        log.info("sensor %s  bed %s  %s", one.id, one.bed.ljust(bed_width), plays)
    if len(credentials) > TOLD_MAX:
        log.info("and %d more sensors", len(credentials) - TOLD_MAX)


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


async def _run(**settings: Any) -> "tuple[Summary, signal.Signals | None]":
    """Run the fleet; a signal lets it flush and is returned, a second Ctrl-C does not wait."""
    from ctgkit.net.eventloop import Interruption
    from ctgkit.sensor.fleet import run_fleet
    from ctgkit.sensor.settings import FleetSettings

    fleet_settings = FleetSettings(**settings)

    def stop() -> None:
        click.echo("stopping when all is acknowledged; Ctrl-C ends at once", err=True)
        fleet_settings.stop.set()

    with Interruption(stop) as interruption:
        return await run_fleet(fleet_settings), interruption.signal


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
