"""``ctgkit inspect``: what a file is, and what was taken for what."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctgkit.cli.options import argument, command, json_option, option
from ctgkit.cli.types import Recorded
from ctgkit.dsn import Dsn
from ctgkit.errors import MissingExtra, RecordingError, legible, printable
from ctgkit.recording.reading_options import RatedReadingOptions

if TYPE_CHECKING:
    from ctgkit.recording import Recording

_TRIED = (".csv", ".jsonl", ".npz", ".parquet", ".edf", ".hea", "")
"""Endings of the formats that are tried; none is the layout with two CSV files."""
_TRIED_AT_MOST = 20
"""Recordings whose losses are tried out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectOptions(RatedReadingOptions):
    """Options of `ctgkit inspect`."""

    file: Path | Dsn = argument(type=Recorded())
    skip_bad: bool = option(
        "--skip-bad", is_flag=True, help="Skip lines that cannot be read and count them."
    )
    as_json: bool = json_option("Print one JSON object.")


@command(InspectOptions, example="ctgkit inspect trace.csv --json")
def inspect(options: InspectOptions) -> None:
    """Describe FILE: format, channels and their assignment, rate, length, gaps, start, warnings.

    Nothing is changed or kept. FILE is anything that `ctgkit convert` reads, and ambiguous files
    take the same options. The output also lists what each output format could not represent.
    """
    from ctgkit.recording import read_recordings
    from ctgkit.recording.describing import describe
    from ctgkit.recording.files.options import Report

    report = Report()
    found: list[dict[str, Any]] = []
    kept: list[Recording] = []
    for one in read_recordings(options.file, options.reading(skip_bad=options.skip_bad), report):
        found.append(describe(one))
        if len(kept) < _TRIED_AT_MOST:
            kept.append(one)
    result = {
        "file": legible(str(options.file)),
        "format": report.format,
        "taken": report.taken,
        "not_read": report.unread,
        "notes": report.notes,
        "warnings": report.warnings,
        "recordings": found,
        "lost": _losses(kept),
    }
    text = json.dumps(result, ensure_ascii=False) if options.as_json else _as_text(result)
    click.echo(text)


def _losses(recordings: "Sequence[Recording]") -> dict[str, list[str]]:
    """Return format -> what it could not hold, by writing each."""
    from ctgkit.recording.files import registry

    lost: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory(prefix="ctgkit-") as directory:
        for suffix in _TRIED:
            path = Path(directory, f"try{suffix.strip('.')}", f"trace{suffix}")
            path.parent.mkdir()
            name = registry.format_of(path).name
            try:
                lost[name] = registry.write(recordings, path)
            except RecordingError as error:
                lost[name] = [f"cannot be written: {error.reason}"]
            except MissingExtra as error:
                lost[name] = [f"not tried, pip install 'ctgkit[{error.extra}]' brings it"]
    return lost


def _as_text(result: dict[str, Any]) -> str:
    from ctgkit.recording.describing import in_words

    lines = [f"{result['file']}: {result['format']}"]
    for key, label in (
        ("taken", ""),
        ("not_read", "not read: "),
        ("notes", ""),
        ("warnings", "! "),
    ):
        lines += [f"  {label}{text}" for text in result[key]]
    for number, about in enumerate(result["recordings"], 1):
        lines += in_words(number, about)
    lines.append("what other formats could not represent:")
    for name, lost in result["lost"].items():
        lines.append(f"  {name}: {'; '.join(lost) or 'nothing'}")
    return "\n".join(map(printable, lines))
