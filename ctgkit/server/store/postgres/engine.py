"""PostgreSQL as an engine: a group is one call of one function, one round trip."""

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from ctgkit.errors import StoreError
from ctgkit.samples import Sample
from ctgkit.server.numbering import Attendance, Outcome
from ctgkit.server.roster import Known
from ctgkit.server.store.engine import Again, Group, Reading, Recovered, Written
from ctgkit.server.store.past import RATE_MAX_HZ
from ctgkit.server.store.postgres.link import Link
from ctgkit.server.store.postgres.node import Node

log = logging.getLogger(__name__)

COMMIT_DEADLINE_S = 30.0
"""After so long without an answer a commit is asked for again over a new connection, seconds. It
isn't cancelled: the second one waits behind the first."""
READ_DEADLINE_S = 10.0
PAGE_ROWS = 256
"""Rows of the past that are read at a time, as from SQLite."""
PAGE_ROWS_SORTED = 4096
"""The same where each page has to be sorted out of all."""
_BEGINNING = datetime.min.replace(tzinfo=UTC)
_AS_TEXT: Final = {
    9: "int[]", 10: "bigint[]", 11: "float8[]", 12: "float8[]", 13: "float8[]", 14: "float8[]",
    15: "int[]",
}  # fmt: skip
"""Parameters with a number for each row: the driver needs four times as long for each element as
msgspec for its text."""
_COMMIT: Final = "SELECT * FROM ctgkit_commit({})".format(
    ", ".join(f"${n}::text::{_AS_TEXT[n]}" if n in _AS_TEXT else f"${n}" for n in range(1, 29))
)
_ANSWERS: Final[dict[str, Outcome]] = {"n": "new", "a": "again", "c": "conflict", "s": "stale"}
_OF_SENSOR: Final = "FROM samples WHERE examination_id = $1 AND sensor_id = $2"
_NEWEST: Final = f"""
    SELECT stream_id, seq, sec_from_start {_OF_SENSOR} AND stream_id > 0
    ORDER BY stream_id DESC, seq DESC LIMIT 1 OFFSET $3
"""
_NUMBERED: Final = f"""
    SELECT sec_from_start, bpm, uterus, spasms, stream_id, seq {_OF_SENSOR}
        AND (stream_id, seq) >= ($3, $4) AND (stream_id, seq) <= ($5, $6)
    ORDER BY stream_id, seq LIMIT $7
"""
_NEWEST_WITHOUT_NUMBER: Final = f"""
    SELECT created_at, sec_from_start {_OF_SENSOR} AND stream_id = 0
    ORDER BY created_at DESC LIMIT 1
"""
_WITHOUT_NUMBER: Final = f"""
    SELECT sec_from_start, bpm, uterus, spasms, created_at {_OF_SENSOR} AND stream_id = 0
        AND sec_from_start >= $3 AND created_at > $4 AND created_at <= $5
    ORDER BY created_at LIMIT $6
"""
"""No index has these in their order: they are read in larger pages."""
_LAST_RESULT: Final = """
    SELECT body FROM predictions WHERE examination_id = $1 AND sensor_id = $2
    ORDER BY created_at DESC LIMIT 1
"""

_KNOWN: Final = """
    SELECT uuid, id, token_digest, bed, control FROM sensors
    WHERE bed IS NOT NULL AND token_digest IS NOT NULL
"""

Columns = list[list[Any]]


class PostgresEngine:
    """One PostgreSQL database, for one node. Made by :func:`~.open.open_store`."""

    def __init__(self, node: Node, writer: Link, reader: Link, recovered: Recovered) -> None:
        self._node, self._writer, self._reader = node, writer, reader
        self.recovered = recovered
        self._group_no = 0
        self._written: Group | None = None

    async def write(self, group: Group) -> Written:
        """Write a group: a retry of the same one has the same number."""
        if group is not self._written:
            self._group_no += 1
            self._written = group
        sources = dict.fromkeys(source for source, _ in group.samples)
        sources |= dict.fromkeys(question.source for question in group.questions)
        place_of = {source: k for k, source in enumerate(sources, 1)}
        arguments = [*_sources(sources), *_samples(group, place_of), *_questions(group, place_of)]
        arguments += self._predictions(group)
        while True:
            generation = self._node.generation
            try:
                (row,) = await self._writer.fetch(
                    _COMMIT, self._node.name, generation, self._group_no, *arguments,
                    deadline_s=COMMIT_DEADLINE_S,
                )  # fmt: skip
            except Again:
                self._node.counts["ambiguous"] += 1
                raise
            if row["outcome"] != "fenced":
                break
            # We were silent for longer than the lease. What others may have by now is not stored:
            # its epochs are over. What has no number is.
            await self._node.begin_anew(generation)
        stale = set(row["stale"] or ())
        return Written(
            row["stored"] or 0,
            [_ANSWERS[letter] for letter in row["answers"]],
            stale=[source for source in sources if source.epoch in stale],
        )

    def _predictions(self, group: Group) -> Columns:
        keys = self._node.keys
        rows = [
            (
                exam,
                keys[sensor],
                sec,
                None if status is None else _plain(status),
                _plain(body),
                again,
            )
            for exam, sensor, sec, status, body, again in group.predictions
        ]
        return _columns(rows, 6)

    async def recent(
        self, examination_id: int, sensor_id: str, past_s: float
    ) -> AsyncIterator[list[Reading]]:
        """Yield a sensor's stored samples of the last *past_s* seconds, in pages.

        Those without a number first, else oldest first. Between two pages nothing is held.
        """
        where = (examination_id, await self._node.key(sensor_id))
        newest = await self._read(_NEWEST, *where, 0)
        plain = await self._read(_NEWEST_WITHOUT_NUMBER, *where)
        if not newest and not plain:
            return
        since_s = max([r[-1] for r in (*newest, *plain)]) - past_s
        if plain:
            async for rows in self._without_number(where, since_s, plain[0][0]):
                yield rows
        if newest:
            upto = (newest[0][0], newest[0][1])
            async for rows in self._numbered(where, since_s, past_s, upto):
                yield rows

    async def _numbered(
        self, where: tuple[int, int], since_s: float, past_s: float, upto: tuple[int, int]
    ) -> AsyncIterator[list[Reading]]:
        oldest = await self._read(_NEWEST, *where, int(past_s * RATE_MAX_HZ))
        at = (oldest[0][0], oldest[0][1]) if oldest else (0, 0)
        while rows := await self._read(_NUMBERED, *where, *at, *upto, PAGE_ROWS):
            yield [(r[0], r[1], r[2], r[3]) for r in rows if r[0] >= since_s]
            if len(rows) < PAGE_ROWS:
                break
            at = (rows[-1][4], rows[-1][5] + 1)

    async def _without_number(
        self, where: tuple[int, int], since_s: float, upto: datetime
    ) -> AsyncIterator[list[Reading]]:
        after = _BEGINNING
        while rows := await self._read(
            _WITHOUT_NUMBER, *where, since_s, after, upto, PAGE_ROWS_SORTED
        ):
            for n in range(0, len(rows), PAGE_ROWS):
                yield [(r[0], r[1], r[2], r[3]) for r in rows[n : n + PAGE_ROWS]]
            after = rows[-1][4]

    async def _read(self, sql: str, *arguments: Any) -> list[Any]:
        """Return rows; failing to read the past doesn't end the live path."""
        try:
            return await self._reader.fetch(sql, *arguments, deadline_s=READ_DEADLINE_S)
        except StoreError as error:
            raise Again(error.reason) from error

    async def known(self) -> list[Known]:
        """Return the sensors that live in the database; learn the keys of new ones."""
        rows = await self._read(_KNOWN)
        self._node.keys |= {row["uuid"]: row["id"] for row in rows}
        return [Known(r["uuid"], r["token_digest"], r["bed"], r["control"]) for r in rows]

    async def last_result(self, examination_id: int, sensor_id: str) -> str | None:
        """Return the last result of a sensor that is stored, as it came."""
        rows = await self._read(_LAST_RESULT, examination_id, await self._node.key(sensor_id))
        return str(rows[0][0]) if rows else None

    async def maintain(self, stored: int) -> None:
        """Do nothing: autovacuum does, and the registry keeps house."""


def _plain(text: str) -> str:
    """Return a text that PostgreSQL can hold: none holds NUL."""
    return text.replace("\0", "\ufffd")


def _columns(rows: list[tuple[Any, ...]], width: int) -> Columns:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def _sources(sources: dict[Attendance, None]) -> Columns:
    keys = [
        (s.epoch, s.examination_id, s.sensor_key, s.stream_key or 0, s.stream is not None)
        for s in sources
    ]
    return _columns(keys, 5)


def _samples(group: Group, place_of: dict[Attendance, int]) -> list[Any]:
    rows = group.samples
    samples = [sample for _, sample in rows]
    places = None
    if group.questions:  # rows keep the order of arrival: questions were among them
        afters = sorted(question.after for question in group.questions)
        places, before = [], 0
        for n in range(len(rows)):
            while before < len(afters) and afters[before] <= n:
                before += 1
            places.append(n + before + 1)
    columns = [[place_of[source] for source, _ in rows], *_values(samples)]
    columns_text = [_text_of(column) for column in columns]
    return [*columns_text, None if places is None else _text_of(places)]


def _text_of(numbers: list[Any]) -> str:
    """Return numbers as PostgreSQL reads an array.

    >>> _text_of([3, None, 0.1])
    '{3,null,0.1}'
    """
    return f"{{{msgspec.json.encode(numbers)[1:-1].decode()}}}"


def _questions(group: Group, place_of: dict[Attendance, int]) -> list[Any]:
    asked = group.questions
    return [
        [place_of[question.source] for question in asked],
        *_values([question.sample for question in asked]),
        [question.after + n + 1 for n, question in enumerate(asked)],
    ]


def _values(samples: list[Sample]) -> Columns:
    return [
        [s.seq for s in samples],
        [s.sec_from_start for s in samples],
        [s.fhr_bpm for s in samples],
        [s.uterus for s in samples],
        [s.spasms for s in samples],
    ]
