"""Reads what a backend stored in PostgreSQL: the original's tables (PROTOCOL, section D)."""

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ctgkit.check.database import COLUMNS, Database
from ctgkit.dsn import Dsn
from ctgkit.net.postgres import Waiting, read_only

_COLUMNS_OF = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
"""


class PostgresDatabase(Database):
    """A backend's tables, or views, on a server.

    Raises
    ------
    StoreError
        When tables or columns are missing.
    """

    def __init__(self, dsn: Dsn, db: Waiting) -> None:
        self._db = db
        super().__init__(dsn)

    def _missing(self) -> Iterator[str]:
        for table, columns in COLUMNS.items():
            found = {row[0] for row in self._db.query(_COLUMNS_OF, table)}
            if not found:
                yield f"the table or view {table}"
            elif absent := [c for c in columns if c not in found]:
                yield f"{table}.{', '.join(absent)}"

    def query(self, sql: str, *values: object) -> list[Any]:
        """Return the rows of a query, times as texts."""
        numbers = itertools.count(1)
        numbered = re.sub(r"\?", lambda _: f"${next(numbers)}", sql)
        return [tuple(map(_plain, row)) for row in self._db.query(numbered, *values)]

    @property
    def locks(self) -> bool:
        """Whether who writes locks everything: never."""
        return False


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value


@contextmanager
def opened(store: Path | Dsn | None) -> Iterator[Database | None]:
    """Open the database of a backend, whichever it is; None: none is known.

    Raises
    ------
    StoreError, Unreachable, ConfigError
        When it can't be read.
    """
    if isinstance(store, Dsn):
        with read_only(store, snapshot=False) as db:
            yield PostgresDatabase(store, db)
    else:
        yield Database(store) if store else None
