"""Who has which sensor, and which examination its samples belong to: here alone, or with others.

Decisions about one process are in :mod:`ctgkit.server.session` (pure), those about several in the
database that they share (:mod:`ctgkit.server.store.postgres.registry`).
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ctgkit.server.numbering import Attendance
from ctgkit.server.session import Action, CloseExamination, OpenExamination, Session
from ctgkit.server.settings import HOUSEKEEPING_EVERY_S
from ctgkit.server.store.writer import Store

NOT_READY_AFTER_S = 3.0
"""How long the database may be silent before balancers are told, seconds."""
REFUSES_AFTER_S = 10.0
"""And before sensors are refused, seconds: until then they are let in once it answers."""


class Replaced(Exception):
    """A connection came before another one that has its sensor already."""


class Registry(Protocol):
    """What the backend asks before it lets a sensor in, and tells when one left."""

    on_actions: Callable[[Sequence[Action]], None]
    """Hears what was decided: examinations that opened or closed, connections to be replaced."""
    on_lost: Callable[[str], None]
    """Hears why all sensors have to be sent away: this node owns none any more."""
    on_uneven: Callable[[Sequence[Attendance]], None]
    """Hears which sensors should go to another node: this one has more than its share."""
    on_taken: Callable[[str, int], None]
    """Hears of another node's connection that was taken over here: somebody may tell it."""

    @property
    def connected(self) -> Mapping[str, Attendance]:
        """The sensors connected here, by id."""

    @property
    def node(self) -> tuple[str, int]:
        """Name and generation of this node; empty where there is only one."""

    @property
    def counts(self) -> Mapping[str, int]:
        """What happened to this node, by kind."""

    def trouble(self, longest_s: float) -> str:
        """Return why no sensor can be let in, when that has been so for *longest_s*."""

    def open_examinations(self) -> Mapping[int, str]:
        """Return id -> bed of the open examinations."""

    async def claim(
        self, sensor_id: str, stream: str | None, *, numbered: bool, arrived_s: float | None = None
    ) -> Attendance:
        """Let a sensor in; its earlier connection, if any, is displaced.

        *arrived_s* is when this one came, monotonic; now unless told.

        Raises
        ------
        Again
            When that can't be decided now: the sensor should come again.
        Replaced
            When a later connection of the sensor, at another node, was let in already.
        """

    def release(self, attendance: Attendance, *, lost: bool) -> None:
        """End a connection; *lost* says that the sensor didn't leave by itself."""

    def displaced(self, epochs: Sequence[int]) -> None:
        """Take note that other nodes have the sensors of these connections."""

    async def start(self) -> None:
        """Take over what an earlier run left."""

    async def run(self) -> None:
        """Keep house until cancelled."""

    async def stop(self) -> None:
        """Let go what is left, once everything is written."""


class LocalRegistry:
    """One process alone with its database."""

    def __init__(self, session: Session, store: Store) -> None:
        self._session, self._store = session, store
        self.on_actions: Callable[[Sequence[Action]], None] = lambda actions: None
        self.on_lost: Callable[[str], None] = lambda reason: None
        self.on_uneven: Callable[[Sequence[Attendance]], None] = lambda going: None
        self.on_taken: Callable[[str, int], None] = lambda node, epoch: None
        self.counts: Mapping[str, int] = {}
        self.node = ("", 0)

    @property
    def connected(self) -> Mapping[str, Attendance]:
        """The connected sensors, by id."""
        return self._session.connected

    def trouble(self, longest_s: float) -> str:
        """Return nothing: a database that can't be written holds sensors back."""
        return ""

    def open_examinations(self) -> Mapping[int, str]:
        """Return id -> bed of the open examinations."""
        return self._session.open_examinations()

    async def claim(
        self, sensor_id: str, stream: str | None, *, numbered: bool, arrived_s: float | None = None
    ) -> Attendance:
        """Let a sensor in, at once: connections come here in order."""
        attendance, actions = self._session.connect(sensor_id, time.monotonic(), stream)
        self._perform(actions)
        return attendance

    def release(self, attendance: Attendance, *, lost: bool) -> None:
        """End a connection."""
        self._perform(self._session.disconnect(attendance, time.monotonic(), lost=lost))

    def displaced(self, epochs: Sequence[int]) -> None:
        """Do nothing: there are no others."""

    async def start(self) -> None:
        """Go on with, or close, the examinations that an earlier run left open."""
        opened = self._store.recovered.open_examinations
        self._perform(self._session.recover(opened, time.monotonic()))

    async def run(self) -> None:
        """Close examinations whose grace period is over."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_EVERY_S)
            self._perform(self._session.expire(time.monotonic()))

    async def stop(self) -> None:
        """Do nothing: releases were written with the rest."""

    def _perform(self, actions: Sequence[Action]) -> None:
        self.on_actions(actions)  # results that were held belong to what is closed below
        for action in actions:
            match action:
                case OpenExamination(examination_id, bed):
                    self._store.open_examination(examination_id, bed)
                case CloseExamination(examination_id, _, interrupted):
                    self._store.close_examination(examination_id, interrupted=interrupted)
                case _:
                    pass
