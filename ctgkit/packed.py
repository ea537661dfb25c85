"""Read the tables ``ctg`` and ``predictions`` of an SQLite file whose rows may be in blocks.

`ctgkit serve --pack-after` and `ctgkit store pack` move the rows of an examination that is over
into the table ``packed`` (server/store/packing.py). Each block has the rows of one sensor and
stream, or results of all sensors (sensor 0), by ascending id. Every reader of such rows gets them
here, with those that are still rows, in the order of their ids.
"""

import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from ctgkit.blocks import RESULT_COLUMNS, SAMPLE_COLUMNS, unpack
from ctgkit.errors import StoreError

FIRST_ID = -(2**63)
RESULTS = 0
"""The sensor of blocks with results."""
_BLOCKS = """
    SELECT first_id, id FROM packed WHERE examination_id = :examination AND last_id > :after
        AND {} ORDER BY first_id
"""
_BLOCK = "SELECT block FROM packed WHERE id = ?"
Row = Sequence[Any]


def is_packed(db: sqlite3.Connection) -> bool:
    """Return whether a file has the table of blocks at all."""
    sql = "SELECT 1 FROM sqlite_master WHERE name = 'packed' AND type = 'table'"
    return db.execute(sql).fetchone() is not None


def with_blocks(
    plain: sqlite3.Cursor,
    examination_id: int,
    sensor: int | None = None,
    after: int = FIRST_ID,
) -> Iterator[Row]:
    """Yield rows and what is in blocks, together by ascending id.

    Parameters
    ----------
    plain : sqlite3.Cursor
        A query of an examination's rows, by ascending id; ``id`` is its first column, and each one
        is called as in the table.
    examination_id : int
        The same examination.
    sensor : int or None
        Key of the only sensor that is wanted; :data:`RESULTS` for results; None: samples of all.
    after : int
        Only rows with a larger id.

    Raises
    ------
    StoreError
        When a block is damaged; at once, or when it is reached.
    """
    db = plain.connection
    names = [column[0] for column in plain.description]
    columns = SAMPLE_COLUMNS if sensor != RESULTS else RESULT_COLUMNS
    sql = _BLOCKS.format("sensor_id > 0" if sensor is None else "sensor_id = :sensor")
    where = {"examination": examination_id, "sensor": sensor, "after": after}
    # Listed while the query above is under way: in one transaction, whoever packs meanwhile.
    blocks = db.execute(sql, where).fetchall() if is_packed(db) else []
    return _merged(
        plain, [(first, unpacked(db, key, columns, names)) for first, key in blocks], after
    )


def unpacked(
    db: sqlite3.Connection, key: int, columns: Sequence[str], names: Sequence[str]
) -> Iterator[Row]:
    """Yield the rows of one block, of each the columns that are named."""
    found = db.execute(_BLOCK, (key,)).fetchone()
    if found is not None:  # else the examination was removed meanwhile
        try:
            block = dict(zip(columns, unpack(found[0]), strict=True))
        except ValueError as error:
            path = db.execute("PRAGMA database_list").fetchone()[2]
            raise StoreError(path, f"block {key}: {error}") from error
        yield from zip(*(block[name] for name in names), strict=True)


def _merged(
    plain: Iterator[Row], blocks: Sequence[tuple[int, Iterator[Row]]], after: int
) -> Iterator[Row]:
    """Yield rows by id; a block is opened when its first one is due."""
    if not blocks:
        yield from plain
        return
    begun: list[tuple[int, int, Row, Iterator[Row]]] = []
    sources = iter([(FIRST_ID, plain), *blocks])
    source = next(sources, None)
    place = 0
    while begun or source is not None:
        if source is not None and (not begun or source[0] <= begun[0][0]):
            rows, source = source[1], next(sources, None)
            row = next(rows, None)
            if row is not None:
                place += 1
                heapq.heappush(begun, (row[0], place, row, rows))
            continue
        _, own, row, rows = begun[0]
        if row[0] > after:
            yield row
        following = next(rows, None)
        if following is None:
            heapq.heappop(begun)
        else:
            heapq.heapreplace(begun, (following[0], own, following, rows))
