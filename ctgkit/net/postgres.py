"""The one way to dial PostgreSQL, and a connection for commands that only read.

The driver is an extra: this module is imported when an address of PostgreSQL's was given.
"""

import asyncio
import contextlib
import importlib.util
import itertools
import os
import re
import socket
import threading
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ctgkit.dsn import Dsn
from ctgkit.errors import CtgkitError, MissingExtra, StoreError, Unreachable, excerpt

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
        raise MissingExtra(str(dsn), "asyncpg", "postgres")
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
    except OSError as error:  # of several hosts, or addresses, the last one's
        reason = os.strerror(error.errno) if error.errno else line_of(error)
        raise Unreachable(where, reason) from error
    except asyncpg.PostgresError as error:
        kind = StoreError if (error.sqlstate or "").startswith(_REFUSED) else Unreachable
        raise kind(where, line_of(error)) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, ValueError) as error:
        raise StoreError(where, line_of(error)) from error


def line_of(error: BaseException) -> str:
    """Return one line without secrets: messages of the server quote names, no passwords.

    >>> line_of(OSError('could not extend file "pg_tblspc/16384/PG_15/16385/16505": No space left'))
    'could not extend file "…": No space left'
    """
    line = str(error).partition("\n")[0] or type(error).__name__
    return excerpt(re.sub(r'"[^"]{25,}"', '"…"', line))  # the reason comes after it


class Waiting:
    """A connection for a command that waits for each answer.

    Made by :func:`read_only` and :func:`read_write`.

    Its event loop has a thread of its own, so that it can be used inside another one as well.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, dsn: Dsn) -> None:
        self._loop, self._dsn = loop, dsn
        self._db: asyncpg.Connection | None = None

    def query(self, sql: str, *arguments: Any) -> list[Any]:
        """Return a query's rows.

        Raises
        ------
        StoreError
            When it fails.
        """
        assert self._db is not None
        return list(self.wait_for(self._db.fetch(sql, *arguments)))

    def rows(self, sql: str, *arguments: Any) -> Iterator[Any]:
        """Yield rows, a page at a time; in a snapshot only."""
        assert self._db is not None
        cursor = self.wait_for(_cursor(self._db, sql, arguments))
        while rows := self.wait_for(cursor.fetch(PAGE_ROWS)):
            yield from rows

    def execute(self, sql: str) -> None:
        """Run statements without parameters."""
        assert self._db is not None
        self.wait_for(self._db.execute(sql))

    def fill(self, table: str, columns: Sequence[str], rows: Iterable[Any]) -> None:
        """Add rows by COPY; they are taken in the caller's thread."""
        assert self._db is not None
        rest = iter(rows)
        while some := list(itertools.islice(rest, PAGE_ROWS)):
            self.wait_for(self._db.copy_records_to_table(table, columns=columns, records=some))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done here, or nothing of it."""
        self.execute("BEGIN")
        try:
            yield
        except BaseException:
            with contextlib.suppress(StoreError):
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def open(self, *, writes: bool) -> None:
        """Connect."""
        self._db = self.wait_for(connect(self._dsn, writes=writes))

    def close(self) -> None:
        """Let go of the connection."""
        if self._db is not None:
            with contextlib.suppress(StoreError):  # it is closed either way
                self.wait_for(self._db.close(timeout=1.0))

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what comes of it."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except CtgkitError:
            raise
        except Exception as error:  # the driver's are of several families
            raise StoreError(str(self._dsn), line_of(error)) from error


async def _cursor(db: "asyncpg.Connection", sql: str, arguments: tuple[Any, ...]) -> Any:
    return await db.cursor(sql, *arguments)


@contextlib.contextmanager
def read_only(dsn: Dsn, *, snapshot: bool = True) -> Iterator[Waiting]:
    """Connect for reading: in one snapshot, or seeing what others write meanwhile.

    Raises
    ------
    ConfigError, Unreachable, StoreError
        See :func:`connect`.
    """
    with _waiting(dsn, writes=False) as db:
        db.execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
            if snapshot
            else "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"
        )
        yield db


@contextlib.contextmanager
def read_write(dsn: Dsn) -> Iterator[Waiting]:
    """Connect for writing; the errors are the same."""
    with _waiting(dsn, writes=True) as db:
        yield db


@contextlib.contextmanager
def _waiting(dsn: Dsn, *, writes: bool) -> Iterator[Waiting]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="database", daemon=True)
    thread.start()
    db = Waiting(loop, dsn)
    try:
        db.open(writes=writes)
        yield db
    finally:
        db.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
