"""What all judging commands share: their options, what is asked, how a run ends."""

import functools
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctgkit.cli.options import common_options
from ctgkit.cli.types import PAUSE, File, OutFile, seconds

if TYPE_CHECKING:
    from ctgkit.check.checks import Check, Verdict
    from ctgkit.check.output import Judging


ONLY = click.option(
    "--only",
    multiple=True,
    metavar="ID[,ID…]",
    help="Checks, clauses or prefixes to run, as S-4.",
)


def judging_options(command: Any) -> Any:
    """Add the options that all judging commands have."""
    for option in (
        ONLY,
        click.option("--list", "listing", is_flag=True, help="List checks without running them."),
        click.option(
            "--strict", is_flag=True, help="Run stress checks too; a broken SHOULD is a failure."
        ),
        click.option(
            "--profile",
            default="specification",
            show_default=True,
            metavar="NAME|FILE.toml",
            help="ancestor: deviations known from the original system are warnings. A profile of"
            " `ctgkit profile`: only the clauses that don't depend on PROTOCOL's shapes.",
        ),
        click.option(
            "--allow",
            multiple=True,
            metavar="ID[=REASON]",
            help="Known deviation: report a failure of this check or clause as a warning.",
        ),
        click.option(
            "--allow-file",
            type=File(exists=True),
            help="File of known deviations, each line an ID and the reason.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        click.option(
            "--junit",
            type=OutFile(holds="JUnit XML", suffixes=(".xml",)),
            help="Write the report as JUnit XML as well.",
        ),
        click.option(
            "--html",
            type=OutFile(holds="HTML", suffixes=(".html",)),
            help="Write the report as an HTML page as well.",
        ),
        click.option(
            "--wait",
            "wait_s",
            type=PAUSE,
            default=0.0,
            metavar="S",
            help="Wait up to S seconds for the target to come up; default with --run: 30.",
        ),
        click.option(
            "--timeout",
            "timeout_s",
            type=seconds(0.1),
            default=3.0,
            show_default=True,
            metavar="S",
            help="How long to wait for each expected message or event.",
        ),
    ):
        command = option(command)
    return common_options(_withjudging_options(command))


_MEMBERS = (
    "only", "listing", "strict", "profile", "allow", "allow_file", "as_json", "junit", "html",
    "wait_s", "timeout_s",
)  # fmt: skip


def _withjudging_options(command: Any) -> Any:
    """Gather these options into one argument, ``judging``."""

    @functools.wraps(command)
    def gathered(**options: Any) -> Any:
        from ctgkit.check.output import Judging

        judging = Judging(**{name: options.pop(name) for name in _MEMBERS})
        return command(**options, judging=judging)

    return gathered


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to ask, and what is no failure."""

    checks: "Sequence[Check]"
    excused: "Mapping[str, str]"
    allowed: "Mapping[str, str]"
    judging: "Judging"


def carry_out(shown: str, judge: "Coroutine[Any, Any, list[Verdict]]", judging: "Judging") -> int:
    """Run what judges, report, and return the exit code."""
    from ctgkit.net.eventloop import run

    began_s = time.monotonic()
    verdicts = run(judge)
    return judging.report(shown, verdicts, time.monotonic() - began_s)


RUN_LOG = click.option(
    "--run-log",
    type=OutFile(),
    default=Path("ctgkit-check-run.log"),
    show_default=True,
    help="File for the output of CMD (stdout and stderr).",
)
