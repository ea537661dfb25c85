"""``ctgkit exam list|show|export``: read back what a backend stored."""

import csv
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from ctgkit.cli.options import common_options, current_config
from ctgkit.errors import CtgkitError, printable
from ctgkit.server.command import database_path, store_option
from ctgkit.server.store.reader import Reader, open_reader

if TYPE_CHECKING:
    from ctgkit.recording import Recording

CSV_COLUMNS = {
    "uuid": "sensor",
    "seq": "seq",
    "sec_from_start": "sec",
    "bpm": "bpm",
    "uterus": "uterus",
    "spasms": "spasms",
    "created_at": "stored_at",
}
"""Database column -> header of the exported file; an empty cell is no signal."""


def _database(store: str | None) -> Path:
    """Return the file that `ctgkit serve` uses with the same configuration."""
    return database_path(store or current_config().commands.get("serve", {}).get("store"))


@click.group(epilog="Example: ctgkit exam list --store sqlite:///ctg.db")
def exam() -> None:
    """Read back what a backend stored."""


@exam.command("list", epilog="Example: ctgkit exam list --json")
@common_options
@store_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_(store: str | None, as_json: bool) -> None:
    """List the examinations, oldest first."""
    with open_reader(_database(store)) as reader:
        rows = reader.examinations()
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    layout = "{:>6}  {:<12} {:<11} {:<24}  {:<24}  {:>7}  {:>10}  {:>11}"
    titles = ("id", "bed", "state", "start", "end", "sensors", "samples", "predictions")
    click.echo(layout.format(*titles))
    for row in rows:
        values = (row[k] for k in ("id", "bed", "state", "start_time", "end_time"))
        counts = (_shown(row[k]) for k in ("sensors", "samples", "predictions"))
        click.echo(
            layout.format(*("-" if v is None else printable(str(v)) for v in values), *counts)
        )


@exam.command(epilog="Example: ctgkit exam show 3 --json")
@common_options
@click.argument("examination_id", type=int)
@store_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(examination_id: int, store: str | None, as_json: bool) -> None:
    """Show one examination: its times, and what each sensor contributed."""
    path = _database(store)
    with open_reader(path) as reader:
        row = _find(reader, path, examination_id)
    if as_json:
        click.echo(json.dumps(row))
        return
    for key, value in row.items():
        if key != "by_sensor":
            click.echo(printable(f"{key:<12} {'-' if value is None else value}"))
    for sensor in row["by_sensor"]:
        click.echo(
            f"{printable(sensor['uuid'])}  {sensor['samples']} samples, "
            f"{_shown(sensor['with_signal'])} with signal, "
            f"{_seconds(sensor['first_sec'])} to {_seconds(sensor['last_sec'])} s"
        )


@exam.command(epilog="Example: ctgkit exam export 3 --out exam3.csv")
@common_options
@click.argument("examination_id", type=int)
@store_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="*.csv, *.json, or any format of `ctgkit convert`; default: CSV to stdout.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "json"]),
    help="Default: by the extension of --out, else csv.",
)
def export(examination_id: int, store: str | None, out: Path | None, kind: str | None) -> None:
    """Write one examination's samples, or (as JSON) its samples and results."""
    path = _database(store)
    with open_reader(path) as reader:
        row = _find(reader, path, examination_id)
        if out is not None and kind is None and out.suffix not in (".csv", ".json"):
            from ctgkit.recording import write_recordings

            for note in write_recordings(_recordings(reader, row), out):
                click.echo(f"{out.name} cannot hold: {note}", err=True)
            return
        kind = kind or (out.suffix.removeprefix(".") if out else "csv")
        del row["by_sensor"]  # its samples tell
        with _output(out) as file:
            if kind == "csv":
                _write_csv(reader, examination_id, file)
            else:
                _write_json(reader, row, file)


def _find(reader: Reader, path: Path, examination_id: int) -> dict[str, Any]:
    row = reader.examination(examination_id)
    if row is None:
        raise CtgkitError(f"{path}: there is no examination {examination_id}")
    return row


@contextmanager
def _output(out: Path | None) -> Iterator[IO[str]]:
    if out is None:
        yield sys.stdout
        return
    try:
        with out.open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise CtgkitError(f"{out}: {error.strerror}") from error


def _shown(count: int | None) -> str:
    """Return a count as text; ``-`` where only reading every row could tell."""
    return "-" if count is None else str(count)


def _seconds(sec: object) -> str:
    return f"{sec:g}" if isinstance(sec, int | float) else "?"


def _recordings(reader: Reader, row: dict[str, Any]) -> "Iterator[Recording]":
    """Yield each sensor's samples in the order of data time; of several at one time the first."""
    import numpy as np

    from ctgkit.recording import Recording

    for sensor in row["by_sensor"]:
        samples: dict[float, tuple[float, ...]] = {}
        for sample in reader.samples(row["id"]):
            if sample["uuid"] == sensor["uuid"]:
                values = (sample[name] for name in ("bpm", "uterus", "spasms"))
                kept = tuple(math.nan if value is None else value for value in values)
                samples.setdefault(sample["sec_from_start"], kept)
        sec = np.array(sorted(samples))
        fhr_bpm, uterus, spasms = np.array([samples[s] for s in sec.tolist()]).T.copy()
        yield Recording(
            sec_from_start=sec,
            fhr_bpm=fhr_bpm,
            uterus=uterus,
            spasms=spasms,
            sensor_id=sensor["uuid"],
            started=row["start_time"],
            comments=(f"examination {row['id']}, bed {row['bed']}",),
        )


def _write_csv(reader: Reader, examination_id: int, file: IO[str]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS.values())
    for sample in reader.samples(examination_id):
        writer.writerow([sample[column] for column in CSV_COLUMNS])


def _write_json(reader: Reader, row: dict[str, Any], file: IO[str]) -> None:
    """Write one object, an item per line, without holding the examination in memory."""
    file.write(f'{{"examination": {json.dumps(row)},\n"samples": [')
    for number, sample in enumerate(reader.samples(row["id"])):
        file.write(f"{',' if number else ''}\n{json.dumps(sample)}")
    file.write('\n],\n"results": [')
    for number, body in enumerate(reader.predictions(row["id"])):
        file.write(f"{',' if number else ''}\n{body}")
    file.write("\n]}\n")
