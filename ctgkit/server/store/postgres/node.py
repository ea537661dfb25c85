"""One process as a node: its name and generation, and the keys of the sensors."""

import asyncio
import logging
import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ctgkit import __version__
from ctgkit.dsn import Dsn
from ctgkit.errors import ConfigError, StoreError, printable
from ctgkit.server.store.postgres.clock import DatabaseClock
from ctgkit.server.store.postgres.link import Link

log = logging.getLogger(__name__)

LEASE_S = 10.0
"""A node that was silent for so long is declared dead by the others, seconds."""
DEADLINE_S = 5.0
"""How long a question of ours may take, seconds; commits have a longer one."""
_LOOK_EVERY_S = 0.25

_OTHER = (
    "SELECT seen, described, seen > clock_timestamp() - $2 * interval '1 second' AND alive"
    " AS lives FROM nodes WHERE id = $1"
)
_INSERT_SENSORS = """
    INSERT INTO sensors (uuid, token_digest) SELECT * FROM unnest($1::text[], $2::bytea[])
    ON CONFLICT (uuid) DO UPDATE SET token_digest = excluded.token_digest
    WHERE excluded.token_digest IS NOT NULL AND sensors.bed IS NULL
        AND sensors.token_digest IS DISTINCT FROM excluded.token_digest
"""


class Node:
    """One run of one node.

    Parameters
    ----------
    link : Link
        For all that isn't a group.
    dsn : Dsn
        Named in errors.
    name : str
        What it is called among the nodes of this database.
    lease_s : float
        See :data:`LEASE_S`.
    """

    def __init__(self, link: Link, dsn: Dsn, name: str, lease_s: float = LEASE_S) -> None:
        self.link, self.name, self.lease_s = link, name, lease_s
        self._dsn = dsn
        self._instance = str(uuid.uuid4())
        self.generation = 0
        self.clock = DatabaseClock()
        self.keys: dict[str, int] = {}
        """Sensor id -> its key in the database."""
        self.digests: dict[str, bytes] = {}
        """Sensor id -> digest of its token, for those that the configuration names."""
        self.counts = Counter(fenced=0, ambiguous=0, taken=0, displaced=0)
        """What happened: see :class:`~ctgkit.server.endpoints.Health`."""
        self.on_new_generation: Callable[[], None] = lambda: None
        """Called when all that this node owned belongs to nobody any more."""
        self._beginning = asyncio.Lock()

    async def begin(self, digests: Mapping[str, bytes | None]) -> None:
        """Become a node; know the configured sensors.

        Raises
        ------
        StoreError
            When another process is this node, now.
        ConfigError
            When the digest of a sensor's token is neither given nor stored.
        """
        await self._wait_for_the_name()
        await self.hold_name()
        await self._join()
        rows = sorted(digests.items())
        await self.link.fetch(
            _INSERT_SENSORS, [r[0] for r in rows], [r[1] for r in rows], deadline_s=30.0
        )
        known = await self.link.fetch(
            "SELECT uuid, id, token_digest FROM sensors WHERE uuid = ANY ($1)", list(digests),
            deadline_s=30.0,
        )  # fmt: skip
        self.keys = {row["uuid"]: row["id"] for row in known}
        self.digests = {row["uuid"]: row["token_digest"] for row in known if row["token_digest"]}
        for sensor_id in digests.keys() - self.digests.keys():
            reason = f"no token, nor its digest in {self._dsn}"
            raise ConfigError(f"sensor {sensor_id}", reason)

    async def _wait_for_the_name(self) -> None:
        """Wait for a predecessor that was killed; refuse while one lives.

        A killed one's last commit may still be on its way: it moves the heartbeat once.
        """
        seen = set()
        until_s = time.monotonic() + self.lease_s + DEADLINE_S
        while time.monotonic() < until_s:
            rows = await self.link.fetch(_OTHER, self.name, self.lease_s, deadline_s=DEADLINE_S)
            if not rows or not rows[0]["lives"] or not await self._is_held():
                return
            seen.add(rows[0]["seen"])
            if len(seen) > 2:
                break
            await asyncio.sleep(_LOOK_EVERY_S)
        described = printable(rows[0]["described"])
        reason = f"node {self.name} is in use ({described}): --node gives this one another name"
        raise StoreError(str(self._dsn), reason)

    async def _is_held(self) -> bool:
        """Return whether another session holds the name; take it if none does."""
        sql = "SELECT NOT pg_try_advisory_lock(17236, hashtext($1))"
        return bool((await self.link.fetch(sql, self.name, deadline_s=DEADLINE_S))[0][0])

    async def hold_name(self) -> None:
        """Show that this process lives, for as long as this connection does."""
        await self._is_held()

    async def _join(self) -> None:
        described = f"process {os.getpid()} on {socket.gethostname()}, ctgkit {__version__}"
        joined = "ctgkit_join($1, $2, $3)"
        row = await self.ask_with_time(joined, self.name, self._instance, described)
        self.generation = row[0]

    async def ask_with_time(self, function: str, *arguments: Any) -> Any:
        """Return a function's row; take note of the database's clock by the way."""
        sent_s = time.monotonic()
        (row,) = await self.link.fetch(
            f"SELECT f.*, clock_timestamp() AS now FROM {function} AS f", *arguments,
            deadline_s=DEADLINE_S,
        )  # fmt: skip
        self.clock.heard(sent_s, time.monotonic(), row["now"])
        return row

    async def begin_anew(self, ended: int) -> None:
        """Start a new generation after *ended*; what it owned is lost."""
        async with self._beginning:
            if self.generation != ended:
                return
            await self._join()
            self.counts["fenced"] += 1
            log.warning(
                "node %s was silent for longer than the lease: generation %d begins",
                self.name, self.generation,
            )  # fmt: skip
            self.on_new_generation()

    async def leave(self) -> None:
        """Say that this node is gone."""
        sql = "SELECT ctgkit_leave($1, $2)"
        await self.link.fetch(sql, self.name, self.generation, deadline_s=2.0)

    async def key(self, sensor_id: str) -> int:
        """Return a sensor's key, which another node may have made."""
        if sensor_id not in self.keys:
            await self.learn_keys((sensor_id,))
        return self.keys.get(sensor_id, 0)

    async def learn_keys(self, sensor_ids: Iterable[str]) -> None:
        """Look up the keys of sensors."""
        sql = "SELECT uuid, id FROM sensors WHERE uuid = ANY ($1)"
        rows = await self.link.fetch(sql, list(sensor_ids), deadline_s=DEADLINE_S)
        self.keys |= {row["uuid"]: row["id"] for row in rows}
