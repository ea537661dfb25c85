"""``ctgkit convert``."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ctgkit.cli.options import common_options
from ctgkit.errors import RecordingError
from ctgkit.recording.reading_options import reading_options, taken_from


@click.command(epilog="Example: ctgkit convert run.jsonl trace.edf")
@common_options
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--format", "name", help="Of OUT, where its extension doesn't tell: e.g. two-csv.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--skip-bad", is_flag=True, help="Go on after lines that cannot be read.")
@click.option("--json", "as_json", is_flag=True, help="Print what was converted as JSON.")
@reading_options(sensor=True)
def convert(
    source: Path,
    target: Path,
    name: str | None,
    force: bool,
    skip_bad: bool,
    as_json: bool,
    sensor: str,
    **options: Any,
) -> None:
    """Convert a recording between formats, by extension, and say what OUT cannot hold.

    Read and written: .jsonl(.gz) native, .csv(.gz), .hea WFDB, .edf, .npz, .parquet, and a
    directory with two CSV files per recording. Only read: .fhr and its like, spreadsheets, SQLite
    databases of a backend, logs of messages (.ndjson, .har). Of a native recording the samples are
    converted: what the sensors sent, or else what a viewer got. `ctgkit inspect` only looks.
    """
    from ctgkit.recording import Recording, read_chosen
    from ctgkit.recording.files import registry

    wanted = taken_from(options, skip_bad=skip_bad)
    if target.is_file() and not force:
        raise RecordingError(str(target), 0, "exists already; --force replaces it")
    if target.exists() and source.exists() and target.samefile(source):
        raise RecordingError(str(target), 0, "is the file that is read")
    converted: list[dict[str, Any]] = []

    def passing() -> Iterator[Recording]:
        for one in read_chosen(source, wanted, sensor):
            sec = one.sec_from_start
            converted.append(
                {"sensor": one.sensor_id, "samples": len(sec), "from_s": sec[0], "to_s": sec[-1]}
            )
            yield one

    notes = registry.write(passing(), target, name, replace=force)
    if as_json:
        click.echo(json.dumps({"file": str(target), "sensors": converted, "lost": notes}))
        return
    for one in converted:
        click.echo(
            f"{one['sensor'] or source.name}: {one['samples']} samples,"
            f" {one['from_s']:g} to {one['to_s']:g} s"
        )
    for note in notes:
        click.echo(f"{target.name} cannot hold: {note}", err=True)
