"""``ctgkit convert``."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ctgkit.cli.options import argument, command, json_option, option
from ctgkit.cli.progress import counted
from ctgkit.cli.streams import DASH, or_stdout
from ctgkit.cli.types import OutFile, Recorded
from ctgkit.dsn import Dsn
from ctgkit.errors import RecordingError, printable
from ctgkit.recording.reading_options import ChoosingOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions(ChoosingOptions):
    """Options of `ctgkit convert`."""

    source: Path | Dsn = argument(metavar="IN", type=Recorded())
    target: Path = argument(metavar="OUT", type=OutFile(dir_okay=True, stdout=True))
    name: str | None = option(
        "--format",
        metavar="NAME",
        help="Format of OUT if its extension does not determine it, e.g. two-csv.",
    )
    force: bool = option(
        "--force", is_flag=True, help="Replace existing files, once the new ones are whole."
    )
    skip_bad: bool = option(
        "--skip-bad", is_flag=True, help="Skip lines that cannot be read and count them."
    )
    as_json: bool = json_option("Print a summary of the conversion as JSON.")


@command(ConvertOptions, example="ctgkit convert run.jsonl trace.edf")
def convert(options: ConvertOptions) -> None:
    """Convert a recording between formats, by extension, and report what OUT cannot represent.

    Reads and writes .jsonl(.gz) (native), .csv(.gz), .hea (WFDB), .edf, .npz, .parquet, and a
    directory with two CSV files per recording. Only reads .fhr and similar files, spreadsheets, a
    backend's database (SQLite, or postgresql://… for IN) and message logs (.ndjson, .har). Where a
    file holds one sensor, several become OUT-1, OUT-2, … (`ctgkit generate` counts from 0). With -
    as a file, standard input is read or standard output is written (as CSV, or in the --format
    given). From a native recording the samples are converted: those that the sensors sent, or else
    those that a viewer received. `ctgkit inspect` describes a file without converting it.
    """
    from ctgkit.recording import Recording, read_chosen
    from ctgkit.recording.files import registry

    source, target = options.source, options.target
    to_stdout = str(target) == DASH
    wanted = options.reading(skip_bad=options.skip_bad)
    if target.is_file() and not options.force:  # said before an hour's reading
        raise RecordingError(str(target), 0, registry.EXISTS)
    if isinstance(source, Path) and target.exists() and source.exists() and target.samefile(source):
        raise RecordingError(str(target), 0, "is the input file")
    converted: list[dict[str, Any]] = []

    def passing() -> Iterator[Recording]:
        every = read_chosen(source, wanted, options.sensor)
        for one in counted(every, "converting", "recordings"):
            sec = one.sec_from_start
            converted.append(
                {"sensor": one.sensor_id, "samples": len(sec), "from_s": sec[0], "to_s": sec[-1]}
            )
            yield one

    name = options.name or ("csv" if to_stdout else None)
    with or_stdout(target, registry.ending_of(name)) as held:
        notes = registry.write(passing(), held, name, replace=options.force)
    if options.as_json and not to_stdout:
        click.echo(json.dumps({"file": str(target), "sensors": converted, "lost": notes}))
        return
    for number, one in enumerate(converted, 1):
        which = f" ({number})" if len(converted) > 1 else ""
        click.echo(
            f"{printable(one['sensor'] or source.name + which)}: {one['samples']} samples,"
            f" {one['from_s']:g} to {one['to_s']:g} s",
            err=to_stdout,
        )
    for note in notes:
        click.echo(printable(f"not kept in {target.name}: {note}"), err=True)
