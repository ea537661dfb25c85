"""``ctgkit analyze``: the analyzer over a recording, without any network."""

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ctgkit import private
from ctgkit.cli.options import common_options
from ctgkit.mlstub.command import GUIDELINE_NAMES
from ctgkit.recording.reading_options import reading_options, taken_from

if TYPE_CHECKING:
    from ctgkit.analysis.report import Report


@click.command(epilog="Example: ctgkit analyze recording.csv.gz --guideline nichd")
@click.argument("file", type=click.Path(path_type=Path))
@reading_options(sensor=True)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option(
    "--lag",
    "lag_s",
    default=120,
    show_default=True,
    type=click.IntRange(0, 600),
    help="Take events and baseline as they look so many seconds later.",
)
@click.option(
    "--guideline",
    type=click.Choice(GUIDELINE_NAMES),
    default="figo",
    show_default=True,
    help="Classify by it.",
)
@click.option(
    "--lang", type=click.Choice(["en", "ru"]), default="en", show_default=True, help="Of texts."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Write the JSON object there as well.",
)
@common_options
def analyze(
    file: Path,
    as_json: bool,
    lag_s: int,
    guideline: str,
    lang: Literal["en", "ru"],
    out: Path | None,
    sensor: str,
    **options: Any,
) -> None:
    """Analyse a recording: baseline, events, class, alerts and their evidence.

    FILE is a recording of any format that `ctgkit convert` reads. The result is what
    `ctgkit ml` would have said live. Of twins, or of several sensors, each is analysed: with --json
    one object per line. A test tool, not a medical device.
    """
    from ctgkit.analysis.analyzer import AnalyzerSettings
    from ctgkit.analysis.report import analyze as analyze_recording
    from ctgkit.recording import read_chosen
    from ctgkit.recording.files.choosing import name_of

    settings = AnalyzerSettings(guideline=guideline, language=lang, final_after_s=float(lag_s))
    lines = []
    rest = read_chosen(file, taken_from(options), sensor)
    ahead = list(itertools.islice(rest, 2))
    for number, recording in enumerate(itertools.chain(ahead, rest), 1):
        report = analyze_recording(recording, settings)
        name = name_of(file, recording, number) if len(ahead) > 1 else file.name
        result = {"recording": name, **report.as_dict()}
        lines.append(json.dumps(result, ensure_ascii=False))
        click.echo(lines[-1] if as_json else _summary(report, result))
    if out is not None:
        private.write_text(out, "\n".join(lines) + "\n")


def _summary(report: "Report", result: dict[str, Any]) -> str:
    features, prediction = result["features"], result["prediction"]
    verdict = report.analyses[-1].verdict
    counts: dict[str, int] = {}
    for event in report.events:
        name = " ".join(filter(None, (event.subtype.replace("_", " "), event.kind)))
        counts[name] = counts.get(name, 0) + 1
    lines = [
        f"{result['recording']}: {features['examined_min']:.1f} min, "
        f"{features['signal_loss_pct']:.0f} % of the last 10 min lost",
        f"baseline {_shown(features['baseline_bpm'])} bpm, "
        f"variability {_shown(features['variability_bpm'])} bpm, "
        f"STV {_shown(features['stv_ms'])} ms",
        "events: " + (", ".join(f"{n} {name}" for name, n in sorted(counts.items())) or "none"),
        f"{verdict.guideline}: {verdict.level}",
        *(
            f"  {e.clause}: {e.feature} {e.value:g} {e.op} {e.threshold:g}"
            for e in verdict.evidence
        ),
        *(f"  {row}: {_shown(points)} points" for row, points in (verdict.points or {}).items()),
        f"risk: {prediction['hypoxia_risk']} ({prediction['hypoxia_probability']:.2f}), "
        f"confidence {prediction['confidence']:.2f}",
        *(f"alert: {text}" for text in prediction["alerts"]),
        *prediction["recommendations"],
        "A test tool, not a medical device: no diagnosis.",
    ]
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"
