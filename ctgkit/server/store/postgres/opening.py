"""Open a PostgreSQL database as a node's store and registry."""

import contextlib
import socket
from collections.abc import AsyncIterator, Mapping

from ctgkit.dsn import Dsn
from ctgkit.errors import Unreachable
from ctgkit.server.settings import BackendSettings
from ctgkit.server.store.engine import Again, Recovered
from ctgkit.server.store.postgres import schema
from ctgkit.server.store.postgres.archive import PostgresArchive
from ctgkit.server.store.postgres.engine import PostgresEngine
from ctgkit.server.store.postgres.link import Link
from ctgkit.server.store.postgres.node import Node
from ctgkit.server.store.postgres.registry import PostgresRegistry
from ctgkit.server.store.writer import Store

HANDOVER_S = 15.0
"""How long an examination whose sensor was lost stays open unless told, seconds: a sensor of a dead
node is elsewhere within the lease."""
LOCK_TIMEOUT_S = 2.0
"""How long anything but a group waits for others' locks, seconds."""


@contextlib.asynccontextmanager
async def open_postgres(
    dsn: Dsn,
    settings: BackendSettings,
    digests: Mapping[str, bytes | None],
    beds: Mapping[str, str],
) -> AsyncIterator[tuple[Store, PostgresRegistry]]:
    """Connect, bring an empty database up, become a node; leave at the end.

    Raises
    ------
    Unreachable
        When there is no server.
    StoreError
        When it doesn't let us in, or the database is newer, somebody else's, or ours to read only.
    ConfigError
        When a sensor's token is known nowhere.
    """
    synchronous = settings.durability == "full"
    groups = Link(dsn, synchronous=synchronous)
    claims, chores, past, slow, page = (Link(dsn, lock_timeout_s=LOCK_TIMEOUT_S) for _ in range(5))
    async with contextlib.AsyncExitStack() as stack:
        for link in (groups, claims, chores, past, slow, page):
            stack.push_async_callback(link.close)
        node = Node(chores, dsn, settings.node or socket.gethostname(), settings.lease_s)
        try:
            await chores.demand()
            await schema.migrate(chores, dsn)
            await node.begin(digests)
            await groups.demand()
        except Again as error:
            raise Unreachable(str(dsn), str(error)) from error
        recovered = Recovered(
            token_digests=node.digests, last_examination_id=0, open_examinations=()
        )
        store = Store(PostgresEngine(node, groups, past, recovered), PostgresArchive(page, dsn))
        handover_s = HANDOVER_S if settings.handover_s is None else settings.handover_s
        registry = PostgresRegistry(
            node, claims, slow, store, beds, settings.grace_s, handover_s, settings.keep_days
        )
        yield store, registry
