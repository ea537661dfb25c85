"""Pack examinations that are over: their rows become blocks, a block in each transaction.

So after a crash each row is either a row or in a block, and a backend that stores meanwhile waits
for some milliseconds. Every block is read back and compared before its rows are removed.
ctgkit/packed.py reads both.
"""

import itertools
import logging
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from ctgkit.blocks import RESULT_COLUMNS, SAMPLE_COLUMNS, pack, unpack
from ctgkit.packed import RESULTS
from ctgkit.server.store import queries, schema

log = logging.getLogger(__name__)

BLOCK_ROWS = 480
"""Samples of a block: two minutes at 4 Hz, some 10 ms of work. Half of it costs .5 bytes more per
sample, twice as many save .2."""
RESULTS_MAX_CHARS = 256 << 10
"""Results of a block together, about."""
LOOK_EVERY_S = 60.0
"""How often is looked which examinations have become old enough, seconds."""
_SEQ, _BODY = SAMPLE_COLUMNS.index("seq"), RESULT_COLUMNS.index("body")
_SENSOR, _STREAM = SAMPLE_COLUMNS.index("sensor_id"), SAMPLE_COLUMNS.index("stream_id")


class Packer:
    """Packs what is old enough, a step at a time.

    Parameters
    ----------
    after_days : float
        How long ago an examination must have ended.
    """

    def __init__(self, after_days: float) -> None:
        self._after_days = after_days
        self._due: list[int] = []
        self._left_alone: set[int] = set()
        self._look_at_s = 0.0
        self.samples = 0
        """How many were packed."""

    def step(self, db: sqlite3.Connection) -> bool:
        """Make one block; return whether there may be more to do now."""
        samples_to, results_to = db.execute(queries.SELECT_PACKABLE_ROWS).fetchone()
        if not self._due and time.monotonic() >= self._look_at_s:
            self._look_at_s = time.monotonic() + LOOK_EVERY_S
            where = {"days": self._after_days, "samples": samples_to, "results": results_to}
            found = db.execute(queries.SELECT_PACKABLE, where)
            self._due = [number for (number,) in found if number not in self._left_alone]
        if not self._due:
            return False
        number = self._due[-1]
        try:
            packed = _pack_samples(db, number, samples_to)
            self.samples += packed
            if not packed and not _pack_results(db, number, results_to):
                self._due.pop()
        except (TypeError, ValueError) as error:  # somebody else wrote that
            log.warning("examination %d is not packed: %s", number, error)
            self._left_alone.add(number)
            self._due.pop()
        return bool(self._due)


def _pack_samples(db: sqlite3.Connection, examination_id: int, upto: int) -> int:
    """Pack some samples of one sensor; return how many."""
    key = -1
    while place := db.execute(schema.SELECT_NEXT_SENSOR, (examination_id, key)).fetchone():
        key = place[1]
        with db:
            db.execute("BEGIN IMMEDIATE")
            asked = (examination_id, key, upto, BLOCK_ROWS)
            found = db.execute(queries.SELECT_SAMPLES_TO_PACK, asked).fetchall()
            if found:
                _, group = next(itertools.groupby(found, key=lambda row: row[_STREAM]))
                rows = sorted(group)
                numbers = [row[_SEQ] for row in rows if isinstance(row[_SEQ], int)]
                place = (key, rows[0][_STREAM])
                _put(db, examination_id, place, rows, numbers)
                db.executemany(queries.DELETE_SAMPLE, [row[:1] for row in rows])
                db.execute(queries.ADD_PACKED, (len(rows), examination_id))
                return len(rows)
    return 0


def _pack_results(db: sqlite3.Connection, examination_id: int, upto: int) -> bool:
    """Pack some results; return whether there were any."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        rows: list[Sequence[Any]] = []
        chars = 0
        for row in db.execute(queries.SELECT_RESULTS_TO_PACK, (examination_id, upto, BLOCK_ROWS)):
            if not isinstance(row[_BODY], str):
                raise TypeError("the body of a stored result is no text")
            chars += len(row[_BODY])
            if rows and chars > RESULTS_MAX_CHARS:
                break
            rows.append(row)
        if rows:
            _put(db, examination_id, (RESULTS, 0), rows, ())
            db.executemany(queries.DELETE_RESULT, [row[:1] for row in rows])
        return bool(rows)


def _put(
    db: sqlite3.Connection,
    examination_id: int,
    place: tuple[int, int],
    rows: Sequence[Sequence[Any]],
    numbers: Sequence[int],
) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)]
    block = pack(columns)
    if unpack(block) != columns:
        raise ValueError("its rows would not come back as they are")
    ids = (rows[0][0], rows[-1][0])
    range_ = (min(numbers, default=None), max(numbers, default=None))
    db.execute(queries.INSERT_PACKED, (examination_id, *place, *ids, *range_, len(rows), block))
