"""The other nodes, as one of them sees them: over the bus, and in the database that all share."""

import asyncio
import logging
import os
import socket
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from ctgkit.errors import MissingExtra
from ctgkit.server.registry import Registry
from ctgkit.server.results import Results
from ctgkit.server.settings import BackendSettings

if TYPE_CHECKING:
    from ctgkit.server.bus.nats import NatsBus

log = logging.getLogger(__name__)

REPAIR_EVERY_S, REPAIR_MORE_S, REPAIR_MAX_S = 1.0, 5.0, 600.0
"""How often at most what was missed on the bus is read from the database, and how much more of the
past than that, and at most, is read, seconds."""


class Neighbours:
    """What a node has to do with the others; of one process alone, nothing.

    Parameters
    ----------
    settings : BackendSettings
        With the address of the bus.
    registry : Registry
        Knows whether others share the database.
    results : Results
        Shows what they say, and says what is shown.
    beds : mapping of str to str
        Sensor id -> bed.
    """

    def __init__(
        self,
        settings: BackendSettings,
        registry: Registry,
        results: Results,
        beds: Mapping[str, str],
    ) -> None:
        self._registry, self._results, self._beds = registry, results, beds
        self._missed_s = 0.0
        self._look = asyncio.Event()
        self.bus: NatsBus | None = None
        name = registry.node[0]
        if name:
            results.elsewhere = self.elsewhere
        if settings.bus is not None:
            node = name or settings.node or f"{socket.gethostname()}:{settings.port or os.getpid()}"
            bus = self.bus = _bus_type()(settings.bus, node, results.relay_others, self._miss)
            results.others = bus
            bus.on_taken, registry.on_taken = registry.displaced, bus.taken

    def elsewhere(self) -> dict[str, int]:
        """Return sensor -> open examination of the sensors that aren't connected here."""
        here = self._registry.connected
        opened = {bed: number for number, bed in self._registry.open_examinations().items()}
        return {
            sensor_id: opened[bed]
            for sensor_id, bed in self._beds.items()
            if bed in opened and sensor_id not in here
        }

    def parts(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the sockets."""
        return [self.bus.run(), self._repair()] if self.bus is not None else []

    def _miss(self, seconds: float, why: str) -> None:
        log.debug("results of other nodes may be missing for %.1f s: %s", seconds, why)
        self._missed_s = max(self._missed_s, seconds)
        self._look.set()

    async def _repair(self) -> None:
        """Show from the database what was missed on the bus."""
        while True:
            await self._look.wait()
            self._look.clear()
            await asyncio.sleep(REPAIR_EVERY_S)  # the others commit what they have said
            missed_s, self._missed_s = self._missed_s, 0.0
            await self._results.repair(min(missed_s, REPAIR_MAX_S) + REPAIR_MORE_S)


async def check_bus(url: str | None) -> None:
    """Refuse a bus that won't let us in, before anything else is touched."""
    if url is not None:
        await _bus_type()(url, "to be", lambda results: None, lambda seconds, why: None).check()


def _bus_type() -> "type[NatsBus]":
    try:
        from ctgkit.server.bus.nats import NatsBus
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("nats"):
            raise
        raise MissingExtra("--bus", "nats-py", "nats") from None
    return NatsBus
