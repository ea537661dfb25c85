"""The one way to dial PostgreSQL, and a connection for commands that only read.

The driver is an extra: this module is imported when an address of PostgreSQL's was given.
"""

import asyncio
import contextlib
import importlib.util
import socket
from collections.abc import Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ctgkit.dsn import Dsn
from ctgkit.errors import ConfigError, StoreError, Unreachable, excerpt

if TYPE_CHECKING:
    import asyncpg

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5.0
"""Longest wait for a connection, over all hosts of the address, seconds."""
PAGE_ROWS = 2_000
"""Rows that are fetched at a time, some 200 KB."""
_REFUSED = ("28", "3D", "42", "0A", "22")
"""Classes of SQLSTATE that say that we may not, or asked for what isn't there."""


async def connect(
    dsn: Dsn, *, writes: bool, settings: Mapping[str, str] | None = None
) -> "asyncpg.Connection":
    """Connect to the first server of an address that fits.

    Parameters
    ----------
    dsn : Dsn
        Where to; what it doesn't say comes from PGPASSWORD, PGPASSFILE and the like.
    writes : bool
        Whether only a server that can write will do.
    settings : mapping, optional
        Of the server, for this connection.

    Raises
    ------
    ConfigError
        When the driver isn't installed.
    Unreachable
        When there is no server.
    StoreError
        When it doesn't let us in.
    """
    if importlib.util.find_spec("asyncpg") is None:
        raise ConfigError(str(dsn), "needs the extra: pip install 'ctgkit[postgres]'")
    import asyncpg

    where = str(dsn)
    fixed = {"application_name": "ctgkit", "timezone": "UTC"}
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await asyncpg.connect(
                dsn.text,
                timeout=CONNECT_TIMEOUT_S,
                server_settings=fixed | dict(settings or {}),
                target_session_attrs="read-write" if writes else "any",
            )
    except TimeoutError as error:
        raise Unreachable(where, f"no answer within {CONNECT_TIMEOUT_S:g} s") from error
    except socket.gaierror as error:
        raise Unreachable(where, f"its name does not resolve ({error.strerror})") from error
    except OSError as error:
        raise Unreachable(where, line_of(error)) from error
    except asyncpg.PostgresError as error:
        kind = StoreError if (error.sqlstate or "").startswith(_REFUSED) else Unreachable
        raise kind(where, line_of(error)) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, ValueError) as error:
        raise StoreError(where, line_of(error)) from error


def line_of(error: BaseException) -> str:
    """Return one line without secrets: messages of the server quote names, no passwords."""
    return excerpt(str(error).partition("\n")[0] or type(error).__name__)


class ReadOnly:
    """A connection for a command that has no event loop. Made by :func:`read_only`."""

    def __init__(self, runner: asyncio.Runner, db: "asyncpg.Connection", dsn: Dsn) -> None:
        self._runner, self._db, self._dsn = runner, db, dsn

    def query(self, sql: str, *arguments: Any) -> list[Any]:
        """Return a query's rows.

        Raises
        ------
        StoreError
            When it fails.
        """
        return list(self._run(self._db.fetch(sql, *arguments)))

    def rows(self, sql: str, *arguments: Any) -> Iterator[Any]:
        """Yield rows, a page at a time; in a snapshot only."""
        cursor = self._run(_cursor(self._db, sql, arguments))
        while rows := self._run(cursor.fetch(PAGE_ROWS)):
            yield from rows

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        import asyncpg

        try:
            return self._runner.run(work)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise StoreError(str(self._dsn), line_of(error)) from error


async def _cursor(db: "asyncpg.Connection", sql: str, arguments: tuple[Any, ...]) -> Any:
    return await db.cursor(sql, *arguments)


@contextlib.contextmanager
def read_only(dsn: Dsn, *, snapshot: bool = True) -> Iterator[ReadOnly]:
    """Connect for reading: in one snapshot, or seeing what others write meanwhile.

    Raises
    ------
    ConfigError, Unreachable, StoreError
        See :func:`connect`.
    """
    with asyncio.Runner() as runner:
        db = runner.run(connect(dsn, writes=False))
        try:
            mode = "READ ONLY"
            if snapshot:
                runner.run(db.execute(f"BEGIN ISOLATION LEVEL REPEATABLE READ {mode}"))
            else:
                runner.run(db.execute(f"SET SESSION CHARACTERISTICS AS TRANSACTION {mode}"))
            yield ReadOnly(runner, db, dsn)
        finally:
            db.terminate()
