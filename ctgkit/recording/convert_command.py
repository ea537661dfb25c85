"""``ctgkit convert``."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctgkit.cli.options import (
    common_options,
)
from ctgkit.errors import RecordingError

if TYPE_CHECKING:
    pass


@click.command(epilog="Example: ctgkit convert run.jsonl trace.edf")
@common_options
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--format", "name", help="Of OUT, where its extension doesn't tell: e.g. two-csv.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--skip-bad", is_flag=True, help="Go on after lines that cannot be read.")
@click.option("--json", "as_json", is_flag=True, help="Print what was converted as JSON.")
def convert(
    source: Path, target: Path, name: str | None, force: bool, skip_bad: bool, as_json: bool
) -> None:
    """Convert a recording between formats, by extension, and say what OUT cannot hold.

    .jsonl(.gz) native, .csv(.gz), .hea WFDB, .edf, .npz, .parquet; .fhr and .fhrm are only read; a
    directory holds pairs of CSV files, one per channel. Of a native recording the samples are
    converted: what the sensors sent, or else what a viewer got.
    """
    from ctgkit.recording import Recording
    from ctgkit.recording.files import registry as formats

    if target.is_file() and not force:
        raise RecordingError(str(target), 0, "exists already; --force replaces it")
    converted: list[dict[str, Any]] = []

    def passing() -> Iterator[Recording]:
        for one in formats.read(source, skip_bad=skip_bad):
            sec = one.sec_from_start
            converted.append(
                {"sensor": one.sensor_id, "samples": len(sec), "from_s": sec[0], "to_s": sec[-1]}
            )
            yield one

    notes = formats.write(passing(), target, name)
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
