"""What options that name a database or a bus may be; secrets are never typed."""

import re
from pathlib import Path
from typing import Any

import click

from ctgkit.cli.types import Refined, is_typed, refuse_typed_password
from ctgkit.dsn import PREFIX as DSN_PREFIX
from ctgkit.dsn import Dsn, is_dsn, read_dsn
from ctgkit.errors import excerpt

STORE_PREFIX = "sqlite:///"


def _store(text: str) -> Path:
    path = text.removeprefix(STORE_PREFIX)
    if path in ("", text) or "\0" in path:
        raise ValueError(f"{excerpt(text)!r} is not {STORE_PREFIX}PATH")
    if path.startswith((":", "file:")) or "?" in path:
        reason = "is not a file path: acknowledged samples must be kept in a file"
        raise ValueError(f"{excerpt(path)!r} {reason}")
    return Path(path)


class Database(Refined["Path | Dsn"]):
    """A database: a file of SQLite's, or the address of PostgreSQL's."""

    def __init__(self) -> None:
        super().__init__(f"{STORE_PREFIX}PATH|{DSN_PREFIX}…", _database)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return what the text means; a password in it comes from files or the environment only."""
        meant = super().convert(value, param, ctx)
        if isinstance(meant, Dsn):
            refuse_typed_password(meant, param, ctx, self)
        return meant


class BusAddress(Refined[str]):
    """Addresses of NATS servers."""

    def __init__(self) -> None:
        super().__init__("nats://HOST[:PORT][/NAME]", _bus)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the address; a secret in it comes from files or the environment only."""
        meant = str(super().convert(value, param, ctx))
        if "@" in meant and is_typed(param, ctx):
            reason = "lists of processes would show the password: use CTGKIT_SERVE_BUS"
            self.fail(f"{reason} or ctgkit.toml", param, ctx)
        return meant


def _bus(text: str) -> str:
    one = re.compile(r"(nats|tls)://([^@/\s,]+@)?[A-Za-z0-9.\[\]:-]+(/[A-Za-z0-9_-]*)?")
    for url in text.split(","):
        if not one.fullmatch(url):  # it isn't shown: a password may be in it
            raise ValueError("is not nats://[USER:PASSWORD@]HOST[:PORT][/NAME]")
    return text


def _database(text: str) -> Path | Dsn:
    if is_dsn(text):
        return read_dsn(text)
    if not text.startswith(STORE_PREFIX):
        raise ValueError(f"{excerpt(text)!r} is not {STORE_PREFIX}PATH, nor {DSN_PREFIX}…")
    return _store(text)


STORE = Database()
FILE_OR_STORE = Refined(
    f"{STORE_PREFIX}PATH",
    lambda text: _store(text if text.startswith(STORE_PREFIX) else STORE_PREFIX + text),
)
"""The same, or the mere path, for an option that took paths once."""
