"""Read a sensor's recent past in pages, beside the writer."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiosqlite

from ctgkit.server.store import schema

PAGE_ROWS = 256
"""Rows of the past that are read at a time: a millisecond, 60 KB when they are shown."""
RATE_MAX_HZ = 10.0
"""Fastest supported sensor (8.33 Hz, rounded up): how far back rows are looked for."""
_NUMBERS = (-(2**63), 2**63 - 1)


async def recent_pages(
    db: aiosqlite.Connection, examination_id: int, sensor_key: int, past_s: float
) -> AsyncIterator[list[Sequence[Any]]]:
    """Yield a sensor's rows of the last *past_s* seconds of data time, oldest first.

    A row begins with sec_from_start, bpm, uterus, spasms; anybody may have written to it. Nothing
    that is stored meanwhile is among them, and between two pages nothing is held: each begins where
    the last one ended, which the index finds at once. Of each stream the rows without a number come
    first.

    Yields
    ------
    list of rows
        At most :data:`PAGE_ROWS`, maybe none.
    """
    sensor = (examination_id, sensor_key)

    async def rows_of(sql: str, *more: int) -> list[Any]:
        return list(await db.execute_fetchall(sql, (*sensor, *more)))

    if not (newest := await rows_of(schema.SELECT_NEWEST, 0)):
        return
    last_second, last_stream, last_seq, last_id = newest[0]
    oldest = await rows_of(schema.SELECT_NEWEST, int(past_s * RATE_MAX_HZ))
    _, stream, first_seq, first_id = oldest[0] if oldest else (0.0, _NUMBERS[0], None, _NUMBERS[0])
    if not oldest:
        stream = (await rows_of(schema.SELECT_NEXT_STREAM, stream))[0][0]
    while stream is not None and stream <= last_stream:
        is_last = stream == last_stream
        passes = [(schema.SELECT_PAGE, first_seq, last_seq if is_last else _NUMBERS[1], 4)]
        if first_seq is None:
            last = last_id if is_last and last_seq is None else _NUMBERS[1]
            passes[0] = (schema.SELECT_PAGE, _NUMBERS[0], passes[0][2], 4)
            passes.insert(0, (schema.SELECT_PAGE_WITHOUT_NUMBERS, first_id, last, 5))
        start: Any
        for sql, start, end, place in passes:
            while end is not None and (
                rows := await rows_of(sql, stream, start, end, PAGE_ROWS)
            ):  # of a last stream that has no numbers there is no second pass
                yield [
                    row
                    for row in rows
                    if not (isinstance(row[0], float) and isinstance(last_second, float))
                    or row[0] >= last_second - past_s
                ]
                if rows[-1][place] == _NUMBERS[1]:
                    break
                start = rows[-1][place] + 1
        stream = (await rows_of(schema.SELECT_NEXT_STREAM, stream + 1))[0][0]
        first_seq, first_id = None, _NUMBERS[0]
