"""Open a backend's database, whichever it is: the store, and who decides about sensors."""

import contextlib
from collections.abc import AsyncIterator, Mapping

from ctgkit.dsn import Dsn
from ctgkit.server.registry import LocalRegistry, Registry
from ctgkit.server.session import Session
from ctgkit.server.settings import BackendSettings
from ctgkit.server.store.sqlite import open_store
from ctgkit.server.store.writer import Store


@contextlib.asynccontextmanager
async def opened(
    settings: BackendSettings, digests: Mapping[str, bytes | None], beds: Mapping[str, str]
) -> AsyncIterator[tuple[Store, Registry]]:
    """Open the database for as long as the context lasts.

    *digests* are of the configured sensors' tokens; *beds* are of all, and may change.
    """
    if isinstance(settings.database, Dsn):
        from ctgkit.server.store.postgres.opening import open_postgres

        async with open_postgres(settings.database, settings, digests, beds) as both:
            yield both
        return
    async with open_store(
        settings.database, settings.durability, digests, settings.keep_days, settings.pack_days
    ) as store:
        last = store.recovered.last_examination_id
        session = Session(beds, settings.grace_s, last, settings.handover_s or 0.0)
        yield store, LocalRegistry(session, store)
