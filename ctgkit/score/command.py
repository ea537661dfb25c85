"""``ctgkit score``."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctgkit.cli.options import Speed, common_options
from ctgkit.errors import ConfigError

if TYPE_CHECKING:
    from ctgkit.score.against import Comparison
    from ctgkit.score.scoring import Played, Score

ALL = "all"
F1_NAMES = (
    "acceleration", "deceleration", "contraction", "early", "late", "variable", "prolonged",
)  # fmt: skip


class MinF1(click.ParamType[tuple[str, float]]):
    """``X``, or ``KIND=X`` for one kind of events or type of decelerations."""

    name = "[KIND=]X"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        """Return the kind, empty for all, and its least F1."""
        if isinstance(value, tuple):
            return value
        kind, _, number = str(value).rpartition("=")
        if kind and kind not in F1_NAMES:
            self.fail(f"{kind!r} is none of {', '.join(F1_NAMES)}", param, ctx)
        try:
            least = float(number)
        except ValueError:
            least = math.nan
        if not 0 <= least <= 1:
            self.fail(f"{number!r} is not a number from 0 to 1", param, ctx)
        return kind, least


def _limits(command: Any) -> Any:
    """Add the thresholds, which fail the run."""
    share = click.FloatRange(0, 1)
    positive = click.FloatRange(0)
    for option in reversed(
        (
            click.option(
                "--min-f1",
                type=MinF1(),
                multiple=True,
                help="Least F1 of every kind of events, or of KIND; may be repeated.",
            ),
            click.option(
                "--min-type-accuracy", type=share, metavar="X", help="Of deceleration types."
            ),
            click.option(
                "--max-baseline-rmsd", type=positive, metavar="BPM", help="Largest baseline error."
            ),
            click.option(
                "--max-delay-s",
                type=positive,
                metavar="S",
                help="Largest median delay, from an event's onset to the result that tells it.",
            ),
            click.option(
                "--max-false-alarms-per-h",
                type=positive,
                metavar="N",
                help="Alarms for which the truth doesn't call.",
            ),
            click.option(
                "--min-alarm-sensitivity",
                type=share,
                metavar="X",
                help="Share of the alarms raised for which the truth calls.",
            ),
            click.option(
                "--min-auc", type=share, metavar="X", help="Of the probability (or status) alone."
            ),
        )
    ):
        command = option(command)
    return command


def _playing(command: Any) -> Any:
    """Add the options for playing to an ML service."""
    for option in reversed(
        (
            click.option("--ml", "url", metavar="URL", help="Play scenarios to this ML service."),
            click.option(
                "--scenarios",
                default=ALL,
                show_default=True,
                metavar="all|NAME,…",
                help="What to play: shipped scenarios, or TOML files.",
            ),
            click.option(
                "--duration",
                "duration_s",
                type=click.FloatRange(1),
                metavar="S",
                help="Seconds of each; default: the scenario's.",
            ),
            click.option(
                "--seed", type=int, default=0, show_default=True, help="Of the scenarios."
            ),
            click.option(
                "--speed", type=Speed(), default="max", show_default=True, help="1 is real time."
            ),
            click.option(
                "--ml-format",
                type=click.Choice(["nested", "flat", "both"]),
                default="nested",
                show_default=True,
                help="Shape of the requests.",
            ),
            click.option(
                "--timeout",
                "timeout_s",
                type=click.FloatRange(0.1),
                default=10.0,
                show_default=True,
                metavar="S",
                help="How long the service may be silent while it owes answers.",
            ),
            click.option(
                "--max-time",
                "max_time_s",
                type=click.FloatRange(1),
                metavar="S",
                help="Send no more after so long, and score what was played.",
            ),
            click.option(
                "--resume",
                type=click.Path(path_type=Path, dir_okay=False),
                help="Keep what is finished in this file, and go on from there.",
            ),
        )
    ):
        command = option(command)
    return command


@click.command(
    epilog="Example: ctgkit score --ml ws://127.0.0.1:8081/ws/ctg --scenarios all --min-f1 0.6"
)
@click.argument("truth", required=False, type=click.Path(path_type=Path, exists=True))
@click.argument("results", required=False, type=click.Path(path_type=Path, exists=True))
@_playing
@_limits
@click.option(
    "--lag",
    "lag_s",
    default=120,
    show_default=True,
    type=click.IntRange(0, 600),
    help="Without RESULTS: take what our analyzer says as it looks so many seconds later.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Compare with an earlier run's --json, recording by recording.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write JUnit XML too."
)
@common_options
def score(truth: Path | None, results: Path | None, **options: Any) -> int:
    """Score an analyzer's results against the truth.

    TRUTH is a file that `generate --truth` or `sensor --truth` wrote, a recording that holds
    truth, zones drawn by experts (JSON), or a folder of these. RESULTS is a report of `analyze
    --json`, a recorded stream of results, or a folder of these; without it our own analyzer
    reads the recording that holds the truth or lies beside it. With --ml, scenarios are played to
    a service instead. Exit code 1 when a threshold is broken, something has no results, or
    nothing was scored. A test tool, not a medical device.
    """
    from ctgkit.score.limits import Limits, exit_code, judge
    from ctgkit.score.report import as_dict, junit, text
    from ctgkit.score.scoring import Played, combined

    if (truth is None) == (options["url"] is None):
        raise click.UsageError("give either TRUTH, or --ml URL")
    if options["junit"] and not options["junit"].parent.is_dir():  # said before an hour's play
        raise click.BadParameter("there is no such folder", param_hint="--junit")
    if truth is not None and (options["max_time_s"] or options["resume"]):
        raise click.UsageError("--max-time and --resume go with --ml")
    earlier = _earlier(options["against"])
    lag_s = options["lag_s"]
    played = _played(options) if truth is None else Played(_read(truth, results, lag_s))
    scores = played.scores
    limits = Limits(
        min_f1=dict(options["min_f1"]),
        min_type_accuracy=options["min_type_accuracy"],
        max_baseline_rmsd_bpm=options["max_baseline_rmsd"],
        max_delay_s=options["max_delay_s"],
        max_false_alarms_per_h=options["max_false_alarms_per_h"],
        min_alarm_sensitivity=options["min_alarm_sensitivity"],
        min_auc=options["min_auc"],
    )
    overall = combined(scores)
    outcomes = judge(overall, limits)
    if options["junit"]:
        options["junit"].write_bytes(junit(scores, outcomes))
    report = as_dict(scores, overall, outcomes, played)
    compared = [] if earlier is None else _compared(options["against"], earlier, report)
    if options["as_json"]:
        click.echo(json.dumps(as_dict(scores, overall, outcomes, played, compared)))
    else:
        click.echo(text(scores, overall, outcomes, played, compared))
    return exit_code(scores, outcomes)


def _earlier(file: Path | None) -> Any:
    """Return an earlier report, read before an hour's play."""
    from ctgkit.score.against import compare_runs

    if file is None:
        return None
    try:
        report = json.loads(file.read_bytes())
        compare_runs(report, {"recordings": []})
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"--against {file}", str(error)) from error
    return report


def _compared(file: Path, earlier: Any, report: dict[str, Any]) -> "list[Comparison]":
    from ctgkit.score.against import compare_runs

    compared = compare_runs(earlier, report)
    if not compared:
        click.echo(f"{file}: no recording and no figure in common with this run", err=True)
    return compared


def _read(truth: Path, results: Path | None, lag_s: int) -> "list[Score]":
    from ctgkit.score.reading import analyzed, compare, read_cases, read_results
    from ctgkit.score.scoring import score as score_one

    cases = read_cases(truth)
    if results is not None:
        return compare(cases, read_results(results))
    return [score_one(case.truth, analyzed(case, float(lag_s))) for case in cases]


def _played(options: dict[str, Any]) -> "Played":
    from ctgkit.net.eventloop import run
    from ctgkit.score import progress
    from ctgkit.score.scoring import Played
    from ctgkit.score.service import PlaySettings, play, play_in_turn
    from ctgkit.simulate.library import load_scenario, scenario_names

    names = scenario_names() if options["scenarios"] == ALL else options["scenarios"].split(",")
    settings = PlaySettings(
        url=_checked(options["url"]),
        scenarios=[load_scenario(name.strip()) for name in names],
        seed=options["seed"],
        duration_s=options["duration_s"],
        speed=options["speed"],
        ml_format=options["ml_format"],
        timeout_s=options["timeout_s"],
    )
    file, max_time_s = options["resume"], options["max_time_s"]
    if file is None and max_time_s is None:
        return Played(run(play(settings)))
    asked = {"seed": settings.seed, "duration_s": settings.duration_s, "speed": options["speed"]}
    asked = {n: v if v != math.inf else "max" for n, v in asked.items()}
    done = {} if file is None else progress.load(file, asked)

    def keep(scores: "dict[str, Score]") -> None:
        if file is not None:
            progress.save(file, asked, scores)

    return run(play_in_turn(settings, max_time_s, done, keep))


def _checked(url: str) -> str:
    from websockets.exceptions import InvalidURI
    from websockets.uri import parse_uri

    try:
        parse_uri(url)
    except (InvalidURI, ValueError) as error:
        raise click.BadParameter(str(error), param_hint="--ml") from error
    return url
