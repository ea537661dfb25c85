"""The database's shape: migrations as an ordered list, applied in one transaction under a lock.

Only ever added to, so that nodes of one release before go on working beside new ones.
"""

from functools import cache
from importlib import resources
from typing import Any

from ctgkit.dsn import Dsn
from ctgkit.errors import StoreError
from ctgkit.server.store.postgres.link import Link

MIGRATIONS = (("1-tables.sql", "1-functions.sql"), ("2-claims.sql", "2-counts.sql"))
VERSION = len(MIGRATIONS)
FOUND = """
    SELECT to_regclass('ctgkit_schema') IS NOT NULL AS ours,
        coalesce(to_regclass('ctg'), to_regclass('examinations'), to_regclass('sensors'),
            to_regclass('nodes'), to_regclass('samples'))::text AS foreign_table
"""
SELECT_VERSION = "SELECT coalesce(max(version), 0) FROM ctgkit_schema"


@cache
def _text(name: str) -> str:
    folder = resources.files("ctgkit.server.store.postgres")
    return folder.joinpath(name).read_text(encoding="utf-8")


async def version_of(link: Link, dsn: Dsn) -> int:
    """Return the schema's version; 0: there is none yet.

    Raises
    ------
    StoreError
        When tables of the same names belong to somebody else, or this program is too old.
    """
    if not is_ours((await link.fetch(FOUND, deadline_s=10.0))[0], dsn):
        return 0
    return demand_known((await link.fetch(SELECT_VERSION, deadline_s=10.0))[0][0], dsn)


def is_ours(found: Any, dsn: Dsn) -> bool:
    """Return whether there is a schema of ours; refuse somebody else's tables."""
    if not found["ours"] and found["foreign_table"] is not None:
        reason = f"has a table {found['foreign_table']}, but not CTGKit's schema"
        raise StoreError(str(dsn), f"{reason}; nothing was changed")
    return bool(found["ours"])


def demand_known(version: int, dsn: Dsn) -> int:
    """Return a schema's version; refuse one that this program doesn't know."""
    if version > VERSION:
        raise StoreError(str(dsn), f"was written by a newer CTGKit (schema {version})")
    return version


async def migrate(link: Link, dsn: Dsn) -> tuple[int, int]:
    """Bring the schema up to date; return its version before and after.

    Raises
    ------
    StoreError
        See :func:`version_of`; or when we may not.
    Again
        When the server went away.
    """
    before = await version_of(link, dsn)
    if before < VERSION:
        scripts = [
            "BEGIN", f"SELECT pg_advisory_xact_lock({LOCK})",
            # Another one may have come first: then nothing is left to do.
            *(_guarded(number) for number in range(before + 1, VERSION + 1)),
            "COMMIT",
        ]  # fmt: skip
        await _run(link, scripts)
    return before, await version_of(link, dsn)


LOCK = "17236, 1"
"""The advisory lock of migrations ("CT")."""


def _guarded(number: int) -> str:
    body = "\n".join(_text(name) for name in MIGRATIONS[number - 1])
    body += f"\nINSERT INTO ctgkit_schema (version) VALUES ({number});"
    quoted = body.replace("'", "''")
    there = "to_regclass('ctgkit_schema') IS NOT NULL"
    if number > 1:
        there = f"(SELECT max(version) FROM ctgkit_schema) >= {number}"
    return f"DO $migration$ BEGIN IF NOT ({there}) THEN EXECUTE '{quoted}'; END IF; END $migration$"


async def _run(link: Link, scripts: list[str]) -> None:
    try:
        for sql in scripts:
            await link.script(sql)
    except BaseException:
        await link.close()  # takes back what was begun
        raise
