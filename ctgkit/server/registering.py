"""``ctgkit sensors add|list|remove|rotate-token``: sensors that live in the database."""

import contextlib
import json
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import click

from ctgkit.cli.options import argument, command, current_config, json_option, option, store_option
from ctgkit.cli.types import SENSOR_ID, SENSORS, Refined
from ctgkit.config import DEFAULT_BED
from ctgkit.dsn import Dsn
from ctgkit.errors import CtgkitError, excerpt, printable
from ctgkit.net.addresses import host_and_port
from ctgkit.server.exam import STORE_HELP, database_of
from ctgkit.server.roster import Known

BED_MAX_CHARS = 64


def _bed(text: str) -> str:
    if not text or not text.isprintable() or len(text) > BED_MAX_CHARS:
        raise ValueError(f"{excerpt(text)!r} is not a bed name: 1 to {BED_MAX_CHARS} characters")
    return text


def _control(text: str) -> str:
    if host_and_port(text)[1] == 0:
        raise ValueError(f"{excerpt(text)!r} has no port")
    return text


BED = Refined("NAME", _bed)
CONTROL = Refined("HOST:PORT", _control)


class Register(Protocol):
    """A database's sensors."""

    def all(self) -> list[tuple[str, str | None, str | None, bool]]:
        """Return id, bed, control address, and whether there is a token; bed None: a file's."""

    def put(self, one: Known) -> None:
        """Add a sensor, or change it."""

    def remove(self, sensor_id: str) -> None:
        """Forget its token and bed; its samples stay."""


@click.group(epilog="Example: ctgkit sensors add --bed 4 --store postgresql://db/ctg")
def sensors() -> None:
    """Add, list and remove the sensors stored in the database.

    A running `serve` picks up changes within seconds. Sensors in ctgkit.toml keep working as well.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class AddOptions:
    """Options of `ctgkit sensors add`."""

    bed: str = option(
        "--bed",
        type=BED,
        default=DEFAULT_BED,
        help="Bed of the sensor; the sensors of a bed share an examination.",
    )
    count: int = option(
        "--count", type=SENSORS, default=1, help="Number of sensors to add, with random ids."
    )
    sensor_id: str | None = option(
        "--sensor-id", type=SENSOR_ID, help="Id of the sensor; default: random."
    )
    control: str | None = option(
        "--control",
        type=CONTROL,
        help="Address of the sensor's control server, which switches it on and off.",
    )
    store: Path | Dsn | None = store_option(STORE_HELP)
    as_json: bool = json_option("One JSON object per sensor.")


@command(
    AddOptions, parent=sensors, example="ctgkit sensors add --bed 4 --store postgresql://db/ctg"
)
def add(options: AddOptions) -> None:
    """Add sensors and print their ids and tokens. The tokens are shown only once."""
    if options.sensor_id is not None and options.count > 1:
        raise click.UsageError("--sensor-id is one sensor's, --count makes several")
    with _register(options.store) as (where, register):
        there = {one[0] for one in register.all() if one[1] is not None}
        if options.sensor_id in there:
            raise CtgkitError(f"{where}: sensor {options.sensor_id} already exists")
        for _ in range(options.count):
            id_ = options.sensor_id or str(uuid.uuid4())
            _give_token(register, id_, options.bed, options.control, options.as_json)


def _give_token(
    register: Register, sensor_id: str, bed: str, control: str | None, as_json: bool
) -> None:
    from ctgkit.server.door import token_digest

    token = secrets.token_urlsafe(24)
    register.put(Known(sensor_id, token_digest(sensor_id, token), bed, control))
    if as_json:
        click.echo(json.dumps({"id": sensor_id, "token": token, "bed": bed, "control": control}))
    else:
        click.echo(f"{sensor_id} {token}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """Options of `ctgkit sensors list`."""

    store: Path | Dsn | None = store_option(STORE_HELP)
    as_json: bool = json_option("One JSON object per line.")


@command(ListOptions, name="list", parent=sensors, example="ctgkit sensors list --json")
def list_(options: ListOptions) -> None:
    """List the sensors that the database knows, including those from ctgkit.toml."""
    with _register(options.store) as (_, register):
        rows = register.all()
    for id_, bed, control, has_token in rows:
        source = "file" if bed is None else "database"
        if bed is None and not has_token:
            continue  # removed, or never had one
        if options.as_json:
            found = {"id": id_, "bed": bed, "control": control, "source": source}
            click.echo(json.dumps(found))
        else:
            click.echo(printable(f"{id_}  {bed or '-':<12} {source:<9} {control or '-'}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOptions:
    """Options of commands about one sensor."""

    sensor_id: str = argument(type=SENSOR_ID, metavar="SENSOR_ID")
    store: Path | Dsn | None = store_option(STORE_HELP)
    as_json: bool = json_option("One JSON object.")


@command(OneOptions, parent=sensors, example="ctgkit sensors remove 0c7f0a3e-…")
def remove(options: OneOptions) -> None:
    """Remove a sensor; it is disconnected within seconds. Its samples are kept."""
    with _register(options.store) as (where, register):
        _demand(register, where, options.sensor_id)
        register.remove(options.sensor_id)
    if options.as_json:
        click.echo(json.dumps({"id": options.sensor_id, "removed": True}))


_ROTATE_EXAMPLE = "ctgkit sensors rotate-token 0c7f0a3e-…"


@command(OneOptions, name="rotate-token", parent=sensors, example=_ROTATE_EXAMPLE)
def rotate_token(options: OneOptions) -> None:
    """Give a sensor a new token and print it once. The old token stops working within seconds."""
    with _register(options.store) as (where, register):
        _, bed, control, _ = _demand(register, where, options.sensor_id)
        _give_token(register, options.sensor_id, bed, control, options.as_json)


def _demand(register: Register, where: str, sensor_id: str) -> tuple[str, str, str | None, bool]:
    for id_, bed, control, has_token in register.all():
        if id_ == sensor_id and bed is not None:
            return id_, bed, control, has_token
    raise CtgkitError(f"{where}: no sensor {sensor_id} in this database")


@contextlib.contextmanager
def _register(store: Path | Dsn | None) -> Iterator[tuple[str, Register]]:
    where = database_of(current_config(), store)
    if isinstance(where, Dsn):
        from ctgkit.server.databases import migrate_postgres
        from ctgkit.server.store.postgres.side import open_register as open_postgres

        migrate_postgres(where)
        with open_postgres(where) as postgres:
            yield str(where), postgres
    else:
        from ctgkit.server.store.sqlite_side import open_register

        with open_register(where) as sqlite:
            yield str(where), sqlite
