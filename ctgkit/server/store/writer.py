"""The writer: a bounded queue, groups, acknowledgements, retries. It knows no SQL and no engine.

It takes whatever is queued, has an :class:`Engine` write it in one transaction, and only then
acknowledges. The queue is bounded in rows and bytes: :meth:`Store.room` makes producers wait (TCP
then holds the sensors back). A full disk or a locked database keeps the group queued; it is
retried, counted, and ``degraded`` says why.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import repeat

from ctgkit.samples import Sample
from ctgkit.server.numbering import Attendance
from ctgkit.server.repeats import ResultRow
from ctgkit.server.roster import Roster
from ctgkit.server.store.archive import Archive
from ctgkit.server.store.engine import (
    Again,
    Engine,
    Group,
    Question,
    Reading,
    Replies,
    Written,
)

log = logging.getLogger(__name__)

QUEUE_MAX_ROWS = 8_000
"""Rows waiting to be written before producers have to wait, so also about the longest
transaction: some 80 ms of writing, 2 MB of memory."""
QUEUE_MAX_BYTES = 16 * 1024 * 1024
"""Bytes of results waiting before producers have to wait. Chosen: eight thousand usual results
have 3 MB; an ML service may answer with 1 MB each."""
COMMIT_EVERY_S = 0.02
"""From one commit to the next at least, seconds: what comes meanwhile shares its cost. The first
after a pause is at once, and so is one for which somebody holds back: acknowledgements don't."""
COMMIT_LATER_S = 0.08
"""How much longer a group may grow while nobody waits for an acknowledgement, seconds: sensors of
the specification get none, and those that agreed to groups get theirs later anyway."""
RETRY_S = (0.05, 1.0)
"""First and longest pause after a failed commit, seconds; doubling."""
SETTLE_S = 1.0
"""How long a reader waits for what is queued; with a full disk it does without, seconds."""
ROSTER_EVERY_S = 2.0
"""How often the database is asked which sensors it knows, seconds."""
MAINTAIN_EVERY_S = 1.0
"""Pause between an engine's chores, seconds."""

_WRITING, _CHORES, _READING = "writing", "housekeeping", "reading the past"
_ROSTER = "reading the sensors"


class Store:
    """What the backend stores, over one engine; what the live page reads is in the archive."""

    def __init__(self, engine: Engine, archive: Archive) -> None:
        self._engine, self.archive = engine, archive
        self.recovered = engine.recovered
        self.on_commit: Callable[[float, int], None] = lambda seconds, rows: None
        """Called after each commit with its duration, seconds, and its number of rows."""
        self.on_late: Callable[[Sequence[Sample]], None] = lambda samples: None
        """Called with samples that were questions, or waited for one, once they may go on."""
        self.on_stale: Callable[[Attendance], None] = lambda attendance: None
        """Called with each connection of which nothing was stored, as it is over."""
        self.stored = self.duplicates = self.conflicts = 0
        self.commit_failures = self.read_failures = 0
        self._troubles: dict[str, str] = {}
        """What failed at last, and why."""
        self._queue = Group()
        self._wake, self._urgent, self._awaited = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.full = False
        """Whether producers have to await :meth:`room`."""
        self._room = asyncio.Event()
        self._closing = self._hurried = self._gave_up = False

    @property
    def degraded(self) -> str:
        """Why the last commit, read or chore failed; empty while all is well."""
        return next(iter(self._troubles.values()), "")

    # Producers: none of these waits; those that may be many call `room()` first.

    def add_sample(self, source: Attendance, sample: Sample) -> None:
        """Queue one sample that is certainly new."""
        samples = self._queue.samples
        samples.append((source, sample))
        self._wake.set()
        if len(samples) >= QUEUE_MAX_ROWS:
            self.full = True

    def add_samples(self, source: Attendance, samples: Sequence[Sample]) -> None:
        """Queue several samples of one connection that are certainly new."""
        queued = self._queue.samples
        queued.extend(zip(repeat(source), samples))
        self._wake.set()
        if len(queued) >= QUEUE_MAX_ROWS:
            self.full = True

    def ask(self, source: Attendance, sample: Sample, replies: Replies) -> None:
        """Queue one sample that is stored, and acknowledged, if it isn't there already."""
        queue = self._queue
        turn = source.numbers.ask(sample)
        queue.questions.append(Question(source, sample, replies, turn, len(queue.samples)))
        self._awaited.set()
        self._queued()

    def add_prediction(
        self,
        examination_id: int,
        sensor_id: str,
        sec_from_start: float | None,
        status: str | None,
        body: str,
        repeated: bytes | None = None,
    ) -> None:
        """Queue one result, and the data times of those before it that it stands for."""
        row = ResultRow(examination_id, sensor_id, sec_from_start, status, body, repeated)
        self._queue.predictions.append(row)
        self._queue.body_bytes += len(body)
        self._queued()

    def acknowledge(self, replies: Replies, seq: int) -> None:
        """Have *seq* acknowledged once all queued so far is committed; the largest wins."""
        acks = self._queue.acks
        acks[replies] = max(seq, acks.get(replies, seq))
        if not replies.patient:
            self._awaited.set()
        self._wake.set()

    def open_examination(self, examination_id: int, bed: str) -> None:
        """Queue the creation of an examination."""
        self._queue.opened.append((examination_id, bed))
        self._awaited.set()
        self._queued()

    def close_examination(self, examination_id: int, *, interrupted: bool) -> None:
        """Queue the end of an examination: now, or at its last sample if it was interrupted."""
        self._queue.closed.append((examination_id, interrupted))
        self._awaited.set()
        self._queued()

    def _queued(self) -> None:
        self._wake.set()
        if len(self._queue) >= QUEUE_MAX_ROWS or self._queue.body_bytes >= QUEUE_MAX_BYTES:
            self.full = True

    @property
    def queued_bytes(self) -> int:
        """Bytes of results waiting."""
        return self._queue.body_bytes

    @property
    def depth(self) -> int:
        """Rows waiting."""
        return len(self._queue)

    async def room(self) -> None:
        """Wait until the queue is below its bounds."""
        if self.full:
            self._hasten()
            self._room.clear()
            await self._room.wait()

    @property
    def pending(self) -> asyncio.Event:
        """What is set when the group that is queued now is committed, or given up."""
        return self._queue.over

    async def written(self) -> None:
        """Wait until what is queued now is committed, or given up."""
        pending = self.pending
        self._hasten()
        await pending.wait()

    async def settled(self) -> None:
        """Wait until what is queued now is committed, :data:`SETTLE_S` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self.written()

    # The writer

    async def run(self) -> None:
        """Write groups until :meth:`stop`, then what is left."""
        next_s = -math.inf
        while not (self._closing and not len(self._queue) and not self._queue.acks):
            await self._wake.wait()
            await self._gather(next_s - time.monotonic())
            next_s = time.monotonic() + COMMIT_EVERY_S
            self._wake.clear()
            group, self._queue = self._queue, Group()
            self.full = False
            self._room.set()
            written = None
            if not self._gave_up:
                written = await self._commit(group) if len(group) else Written(0)
            if written is not None:
                self._reply(group, written)
            else:
                # Acks are cumulative, and a later number stored says that the earlier ones are:
                # after a group that is lost to us nothing may be written or acknowledged.
                self._gave_up = True
                if len(group):
                    log.error("gave up at shutdown: %d rows not written", len(group))
            group.over.set()

    async def _gather(self, pause_s: float) -> None:
        """Let a group grow for *pause_s* and, if nobody waits for it, longer."""
        if pause_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._urgent.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COMMIT_LATER_S):
                    await self._awaited.wait()
        self._urgent.clear()
        self._awaited.clear()

    def _hasten(self) -> None:
        """Have what is queued written at once."""
        self._wake.set()
        self._urgent.set()
        self._awaited.set()

    def hurry(self) -> None:
        """From now on give up what cannot be written within seconds, and all that follows."""
        self._hurried = True

    def stop(self) -> None:
        """Let :meth:`run` return when everything is written."""
        self.hurry()
        self._closing = True
        self._hasten()

    async def _commit(self, group: Group) -> Written | None:
        """Write a group, as often as it takes; None when that is given up."""
        pause_s = RETRY_S[0]
        while True:
            started = time.perf_counter()
            try:
                written = await self._engine.write(group)
                break
            except Again as error:
                self.commit_failures += 1
                if _WRITING not in self._troubles:
                    log.error("cannot write, retrying: %s", error)
                self._troubles[_WRITING] = str(error)
                if self._hurried and pause_s >= RETRY_S[1]:
                    return None
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_S[1])
        if self._troubles.pop(_WRITING, ""):
            log.info("writing works again")
        self.on_commit(time.perf_counter() - started, len(group))
        return written

    def _reply(self, group: Group, written: Written) -> None:
        """Pass on what became of a group's samples."""
        self.stored += written.stored
        for attendance in written.stale:
            attendance.stale = True
            self.on_stale(attendance)
        for numbers, largest in written.learned:
            self._forward(numbers.learn(largest))
        for question, outcome in zip(group.questions, written.outcomes, strict=True):
            seq, replies = question.sample.seq, question.replies
            if outcome == "conflict":
                self.conflicts += 1
            elif seq is not None and outcome != "stale":
                group.acks[replies] = max(seq, group.acks.get(replies, seq))
            if outcome == "again":
                self.duplicates += 1
            due = question.source.numbers.decide(question.turn, is_new=outcome == "new")
            self._forward(due)
            replies.settle(
                question.sample, outcome
            )  # its error comes before the ack that covers it
        for replies, seq in group.acks.items():
            replies.ack(seq)

    def _forward(self, samples: Sequence[Sample]) -> None:
        if samples:
            self.on_late(samples)

    # Beside the writer

    async def maintain_forever(self) -> None:
        """Do the engine's chores now and then."""
        while True:
            await asyncio.sleep(MAINTAIN_EVERY_S)
            try:
                await self._engine.maintain(self.stored)
                self._troubles.pop(_CHORES, "")
            except Again as error:
                self._note_failed_read(_CHORES, error)

    async def recent(
        self, examination_id: int, sensor_id: str, past_s: float
    ) -> AsyncIterator[list[Reading]]:
        """Yield a sensor's stored samples of the last *past_s* seconds of data time, in pages.

        Oldest first; it ends early when reading fails.
        """
        try:
            async for page in self._engine.recent(examination_id, sensor_id, past_s):
                yield page
        except Again as error:
            self._note_failed_read(_READING, error)
            return
        self._troubles.pop(_READING, "")

    async def watch(self, roster: Roster, withdraw: Callable[[str], None]) -> None:
        """Look, now and then, which sensors the database knows; tell whose tokens are void."""
        while True:
            try:
                for sensor_id in roster.update(await self._engine.known()):
                    withdraw(sensor_id)
                self._troubles.pop(_ROSTER, "")
            except Again as error:
                self._note_failed_read(_ROSTER, error)
            await asyncio.sleep(ROSTER_EVERY_S)

    async def last_result(self, examination_id: int, sensor_id: str) -> str | None:
        """Return the last result of a sensor that is stored; None when reading fails."""
        try:
            return await self._engine.last_result(examination_id, sensor_id)
        except Again as error:
            self._note_failed_read(_READING, error)
            return None

    def _note_failed_read(self, what: str, error: Again) -> None:
        self.read_failures += 1
        if what not in self._troubles:
            log.error("%s failed: %s", what, error)
        self._troubles[what] = str(error)
