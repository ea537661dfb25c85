"""The registry of a node among others: claims, releases, heartbeats, housekeeping.

Claims are made many at a time: what comes while one batch is on its way goes with the next one.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ctgkit.errors import StoreError
from ctgkit.server.numbering import Attendance, Numbers
from ctgkit.server.registry import Replaced
from ctgkit.server.session import Action, CloseExamination, Displace, OpenExamination
from ctgkit.server.store.engine import Again
from ctgkit.server.store.postgres.chores import do_chores_forever
from ctgkit.server.store.postgres.link import Link
from ctgkit.server.store.postgres.node import DEADLINE_S, Node
from ctgkit.server.store.postgres.shares import Shares
from ctgkit.server.store.postgres.waiting import Claim, Release, Waiting
from ctgkit.server.store.writer import Store

log = logging.getLogger(__name__)

BEAT_EVERY_S = 1.0
"""From one heartbeat to the next, seconds; commits between them count too."""
CLAIM_DEADLINE_S = 10.0
"""How long a sensor waits to be let in, seconds; then it is told to come again."""
CLAIMS_AT_ONCE = 250
"""Sensors per claim: some 50 ms in the database, in which the nodes they come from can't commit."""
WRITTEN_DEADLINE_S = 1.0
"""How long a sensor that comes again waits for what came over its older connection, seconds."""
_CLAIM = "SELECT * FROM ctgkit_claim($1, $2, $3, $4, $5, $6, $7, $8)"
_RELEASE = "SELECT * FROM ctgkit_release($1, $2, $3)"
_OURS = "SELECT sensor_id, epoch FROM attendances WHERE node = $1 AND generation = $2 AND present"
_SHARES = """
    SELECT n.id, count(a.sensor_id) FROM nodes n LEFT JOIN attendances a
        ON a.node = n.id AND a.generation = n.generation AND a.present
    WHERE n.alive GROUP BY n.id
"""
_OPEN = "SELECT id, bed FROM examinations WHERE end_time IS NULL"


class PostgresRegistry:
    """Which sensors this node has, as the database says.

    Parameters
    ----------
    node : Node
        This node.
    link : Link
        For claims; the node's own is for heartbeats.
    chores : Link
        For what may take long.
    store : Store
        Whose groups have to be written before a sensor is let go.
    beds : mapping of str to str
        Sensor id -> bed; others may change it.
    grace_s, handover_s : float
        How long an examination stays open without a sensor: when it left by itself, and when it
        was lost with a node or its network, seconds.
    keep_days : float
        Examinations that ended longer ago are removed; 0 keeps all.
    """

    def __init__(
        self,
        node: Node,
        link: Link,
        chores: Link,
        store: Store,
        beds: Mapping[str, str],
        grace_s: float,
        handover_s: float,
        keep_days: float = 0.0,
    ) -> None:
        self._node, self._link, self._chores = node, link, chores
        self._store, self._bed_of = store, beds
        self._grace_s, self._handover_s = grace_s, handover_s
        self._keep_days = keep_days
        self.on_actions: Callable[[Sequence[Action]], None] = lambda actions: None
        self.on_lost: Callable[[str], None] = lambda reason: None
        self.on_taken: Callable[[str, int], None] = lambda node, epoch: None
        """Hears of another node's connection that was taken over here: somebody may tell it."""
        self.on_uneven: Callable[[Sequence[Attendance]], None] = lambda going: None
        self._shares = Shares()
        self.counts = node.counts
        self._attending: dict[str, Attendance] = {}
        self._by_epoch: dict[int, Attendance] = {}
        self._left: dict[str, Attendance] = {}
        """The last connection here of sensors that left by themselves."""
        self._open: dict[int, str] = {}
        self._waiting = Waiting()
        self._in_doubt = False
        """Whether the answer to a claim was lost: the database may think that a sensor is here."""
        self._heard_s = time.monotonic()
        """When the database last answered a heartbeat."""
        self._away = False
        node.on_new_generation = self._lost
        store.on_stale = self._is_stale

    @property
    def connected(self) -> Mapping[str, Attendance]:
        """The sensors connected here, by id."""
        return self._attending

    @property
    def node(self) -> tuple[str, int]:
        """Name and generation of this node."""
        return self._node.name, self._node.generation

    def open_examinations(self) -> Mapping[int, str]:
        """Return id -> bed of the open examinations of all nodes, as of the last heartbeat."""
        return self._open

    def trouble(self, longest_s: float) -> str:
        """Return why no sensor can be let in, when that has been so for *longest_s*."""
        silent_s = time.monotonic() - self._heard_s
        return "the database does not answer" if silent_s > longest_s else ""

    # Sensors come and go

    async def claim(
        self, sensor_id: str, stream: str | None, *, numbered: bool, arrived_s: float | None = None
    ) -> Attendance:
        """Let a sensor in, as soon as the database says so."""
        arrived_s = time.monotonic() if arrived_s is None else arrived_s
        if (older := self._attending.get(sensor_id)) is not None:
            older.displaced = True
            with contextlib.suppress(TimeoutError):  # else it is resent, as over another node
                async with asyncio.timeout(WRITTEN_DEADLINE_S):
                    await self._store.written()
        answer: asyncio.Future[Attendance] = asyncio.get_running_loop().create_future()
        claim = Claim(sensor_id, self._bed_of[sensor_id], stream, numbered, arrived_s, answer)
        self._waiting.claims.append(claim)
        self._waiting.some.set()
        try:
            async with asyncio.timeout(CLAIM_DEADLINE_S):
                return await answer
        except TimeoutError as error:
            raise Again("the database is slow") from error

    def release(self, attendance: Attendance, *, lost: bool) -> None:
        """Let a sensor go once all that it sent is written."""
        if self._attending.get(attendance.sensor_id) is attendance:
            del self._attending[attendance.sensor_id]
        if self._by_epoch.pop(attendance.epoch, None) is None:
            return  # another connection has it, or another node
        self._left[attendance.sensor_id] = attendance
        wait_s = max(self._grace_s, self._handover_s) if lost else self._grace_s
        self._waiting.releases.append(Release(attendance, wait_s, self._store.pending))
        self._waiting.some.set()

    async def _converse(self) -> None:
        """Claim and release, as sensors come and go."""
        waiting = self._waiting
        while True:
            await waiting.some.wait()
            waiting.some.clear()
            try:
                if waiting.releases:
                    await self._release_some()
                if self._in_doubt:
                    await self._let_go_strays()
                if waiting.claims:
                    await self._claim_some()
            except Again as error:
                log.warning("sensors cannot be admitted for now: %s", error)
                await asyncio.sleep(0.2)
            if waiting.claims or waiting.releases or self._in_doubt:
                waiting.some.set()

    async def _claim_some(self) -> None:
        # Who left a bed before may have ended its examination.
        left = {r.attendance.bed for r in self._waiting.releases}
        ready = [c for c in self._waiting.claims if c.bed not in left]
        claims = ready[:CLAIMS_AT_ONCE]
        if not claims:
            return
        taken = set(claims)
        self._waiting.claims = [c for c in self._waiting.claims if c not in taken]
        try:
            if unknown := {c.sensor_id for c in claims} - self._node.keys.keys():
                await self._node.learn_keys(unknown)
            generation = self._node.generation
            rows = await self._link.fetch(
                _CLAIM, self._node.name, generation,
                [self._node.keys[c.sensor_id] for c in claims],
                [c.bed for c in claims],
                [c.stream for c in claims],
                [c.numbered for c in claims],
                self._node.clock.at(time.monotonic()),
                [self._node.clock.at(c.arrived_s) for c in claims],
                deadline_s=DEADLINE_S,
            )  # fmt: skip
            if len(rows) < len(claims):
                await self._node.begin_anew(generation)
                raise Again("this node began anew")
        except (Again, StoreError, KeyError) as error:
            self._in_doubt = True
            for claim in claims:
                if not claim.answer.done():
                    claim.answer.set_exception(Again(str(error)))
            if isinstance(error, StoreError):
                raise
            return
        for claim, row in zip(claims, rows, strict=True):
            self._admit(claim, row)

    def _admit(self, claim: Claim, row: Any) -> None:
        """Take note of a claim that the database granted."""
        if row["epoch"] is None:
            if not claim.answer.done():
                claim.answer.set_exception(Replaced())
            return
        largest = row["largest"]
        attendance = Attendance(
            claim.sensor_id,
            row["examination"],
            claim.stream,
            # Nobody else may store a number of this stream now: a larger one is certainly new.
            Numbers(-1 if largest is None else largest, known=True),
            row["stream"],
            bed=claim.bed,
            epoch=row["epoch"],
            sensor_key=self._node.keys[claim.sensor_id],
        )
        attendance.was_elsewhere = self._was_elsewhere(row, attendance)
        bed, actions = claim.bed, list[Action]()
        if (closed := row["closed"]) is not None:
            self._open.pop(closed, None)
            actions.append(CloseExamination(closed, bed, row["closed_interrupted"]))
        if row["opened"]:
            actions.append(OpenExamination(attendance.examination_id, bed))
        self._open[attendance.examination_id] = bed
        if row["old_node"] == self._node.name:
            actions += self._gone((row["old_epoch"],))
        elif row["old_node"] is not None:
            self.counts["taken"] += 1
            self.on_taken(row["old_node"], row["old_epoch"])
        self._shares.came(claim.sensor_id)
        self._by_epoch[attendance.epoch] = attendance
        self._attending[claim.sensor_id] = attendance
        self.on_actions(actions)
        if claim.answer.done():  # the connection went away meanwhile
            self.release(attendance, lost=True)
        else:
            claim.answer.set_result(attendance)

    def _was_elsewhere(self, row: Any, new: Attendance) -> bool:
        """Return whether another node may have stored something of a sensor since it was here."""
        left = self._left.pop(new.sensor_id, None)
        if row["old_node"] is not None:
            return bool(row["old_node"] != self._node.name)
        if left is None or new.stream_key is None or left.stream != new.stream:
            return True
        return new.numbers.largest > left.numbers.largest

    async def _let_go_strays(self) -> None:
        """Let go the sensors that the database thinks are here, and that are not."""
        node, generation = self._node.name, self._node.generation
        rows = await self._link.fetch(_OURS, node, generation, deadline_s=DEADLINE_S)
        known = self._by_epoch.keys() | {r.attendance.epoch for r in self._waiting.releases}
        if strays := [(key, epoch) for key, epoch in rows if epoch not in known]:
            keys, epochs = ([stray[n] for stray in strays] for n in (0, 1))
            waits = [self._handover_s] * len(strays)
            self._closed(
                await self._link.fetch(_RELEASE, keys, epochs, waits, deadline_s=DEADLINE_S)
            )
        self._in_doubt = False

    async def _release_some(self) -> None:
        releases = self._waiting.releases
        if not all(r.pending.is_set() for r in releases):
            await self._store.settled()
        ready = [r for r in releases if r.pending.is_set()][:CLAIMS_AT_ONCE]
        if not ready:
            return
        rows = await self._link.fetch(
            _RELEASE,
            [r.attendance.sensor_key for r in ready],
            [r.attendance.epoch for r in ready],
            [r.wait_s for r in ready],
            deadline_s=DEADLINE_S,
        )
        gone = set(map(id, ready))
        self._waiting.releases = [r for r in releases if id(r) not in gone]
        self._closed(rows)

    def _closed(self, rows: Sequence[Any]) -> None:
        for examination_id, bed, interrupted in rows:
            self._open.pop(examination_id, None)
            self.on_actions([CloseExamination(examination_id, bed, interrupted)])

    # Others take over

    def displaced(self, epochs: Sequence[int]) -> None:
        """Take note that other nodes have the sensors of these connections."""
        self.on_actions(self._gone(epochs))

    def _gone(self, epochs: Sequence[int]) -> list[Action]:
        actions: list[Action] = []
        for epoch in epochs:
            if (attendance := self._by_epoch.pop(epoch, None)) is not None:
                self.counts["displaced"] += 1
                attendance.displaced = True
                if self._attending.get(attendance.sensor_id) is attendance:
                    del self._attending[attendance.sensor_id]
                actions.append(Displace(attendance))
        return actions

    def _is_stale(self, attendance: Attendance) -> None:
        """Take note that a group's samples of a connection were not stored: it is over."""
        self.displaced((attendance.epoch,))

    def _lost(self) -> None:
        """Send all sensors away: what this node owned belongs to nobody any more."""
        for attendance in self._by_epoch.values():
            attendance.displaced = attendance.stale = True
        self._by_epoch.clear()
        self._attending.clear()
        self.on_lost("this node was cut off, come again")

    # Heartbeats and housekeeping

    async def start(self) -> None:
        """Do the housekeeping once: an earlier run's sensors are let go."""
        try:
            await self._keep_house()
        except Again as error:
            log.warning("housekeeping postponed: %s", error)

    async def run(self) -> None:
        """Claim, release, and keep house until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._converse())
            tasks.create_task(self._beat_forever())
            tasks.create_task(do_chores_forever(self._chores, self._keep_days))

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(BEAT_EVERY_S)
            try:
                await self._beat()
                self._heard_s = time.monotonic()
                if self._away:
                    await self._node.hold_name()
                    self._away = False
                await self._keep_house()
                await self._even_out()
            except Again as error:
                silent_s = time.monotonic() - self._heard_s
                if silent_s > self._node.lease_s and self._by_epoch:
                    log.error("no heartbeat for %.0f s, sensors are cut off: %s", silent_s, error)
                    self._lost()
                self._away = True

    async def _beat(self) -> None:
        generation = self._node.generation
        row = await self._node.ask_with_time("ctgkit_beat($1, $2)", self._node.name, generation)
        if row["fenced"]:
            await self._node.begin_anew(generation)
        elif row["gone"]:
            self.displaced(row["gone"])

    async def _keep_house(self) -> None:
        link = self._node.link
        for (name,) in await link.fetch(
            "SELECT ctgkit_fence($1)", self._node.lease_s, deadline_s=DEADLINE_S
        ):
            log.warning("node %s was silent for %g s: fenced", name, self._node.lease_s)
        self._closed(
            await link.fetch(
                "SELECT * FROM ctgkit_tidy($1)", self._handover_s, deadline_s=DEADLINE_S
            )
        )
        rows = await link.fetch(_OPEN, deadline_s=DEADLINE_S)
        self._open = {row[0]: row[1] for row in rows}

    async def _even_out(self) -> None:
        """Send some sensors away when this node has more than its share."""
        counts = {row[0]: row[1] for row in await self._node.link.fetch(
            _SHARES, deadline_s=DEADLINE_S
        )}  # fmt: skip
        going = self._shares.too_many(list(self._attending), counts, time.monotonic())
        if going:
            log.info("%d of %d sensors go: more than its share", len(going), len(self._attending))
            self.on_uneven([self._attending[sensor_id] for sensor_id in going])

    async def stop(self) -> None:
        """Let go what is left and say that this node is gone."""
        try:
            while self._waiting.releases:
                await self._release_some()
            await self._node.leave()
        except (Again, StoreError) as error:
            log.warning("could not sign off: %s", error)
