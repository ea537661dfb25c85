"""The ML services that share the sensors: each sensor's samples go to one of them.

Which one is a matter of the two names alone (rendezvous hashing), so that all nodes with the same
list agree, and one that dies moves its own sensors only. Those stay where they went until their
next examination. Whoever gets a sensor is sent its past first (:mod:`ctgkit.server.priming`).
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, Protocol

from ctgkit.samples import Sample

MOVE_AFTER_S = 2.0
"""How long a service may be away, or silent, before its sensors move, seconds. Chosen: a restart
takes less, and samples are shown without a result meanwhile (PROTOCOL V-2.2)."""


class Member(Protocol):
    """The connection to one service."""

    connected: asyncio.Event
    away_since_s: float | None
    """Since when it has been lost or silent, monotonic, seconds; None while it answers."""

    @property
    def name(self) -> str:
        """Its address, without secrets."""

    @property
    def state(self) -> Literal["up", "down", "stalled"]:
        """``up``, ``down``, or ``stalled``: connected, but it owes answers."""

    @property
    def healthy(self) -> bool:
        """Whether it is connected and answers nearly everything."""

    @property
    def unanswered_share(self) -> float:
        """Share of the samples sent lately that got no usable result in time, 0 to 1."""

    @property
    def depth(self) -> int:
        """Samples waiting to be sent."""

    def offer(self, samples: Sequence[Sample]) -> None:
        """Queue samples; never waits."""

    def drop(self, sensor_id: str) -> None:
        """Take it that the service doesn't know a sensor."""

    def run(self) -> Coroutine[Any, Any, None]:
        """Connect, converse, and connect again, for ever."""


class MlPool:
    """All ML services of one backend, as if they were one.

    Parameters
    ----------
    urls : sequence of str
        The same on each node; the order doesn't matter.
    link : callable
        Makes the connection to one of them.
    """

    def __init__(self, urls: Sequence[str], link: Callable[[str], Member]) -> None:
        self._members = {url: link(url) for url in urls}
        self._member_of: dict[str, Member] = {}

    @property
    def members(self) -> Sequence[Member]:
        """Each of them."""
        return tuple(self._members.values())

    @property
    def state(self) -> Literal["up", "down", "stalled"]:
        """That of the best member."""
        states = {member.state for member in self.members}
        return "up" if "up" in states else "stalled" if "stalled" in states else "down"

    @property
    def healthy(self) -> bool:
        """Whether all are connected and answer nearly everything."""
        return all(member.healthy for member in self.members)

    @property
    def unanswered_share(self) -> float:
        """That of the worst member."""
        return max(member.unanswered_share for member in self.members)

    @property
    def depth(self) -> int:
        """Samples waiting to be sent."""
        return sum(member.depth for member in self.members)

    async def connected(self) -> None:
        """Wait until each was connected."""
        for member in self.members:
            await member.connected.wait()

    def parts(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the sockets."""
        return [member.run() for member in self.members]

    def begin(self, sensor_id: str) -> None:
        """Let a sensor, whose examination is a new one, go where it belongs."""
        self._member_of.pop(sensor_id, None)

    def offer(self, samples: Sequence[Sample]) -> None:
        """Hand samples of one sensor to its service; never waits."""
        sensor_id = samples[0].sensor_id
        member = self._member_of.get(sensor_id)
        if member is None or member.away_since_s is not None:
            member = self._choose(sensor_id, member)
        member.offer(samples)

    def _choose(self, sensor_id: str, present: Member | None) -> Member:
        """Return a sensor's member: another one only if its own has been away for long."""
        if present is not None:
            since_s = present.away_since_s
            if since_s is None or time.monotonic() - since_s < MOVE_AFTER_S:
                return present
        order = [self._members[url] for url in ranked(sensor_id, self._members)]
        there = next((m for m in order if m.away_since_s is None), present or order[0])
        if there is not present:
            self._member_of[sensor_id] = there
            there.drop(sensor_id)
        return there


def ranked(sensor_id: str, urls: Sequence[str] | dict[str, Any]) -> list[str]:
    """Return the services in the order in which a sensor prefers them.

    >>> ranked("a", ["ws://1", "ws://2", "ws://3"]) == ranked("a", ["ws://3", "ws://2", "ws://1"])
    True
    """
    return sorted(urls, key=lambda url: hashlib.blake2b(f"{sensor_id}\0{url}".encode()).digest())
