"""``ctgkit analyze``: the analyzer over a recording, without any network."""

import functools
import itertools
import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ctgkit import private
from ctgkit.analysis import event_table
from ctgkit.analysis.choices import guideline_option
from ctgkit.cli.jobs import in_order, jobs_option
from ctgkit.cli.options import OUTPUT, argument, command, json_option, option
from ctgkit.cli.progress import counted, progress
from ctgkit.cli.types import OutFile, Recorded, whole_seconds
from ctgkit.dsn import Dsn
from ctgkit.errors import legible, printable
from ctgkit.recording.reading_options import ChoosingOptions

if TYPE_CHECKING:
    from ctgkit.analysis.report import Report


def lag_option(help_text: str) -> Any:
    """Return ``--lag``."""
    return option("--lag", type=whole_seconds(0, 600), default=120, help=help_text)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzeOptions(ChoosingOptions):
    """Options of `ctgkit analyze`."""

    files: tuple[Path | Dsn, ...] = argument(
        type=Recorded(), nargs=-1, required=True, metavar="FILE..."
    )
    guideline: str = guideline_option("Guideline for the classification.")
    lag_s: int = lag_option("Report events and baseline as they are known S seconds later.")
    lang: Literal["en", "ru"] = option(
        "--lang",
        type=click.Choice(["en", "ru"]),
        default="en",
        help="Language of alerts and recommendations.",
    )
    out: Path | None = option(
        "--out",
        type=OutFile(holds="JSON", suffixes=(".json", ".jsonl", ".csv")),
        section=OUTPUT,
        help="Write the JSON object to FILE as well, or the events to FILE.csv.",
    )
    events: bool = option(
        "--events", is_flag=True, section=OUTPUT, help="Show a table of the events as well."
    )
    as_json: bool = json_option("Print everything as one JSON object.")
    jobs: int | None = jobs_option("files")
    explain: bool = option(
        "--explain",
        is_flag=True,
        section=OUTPUT,
        help="Show the evidence for class, alerts, risk, baseline and every event.",
    )


@command(AnalyzeOptions, example="ctgkit analyze recording.csv.gz --events --out events.csv")
def analyze(options: AnalyzeOptions) -> None:
    """Analyse recordings: baseline, events, class, alerts and their evidence.

    FILE is a recording of any format that `ctgkit convert` reads. The result is what `ctgkit ml`
    would have reported live. Several files, twins, or several sensors, are analysed separately:
    --json then prints one object per line. A test tool, not a medical device.
    """
    files, results = options.files, []
    if len(files) > 1 and Path("-") in files:
        raise click.UsageError("-, standard input, goes with no other FILE")
    if len(files) == 1:
        analysed = _analysed(options, files[0])
    else:
        work = functools.partial(_analysed_there, options)
        done = counted(in_order(work, files, options.jobs), "analysing", "files", len(files))
        analysed = itertools.chain.from_iterable(done)
    for result, text in analysed:
        results.append(result)
        click.echo(text)
    if options.out is not None:
        private.write_text(options.out, _file_text(options.out, results))


def _analysed_there(options: AnalyzeOptions, file: Path | Dsn) -> list[tuple[dict[str, Any], str]]:
    """Do the same with a file in a process of its own."""
    return list(_analysed(options, file, alone=False))  # progress is the parent's, by files


def _analysed(
    options: AnalyzeOptions, file: Path | Dsn, *, alone: bool = True
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield what is said of each recording of a file, and what is shown of it."""
    from ctgkit.analysis.analyzer import AnalyzerSettings
    from ctgkit.analysis.explain import as_text, explanation
    from ctgkit.analysis.report import analyze as analyze_recording
    from ctgkit.recording import read_chosen
    from ctgkit.recording.files.choosing import name_of
    from ctgkit.recording.origin import by_remarks

    settings = AnalyzerSettings(
        guideline=options.guideline, language=options.lang, final_after_s=float(options.lag_s)
    )
    rest = read_chosen(file, options.reading(), options.sensor)
    ahead = list(itertools.islice(rest, 2))
    for number, recording in enumerate(itertools.chain(ahead, rest), 1):
        length_s = float(recording.sec_from_start[-1])
        shown = (
            progress("analysing", "s of data", length_s) if alone else nullcontext(lambda _: None)
        )
        with shown as advance:
            report = analyze_recording(recording, settings, advance)
        name = name_of(file, recording, number) if len(ahead) > 1 else file.name
        origin = by_remarks(recording.comments, recording.sensor_id)
        result = {"recording": legible(name), "origin": origin.said(), **report.as_dict()}
        if options.explain:
            result["explanation"] = explanation(report)
        if options.as_json:
            yield result, json.dumps(result, ensure_ascii=False)
            continue
        parts = [_summary(report, result)]
        if options.events:
            parts.append("\n" + event_table.as_text(result))
        if options.explain:
            parts.append("\n".join(["", *as_text(report)]))
        yield result, "\n".join(parts)


def _file_text(out: Path, results: list[dict[str, Any]]) -> str:
    """Return what goes into the file, by its name."""
    if out.suffix.lower() == ".csv":
        return event_table.as_csv(results)
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in results)


def _summary(report: "Report", result: dict[str, Any]) -> str:
    features, prediction = result["features"], result["prediction"]
    verdict = report.analyses[-1].verdict
    counts: dict[str, int] = {}
    for event in report.events:
        name = " ".join(filter(None, (event.subtype.replace("_", " "), event.kind)))
        counts[name] = counts.get(name, 0) + 1
    examined_min, minutes = features["examined_min"], len(result["baseline_per_minute"])
    length = f"{examined_min:.1f} min" if examined_min >= 1 else f"{60 * examined_min:.0f} s"
    if minutes > examined_min + 1:
        length = f"{minutes} min, the last {examined_min:.0f} judged"
    lines = [
        f"{printable(result['recording'])}: {length}, "
        + f"{features['signal_loss_pct']:.0f} % of "
        + ("the last 10 min lost" if examined_min > 10 else "it lost"),
        f"baseline {_shown(features['baseline_bpm'])} bpm, "
        f"variability {_shown(features['variability_bpm'])} bpm, "
        f"STV {_shown(features['stv_ms'])} ms",
        "events: " + (", ".join(f"{n} {name}" for name, n in sorted(counts.items())) or "none"),
        f"{verdict.guideline}: {verdict.level}",
        *(
            f"  {e.clause}: {e.feature} {e.value:g} {e.op} {e.threshold:g}"
            for e in verdict.evidence
        ),
        *(f"  unknown: {reason}" for reason in verdict.reasons),
        *(f"  {row}: {_shown(points)} points" for row, points in (verdict.points or {}).items()),
        f"risk: {prediction['hypoxia_risk']} ({prediction['hypoxia_probability']:.2f}, "
        f"smoothed {features['hypoxia_probability_smoothed']:.2f}), "
        f"confidence {prediction['confidence']:.2f}",
        *(f"alert: {text}" for text in prediction["alerts"]),
        *prediction["recommendations"],
        "A test tool, not a medical device: no diagnosis.",
    ]
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"
