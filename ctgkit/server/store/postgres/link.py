"""One connection to PostgreSQL: made when needed, one query at a time, none ever cancelled.

A commit that waits for its standby and is cancelled is committed all the same, without a copy; its
retry would find it done and acknowledge. So nothing here cancels: whoever waits too long, or is
cancelled, drops the connection, and asks the same again over a new one.
"""

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from ctgkit.dsn import Dsn
from ctgkit.errors import CtgkitError, StoreError
from ctgkit.net.postgres import connect, line_of
from ctgkit.server.store.engine import Again

if TYPE_CHECKING:
    import asyncpg

log = logging.getLogger(__name__)

_LASTING = ("22", "23", "42", "0A")
"""SQLSTATE classes that no retry mends: values it can't hold, constraints, tables and rights that
are missing, what it can't do."""
_ROLLED_BACK = ("40", "53", "55")
"""Classes after which nothing happened and the connection is as good as before: deadlocks, a full
disk, others' locks."""


class Link:
    """A connection that is made anew after each trouble.

    Parameters
    ----------
    dsn : Dsn
        Where to.
    lock_timeout_s : float
        How long a query waits for others' locks, seconds; 0 for ever.
    writes : bool
        Whether only a server that can write will do.
    synchronous : bool
        Whether commits wait for the disk and the standbys.
    """

    def __init__(
        self,
        dsn: Dsn,
        *,
        lock_timeout_s: float = 0.0,
        writes: bool = True,
        synchronous: bool = True,
    ) -> None:
        self._dsn = dsn
        self._settings = {
            "lock_timeout": f"{lock_timeout_s * 1000:.0f}",
            "statement_timeout": "0",
            # A machine that is gone is noticed by the server within a minute.
            "tcp_keepalives_idle": "20",
            "tcp_keepalives_interval": "10",
            "tcp_keepalives_count": "3",
        }
        if writes and not synchronous:
            self._settings["synchronous_commit"] = "off"
        self._writes = writes
        self._db: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    async def fetch(self, sql: str, *arguments: Any, deadline_s: float) -> list[Any]:
        """Return a query's rows.

        Raises
        ------
        Again
            When it isn't known whether it happened, or it didn't for a reason that may pass.
        StoreError
            When no retry would help.
        """
        async with self._turn:
            db = await self.opened()
            query = asyncio.ensure_future(db.fetch(sql, *arguments))
            watchdog = asyncio.get_running_loop().call_later(deadline_s, db.terminate)
            try:
                await asyncio.wait((query,))
                return list(query.result())
            except asyncio.CancelledError:
                self._drop()
                query.add_done_callback(_take_note)
                raise
            except Exception as error:
                raise self._meaning(error) from error
            finally:
                watchdog.cancel()

    async def script(self, sql: str) -> None:
        """Run statements without parameters; for one that is being set up."""
        db = await self.opened()
        try:
            await db.execute(sql)
        except Exception as error:
            raise self._meaning(error) from error

    async def opened(self) -> "asyncpg.Connection":
        """Return the connection; make it if there is none.

        Raises
        ------
        Again
            When that fails, for whatever reason: the server may be about to change.
        """
        if self._db is not None and not self._db.is_closed():
            return self._db
        try:
            self._db = await self._connect()
        except CtgkitError as error:
            raise Again(str(error)) from error
        return self._db

    async def demand(self) -> "asyncpg.Connection":
        """Return the connection, at a program's start: say what is wrong and end.

        Raises
        ------
        Unreachable
            When there is no server.
        StoreError
            When it doesn't let us in.
        """
        if self._db is None:
            self._db = await self._connect()
        return self._db

    async def _connect(self) -> "asyncpg.Connection":
        return await connect(self._dsn, writes=self._writes, settings=self._settings)

    def _meaning(self, error: Exception) -> Exception:
        """Return what an exception of the driver means to the writer; drop the connection."""
        import asyncpg

        if isinstance(error, Again | CtgkitError):
            return error
        state = getattr(error, "sqlstate", None) or ""
        refused = isinstance(error, asyncpg.PostgresError)
        if refused and state.startswith(_LASTING):
            return StoreError(str(self._dsn), line_of(error))
        if isinstance(error, TypeError):  # before it was sent
            return StoreError(str(self._dsn), line_of(error))
        if refused and state.startswith(_ROLLED_BACK):
            return Again(line_of(error))
        # Whatever else it raises means: lost connection, the outcome isn't known. A server that
        # dies between two statements makes it raise InternalClientError, a bare Exception.
        self._drop()
        return Again(line_of(error))

    def _drop(self) -> None:
        if self._db is not None:
            self._db.terminate()
            self._db = None

    async def close(self) -> None:
        """Say goodbye if that is quick."""
        db, self._db = self._db, None
        if db is not None and not db.is_closed():
            with contextlib.suppress(Exception):  # it is closed either way
                await db.close(timeout=1.0)


def _take_note(query: "asyncio.Future[Any]") -> None:
    """Let nobody complain that nobody heard of a query's end."""
    if not query.cancelled():
        query.exception()
