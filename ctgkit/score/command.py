"""``ctgkit score``."""

import functools
import hashlib
import json
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ctgkit.analysis.command import lag_option
from ctgkit.cli.jobs import in_order, jobs_option
from ctgkit.cli.options import OUTPUT, argument, command, json_option, option, seed_option
from ctgkit.cli.progress import counted
from ctgkit.cli.types import (
    PAUSE,
    SENSORS,
    SHARE,
    File,
    OutFile,
    Refined,
    Speed,
    Url,
    number,
    seconds,
)
from ctgkit.errors import ConfigError, Unreachable
from ctgkit.net.addresses import websocket_url
from ctgkit.quantities import number_of

if TYPE_CHECKING:
    from ctgkit.score.against import Comparison
    from ctgkit.score.scoring import Played, Score
    from ctgkit.score.service import PlaySettings

ALL = "all"
PLAYING, THRESHOLDS = "Playing to an ML service", "Thresholds that fail the run"
F1_NAMES = (
    "acceleration", "deceleration", "contraction", "early", "late", "variable", "prolonged",
)  # fmt: skip


def _least_f1(text: str) -> tuple[str, float]:
    """Return the kind, empty for all, and its least F1."""
    kind, _, share = text.rpartition("=")
    if kind and kind not in F1_NAMES:
        raise ValueError(f"{kind[:80]!r} is not one of {', '.join(F1_NAMES)}")
    try:
        least = number_of(share)
    except ValueError:
        least = math.nan
    if not 0 <= least <= 1:
        raise ValueError(f"{share[:80]!r} is not a number from 0 to 1")
    return kind, least


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOptions:
    """Options of `ctgkit score`."""

    truth: Path | None = argument(required=False, type=File(exists=True, dir_okay=True, stdin=True))
    results: Path | None = argument(
        required=False, type=File(exists=True, dir_okay=True, stdin=True)
    )
    lag_s: int = lag_option(
        "Without RESULTS: use the report that ctgkit's analyzer gives S seconds later."
    )
    url: str | None = option(
        "--ml",
        type=Url("", as_is=True),
        section=PLAYING,
        help="Play scenarios to this ML service; http:// needs --profile.",
    )
    profile: str | None = option(
        "--profile",
        metavar="NAME|FILE.toml",
        section=PLAYING,
        help="Profile that describes the requests to an ML service over HTTP (docs/profiles.md).",
    )
    scenarios: str = option(
        "--scenarios",
        default=ALL,
        metavar="all|NAME,…",
        section=PLAYING,
        help="Scenarios to play: shipped ones or TOML files.",
    )
    sensors: int = option(
        "--sensors",
        type=SENSORS,
        default=1,
        section=PLAYING,
        help="Patients of each, as `ctgkit generate` numbers them.",
    )
    duration_s: float | None = option(
        "--duration",
        type=seconds(1.0),
        section=PLAYING,
        help="Play S seconds of each; default: the scenario's own duration.",
    )
    seed: int = seed_option("the scenarios", section=PLAYING)
    speed: float = option(
        "--speed",
        type=Speed(),
        default="max",
        section=PLAYING,
        help="Data seconds per second; 1 is real time.",
    )
    ml_format: Literal["nested", "flat", "both"] = option(
        "--ml-format",
        type=click.Choice(["nested", "flat", "both"]),
        default="nested",
        section=PLAYING,
        help="Format of the requests.",
    )
    timeout_s: float = option(
        "--timeout",
        type=seconds(0.1),
        default=10.0,
        section=PLAYING,
        help="Give up if answers are due and the service sends nothing for S seconds.",
    )
    max_time_s: float | None = option(
        "--max-time",
        type=seconds(1.0),
        section=PLAYING,
        help="Stop sending after S seconds and score what was played.",
    )
    resume: Path | None = option(
        "--resume",
        type=OutFile(),
        section=PLAYING,
        help="Save finished scenarios in FILE, and continue from it next time.",
    )
    min_f1: tuple[tuple[str, float], ...] = option(
        "--min-f1",
        type=Refined("[KIND=]X", _least_f1),
        multiple=True,
        section=THRESHOLDS,
        help="Minimum F1 of every kind of event, or of KIND (repeatable).",
    )
    min_type_accuracy: float | None = option(
        "--min-type-accuracy",
        type=SHARE,
        section=THRESHOLDS,
        help="Minimum share of decelerations with the right type.",
    )
    max_baseline_rmsd: float | None = option(
        "--max-baseline-rmsd",
        type=number("BPM", 0, 1000),
        section=THRESHOLDS,
        help="Maximum error of the baseline (root mean square).",
    )
    max_delay_s: float | None = option(
        "--max-delay-s",
        type=PAUSE,
        section=THRESHOLDS,
        help="Maximum median delay from an event's onset to the result that reports it.",
    )
    max_false_alarms_per_h: float | None = option(
        "--max-false-alarms-per-h",
        type=number("N", 0, 1e6),
        section=THRESHOLDS,
        help="Maximum number of alarms per hour that the truth does not call for.",
    )
    min_alarm_sensitivity: float | None = option(
        "--min-alarm-sensitivity",
        type=SHARE,
        section=THRESHOLDS,
        help="Minimum share of the alarms called for by the truth that were raised.",
    )
    min_auc: float | None = option(
        "--min-auc",
        type=SHARE,
        section=THRESHOLDS,
        help="Minimum AUC of the probability (or the status) alone.",
    )
    against: Path | None = option(
        "--against",
        type=File(exists=True),
        section=OUTPUT,
        help="Compare with the --json output of an earlier run, recording by recording.",
    )
    junit: Path | None = option(
        "--junit",
        type=OutFile(holds="JUnit XML", suffixes=(".xml",)),
        section=OUTPUT,
        help="Write JUnit XML to FILE as well.",
    )
    as_json: bool = json_option("Print one JSON object.")
    jobs: int | None = jobs_option("recordings that our own analyzer reads")


@command(
    ScoreOptions,
    example="ctgkit score --ml ws://127.0.0.1:8081/ws/ctg --scenarios all --min-f1 0.6",
)
def score(options: ScoreOptions) -> int:
    """Score an analyzer's results against the truth.

    TRUTH is a file written by `generate --truth` or `sensor --truth`, a recording that contains
    truth, zones drawn by experts (JSON), or a folder of these. RESULTS is a report from `analyze
    --json`, a recorded stream of results, or a folder of these; without it, ctgkit's own analyzer
    reads the recording that contains the truth or is next to it. With --ml, scenarios are played to
    a service instead. Exit code 1 if a threshold is not met, a recording has no results, or nothing
    was scored. A test tool, not a medical device.
    """
    from ctgkit.score.limits import Limits, exit_code, judge
    from ctgkit.score.report import as_dict, junit, text
    from ctgkit.score.scoring import Played, combined

    if options.profile is not None and options.url is None:
        raise click.UsageError("--profile needs --ml http://…")
    if options.truth is not None and (options.max_time_s or options.resume):
        raise click.UsageError("--max-time and --resume go with --ml")
    earlier = _earlier(options.against)
    if options.truth is not None and options.url is None:
        played = Played(_read(options.truth, options.results, options.lag_s, options.jobs))
    elif options.truth is None and options.url is not None:
        played = _played(options, options.url)
    else:
        raise click.UsageError("give either TRUTH, or --ml URL")
    scores = played.scores
    limits = Limits(
        min_f1=dict(options.min_f1),
        min_type_accuracy=options.min_type_accuracy,
        max_baseline_rmsd_bpm=options.max_baseline_rmsd,
        max_delay_s=options.max_delay_s,
        max_false_alarms_per_h=options.max_false_alarms_per_h,
        min_alarm_sensitivity=options.min_alarm_sensitivity,
        min_auc=options.min_auc,
    )
    overall = combined(scores)
    outcomes = judge(overall, limits)
    if options.junit:
        options.junit.write_bytes(junit(scores, outcomes))
    compared: list[Comparison] = []
    if options.against and earlier is not None:
        compared = _compared(options.against, earlier, as_dict(scores, overall, outcomes, played))
    if options.as_json:
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
    for title, was, now in (
        ("signal version", earlier.get("signal_version"), report["signal_version"]),
        ("seed", earlier.get("seed", report["seed"]), report["seed"]),
    ):
        if now is not None and was != now:
            click.echo(
                f"{file}: of patients of {title} {'unknown' if was is None else was}, this run of"
                f" {now}: not the same ones under the same names",
                err=True,
            )
    return compared


def _read(truth: Path, results: Path | None, lag_s: int, jobs: int | None) -> "list[Score]":
    from ctgkit.score.reading import compare, read_cases, read_results, score_ours

    cases = read_cases(truth)
    if results is not None:
        return compare(cases, read_results(results), results)
    work = functools.partial(score_ours, lag_s=float(lag_s))
    return list(counted(in_order(work, cases, jobs), "scoring", "recordings", len(cases)))


def _played(options: ScoreOptions, url: str) -> "Played":
    from ctgkit.net.eventloop import run
    from ctgkit.profile.library import profile_digest
    from ctgkit.score import progress
    from ctgkit.score.scoring import Played
    from ctgkit.score.service import PlaySettings, play, play_in_turn
    from ctgkit.simulate import SIGNAL_VERSION
    from ctgkit.simulate.library import load_scenario, scenario_names

    names = scenario_names() if options.scenarios == ALL else options.scenarios.split(",")
    settings = PlaySettings(
        url=url,
        scenarios=[load_scenario(name.strip()) for name in names],
        sensors=options.sensors,
        seed=options.seed,
        duration_s=options.duration_s,
        speed=options.speed,
        ml_format=options.ml_format,
        timeout_s=options.timeout_s,
    )
    file = options.resume
    speed = "max" if options.speed == math.inf else options.speed
    asked = {
        "service": url,
        "profile": options.profile and profile_digest(options.profile),
        "seed": settings.seed,
        "duration_s": settings.duration_s,
        "speed": speed,
        "signal_version": SIGNAL_VERSION,
        "scenario_file": {
            one.id: hashlib.sha256(repr(one).encode()).hexdigest()
            for one in settings.scenarios
            if one.id not in scenario_names()
        },
    }
    done = {} if file is None else progress.load(file, asked)

    def keep(scores: "dict[str, Score]") -> None:
        if file is not None:
            progress.save(file, asked, scores)

    async def playing(settings: "PlaySettings") -> "Played":
        if file is None and options.max_time_s is None and settings.sensors == 1:
            played = Played(await play(settings))
        else:
            played = await play_in_turn(settings, options.max_time_s, done, keep)
        return played._replace(signal_version=SIGNAL_VERSION, seed=settings.seed)

    if options.profile is not None:
        return run(_through_windows(settings, options.profile, playing))
    if url.startswith("http"):
        raise click.UsageError(f"--ml {url}: http:// needs --profile, how that service is asked")
    return run(playing(replace(settings, url=websocket_url(url, ""))))


async def _through_windows(
    settings: "PlaySettings",
    name: str,
    playing: "Callable[[PlaySettings], Awaitable[Played]]",
) -> "Played":
    """Play to an ML service behind HTTP."""
    from ctgkit.profile.library import load_profile, read_secrets
    from ctgkit.profile.mlservice import HttpMlService, WindowSettings

    renderer = load_profile(name, settings.url)
    windows = WindowSettings(
        renderer=renderer, secrets=read_secrets(renderer.profile, renderer.where), waits=True
    )
    # the oldest sample may wait for its sensor's last window, for a free place, and for its own
    silent_s = settings.timeout_s + 3 * renderer.profile.timeout_s
    async with HttpMlService(windows) as service:
        try:
            return await playing(
                replace(settings, url=service.url, ml_format="nested", timeout_s=silent_s)
            )
        except Unreachable as error:
            raise Unreachable(settings.url, service.unreachable or error.reason) from error
