"""``ctgkit bench``."""

import asyncio
import contextlib
import functools
import importlib.util
import json
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ctgkit.cli.credentials import (
    given_token,
    sensor_id_option,
    sensors_for,
    token_file_option,
    viewer_token,
)
from ctgkit.cli.options import (
    OUTPUT,
    argument,
    command,
    json_option,
    option,
    viewer_token_option,
)
from ctgkit.cli.progress import progress
from ctgkit.cli.types import PAUSE, RATE, SECONDS, Address, OutFile, Refined, Url, number, whole
from ctgkit.config import SensorEntry
from ctgkit.errors import MissingExtra
from ctgkit.net.addresses import authority
from ctgkit.quantities import whole_of
from ctgkit.samples import RATE_HZ

if TYPE_CHECKING:
    from ctgkit.bench.backend import Backend
    from ctgkit.bench.knee import Judged, Level
    from ctgkit.bench.report import Findings

Measure = Callable[..., Awaitable["Level"]]
"""Number of sensors, and the times by name -> what happened."""

MAX_P99_MS = 50.0
"""Chosen: a fifth of the time between two samples at 4 Hz, which no viewer sees."""
FIRST_SENSORS = 50
INVENTED_MAX = 10_000
SENSORS_MAX = 10_000_000
ATTEMPTS = 2
"""A level that failed is measured once more: a stall of the machine is not the backend's."""
PROGRESS_EVERY_S = 0.25
DESCRIPTORS_SPARE = 64
DESCRIPTORS_MAX = 10_240
"""Open files to ask for where the system has no limit; macOS grants no more."""
DIALLED_WITHIN_S = 12.0
"""How long the backend may take to dial --ml-listen: twice M-1.1's period."""


def _counts(text: str) -> tuple[int, ...]:
    """Return the numbers in ascending order, each once."""
    try:
        numbers = {whole_of(part) for part in text.split(",")}
    except ValueError:
        numbers = {0}
    if not 0 < min(numbers) <= max(numbers) <= SENSORS_MAX:
        raise ValueError(f"{text[:80]!r} is not a list of positive numbers, as in 10,50,100")
    return tuple(sorted(numbers))


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """Options of `ctgkit bench`."""

    url: str = argument(type=Url("", as_is=True))
    counts: tuple[int, ...] | None = option(
        "--sensors",
        type=Refined("N,N,…", _counts),
        help="Numbers of sensors to measure.  [default: search for the knee]",
    )
    max_p99_ms: float = option(
        "--max-p99-ms",
        type=number("MS", 0, 1e6, above=True),
        default=MAX_P99_MS,
        help="Limit on the p99 latency.",
    )
    min_sensors: int | None = option(
        "--min-sensors",
        type=whole("N", 1, SENSORS_MAX),
        help="Exit with 1 if the knee is lower.",
    )
    rate_hz: float = option("--rate", type=RATE, default=RATE_HZ, help="Samples/s of each sensor.")
    window_s: float = option(
        "--window",
        type=SECONDS,
        default=5.0,
        section="Measurement",
        help="Measure each level for S seconds.",
    )
    warm_up_s: float = option(
        "--warm-up",
        type=PAUSE,
        default=2.0,
        section="Measurement",
        help="Run each level for S seconds before it is measured.",
    )
    profile: str | None = option(
        "--profile",
        metavar="NAME|FILE.toml",
        help="Send what this profile makes of samples; URL is where, as for `ctgkit sensor`.",
    )
    ml_listen: tuple[str, int] | None = option(
        "--ml-listen",
        type=Address(),
        section="Measurement",
        help="Act as the backend's ML service there and answer at once.",
    )
    sensor_id: str | None = sensor_id_option(
        "Use only this sensor.", section="Connection", aliases=["--id"]
    )
    token_file: Path | None = token_file_option("--sensor-id or --any-id", section="Connection")
    any_id: bool = option(
        "--any-id",
        is_flag=True,
        section="Connection",
        help="Make up sensor ids, all with the same token, for a backend that accepts any id.",
    )
    viewer_token_file: Path | None = viewer_token_option()
    plot: Path | None = option(
        "--plot",
        type=OutFile(),
        section=OUTPUT,
        help="Draw the curve as .png or .svg (needs the paper extra).",
    )
    as_json: bool = json_option("Print one JSON object.")


@command(
    BenchOptions,
    example="ctgkit bench http://127.0.0.1:8080 --max-p99-ms 25 --min-sensors 500",
)
def bench(options: BenchOptions) -> int:
    """Find how many sensors the backend at URL can handle.

    The knee is the largest number of sensors whose samples all reach a viewer with a p99 latency
    within the limit. Latency is measured from the time at which a sample was due. If no viewer
    shows samples, acknowledgements are timed instead; failing that, pings. If the load generator
    itself is the bottleneck, it says so instead of giving a result.

    Use credentials that no real sensor is using. The data stays in the backend: every level leaves
    an examination with all its samples. Exit code 1 if every level fails or --min-sensors is not
    reached, 3 if the backend cannot be reached.
    """
    from ctgkit.bench.report import as_dict, tail
    from ctgkit.net.eventloop import run

    _check_plot(options.plot)
    findings = run(_foreign(options) if options.profile else _bench(_backend(options), options))
    if options.plot:
        from ctgkit.bench.picture import draw

        draw(findings, options.plot)
    if options.as_json:
        click.echo(json.dumps(as_dict(findings)))
    else:
        click.echo("\n".join(tail(findings)))
    assert findings.knee is not None
    return 0 if findings.knee.sensors >= (options.min_sensors or 1) else 1


def _backend(options: BenchOptions) -> "Backend":
    from ctgkit.bench.backend import Backend, socket_base

    try:
        base = socket_base(options.url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="URL") from error
    token = viewer_token(options.viewer_token_file)
    return Backend(base=base, sensors=_sensors(options), viewer_token=token)


async def _foreign(options: BenchOptions) -> "Findings":
    """Measure a service that speaks what a profile says."""
    from ctgkit.bench.foreign import ForeignBackend, measure, probe
    from ctgkit.bench.machine import this_machine
    from ctgkit.bench.report import Findings
    from ctgkit.profile.library import load_profile, read_secrets

    given = {
        "--sensor-id": options.sensor_id, "--token-file": options.token_file,
        "--any-id": options.any_id, "--ml-listen": options.ml_listen,
        "--viewer-token-file": options.viewer_token_file,
    }  # fmt: skip
    for name, value in given.items():
        if value:
            raise click.UsageError(f"{name} cannot be combined with --profile")
    # The other side's refusals are counted in the table; thousands of sensors would log the same.
    logging.getLogger("ctgkit.profile.links").setLevel(logging.ERROR)
    renderer = load_profile(str(options.profile), options.url)
    most = _invented(options)
    backend = ForeignBackend(renderer, read_secrets(renderer.profile, renderer.where))
    await probe(backend, options.rate_hz)
    findings = Findings(
        target=renderer.profile.url,
        seen_at="answer" if renderer.profile.is_web else "pong",
        acks=False,
        backend={},
        machine=this_machine(),
        settings=_settings(options) | {"profile": options.profile},
    )
    return await _found(findings, functools.partial(measure, backend), most, options)


async def _bench(backend: "Backend", options: BenchOptions) -> "Findings":
    from ctgkit.bench.load import measure, probe
    from ctgkit.bench.machine import this_machine
    from ctgkit.bench.mlecho import ml_echo
    from ctgkit.bench.report import Findings

    machine = this_machine()
    async with contextlib.AsyncExitStack() as stack:
        if options.ml_listen:
            await stack.enter_async_context(ml_echo(*options.ml_listen, DIALLED_WITHIN_S))
        await probe(backend)
        findings = Findings(
            target=backend.base,
            seen_at=backend.seen_at,
            acks=backend.acks,
            backend=backend.health,
            machine=machine,
            settings=_settings(options),
        )
        most = len(backend.sensors)
        return await _found(findings, functools.partial(measure, backend), most, options)


def _settings(options: BenchOptions) -> dict[str, Any]:
    return {
        "rate_hz": options.rate_hz,
        "warm_up_s": options.warm_up_s,
        "window_s": options.window_s,
        "max_p99_ms": options.max_p99_ms,
        "ml_listen": options.ml_listen and authority(*options.ml_listen),
    }


async def _found(
    findings: "Findings", measure: Measure, most: int, options: BenchOptions
) -> "Findings":
    """Return the findings with the levels and the knee; tell them as they are known."""
    from ctgkit.bench.knee import find_knee
    from ctgkit.bench.report import head

    click.echo("\n".join(head(findings)), err=options.as_json)
    levels = await _measure_levels(measure, most, options)
    return msgspec.structs.replace(findings, levels=tuple(levels), knee=find_knee(levels))


async def _measure_levels(measure: Measure, most: int, options: BenchOptions) -> "list[Judged]":
    """Measure the levels that were asked for, or search; tell each as it is known."""
    from ctgkit.bench.knee import judge, search
    from ctgkit.bench.report import row

    levels: list[Judged] = []

    async def holds(sensors: int) -> bool:
        for _ in range(ATTEMPTS):
            async with _shown(sensors, options):
                level = await measure(
                    sensors,
                    rate_hz=options.rate_hz,
                    warm_up_s=options.warm_up_s,
                    window_s=options.window_s,
                )
            levels.append(judge(level, options.max_p99_ms))
            click.echo(row(levels[-1]), err=options.as_json)
            if levels[-1].verdict == "held":
                return True
        return False

    if options.counts:
        for sensors in options.counts:
            await holds(sensors)
        return levels
    steps = search(FIRST_SENSORS, most)
    with contextlib.suppress(StopIteration):
        sensors = next(steps)
        while True:
            sensors = steps.send(await holds(sensors))
    return levels


@contextlib.asynccontextmanager
async def _shown(sensors: int, options: BenchOptions) -> AsyncIterator[None]:
    """Show on a terminal how many samples of a level are due, and when it ends."""
    per_s = sensors * options.rate_hz
    total = per_s * (options.warm_up_s + options.window_s)

    async def show() -> None:
        with progress(f"{sensors} sensors", "samples", round(total)) as advance:
            for _ in range(int(total / per_s / PROGRESS_EVERY_S)):
                await asyncio.sleep(PROGRESS_EVERY_S)
                advance(round(per_s * PROGRESS_EVERY_S))

    async with asyncio.TaskGroup() as tasks:
        showing = tasks.create_task(show())
        try:
            yield
        finally:
            showing.cancel()


def _wanted(options: BenchOptions) -> int:
    """Return how many sensors are needed at least."""
    return max(*(options.counts or (1,)), options.min_sensors or 1)


def _invented(options: BenchOptions) -> int:
    """Return how many sensors to make up where anything goes."""
    wanted = _wanted(options)
    return max(wanted, min(_most(wanted, options), INVENTED_MAX))


def _most(wanted: int, options: BenchOptions) -> int:
    """Return how many sensors this process can be."""
    if options.counts and max(options.counts) < (options.min_sensors or 1):
        raise click.UsageError("--min-sensors is more than all of --sensors")
    most = _descriptors() - DESCRIPTORS_SPARE
    if wanted > most:
        raise click.UsageError(f"this process may open only {most} connections (ulimit -n)")
    return most


def _sensors(options: BenchOptions) -> tuple[SensorEntry, ...]:
    """Return the sensors that may be used, as many as are wanted at least."""
    if options.any_id:
        token, count = given_token(options.token_file), _invented(options)
        return tuple(SensorEntry(id=str(uuid.uuid4()), token=token) for _ in range(count))
    wanted = _wanted(options)
    most = _most(wanted, options)
    known = sensors_for(
        options.sensor_id,
        options.token_file,
        hint="--sensor-id and --token-file, or --any-id",
    )
    if wanted > len(known):
        raise click.UsageError(
            f"there are credentials for {len(known)} sensors; `ctgkit init --sensors N` writes"
            " more, for `ctgkit serve` in the same directory"
        )
    return known[:most]


def _check_plot(path: Path | None) -> None:
    if path is None:
        return
    if path.suffix not in (".png", ".svg"):
        raise click.BadParameter(f"{path.name} is neither .png nor .svg", param_hint="--plot")
    if not importlib.util.find_spec("matplotlib"):
        raise MissingExtra("--plot", "matplotlib", "paper")


def _descriptors() -> int:
    """Allow this process as many open files as the system lets it, and return how many."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(soft, DESCRIPTORS_MAX) if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
