"""What waits for the registry's conversation with the database: sensors that came or left."""

import asyncio
from dataclasses import dataclass, field

from ctgkit.server.numbering import Attendance


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A sensor that wants in."""

    sensor_id: str
    bed: str
    stream: str | None
    numbered: bool
    arrived_s: float
    """When its connection came, monotonic."""
    answer: "asyncio.Future[Attendance]"


@dataclass(frozen=True, slots=True)
class Release:
    """A sensor that left."""

    attendance: Attendance
    wait_s: float
    pending: asyncio.Event
    """Set when all that came over this connection is written, or given up."""


@dataclass(slots=True)
class Waiting:
    """Both, in the order in which they came."""

    claims: list[Claim] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)
    some: asyncio.Event = field(default_factory=asyncio.Event)
