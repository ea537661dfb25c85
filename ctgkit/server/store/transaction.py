"""One group on its way into SQLite: what is new, what is there already, what conflicts."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from msgspec.structs import astuple

from ctgkit.blocks import SAMPLE_COLUMNS, unpack
from ctgkit.samples import Sample
from ctgkit.server.numbering import Attendance, Numbers, Outcome
from ctgkit.server.store import schema
from ctgkit.server.store.engine import Group, Question, Written

ROWS_PER_STATEMENT = (512, 64, 8, 1)
"""Rows that one statement inserts, as many as are there. For each statement the writer's thread
gives up the interpreter and has to win it back from the event loop, up to 5 ms later."""


BLOCKS_KEPT = 256
"""Blocks whose samples stay at hand, some 100 KB each: a sensor that numbers its samples from 0
again asks each examination that it ever had for one number after the other."""


class _Doubt(Exception):
    """A sample that is certainly new is there already."""


class Transaction:
    """One group on its way into the database, in the writer's thread."""

    def __init__(self, db: sqlite3.Connection, keys: Mapping[str, int], group: Group) -> None:
        self._db, self._keys, self._group = db, keys, group
        self._streams: dict[Attendance, int] = {}
        """Keys found or made here; they hold once this is committed."""
        self._now = ""
        """When this began, as SQLite says it."""

    def write(self) -> Written:
        """Write it, all or nothing; return what became of it."""
        try:
            return self._write(self._store_new)
        except _Doubt:  # the answer to an earlier attempt's commit was lost, or somebody wrote here
            self._streams.clear()
            return self._write(self._store_in_doubt)

    def _write(self, store: Callable[[Sequence[tuple[Attendance, Sample]]], int]) -> Written:
        db, group = self._db, self._group
        with db:
            db.execute("BEGIN IMMEDIATE")
            self._now = db.execute(schema.SELECT_NOW).fetchone()[0]
            if group.opened:
                db.executemany(schema.INSERT_EXAMINATION, group.opened)
            outcomes: list[Outcome] = []
            stored = begun = 0
            for question in group.questions:
                if question.after > begun:
                    stored += store(group.samples[begun : question.after])
                    begun = question.after
                outcomes.append(self._answer(question))
            stored += store(group.samples[begun:] if begun else group.samples)
            results = [
                (exam, self._keys[sensor], *rest) for exam, sensor, *rest in group.predictions
            ]
            _insert_results(db, results)
            for examination_id, interrupted in group.closed:
                db.execute(schema.CLOSE_PARTS, (examination_id,))
                end = schema.INTERRUPT_EXAMINATION if interrupted else schema.CLOSE_EXAMINATION
                db.execute(end, (examination_id,))
            learned = self._learn()
        for source, key in self._streams.items():
            source.stream_key = key
        return Written(stored + outcomes.count("new"), outcomes, learned)

    def _store_new(self, samples: Sequence[tuple[Attendance, Sample]]) -> int:
        """Store samples that are certainly new; return how many were."""
        where = {
            source: self._place(source, numbered=one.seq is not None)
            for source, one in dict(samples).items()
        }
        values: list[Any] = []
        for source, sample in samples:
            values += where[source]
            values += astuple(sample)
        if self._insert_rows(values) < len(samples):
            raise _Doubt
        return len(samples)

    def _insert_rows(self, values: list[Any]) -> int:
        """Insert samples, many per statement; return how many were new."""
        at = stored = 0
        for size in ROWS_PER_STATEMENT:
            sql, width = schema.insert_samples(size), 9 * size
            while at + width <= len(values):
                stored += self._db.execute(sql, [self._now, *values[at : at + width]]).rowcount
                at += width
        return stored

    def _store_in_doubt(self, samples: Sequence[tuple[Attendance, Sample]]) -> int:
        """Do the same one by one, looking first; equal ones may be there, others may not."""
        stored = 0
        for source, sample in samples:
            if sample.seq is None:
                self._insert(source, sample)
                stored += 1
                continue
            outcome = self._judge(source, sample, sample.seq)
            if outcome == "conflict":
                raise sqlite3.IntegrityError(
                    f"another program stored number {sample.seq} of sensor {sample.sensor_id}"
                )
            stored += outcome == "new"
        return stored

    def _answer(self, question: Question) -> Outcome:
        seq = question.sample.seq
        assert seq is not None
        return self._judge(question.source, question.sample, seq)

    def _judge(self, source: Attendance, sample: Sample, seq: int) -> Outcome:
        """Look a number up in all examinations; store the sample if it isn't there (S-6.5)."""
        named, own = source.stream is not None, self._key(source)
        values = (sample.sec_from_start, sample.fhr_bpm, sample.uterus, sample.spasms)
        where = {"sensor": self._keys[source.sensor_id], "stream": own, "seq": seq}
        found = self._db.execute(_SAMPLES_NUMBERED[named], where).fetchall()
        for stream, block in self._db.execute(_BLOCKS_NUMBERED[named], where):
            found += [(stream, *one) for one in _values_of(block).get(seq, ())]
        if any(row[1:] == values for row in found):
            return "again"
        if any(row[0] == own for row in found):
            return "conflict"
        self._insert(source, sample)
        return "new"

    def _insert(self, source: Attendance, sample: Sample) -> None:
        place = self._place(source, numbered=sample.seq is not None)
        if self._insert_rows([*place, *astuple(sample)]) != 1:
            raise sqlite3.IntegrityError("a sample that isn't there cannot be stored")

    def _place(self, source: Attendance, *, numbered: bool) -> tuple[int, int, int]:
        """Return examination, sensor and stream; without numbers there is no stream."""
        key = self._key(source) if numbered else 0
        return source.examination_id, self._keys[source.sensor_id], key

    def _key(self, source: Attendance) -> int:
        """Return the key of a connection's stream: its own, unless it names one that is there."""
        key = source.stream_key or self._streams.get(source)
        if key is None:
            sensor, name = self._keys[source.sensor_id], source.stream
            found = name and self._db.execute(schema.SELECT_STREAM, (sensor, name)).fetchone()
            made = found or [self._db.execute(schema.INSERT_STREAM, (sensor, name)).lastrowid]
            key = self._streams[source] = int(made[0])
            part = (sensor, name is not None, key, source.examination_id)
            self._db.execute(schema.INSERT_PART, part)
        return key

    def _learn(self) -> list[tuple[Numbers, int]]:
        """Return the largest number of each stream that was asked about for the first time."""
        learned: dict[Numbers, int] = {}
        for source in {q.source: None for q in self._group.questions}:
            if not source.numbers.known and source.numbers not in learned:
                where = {"sensor": self._keys[source.sensor_id], "stream": self._key(source)}
                sql = _LARGEST_NUMBER[source.stream is not None]
                largest = self._db.execute(sql, where).fetchone()[0]
                if not isinstance(largest, int | None):
                    raise sqlite3.IntegrityError("table parts: invalid value")
                learned[source.numbers] = -1 if largest is None else largest
        return list(learned.items())


_SAMPLES_NUMBERED = [schema.select_samples_numbered(named) for named in (False, True)]
_BLOCKS_NUMBERED = [schema.select_blocks_numbered(named) for named in (False, True)]
_LARGEST_NUMBER = [schema.select_largest_number(named) for named in (False, True)]


@lru_cache(BLOCKS_KEPT)
def _values_of(block: bytes) -> dict[int, list[tuple[float | None, ...]]]:
    """Return a block's samples by their numbers."""
    try:
        found = dict(zip(SAMPLE_COLUMNS, unpack(block), strict=True))
    except ValueError as error:
        raise sqlite3.IntegrityError(str(error)) from error
    values: dict[int, list[tuple[float | None, ...]]] = {}
    names = ("seq", "sec_from_start", "bpm", "uterus", "spasms")
    for seq, *sample in zip(*(found[name] for name in names), strict=True):
        values.setdefault(seq, []).append(tuple(sample))
    return values


def _insert_results(db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert results, many per statement."""
    at = 0
    for size in ROWS_PER_STATEMENT:
        end = len(rows) - (len(rows) - at) % size
        if end > at:
            groups = (tuple(chain.from_iterable(rows[n : n + size])) for n in range(at, end, size))
            db.executemany(schema.insert_predictions(size), groups)
            at = end
