"""``ctgkit store migrate|pack|copy|check`` and ``ctgkit nodes list``: databases as a whole."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctgkit.cli.options import argument, command, current_config, json_option, store_option
from ctgkit.cli.progress import progress, say
from ctgkit.cli.stores import STORE
from ctgkit.dsn import Dsn
from ctgkit.errors import StoreError, Unreachable, printable
from ctgkit.server.exam import STORE_HELP, database_of

if TYPE_CHECKING:
    from ctgkit.server.store.copying import Examination, Sum
    from ctgkit.server.store.postgres.side import PostgresSide
    from ctgkit.server.store.sqlite_side import SqliteSide


@click.group(epilog="Example: ctgkit store copy sqlite:///ctg.db postgresql://db/ctg")
def store() -> None:
    """Create, compress, copy and compare databases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrateOptions:
    """Options of `ctgkit store migrate`."""

    store: Path | Dsn | None = store_option(STORE_HELP)


@command(MigrateOptions, parent=store, example="ctgkit store migrate --store postgresql://db/ctg")
def migrate(options: MigrateOptions) -> None:
    """Create the tables or bring them up to date; nothing is ever removed.

    Nodes of the previous release keep working during the migration. `serve` does the same for an
    empty database, and always for SQLite.
    """
    database = database_of(current_config(), options.store)
    if isinstance(database, Dsn):
        before, after = migrate_postgres(database)
    else:
        from ctgkit.server.store.sqlite_side import migrated

        before, after = migrated(database)
    said = f"schema {after}" if before == after else f"schema {before or 'none'} to {after}"
    click.echo(f"{database}: {said}")


async def _migrate(dsn: Dsn) -> tuple[int, int]:
    from ctgkit.server.store.engine import Again
    from ctgkit.server.store.postgres import schema
    from ctgkit.server.store.postgres.link import Link

    link = Link(dsn)
    try:
        await link.demand()
        return await schema.migrate(link, dsn)
    except Again as error:
        raise Unreachable(str(dsn), str(error)) from error
    finally:
        await link.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """Options of `ctgkit store pack`."""

    store: Path | Dsn | None = store_option(STORE_HELP)


@command(PackOptions, parent=store, example="ctgkit store pack --store sqlite:///ctg.db")
def pack(options: PackOptions) -> None:
    """Compress all examinations that are over, and shrink the file.

    Every command and the live page read them as before; SQL finds no rows of theirs in the tables
    ctg and predictions any more, and their number of samples in examinations.packed. A copy
    (`ctgkit store copy`) has rows again. No backend may use the database meanwhile; `ctgkit serve
    --pack-after N` does the same while it runs. SQLite only.
    """
    path = database_of(current_config(), options.store)
    if isinstance(path, Dsn):
        raise click.UsageError("store pack is for SQLite: PostgreSQL stores rows as they are")
    from ctgkit.server.store.sqlite_side import pack_file

    with progress("packing", "samples") as advance:
        before, after = pack_file(path, advance)
    click.echo(f"{path}: {before} bytes before, {after} after")


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """Options of `ctgkit store copy`."""

    source: Path | Dsn = argument(type=STORE, metavar="FROM")
    target: Path | Dsn = argument(type=STORE, metavar="TO")
    as_json: bool = json_option("One JSON object per examination.")


_COPY_EXAMPLE = "ctgkit store copy sqlite:///a.db postgresql://db/ctg"
_CHECK_EXAMPLE = "ctgkit store check sqlite:///a.db postgresql://db/ctg"


@command(CopyOptions, parent=store, name="copy", example=_COPY_EXAMPLE)
def copy_(options: CopyOptions) -> None:
    """Copy a database into an empty one (SQLite or PostgreSQL), with a checksum per examination.

    No backend may use either database during the copy. After an interruption, run the same command
    again: what is already there is compared, and the rest is copied. Open examinations are copied
    as interrupted.
    """
    from ctgkit.server.store.copying import copy

    if str(options.source) == str(options.target):
        raise click.UsageError("FROM and TO are the same database")

    def tell(one: "Examination", held: "Sum", copied: bool) -> None:
        found = {
            "examination": one.id, "samples": held.samples, "predictions": held.results,
            "checksum": held.shown, "copied": copied,
        }  # fmt: skip
        say(json.dumps(found) if options.as_json else _as_line(found))

    if isinstance(options.target, Dsn):
        migrate_postgres(options.target)
    with (
        _side(options.source) as source,
        _side(options.target, fill=True) as target,
        progress("copying", "samples", lambda: 2 * source.count()) as advance,  # all are read back
    ):
        copied = copy(source, target, tell, advance)
    click.echo(f"{copied} examinations copied to {options.target}", err=True)


def _as_line(found: dict[str, Any]) -> str:
    how = "copied" if found["copied"] else "there already, equal"
    return (
        f"examination {found['examination']}: {found['samples']} samples, "
        f"{found['predictions']} results, checksum {found['checksum']}, {how}"
    )


def migrate_postgres(dsn: Dsn) -> tuple[int, int]:
    """Make the tables, or bring them up to date; return the versions before and after."""
    return asyncio.run(_migrate(dsn))


@contextlib.contextmanager
def _side(where: Path | Dsn, *, fill: bool = False) -> "Iterator[SqliteSide | PostgresSide]":
    if isinstance(where, Dsn):
        from ctgkit.server.store.postgres.side import open_side as open_postgres

        with open_postgres(where, fill=fill) as postgres:
            yield postgres
    else:
        from ctgkit.server.store.sqlite_side import open_side

        with open_side(where, fill=fill) as sqlite:
            yield sqlite


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """Options of `ctgkit store check`."""

    left: Path | Dsn = argument(type=STORE, metavar="DATABASE")
    right: Path | Dsn = argument(type=STORE, metavar="OTHER")
    as_json: bool = json_option("One JSON object per examination.")


@command(CheckOptions, parent=store, name="check", example=_CHECK_EXAMPLE)
def check_(options: CheckOptions) -> int:
    """Compare two databases, examination by examination; exit code 1 when they differ.

    The checksums cover the stored data, not its encoding, so they are the same for SQLite and
    PostgreSQL.
    """
    from ctgkit.server.store.copying import compare

    different = 0
    with (
        _side(options.left) as left,
        _side(options.right) as right,
        progress("comparing", "samples", lambda: left.count() + right.count()) as advance,
    ):
        for number, one, other in compare(left, right, advance):
            different += one != other
            if options.as_json:
                shown = {
                    name: held and {
                        "samples": held.samples, "predictions": held.results,
                        "checksum": held.shown,
                    }
                    for name, held in (("left", one), ("right", other))
                }  # fmt: skip
                equal = {"examination": number, "equal": one == other}
                say(json.dumps(equal | shown))
            else:
                say(f"examination {number}: {_compared(one, other)}")
    return 1 if different else 0


def _compared(one: "Sum | None", other: "Sum | None") -> str:
    if one is None or other is None:
        return "in one of them only"
    if one == other:
        return f"equal ({one.samples} samples, {one.results} results, checksum {one.shown})"
    return (
        f"DIFFERS: {one.samples} and {other.samples} samples, {one.results} and"
        f" {other.results} results, checksums {one.shown} and {other.shown}"
    )


@click.group(epilog="Example: ctgkit nodes list --store postgresql://db/ctg")
def nodes() -> None:
    """List the backends that share a PostgreSQL database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesOptions:
    """Options of `ctgkit nodes list`."""

    store: Path | Dsn | None = store_option(STORE_HELP)
    as_json: bool = json_option("One JSON object per line.")


@command(NodesOptions, name="list", parent=nodes, example="ctgkit nodes list --json")
def list_(options: NodesOptions) -> None:
    """List the nodes with their state, seconds of silence and number of sensors."""
    database = database_of(current_config(), options.store)
    if not isinstance(database, Dsn):
        raise StoreError(str(database), "has no nodes: one process owns a file of SQLite's")
    from ctgkit.server.store.postgres.reader import open_reader

    with open_reader(database) as reader:
        rows = reader.nodes()
    layout = "{:<16} {:<6} {:>10} {:>9} {:>8}  {}"
    if not options.as_json:
        click.echo(layout.format("node", "state", "generation", "silent", "sensors", "what"))
    for row in rows:
        if options.as_json:
            click.echo(json.dumps(row))
            continue
        state, silent = "alive" if row["alive"] else "gone", f"{row['silent_s']:.1f} s"
        values = (row["node"], state, row["generation"], silent, row["sensors"], row["described"])
        click.echo(printable(layout.format(*values)))
