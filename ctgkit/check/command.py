"""``ctgkit check``."""

import importlib.util
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctgkit.cli.credentials import TOKEN_VARIABLE, given_token, known_sensors, viewer_token
from ctgkit.cli.options import common_options
from ctgkit.cli.types import PAUSE, SEED, SENSOR_ID, STORE, Address, File, OutFile, seconds, whole
from ctgkit.config import SensorEntry
from ctgkit.errors import Unreachable

if TYPE_CHECKING:
    from ctgkit.check.checks import Catalogue, Check, Verdict
    from ctgkit.check.connection import Target
    from ctgkit.check.rig import BenchSettings


@click.group(epilog="Example: ctgkit check backend ws://127.0.0.1:8080")
def check() -> None:
    """Judge anybody's backend or ML service by PROTOCOL.md, clause by clause."""


def _judging(command: Any) -> Any:
    """Add the options that all judging commands have."""
    for option in (
        click.option(
            "--only", multiple=True, metavar="ID", help="A check, a clause, or its beginning: S-4."
        ),
        click.option("--list", "listing", is_flag=True, help="List the checks and make none."),
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
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        click.option("--junit", type=OutFile(), help="Write JUnit XML too."),
        click.option(
            "--wait",
            "wait_s",
            type=PAUSE,
            default=0.0,
            metavar="S",
            help="Wait so long for the target to come up.",
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
        common_options,
    ):
        command = option(command)
    return command


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
def backend(url: str | None, **options: Any) -> int:
    """Judge the backend at URL.

    It connects as sensors and viewers, sends good and bad samples, and says which clause is kept.
    Use credentials that no real sensor uses meanwhile. Exit code 1 when a check failed or none
    could be made, 3 when nothing answers at URL.
    """
    from ctgkit.check.backend.catalogue import BACKEND
    from ctgkit.check.profile import ANCESTOR

    if options["fuzz"] and not importlib.util.find_spec("hypothesis"):
        raise click.UsageError("--fuzz needs Hypothesis: pip install 'ctgkit[testing]'")
    checks = _selected(BACKEND, options)
    if options["listing"]:
        return _list(checks, options["as_json"])
    from ctgkit.check.rig import BenchSettings

    target = _target(url, ("/ws/sensor", "/ws"))
    settings = BenchSettings(
        target=target,
        sensors=_credentials(options["sensor_id"], options["token_file"]),
        timeout_s=options["timeout_s"],
        store=options["store"],
        grace_s=options["grace_s"],
        viewer_token=viewer_token(options["viewer_token_file"]),
        max_connections=options["max_connections"] or 0,
    )
    lenient = ANCESTOR if options["profile"] == "ancestor" else {}
    from ctgkit.net.eventloop import run

    verdicts = run(_judge_backend(settings, options["ml_listen"], checks, lenient, options))
    return _report(target.web_url, verdicts, options)


async def _judge_backend(
    settings: "BenchSettings",
    ml_listen: tuple[str, int] | None,
    checks: "Sequence[Check]",
    lenient: dict[str, str],
    options: dict[str, Any],
) -> "list[Verdict]":
    from ctgkit.check.connection import answers
    from ctgkit.check.rig import run_bench
    from ctgkit.check.run import run_checks

    if not await answers(settings.target, options["wait_s"]):
        raise Unreachable(settings.target.web_url, "nothing listens there")
    tell = _teller(options["as_json"])
    async with run_bench(settings, ml_listen) as bench:
        if not options["fuzz"]:
            return await run_checks(bench, checks, tell, lenient)
        from ctgkit.check.fuzz import run_fuzz

        verdict = await run_fuzz(bench, options["fuzz"], options["seed"], options["fuzz_out"])
        tell(verdict)
        return [verdict]


@check.command(epilog="Example: ctgkit check ml ws://127.0.0.1:8081/ws/ctg --junit ml.xml")
@click.argument("url", required=False)
@click.option(
    "--ml-format",
    type=click.Choice(["nested", "flat"]),
    help="Shape of the requests.  [default: nested; flat for --profile ancestor]",
)
@_judging
def ml(url: str | None, ml_format: Any, **options: Any) -> int:
    """Judge the ML service at URL.

    It connects as a backend, plays minutes of data in a moment, and checks every answer. Exit code
    1 when a check failed or none could be made, 3 when nothing answers at URL.
    """
    from ctgkit.check.profile import ANCESTOR_ML
    from ctgkit.check.service.catalogue import SERVICE

    checks = _selected(SERVICE, options)
    if options["listing"]:
        return _list(checks, options["as_json"])
    ancestor = options["profile"] == "ancestor"
    ml_format = ml_format or ("flat" if ancestor else "nested")
    target = _target(url)
    from ctgkit.net.eventloop import run

    verdicts = run(
        _judge_service(target, ml_format, checks, ANCESTOR_ML if ancestor else {}, options)
    )
    return _report(target.socket_url, verdicts, options)


async def _judge_service(
    target: "Target",
    ml_format: Any,
    checks: "Sequence[Check]",
    lenient: dict[str, str],
    options: dict[str, Any],
) -> "list[Verdict]":
    import asyncio

    from ctgkit.check.connection import answers
    from ctgkit.check.run import run_checks
    from ctgkit.check.service.rig import ServiceBench

    if not await answers(target, options["wait_s"]):
        raise Unreachable(target.socket_url, "nothing listens there")
    async with asyncio.TaskGroup() as tasks:
        bench = ServiceBench(
            target=target, tasks=tasks, timeout_s=options["timeout_s"], ml_format=ml_format
        )
        return await run_checks(bench, checks, _teller(options["as_json"]), lenient)


def _selected(catalogue: "Catalogue", options: dict[str, Any]) -> "list[Check]":
    try:
        return catalogue.select(options["only"], options["strict"] or options["listing"])
    except LookupError as error:
        raise click.BadParameter(
            f"no check is called {error}; --list shows them", param_hint="--only"
        ) from error


def _list(checks: "Sequence[Check]", as_json: bool) -> int:
    from ctgkit.check.report import catalogue_lines

    if as_json:
        members = ("id", "clause", "level", "strict", "title")
        click.echo(json.dumps([{m: getattr(c, m) for m in members} for c in checks]))
    else:
        click.echo("\n".join(catalogue_lines(checks)))
    return 0


def _teller(as_json: bool) -> Any:
    """Return what prints a verdict as it falls."""
    from ctgkit.check.report import COLOURS, details

    def tell(verdict: "Verdict") -> None:
        outcome = "FAIL" if verdict.outcome == "fail" else verdict.outcome
        name = f"{verdict.check.id:19}"
        plain = bool(os.environ.get("NO_COLOR"))
        shown = outcome if plain else click.style(outcome, fg=COLOURS[verdict.outcome])
        click.echo(f"{name} {shown}{' ' * (8 - len(outcome))}{verdict.check.title}", err=as_json)
        for line in details(verdict):
            click.echo(f"{'':28}{line}", err=as_json)

    return tell


def _report(target: str, verdicts: "Sequence[Verdict]", options: dict[str, Any]) -> int:
    from ctgkit.check.checks import exit_code
    from ctgkit.check.report import as_dict, as_junit, summary

    if options["junit"]:
        options["junit"].write_bytes(as_junit(target, verdicts, options["strict"]))
    if options["as_json"]:
        click.echo(json.dumps(as_dict(target, options["profile"], verdicts)))
    else:
        click.echo(summary(verdicts))
    return exit_code(verdicts, options["strict"])


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
