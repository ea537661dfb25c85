"""One connection to PostgreSQL: made when needed, one query at a time, none ever cancelled.

A commit that waits for its standby and is cancelled is committed all the same, without a copy; its
retry would find it done and acknowledge. So nothing here cancels: whoever waits too long, or is
cancelled, drops the connection, and asks the same again over a new one.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import asyncpg

from ctgkit.dsn import Dsn
from ctgkit.errors import CtgkitError, StoreError, Unreachable, excerpt
from ctgkit.server.store.writer import Again

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
"""Longest wait for a connection, over all hosts of the address, seconds."""
_LASTING = ("22", "23", "42", "0A")
"""SQLSTATE classes that no retry mends: values it can't hold, constraints, tables and rights that
are missing, what it can't do."""
_ROLLED_BACK = ("40", "53", "55")
"""Classes after which nothing happened and the connection is as good as before: deadlocks, a full
disk, others' locks."""
_AT_START = ("28", "3D", "42", "0A", "22")
"""Classes that end a program that has just begun: who we are, which database, which rights."""


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
            "application_name": "ctgkit",
            "timezone": "UTC",
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

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend the connection for one consistent view of the database."""
        async with self._turn:
            db = await self.opened()
            try:
                async with db.transaction(isolation="repeatable_read", readonly=True):
                    yield db
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                raise self._meaning(error) from error

    async def opened(self) -> asyncpg.Connection:
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

    async def demand(self) -> asyncpg.Connection:
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

    async def _connect(self) -> asyncpg.Connection:
        where = str(self._dsn)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await asyncpg.connect(
                    self._dsn.text,
                    timeout=CONNECT_TIMEOUT_S,
                    server_settings=self._settings,
                    target_session_attrs="read-write" if self._writes else "any",
                )
        except TimeoutError as error:
            raise Unreachable(where, f"no answer within {CONNECT_TIMEOUT_S:g} s") from error
        except socket.gaierror as error:
            reason = f"its name does not resolve ({error.strerror})"
            raise Unreachable(where, reason) from error
        except OSError as error:
            raise Unreachable(where, _line(error)) from error
        except asyncpg.PostgresError as error:
            if (error.sqlstate or "").startswith(_AT_START):
                raise StoreError(where, _line(error)) from error
            raise Unreachable(where, _line(error)) from error
        except (asyncpg.InterfaceError, asyncpg.InternalClientError, ValueError) as error:
            raise StoreError(where, _line(error)) from error

    def _meaning(self, error: Exception) -> Exception:
        """Return what an exception of the driver means to the writer; drop the connection."""
        if isinstance(error, Again | CtgkitError):
            return error
        state = getattr(error, "sqlstate", None) or ""
        refused = isinstance(error, asyncpg.PostgresError)
        if refused and state.startswith(_LASTING):
            return StoreError(str(self._dsn), _line(error))
        if isinstance(error, TypeError):  # before it was sent
            return StoreError(str(self._dsn), _line(error))
        if refused and state.startswith(_ROLLED_BACK):
            return Again(_line(error))
        # Whatever else it raises means: lost connection, the outcome isn't known. A server that
        # dies between two statements makes it raise InternalClientError, a bare Exception.
        self._drop()
        return Again(_line(error))

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


def _line(error: BaseException) -> str:
    """Return one line without secrets: messages of the server quote names, no passwords."""
    return excerpt(str(error).partition("\n")[0] or type(error).__name__)
