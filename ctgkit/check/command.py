"""``ctgkit check``."""

import asyncio
import contextlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctgkit.check.options import RUN_LOG, Plan, carry_out, judging_options
from ctgkit.cli.credentials import TOKEN_VARIABLE, given_token, known_sensors, viewer_token
from ctgkit.cli.options import current_config
from ctgkit.cli.stores import STORE
from ctgkit.cli.types import PAUSE, SEED, SENSOR_ID, Address, File, OutFile, whole
from ctgkit.config import SensorEntry
from ctgkit.errors import MissingExtra, Unreachable

STAYS_THERE = (
    "what the checks send stays in the database of {url}; to leave nothing behind, let --run start"
    " a backend of its own"
)

if TYPE_CHECKING:
    from ctgkit.check.checks import Check, Verdict
    from ctgkit.check.connection import Target
    from ctgkit.check.launched import Launched
    from ctgkit.check.output import Judging
    from ctgkit.profile.render import Renderer


@click.group(epilog="Example: ctgkit check backend ws://127.0.0.1:8080")
def check() -> None:
    """Check any backend, ML service or sensor against PROTOCOL.md, clause by clause."""


@check.command(epilog="Example: ctgkit check backend http://127.0.0.1:8080 --only S-4 --json")
@click.argument("url", required=False)
@click.option(
    "--sensor-id",
    type=SENSOR_ID,
    help="A sensor that the backend knows and nothing else is using; default: from the"
    " configuration.",
)
@click.option(
    "--token-file",
    type=File(exists=True),
    help=f"File with the token of --sensor-id; default: ${TOKEN_VARIABLE}, then the configuration.",
)
@click.option(
    "--ml-listen",
    type=Address(),
    help="Act as the backend's ML service there; without it the clauses about the ML service are"
    " skipped.",
)
@click.option("--store", type=STORE, help="The backend's database, to check what it stored.")
@click.option(
    "--grace",
    "grace_s",
    type=PAUSE,
    default=0.0,
    metavar="S",
    help="The backend's grace period, after which an examination ends.",
)
@click.option(
    "--handover",
    "handover_s",
    type=PAUSE,
    default=0.0,
    metavar="S",
    help="How long the backend waits for a sensor that was lost; `serve` with PostgreSQL: 15.",
)
@click.option(
    "--viewer-token-file",
    type=File(exists=True),
    help="File with the viewer token; default: the token in the configuration.",
)
@click.option(
    "--max-connections",
    type=whole("N", 1, 1000),
    metavar="N",
    help="The backend's connection limit, to check what happens beyond it.",
)
@click.option(
    "--run",
    "run_command",
    metavar="CMD",
    help="Start the backend with this command and stop it at the end; needed to check how it"
    " starts, stops and survives kill -9.",
)
@click.option(
    "--run-ready-file",
    type=File(),
    help="File that CMD creates once it is ready; default: ready when its port answers.",
)
@RUN_LOG
@click.option(
    "--fuzz",
    type=whole("N", 1, 1_000_000),
    metavar="N",
    help="Instead of the checks, play N random histories and shrink the first that fails.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Random seed of --fuzz.")
@click.option(
    "--fuzz-out",
    type=OutFile(),
    default=Path("ctgkit-fuzz.jsonl"),
    show_default=True,
    help="File for the shortest failing history, as a recording.",
)
@judging_options
def backend(url: str | None, judging: "Judging", **options: Any) -> int:
    """Check the backend at URL.

    It connects as sensors and viewers, sends good and bad samples, and reports which clauses are
    met. Use credentials that no real sensor is using. Exit code 1 if a check failed, if no check
    could be made, or if one could not be decided although you gave the options it needs; 3 if
    nothing answers at URL.
    """
    from ctgkit.check.backend.catalogue import BACKEND
    from ctgkit.check.profile import ANCESTOR

    if options["fuzz"] and not importlib.util.find_spec("hypothesis"):
        raise MissingExtra("--fuzz", "Hypothesis", "testing")
    checks = judging.selected(BACKEND)
    if judging.listing:
        return judging.list_checks(checks)
    if judging.abroad:
        return _backend_abroad(url, judging, checks, options)
    target = _target(url, ("/ws/sensor", "/ws"))
    plan = Plan(
        checks=checks,
        excused=ANCESTOR if judging.ancestor else {},
        allowed=judging.allowed(BACKEND),
        judging=judging,
    )
    return carry_out(target.web_url, _judge_backend(target, plan, options), judging)


def _backend_abroad(
    url: str | None, judging: "Judging", checks: "Sequence[Check]", options: dict[str, Any]
) -> int:
    """Judge a backend that speaks what a profile says."""
    from ctgkit.check.backend.catalogue import BACKEND
    from ctgkit.check.foreign import checks_for
    from ctgkit.profile.library import load_profile, profile_names

    for given in ("sensor_id", "token_file", "ml_listen", "store", "fuzz", "viewer_token_file"):
        if options[given]:
            shown = "--" + given.replace("_", "-")
            raise click.UsageError(f"{shown} cannot be combined with a profile of another wire")
    name = str(judging.abroad)
    if not name.endswith(".toml") and name not in profile_names():
        raise click.BadParameter(
            f"{name!r} is neither specification, nor ancestor, nor in `ctgkit profile list`, nor a"
            " file that ends in .toml", param_hint="--profile",
        )  # fmt: skip
    renderer = load_profile(name, url)
    plan = Plan(
        checks=checks_for(checks), excused={}, allowed=judging.allowed(BACKEND), judging=judging
    )
    judge = _judge_abroad(renderer, plan, options)
    return carry_out(renderer.profile.url, judge, judging)


async def _judge_abroad(
    renderer: "Renderer", plan: Plan, options: dict[str, Any]
) -> "list[Verdict]":
    from ctgkit.check.connection import answers
    from ctgkit.check.foreign import ForeignBench
    from ctgkit.check.run import run_checks
    from ctgkit.profile.library import read_secrets

    judging, target = plan.judging, _target(renderer.profile.url.partition("{")[0])
    secrets = read_secrets(renderer.profile, renderer.where)
    launched = _launched(options, target, judging)
    async with contextlib.AsyncExitStack() as stack:
        if launched:
            await stack.enter_async_context(launched.running())
        bench = ForeignBench(target, renderer, secrets, judging.timeout_s, launched)
        if not await answers(target, judging.wait_s):
            raise Unreachable(renderer.profile.url, "nothing listens there")
        with judging.telling(len(plan.checks)) as tell:
            return await run_checks(bench, plan.checks, tell, {}, plan.allowed)


async def _judge_backend(target: "Target", plan: Plan, options: dict[str, Any]) -> "list[Verdict]":
    from ctgkit.check.probe import run_bench
    from ctgkit.check.rig import BenchSettings
    from ctgkit.check.run import run_checks

    judging = plan.judging
    settings = BenchSettings(
        target=target,
        sensors=_credentials(options["sensor_id"], options["token_file"]),
        timeout_s=judging.timeout_s,
        store=options["store"],
        grace_s=options["grace_s"],
        handover_s=options["handover_s"],
        viewer_token=viewer_token(options["viewer_token_file"]),
        max_connections=options["max_connections"] or 0,
    )
    launched = _launched(options, target, judging)
    async with run_bench(settings, options["ml_listen"], launched, judging.wait_s) as bench:
        if not launched:
            click.echo(STAYS_THERE.format(url=target.web_url), err=True)
        if not options["fuzz"]:
            with judging.telling(len(plan.checks)) as tell:
                return await run_checks(bench, plan.checks, tell, plan.excused, plan.allowed)
        from ctgkit.check.fuzz import run_fuzz

        excused = {**plan.excused, **plan.allowed}
        verdicts = await run_fuzz(
            bench, options["fuzz"], options["seed"], options["fuzz_out"], excused
        )
        tell_last = judging.teller()
        for verdict in verdicts:
            tell_last(verdict)
        return verdicts


def _launched(options: dict[str, Any], target: "Target", judging: "Judging") -> "Launched | None":
    """Return the backend's process, where the user said how to start it."""
    from ctgkit.check.launched import Launched

    if not options["run_command"]:
        return None
    return Launched(
        options["run_command"],
        target,
        options["run_log"],
        options["run_ready_file"],
        judging.wait_s or 30.0,
        own_database=_nobody_says_where(options["store"]),
    )


def _nobody_says_where(store: Path | None) -> bool:
    """Return whether nothing says where a `ctgkit serve` that is started stores."""
    from ctgkit.check.launched import STORE_VARIABLE

    told = current_config().commands.get("serve", {}).get("store") or os.environ.get(STORE_VARIABLE)
    return store is None and not told


@check.command(epilog="Example: ctgkit check ml ws://127.0.0.1:8081/ws/ctg --junit ml.xml")
@click.argument("url", required=False)
@click.option(
    "--ml-format",
    type=click.Choice(["nested", "flat"]),
    help="Shape of the requests.  [default: nested; flat for --profile ancestor]",
)
@judging_options
def ml(url: str | None, ml_format: Any, judging: "Judging") -> int:
    """Check the ML service at URL.

    It connects as a backend, plays minutes of data in a moment, and checks every answer. Exit code
    1 if a check failed or no check could be made, 3 if nothing answers at URL.
    """
    from ctgkit.check.profile import ANCESTOR_ML
    from ctgkit.check.service.catalogue import SERVICE

    judging.no_abroad()
    checks = judging.selected(SERVICE)
    if judging.listing:
        return judging.list_checks(checks)
    target = _target(url)
    plan = Plan(
        checks=checks,
        excused=ANCESTOR_ML if judging.ancestor else {},
        allowed=judging.allowed(SERVICE),
        judging=judging,
    )
    ml_format = ml_format or ("flat" if judging.ancestor else "nested")
    return carry_out(target.socket_url, _judge_service(target, ml_format, plan), judging)


async def _judge_service(target: "Target", ml_format: Any, plan: Plan) -> "list[Verdict]":
    from ctgkit.check.connection import answers
    from ctgkit.check.run import run_checks
    from ctgkit.check.service.rig import ServiceBench

    judging = plan.judging
    if not await answers(target, judging.wait_s):
        raise Unreachable(target.socket_url, "nothing listens there")
    async with asyncio.TaskGroup() as tasks:
        bench = ServiceBench(
            target=target, tasks=tasks, timeout_s=judging.timeout_s, ml_format=ml_format
        )
        await bench.learn()
        with judging.telling(len(plan.checks)) as tell:
            return await run_checks(bench, plan.checks, tell, plan.excused, plan.allowed)


@check.command(
    epilog='Example: ctgkit check sensor --listen 127.0.0.1:8080 --run "./sensor --port 8080"'
)
@click.option(
    "--listen",
    type=Address(),
    default="127.0.0.1:8080",
    show_default=True,
    help="Address at which to act as the sensor's backend.",
)
@click.option("--control", type=Address(), help="The sensor's control address, to check H-3.")
@click.option(
    "--run",
    "run_command",
    metavar="CMD",
    help="Start the sensor with this command and stop it at the end; without it, start the sensor"
    " yourself.",
)
@RUN_LOG
@judging_options
def sensor(
    listen: tuple[str, int],
    control: tuple[str, int] | None,
    judging: "Judging",
    **options: Any,
) -> int:
    """Check a sensor, by acting as the backend that it connects to.

    The sensor has to send a few samples per second throughout. Any id and token are accepted. The
    checks refuse, disconnect and ignore it; the run takes about two minutes. Exit code 1 if a check
    failed or no check could be made.
    """
    from ctgkit.check.connection import Target
    from ctgkit.check.sensor.catalogue import SENSOR

    judging.no_abroad()
    checks = judging.selected(SENSOR)
    if judging.listing:
        return judging.list_checks(checks)
    plan = Plan(checks=checks, excused={}, allowed=judging.allowed(SENSOR), judging=judging)
    target = Target(False, *listen, "/ws/sensor")
    controlled = Target(False, *control, "") if control else None
    judge = _judge_sensor(target, controlled, plan, options)
    return carry_out(f"sensor at {target.socket_url}", judge, judging)


async def _judge_sensor(
    target: "Target", control: "Target | None", plan: Plan, options: dict[str, Any]
) -> "list[Verdict]":
    from ctgkit.check.launched import Launched
    from ctgkit.check.run import run_checks
    from ctgkit.check.sensor.rig import SensorBench

    command, judging = options["run_command"], plan.judging
    launched = Launched(command, None, options["run_log"]) if command else None
    bench = SensorBench(judging.timeout_s, launched, control, judging.wait_s)
    async with bench.serving(target.host, target.port):
        with judging.telling(len(plan.checks)) as tell:
            return await run_checks(bench, plan.checks, tell, {}, plan.allowed)


def _target(url: str | None, endings: Sequence[str] = ()) -> "Target":
    from ctgkit.check.connection import target_of

    if url is None:
        raise click.UsageError("URL is required")
    try:
        return target_of(url, endings)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="URL") from error


def _credentials(sensor_id: Any, token_file: Path | None) -> tuple[SensorEntry, ...]:
    if token := given_token(token_file):
        if sensor_id is None:
            raise click.UsageError("a token needs --sensor-id, the sensor that it belongs to")
        return (SensorEntry(id=str(sensor_id), token=token),)
    known = known_sensors()
    if sensor_id is None:
        return known
    chosen = [s for s in known if s.id == str(sensor_id)]
    if not chosen:
        raise click.UsageError(f"no credentials for sensor {sensor_id}: give --token-file")
    others = [s for s in known if s not in chosen]
    return (*chosen, *others)
