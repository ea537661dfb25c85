"""What a fleet of sensors is told."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ctgkit.config import SensorEntry
from ctgkit.faults.line import Deed, Line
from ctgkit.simulate.source import Source

WINDOW_SAMPLES = 2400
"""Unconfirmed samples that a sensor keeps. Chosen: ten minutes at 4 Hz, 0.5 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """Sensors, what they play, and how."""

    url: str
    """The backend's sensor endpoint, ``ws://`` or ``wss://``, without the sensor's id."""
    credentials: Sequence[SensorEntry]
    """One per sensor."""
    make_source: Callable[[int], Source]
    """Sensor number, from 0 -> its samples from the start; called at each switching on."""
    first_seq: int
    """Sequence number to begin with, >= 0. Larger than any that these sensors used in the open
    examination: the wall clock's microseconds serve, no sensor counts faster."""
    speed: float = 1.0
    """Data seconds per second, > 0; ``inf`` for as fast as the backend takes it."""
    mother: bool = False
    """Whether the mother's heart rate is sent, where the source knows it."""
    duration_s: float = math.inf
    """Length to play, seconds of data time."""
    ramp_s: float = 0.0
    """Time over which the connects are spread, seconds."""
    connect_timeout_s: float = 10.0
    """How long a sensor dials for its first connection, seconds."""
    flush_timeout_s: float = 15.0
    """How long a sensor waits for acknowledgements after its last sample, seconds. Chosen: enough
    for a few reconnects, and for a full window at 160 commits/s."""
    window: int = WINDOW_SAMPLES
    """Unconfirmed samples per sensor; when they are reached, production pauses."""
    seed: int = 0
    """Seed of the reconnect jitter."""
    control: tuple[str, int] | None = None
    """Host and port of the first sensor's control address, the next ones have the next ports;
    the sensors then wait to be switched on. Port 0: any free ports."""
    on_control: Callable[[str], None] = lambda url: None
    """Called with each control address, once it is bound."""
    make_line: Callable[[int], Line | None] = lambda number: None
    """Sensor number -> the faults between it and its socket; called at each switching on, after
    ``make_source``."""
    choose: Callable[[int, str | None, int | None], None] | None = None
    """Sensor number, scenario, seed (None keeps what it has) -> what it plays from its next
    switching on; ValueError says why not. None: nobody can choose."""
    on_fault: Callable[[int, Deed], None] = lambda number, deed: None
    """Called with the sensor's number for each strike of a fault."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Set it to stop producing, flush and return."""
