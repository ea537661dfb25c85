"""Waits until a backend has written what a sensor's leaving makes it write.

A backend that writes over several connections of its database without a busy timeout fails when
two of them write at once. There are checks of that; the others must not meet it by chance.
"""

import asyncio

from ctgkit.check.database import Database
from ctgkit.errors import StoreError

QUIET_MAX_S = 1.0
COMMIT_MAX_S = 0.25
VAIN_MAX = 2
"""After so many waits for nothing, examinations don't end here when sensors leave."""


class Quiet:
    """Whether examinations end, as far as the database shows it."""

    def __init__(self, database: Database | None, timeout_s: float) -> None:
        self._database, self._wait_s, self._in_vain = database, min(timeout_s, QUIET_MAX_S), 0
        self._connected = 0

    def before(self) -> None:
        """Note that a sensor connects."""
        self._connected += 1

    async def after(self) -> None:
        """Note that it has left; after the last one, wait until no examination is open."""
        self._connected -= 1
        if self._connected or self._database is None or self._in_vain >= VAIN_MAX:
            return
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        deadline_s = began_s + self._wait_s
        try:
            while self._database.open_examinations():
                if loop.time() > deadline_s:
                    self._in_vain += 1
                    return
                await asyncio.sleep(0.01)
        except StoreError:
            self._in_vain += 1
        await self.commits(began_s)

    async def commits(self, began_s: float) -> None:
        """Wait as long again as a commit took to be seen: its lock is held until a last flush."""
        if self._database is not None and self._database.locks:
            taken_s = asyncio.get_running_loop().time() - began_s
            await asyncio.sleep(min(taken_s, COMMIT_MAX_S))
