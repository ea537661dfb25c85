"""What a node does for all when there is time: one of them at a time does it."""

import asyncio
import logging

from ctgkit.server.store.engine import Again
from ctgkit.server.store.postgres.link import Link

log = logging.getLogger(__name__)

EVERY_S, DEADLINE_S = 60.0, 60.0
_COUNT = "SELECT ctgkit_count()"
_PRUNE = "SELECT ctgkit_prune($1)"


async def do_chores_forever(link: Link, keep_days: float) -> None:
    """Remove what is older than it is kept (0: nothing), and count what is over."""
    while True:
        try:
            while await _does_one(link, keep_days):
                pass
        except Again as error:
            log.warning("cannot do housekeeping, will try again: %s", error)
        await asyncio.sleep(EVERY_S)


async def _does_one(link: Link, keep_days: float) -> bool:
    """Do a piece; return whether there was one."""
    if keep_days:  # first: what goes need not be counted
        ((removed,),) = await link.fetch(_PRUNE, keep_days, deadline_s=DEADLINE_S)
        if removed:
            log.info("removed %d examinations older than %g days", removed, keep_days)
            return True
    return bool((await link.fetch(_COUNT, deadline_s=DEADLINE_S))[0][0])
