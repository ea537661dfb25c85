"""``ctgkit exam list|show|export|delete|prune``: what a backend stored."""

import csv
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from ctgkit import private
from ctgkit.cli.options import (
    argument,
    command,
    current_config,
    json_option,
    option,
    store_option,
)
from ctgkit.cli.progress import Advance, progress
from ctgkit.cli.stores import STORE
from ctgkit.cli.streams import whole_or_not
from ctgkit.cli.types import OutFile, Refined, number, whole
from ctgkit.config import Config
from ctgkit.dsn import Dsn
from ctgkit.errors import ConfigError, CtgkitError, RecordingError, excerpt, printable
from ctgkit.quantities import whole_of
from ctgkit.server.command import default_database
from ctgkit.server.store.reader import Reader, open_reader

if TYPE_CHECKING:
    from ctgkit.recording import Recording
    from ctgkit.recording.files.original import OriginalReader
    from ctgkit.server.store.postgres.reader import PostgresReader

    AnyReader = Reader | OriginalReader | PostgresReader

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
BEGINS_WITHIN_S = 5.0
"""First data time up to which a sensor began with its examination, seconds."""


STORE_HELP = "Database; default: the one that `ctgkit serve` uses."
LAST = 0
"""Stands for the newest examination."""


def _examination_id(text: str) -> int:
    if text.strip() == "last":
        return LAST
    found = whole_of(text)
    if not 1 <= found < 2**63:
        raise ValueError(f"{excerpt(text)!r} is not an examination number")
    return found


ID_OR_LAST = Refined("N|last", _examination_id)
EXAMINATION_ID = whole("N", 1, 2**63 - 1)
DAYS = number("N", 0.01, 36_500)


def database_of(config: Config, store: Path | Dsn | None) -> Path | Dsn:
    """Return the database that `ctgkit serve` uses with the same configuration, or the given."""
    configured = config.commands.get("serve", {}).get("store")
    if store is not None or configured is None:
        return store or default_database(config)
    try:
        path: Path | Dsn = STORE.convert(str(configured), None, None)
    except click.BadParameter as error:
        raise ConfigError(f"{config.path}, serve.store", error.message) from None
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """Options of `ctgkit exam list`."""

    store: Path | Dsn | None = store_option(STORE_HELP)
    as_json: bool = json_option("One JSON object per line.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowOptions:
    """Options of `ctgkit exam show`."""

    examination_id: int = argument(type=ID_OR_LAST, metavar="EXAMINATION_ID|last")
    store: Path | Dsn | None = store_option(STORE_HELP)
    as_json: bool = json_option("One JSON object.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """Options of `ctgkit exam export`."""

    examination_id: int = argument(type=ID_OR_LAST, metavar="EXAMINATION_ID|last")
    store: Path | Dsn | None = store_option(STORE_HELP)
    out: Path | None = option(
        "--out",
        type=OutFile(dir_okay=True),
        help="*.csv, *.json, or any format of `ctgkit convert`; default: CSV to stdout.",
    )
    kind: str | None = option(
        "--format",
        type=click.Choice(["csv", "json"]),
        help="Format; default: by the extension of --out, else csv.",
    )
    force: bool = option("--force", is_flag=True, help="Replace an existing file.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """Options of `ctgkit exam delete`."""

    examination_ids: tuple[int, ...] = argument(
        type=EXAMINATION_ID, metavar="EXAMINATION_ID…", nargs=-1, required=True
    )
    store: Path | Dsn | None = store_option(STORE_HELP)
    yes: bool = option("--yes", is_flag=True, help="Don't ask.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneOptions:
    """Options of `ctgkit exam prune`."""

    keep_days: float = option(
        "--keep-days",
        type=DAYS,
        required=True,
        help="Keep examinations that ended within the last N days.",
    )
    store: Path | Dsn | None = store_option(STORE_HELP)
    yes: bool = option("--yes", is_flag=True, help="Don't ask.")


@contextmanager
def opened(path: Path | Dsn) -> "Iterator[AnyReader]":
    """Open our database, or one of the original system."""
    if isinstance(path, Dsn):
        from ctgkit.server.store.postgres.reader import open_reader as open_postgres

        with open_postgres(path) as found:
            yield found
        return
    from ctgkit.recording.files.original import is_original, open_original

    with open_original(path) if is_original(path) else open_reader(path) as reader:
        yield reader


@click.group(epilog="Example: ctgkit exam list --store sqlite:///ctg.db")
def exam() -> None:
    """Read and manage stored examinations."""


@command(ListOptions, name="list", parent=exam, example="ctgkit exam list --json")
def list_(options: ListOptions) -> None:
    """List the examinations, oldest first."""
    with opened(database_of(current_config(), options.store)) as reader:
        rows = reader.examinations()
    if options.as_json:
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


@command(ShowOptions, parent=exam, example="ctgkit exam show last --json")
def show(options: ShowOptions) -> None:
    """Show one examination: its times, and what each sensor contributed."""
    path = database_of(current_config(), options.store)
    with opened(path) as reader:
        row = _find(reader, path, options.examination_id)
    if options.as_json:
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


@command(ExportOptions, parent=exam, example="ctgkit exam export 3 --out exam3.csv")
def export(options: ExportOptions) -> None:
    """Write one examination's samples, or (as JSON) its samples and results."""
    path = database_of(current_config(), options.store)
    out, kind = options.out, options.kind
    if out is not None and out.is_file() and not options.force:
        raise RecordingError(str(out), 0, "exists already; --force replaces it")
    with opened(path) as reader:
        row = _find(reader, path, options.examination_id)
        if out is not None and kind is None and out.suffix not in (".csv", ".json"):
            from ctgkit.recording import write_recordings

            for note in write_recordings(_recordings(reader, row), out):
                click.echo(f"not kept in {out.name}: {note}", err=True)
            return
        kind = kind or (out.suffix.removeprefix(".") if out else "csv")
        del row["by_sensor"]  # its samples tell
        with _output(out) as file, progress("exporting", "samples", row["samples"]) as advance:
            if kind == "csv":
                _write_csv(reader, row["id"], file, advance)
            else:
                _write_json(reader, row, file, advance)


@command(DeleteOptions, parent=exam, example="ctgkit exam delete 3 4 --yes")
def delete(options: DeleteOptions) -> int:
    """Delete examinations with all their samples and results; asks first, unless --yes.

    A backend may be running; an open examination is not deleted. An SQLite file does not shrink:
    the space is reused.
    """
    path = database_of(current_config(), options.store)
    with opened(path) as reader:
        rows = [_find(reader, path, number) for number in dict.fromkeys(options.examination_ids)]
    for row in rows:
        if row["state"] == "open":
            raise CtgkitError(f"{path}: examination {row['id']} is open; nothing was deleted")
    return _remove(path, rows, ask=not options.yes)


@command(PruneOptions, parent=exam, example="ctgkit exam prune --keep-days 30 --yes")
def prune(options: PruneOptions) -> int:
    """Delete the examinations that ended more than N days ago; asks first, unless --yes.

    `ctgkit serve --keep-days N` does the same automatically. Exit code 1 if there were none.
    """
    path = database_of(current_config(), options.store)
    cutoff = datetime.now(UTC) - timedelta(days=options.keep_days)
    before = cutoff.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    with opened(path) as reader:
        rows = [
            row for row in reader.examinations() if row["end_time"] and row["end_time"] < before
        ]
    return _remove(path, rows, ask=not options.yes)


def _remove(path: Path | Dsn, rows: list[dict[str, Any]], *, ask: bool) -> int:
    from ctgkit.server.store.removal import open_remover

    samples = sum(row["samples"] for row in rows)
    what = f"{len(rows)} examinations with {samples} samples from {path}"
    if rows and ask:
        if not sys.stdin.isatty():
            raise click.UsageError("nothing was deleted: not in a terminal, --yes is needed")
        if not click.confirm(f"Delete {what}?", err=True):
            return 1
    removed = 0
    with open_remover(path) as remover:
        for row in rows:
            removed += remover.remove(row["id"])
    click.echo(f"deleted {removed} of {what}")
    return 0 if removed else 1


def _find(reader: "AnyReader", path: Path | Dsn, examination_id: int) -> dict[str, Any]:
    if examination_id == LAST:
        examination_id = max((row["id"] for row in reader.examinations()), default=LAST)
    row = reader.examination(examination_id)
    if row is None:
        raise CtgkitError(f"{path}: no examination {examination_id}")
    return row


@contextmanager
def _output(out: Path | None) -> Iterator[IO[str]]:
    if out is None:
        yield sys.stdout
        return
    try:
        with (
            whole_or_not(out) as held,
            private.writing(held),
            held.open("w", encoding="utf-8", newline="") as file,
        ):
            yield file
    except OSError as error:
        raise RecordingError(str(out), 0, error.strerror or str(error)) from error


def _shown(count: int | None) -> str:
    """Return a count as text; ``-`` where only reading every row could tell."""
    return "-" if count is None else str(count)


def _seconds(sec: object) -> str:
    return f"{sec:g}" if isinstance(sec, int | float) else "?"


def _recordings(reader: "AnyReader", row: dict[str, Any]) -> "Iterator[Recording]":
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
            # of a sensor that came later nobody knows when its second 0 was
            started=row["start_time"] or "" if sec[0] < BEGINS_WITHIN_S else "",
            comments=(f"examination {row['id']}" + (f", bed {row['bed']}" if row["bed"] else ""),),
        )


def _write_csv(reader: "AnyReader", examination_id: int, file: IO[str], advance: Advance) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS.values())
    for sample in reader.samples(examination_id):
        writer.writerow([sample[column] for column in CSV_COLUMNS])
        advance(1)


def _write_json(reader: "AnyReader", row: dict[str, Any], file: IO[str], advance: Advance) -> None:
    """Write one object, an item per line, without holding the examination in memory."""
    file.write(f'{{"examination": {json.dumps(row)},\n"samples": [')
    for place, sample in enumerate(reader.samples(row["id"])):
        file.write(f"{',' if place else ''}\n{json.dumps(sample)}")
        advance(1)
    file.write('\n],\n"results": [')
    for place, body in enumerate(reader.predictions(row["id"])):
        file.write(f"{',' if place else ''}\n{body}")
    file.write("\n]}\n")
