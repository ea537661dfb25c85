"""``ctgkit inspect``: what a file is, and what was taken for what."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctgkit.cli.options import common_options
from ctgkit.errors import RecordingError, printable
from ctgkit.recording.reading_options import reading_options, taken_from

if TYPE_CHECKING:
    from ctgkit.recording import Recording

_TRIED = (".csv", ".jsonl", ".npz", ".parquet", ".edf", ".hea", "")
"""Endings of the formats that are tried; none is the layout with two CSV files."""
_TRIED_AT_MOST = 20
"""Recordings whose losses are tried out."""


@click.command(epilog="Example: ctgkit inspect trace.csv --json")
@common_options
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--skip-bad", is_flag=True, help="Go on after lines that cannot be read.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@reading_options()
def inspect(file: Path, skip_bad: bool, as_json: bool, **options: Any) -> None:
    """Say what FILE is: channels and what they were taken for, rate, length, gaps, start, remarks.

    Nothing is changed or kept. FILE is anything that `ctgkit convert` reads; the same options help
    where it doesn't say enough. Also said is what each format that is written could not hold.
    """
    from ctgkit.recording import read_recordings
    from ctgkit.recording.describing import describe
    from ctgkit.recording.files.options import Report

    report = Report()
    found: list[dict[str, Any]] = []
    kept: list[Recording] = []
    for one in read_recordings(file, taken_from(options, skip_bad=skip_bad), report):
        found.append(describe(one))
        if len(kept) < _TRIED_AT_MOST:
            kept.append(one)
    result = {
        "file": str(file),
        "format": report.format,
        "taken": report.taken,
        "not_read": report.unread,
        "notes": report.notes,
        "warnings": report.warnings,
        "recordings": found,
        "lost": _losses(kept),
    }
    text = json.dumps(result, ensure_ascii=False) if as_json else _as_text(result)
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
    lines.append("what other formats could not hold:")
    for name, lost in result["lost"].items():
        lines.append(f"  {name}: {'; '.join(lost) or 'nothing'}")
    return "\n".join(map(printable, lines))
