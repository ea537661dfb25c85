"""``ctgkit check``."""

import asyncio
import functools
import importlib.util
import os
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctgkit.cli.credentials import TOKEN_VARIABLE, given_token, known_sensors, viewer_token
from ctgkit.cli.options import common_options, current_config
from ctgkit.cli.stores import STORE
from ctgkit.cli.types import PAUSE, SEED, SENSOR_ID, Address, File, OutFile, seconds, whole
from ctgkit.config import SensorEntry
from ctgkit.errors import MissingExtra, Unreachable

STAYS_THERE = (
    "what the checks send stays in the database of {url}; to leave nothing behind, let --run start"
    " a backend of its own"
)

if TYPE_CHECKING:
    from ctgkit.check.checks import Check, Verdict
    from ctgkit.check.connection import Target
    from ctgkit.check.output import Judging


@click.group(epilog="Example: ctgkit check backend ws://127.0.0.1:8080")
def check() -> None:
    """Judge anybody's backend or ML service by PROTOCOL.md, clause by clause."""


def _judging(command: Any) -> Any:
    """Add the options that all judging commands have."""
    for option in (
        click.option(
            "--only", multiple=True, metavar="ID", help="A check, a clause, or its beginning: S-4."
        ),
        click.option("--list", "listing", is_flag=True, help="List checks without running them."),
        click.option(
            "--strict", is_flag=True, help="Abuse it too, and count a broken SHOULD as a failure."
        ),
        click.option(
            "--profile",
            type=click.Choice(["specification", "ancestor"]),
            default="specification",
            show_default=True,
            help="ancestor: what the original system decides otherwise is a warning.",
        ),
        click.option(
            "--allow",
            multiple=True,
            metavar="ID[=REASON]",
            help="A known deviation, a check or a clause: a warning, never a failure.",
        ),
        click.option(
            "--allow-file",
            type=File(exists=True),
            help="File of known deviations: per line an ID and the reason.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        click.option(
            "--junit",
            type=OutFile(holds="JUnit XML", suffixes=(".xml",)),
            help="Write JUnit XML too.",
        ),
        click.option(
            "--html",
            type=OutFile(holds="HTML", suffixes=(".html",)),
            help="Write the report as one HTML page too.",
        ),
        click.option(
            "--wait",
            "wait_s",
            type=PAUSE,
            default=0.0,
            metavar="S",
            help="Wait so long for the target to come up; with --run 30 s if not given.",
        ),
        click.option(
            "--timeout",
            "timeout_s",
            type=seconds(0.1),
            default=3.0,
            show_default=True,
            metavar="S",
            help="How long to wait for each thing that is expected.",
        ),
    ):
        command = option(command)
    return common_options(_with_judging(command))


_MEMBERS = (
    "only", "listing", "strict", "profile", "allow", "allow_file", "as_json", "junit", "html",
    "wait_s", "timeout_s",
)  # fmt: skip


def _with_judging(command: Any) -> Any:
    """Gather these options into one argument, ``judging``."""

    @functools.wraps(command)
    def gathered(**options: Any) -> Any:
        from ctgkit.check.output import Judging

        judging = Judging(**{name: options.pop(name) for name in _MEMBERS})
        return command(**options, judging=judging)

    return gathered


@check.command(epilog="Example: ctgkit check backend http://127.0.0.1:8080 --only S-4 --json")
@click.argument("url", required=False)
@click.option(
    "--sensor-id",
    type=SENSOR_ID,
    help="A sensor that the backend knows and nobody uses; default: the configuration's.",
)
@click.option(
    "--token-file",
    type=File(exists=True),
    help=f"File with its token; default ${TOKEN_VARIABLE}, then the configuration.",
)
@click.option(
    "--ml-listen",
    type=Address(),
    help="Be the backend's ML service there; without it the clauses about it are skipped.",
)
@click.option("--store", type=STORE, help="The backend's database, to read back what it stored.")
@click.option(
    "--grace",
    "grace_s",
    type=PAUSE,
    default=0.0,
    metavar="S",
    help="The backend's grace period, after which an examination ends.",
)
@click.option(
    "--viewer-token-file",
    type=File(exists=True),
    help="File with the viewers' token; default: the configuration's.",
)
@click.option(
    "--max-connections",
    type=whole("N", 1, 1000),
    metavar="N",
    help="The backend's limit, to check what happens beyond.",
)
@click.option(
    "--run",
    "run_command",
    metavar="CMD",
    help="Start the backend with this command and stop it in the end; needed to judge how it"
    " starts, stops and survives kill -9.",
)
@click.option(
    "--run-ready-file",
    type=File(),
    help="This file appears when CMD is ready; default: when its port answers.",
)
@click.option(
    "--run-log",
    type=OutFile(),
    default=Path("ctgkit-check-run.log"),
    show_default=True,
    help="Gets what CMD writes to stdout and stderr.",
)
@click.option(
    "--fuzz",
    type=whole("N", 1, 1_000_000),
    metavar="N",
    help="Instead of the checks, play N random histories and shrink one that fails.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of --fuzz.")
@click.option(
    "--fuzz-out",
    type=OutFile(),
    default=Path("ctgkit-fuzz.jsonl"),
    show_default=True,
    help="Where the shortest failing history goes, as a recording.",
)
@_judging
def backend(url: str | None, judging: "Judging", **options: Any) -> int:
    """Judge the backend at URL.

    It connects as sensors and viewers, sends good and bad samples, and says which clause is kept.
    Use credentials that no real sensor uses meanwhile. Exit code 1 when a check failed, none
    could be made, or one that you gave the means for could not be judged; 3 when nothing answers
    at URL.
    """
    from ctgkit.check.backend.catalogue import BACKEND
    from ctgkit.check.profile import ANCESTOR

    if options["fuzz"] and not importlib.util.find_spec("hypothesis"):
        raise MissingExtra("--fuzz", "Hypothesis", "testing")
    checks = judging.selected(BACKEND)
    if judging.listing:
        return judging.list_checks(checks)
    target = _target(url, ("/ws/sensor", "/ws"))
    plan = _Plan(
        checks=checks,
        excused=ANCESTOR if judging.ancestor else {},
        allowed=judging.allowed(BACKEND),
        judging=judging,
    )
    return _carry_out(target.web_url, _judge_backend(target, plan, options), judging)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What to ask, and what is no failure."""

    checks: "Sequence[Check]"
    excused: "Mapping[str, str]"
    allowed: "Mapping[str, str]"
    judging: "Judging"


def _carry_out(shown: str, judge: "Coroutine[Any, Any, list[Verdict]]", judging: "Judging") -> int:
    from ctgkit.net.eventloop import run

    began_s = time.monotonic()
    try:
        verdicts = run(judge)
    except asyncio.CancelledError:  # SIGTERM, while there was a backend to stop
        raise click.Abort from None
    return judging.report(shown, verdicts, time.monotonic() - began_s)


async def _judge_backend(target: "Target", plan: _Plan, options: dict[str, Any]) -> "list[Verdict]":
    from ctgkit.check.launched import Launched
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
        viewer_token=viewer_token(options["viewer_token_file"]),
        max_connections=options["max_connections"] or 0,
    )
    launched = options["run_command"] and Launched(
        options["run_command"],
        target,
        options["run_log"],
        options["run_ready_file"],
        judging.wait_s or 30.0,
        own_database=_nobody_says_where(options["store"]),
    )
    if not launched:
        click.echo(STAYS_THERE.format(url=target.web_url), err=True)
    async with run_bench(settings, options["ml_listen"], launched or None, judging.wait_s) as bench:
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
@_judging
def ml(url: str | None, ml_format: Any, judging: "Judging") -> int:
    """Judge the ML service at URL.

    It connects as a backend, plays minutes of data in a moment, and checks every answer. Exit code
    1 when a check failed or none could be made, 3 when nothing answers at URL.
    """
    from ctgkit.check.profile import ANCESTOR_ML
    from ctgkit.check.service.catalogue import SERVICE

    checks = judging.selected(SERVICE)
    if judging.listing:
        return judging.list_checks(checks)
    target = _target(url)
    plan = _Plan(
        checks=checks,
        excused=ANCESTOR_ML if judging.ancestor else {},
        allowed=judging.allowed(SERVICE),
        judging=judging,
    )
    ml_format = ml_format or ("flat" if judging.ancestor else "nested")
    return _carry_out(target.socket_url, _judge_service(target, ml_format, plan), judging)


async def _judge_service(target: "Target", ml_format: Any, plan: _Plan) -> "list[Verdict]":
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
