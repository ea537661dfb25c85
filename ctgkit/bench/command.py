"""``ctgkit bench``."""

import contextlib
import importlib.util
import json
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ctgkit.cli.options import (
    TOKEN_VARIABLE,
    address_of,
    common_options,
    current_config,
    known_sensors,
    line_of,
)
from ctgkit.config import SensorEntry
from ctgkit.samples import RATE_HZ

if TYPE_CHECKING:
    from ctgkit.bench.backend import Backend
    from ctgkit.bench.knee import Judged
    from ctgkit.bench.report import Findings

MAX_P99_MS = 50.0
"""Chosen: a fifth of the time between two samples at 4 Hz, which no viewer sees."""
FIRST_SENSORS = 50
INVENTED_MAX = 10_000
ATTEMPTS = 2
"""A level that failed is measured once more: a stall of the machine is not the backend's."""
DESCRIPTORS_SPARE = 64
DESCRIPTORS_MAX = 10_240
"""Open files to ask for where the system has no limit; macOS grants no more."""
DIALLED_WITHIN_S = 12.0
"""How long the backend may take to dial --ml-listen: twice M-1.1's period."""


class Counts(click.ParamType[tuple[int, ...]]):
    """Numbers of sensors with commas between them."""

    name = "N,N,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return them in ascending order, each once."""
        parts = str(value).replace(" ", "").split(",")
        if not all(part.isdecimal() and int(part) for part in parts):
            self.fail(f"{value!r} is not a list of positive numbers, as in 10,50,100", param, ctx)
        return tuple(sorted({int(part) for part in parts}))


@click.command(
    epilog="Example: ctgkit bench http://127.0.0.1:8080 --max-p99-ms 25 --min-sensors 500"
)
@common_options
@click.argument("url")
@click.option(
    "--sensors",
    "counts",
    type=Counts(),
    help="Measure these numbers of sensors.  [default: search for the knee]",
)
@click.option(
    "--rate",
    "rate_hz",
    type=click.FloatRange(0, min_open=True),
    default=RATE_HZ,
    show_default=True,
    metavar="HZ",
    help="Samples/s of each sensor.",
)
@click.option(
    "--max-p99-ms",
    type=click.FloatRange(0, min_open=True),
    default=MAX_P99_MS,
    show_default=True,
    metavar="MS",
    help="What 99 of 100 samples must keep within.",
)
@click.option(
    "--min-sensors", type=click.IntRange(1), metavar="N", help="Exit with 1 if the knee is lower."
)
@click.option(
    "--window",
    "window_s",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="S",
    help="How long each level is measured.",
)
@click.option(
    "--warm-up",
    "warm_up_s",
    type=click.FloatRange(0),
    default=2.0,
    show_default=True,
    metavar="S",
    help="How long each level runs before.",
)
@click.option("--id", "sensor_id", type=click.UUID, help="Be this one sensor.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help=f"File with the token of --id or --any-id; default ${TOKEN_VARIABLE}, then the"
    " configuration.",
)
@click.option(
    "--any-id",
    is_flag=True,
    help="Make up sensors, all with the same token, for a backend that lets anybody in.",
)
@click.option(
    "--ml-listen",
    metavar="HOST:PORT",
    help="Be the backend's ML service there, one that answers at once.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the curve as .png or .svg (needs the paper extra).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench(url: str, **options: Any) -> int:
    """Find how many sensors the backend at URL carries.

    The knee is the largest number of sensors whose samples reach a viewer with a p99 latency
    within the bound, none lost. Latency counts from the time a sample was due. Where no viewer
    shows samples, acknowledgements count, else pings. When the load generator itself is the
    bottleneck it says so instead.

    Use credentials that no real sensor uses meanwhile. It leaves behind what it sent: every level
    is an examination with all its samples. Exit code 1 when no level holds or --min-sensors isn't
    reached, 3 when the backend can't be reached.
    """
    from ctgkit.bench.backend import Backend, socket_base
    from ctgkit.bench.report import as_dict, tail

    try:
        base = socket_base(url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="URL") from error
    _check_plot(options["plot"])
    backend = Backend(
        base=base,
        sensors=_sensors(options),
        viewer_token=current_config().viewer_token,
    )
    from ctgkit.net.eventloop import run

    findings = run(_bench(backend, options))
    if options["plot"]:
        from ctgkit.bench.picture import draw

        draw(findings, options["plot"])
    if options["as_json"]:
        click.echo(json.dumps(as_dict(findings)))
    else:
        click.echo("\n".join(tail(findings)))
    assert findings.knee is not None
    return 0 if findings.knee.sensors >= (options["min_sensors"] or 1) else 1


async def _bench(backend: "Backend", options: dict[str, Any]) -> "Findings":
    from ctgkit.bench.knee import find_knee
    from ctgkit.bench.load import probe
    from ctgkit.bench.machine import this_machine
    from ctgkit.bench.mlecho import ml_echo
    from ctgkit.bench.report import Findings, head

    machine = this_machine()
    named = ("rate_hz", "warm_up_s", "window_s", "max_p99_ms", "ml_listen")
    async with contextlib.AsyncExitStack() as stack:
        if options["ml_listen"]:
            address = address_of(options["ml_listen"], "--ml-listen")
            await stack.enter_async_context(ml_echo(*address, DIALLED_WITHIN_S))
        await probe(backend)
        findings = Findings(
            target=backend.base,
            seen_at=backend.seen_at,
            acks=backend.acks,
            backend=backend.health,
            machine=machine,
            settings={name: options[name] for name in named},
        )
        click.echo("\n".join(head(findings)), err=options["as_json"])
        levels = await _measure_levels(backend, options)
    return msgspec.structs.replace(findings, levels=tuple(levels), knee=find_knee(levels))


async def _measure_levels(backend: "Backend", options: dict[str, Any]) -> "list[Judged]":
    """Measure the levels that were asked for, or search; tell each as it is known."""
    from ctgkit.bench.knee import judge, search
    from ctgkit.bench.load import measure
    from ctgkit.bench.report import row

    levels: list[Judged] = []

    async def holds(sensors: int) -> bool:
        for _ in range(ATTEMPTS):
            level = await measure(
                backend,
                sensors,
                rate_hz=options["rate_hz"],
                warm_up_s=options["warm_up_s"],
                window_s=options["window_s"],
            )
            levels.append(judge(level, options["max_p99_ms"]))
            click.echo(row(levels[-1]), err=options["as_json"])
            if levels[-1].verdict == "held":
                return True
        return False

    if options["counts"]:
        for sensors in options["counts"]:
            await holds(sensors)
        return levels
    steps = search(FIRST_SENSORS, len(backend.sensors))
    with contextlib.suppress(StopIteration):
        sensors = next(steps)
        while True:
            sensors = steps.send(await holds(sensors))
    return levels


def _sensors(options: dict[str, Any]) -> tuple[SensorEntry, ...]:
    """Return the sensors that may be used, as many as are wanted at least."""
    asked, threshold = max(options["counts"] or (1,)), options["min_sensors"] or 1
    if options["counts"] and asked < threshold:
        raise click.UsageError("--min-sensors is more than all of --sensors")
    wanted, most = max(asked, threshold), _descriptors() - DESCRIPTORS_SPARE
    if wanted > most:
        raise click.UsageError(f"this process may open only {most} connections (ulimit -n)")
    known = _credentials(options, max(wanted, min(most, INVENTED_MAX)))
    if wanted > len(known):
        raise click.UsageError(
            f"there are credentials for {len(known)} sensors; `ctgkit init --sensors N` writes"
            " more, for `ctgkit serve` in the same directory"
        )
    return known[:most]


def _credentials(options: dict[str, Any], invented: int) -> tuple[SensorEntry, ...]:
    path, sensor_id = options["token_file"], options["sensor_id"]
    token = line_of(path) if path else os.environ.get(TOKEN_VARIABLE)
    if options["any_id"]:
        return tuple(SensorEntry(id=str(uuid.uuid4()), token=token or "") for _ in range(invented))
    if token:
        if sensor_id is None:
            raise click.UsageError("a token needs --id (whose is it?) or --any-id")
        return (SensorEntry(id=str(sensor_id), token=token),)
    known = known_sensors()
    if sensor_id is not None:
        known = tuple(entry for entry in known if entry.id == str(sensor_id))
    if not known:
        raise click.UsageError(
            "no credentials: start `ctgkit serve` on this machine first, write a configuration"
            " with `ctgkit init`, or give --id and --token-file, or --any-id"
        )
    return known


def _check_plot(path: Path | None) -> None:
    if path is None:
        return
    if path.suffix not in (".png", ".svg"):
        raise click.BadParameter(f"{path.name} is neither .png nor .svg", param_hint="--plot")
    if not importlib.util.find_spec("matplotlib"):
        raise click.UsageError("--plot needs matplotlib: pip install 'ctgkit[paper]'")


def _descriptors() -> int:
    """Allow this process as many open files as the system lets it, and return how many."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(soft, DESCRIPTORS_MAX) if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
