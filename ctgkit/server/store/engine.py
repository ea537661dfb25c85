"""What the writer asks of a database: groups in, what became of them out. No SQL is here."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ctgkit.samples import Sample
from ctgkit.server.numbering import Attendance, Numbers, Outcome, Turn
from ctgkit.server.repeats import ResultRow
from ctgkit.server.roster import Known

Reading = tuple[float, float | None, float | None, float | None]
"""Data time in seconds, fhr_bpm, uterus, spasms."""


class Again(Exception):
    """Writing failed for a reason that may pass; nothing of the group was written."""


class Replies(Protocol):
    """The connection that hears what became of its samples."""

    patient: bool
    """Whether it would hold back an acknowledgement anyway."""

    def ack(self, seq: int) -> None:
        """Everything up to *seq* is committed, or was rejected."""

    def settle(self, sample: Sample, outcome: Outcome) -> None:
        """Hear what became of a sample that was a question."""


@dataclass(frozen=True, slots=True)
class Question:
    """A sample that is stored only if it isn't there."""

    source: Attendance
    sample: Sample
    replies: Replies
    turn: Turn
    after: int
    """How many samples of its group came before it: rows keep the order of arrival."""


@dataclass(slots=True)
class Group:
    """What one transaction writes, and what it acknowledges afterwards."""

    opened: list[tuple[int, str]] = field(default_factory=list)
    """Examination, bed."""
    samples: list[tuple[Attendance, Sample]] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    predictions: list[ResultRow] = field(default_factory=list)
    closed: list[tuple[int, bool]] = field(default_factory=list)
    """Examination, and whether it was interrupted."""
    acks: dict[Replies, int] = field(default_factory=dict)
    body_bytes: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it is committed, or given up."""

    def __len__(self) -> int:
        return (
            len(self.samples) + len(self.questions) + len(self.predictions)
            + len(self.opened) + len(self.closed)
        )  # fmt: skip


@dataclass(slots=True)
class Written:
    """What an engine says of a group that is committed."""

    stored: int
    """Samples that are new."""
    outcomes: Sequence[Outcome] = ()
    """One for each question, in order."""
    learned: Sequence[tuple[Numbers, int]] = ()
    """The largest stored numbers of streams of which that wasn't known."""
    stale: Sequence[Attendance] = ()
    """Connections whose sensors another node has by now: of theirs nothing with a number was
    stored, so nothing is acknowledged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What the database says at start."""

    token_digests: dict[str, bytes]
    """Of each sensor whose token was ever configured with this database."""
    last_examination_id: int
    open_examinations: tuple[tuple[int, str, float], ...]
    """Id, bed, and age of the last sample in seconds."""


class Engine(Protocol):
    """A database. Its errors are :class:`Again` and :class:`~ctgkit.errors.StoreError`."""

    recovered: Recovered

    async def write(self, group: Group) -> Written:
        """Write a group in one transaction, and answer its questions in the same one."""

    def recent(
        self, examination_id: int, sensor_id: str, past_s: float
    ) -> AsyncIterator[list[Reading]]:
        """Yield a sensor's stored samples of the last *past_s* seconds, oldest first, in pages."""

    async def known(self) -> list[Known]:
        """Return the sensors that live in the database."""

    async def last_result(self, examination_id: int, sensor_id: str) -> str | None:
        """Return the last result of a sensor that is stored, as it came."""

    async def maintain(self, stored: int) -> None:
        """Do what has to be done now and then; *stored* says whether anything was written."""
