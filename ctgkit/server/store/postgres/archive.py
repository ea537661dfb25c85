"""What the live page reads of a PostgreSQL database; see :mod:`ctgkit.server.store.archive`."""

import itertools
import json
from typing import Any, Final

from ctgkit.dsn import Dsn
from ctgkit.errors import StoreError
from ctgkit.server.store import lookback
from ctgkit.server.store.archive import (
    EXAMINATIONS_MAX,
    NOTES_MAX_CHARS,
    RESULTS_AT_ONCE,
    RESULTS_MAX_BYTES,
    SENSORS_MAX,
    notes_of,
)
from ctgkit.server.store.engine import Again
from ctgkit.server.store.lookback import Page, Place, Steps, T
from ctgkit.server.store.postgres.link import Link
from ctgkit.server.store.postgres.reader import iso

DEADLINE_S = 5.0
"""How long a question may take, seconds; a page has a few."""
_LAST: Final = 2**63 - 1
_MICROSECONDS: Final = "(extract(epoch FROM created_at) * 1000000)::bigint"


def _numbered(sql: str) -> str:
    """Return a statement with this database's parameters; numbers may be larger than a column."""
    count = itertools.count(1)
    parts = sql.replace("stream_id = ?", "stream_id = ?::bigint").replace(
        "stream_id < ?", "stream_id < ?::bigint"
    )
    return "".join(f"${next(count)}" if c == "?" else c for c in parts)


def _in_postgres(texts: lookback.Texts) -> lookback.Texts:
    return lookback.Texts(
        _numbered(texts.last_stream),
        *({kind: _numbered(sql) for kind, sql in by_kind.items()} for by_kind in texts[1:]),
    )


_TEXTS: Final = _in_postgres(lookback.texts("samples", _MICROSECONDS, "trunc({})::bigint"))
_KEY: Final = "SELECT id FROM sensors WHERE uuid = $1"
_SENSORS: Final = """
    WITH RECURSIVE found AS (
        (SELECT sensor_id, 1 AS n FROM samples WHERE examination_id = $1
            ORDER BY sensor_id LIMIT 1)
        UNION ALL
        SELECT (SELECT s.sensor_id FROM samples s WHERE s.examination_id = $1
            AND s.sensor_id > f.sensor_id ORDER BY s.sensor_id LIMIT 1), n + 1
        FROM found f WHERE f.sensor_id IS NOT NULL AND n < $2)
    SELECT v.uuid FROM found f JOIN sensors v ON v.id = f.sensor_id ORDER BY f.sensor_id
"""
_RESULT_BEFORE: Final = f"""
    SELECT {_MICROSECONDS} FROM predictions WHERE examination_id = $1 AND {_MICROSECONDS} <= $2
    ORDER BY created_at DESC LIMIT 1 OFFSET $3
"""
_WITH_EVENTS: Final = f"""
    SELECT {_MICROSECONDS}, body FROM predictions
    WHERE examination_id = $1 AND {_MICROSECONDS} BETWEEN $2 AND $3
    AND length(body) <= 65536 AND strpos(body, '"events"') > 0 ORDER BY created_at DESC
"""
_ICU: Final = "SELECT 1 FROM pg_collation WHERE collname = 'und-x-icu'"
_EXAMINATIONS: Final = f"""
    SELECT e.id, e.bed,
        CASE WHEN e.status = 2 THEN 'interrupted' WHEN e.end_time IS NULL THEN 'open'
            ELSE 'closed' END AS state,
        {iso("e.start_time")} AS start_time, {iso("e.end_time")} AS end_time,
        e.notes <> '' AS has_notes
    FROM examinations e
    WHERE e.id <= $1 AND ($2 = '' OR e.id::text = $2
        OR strpos(lower(e.bed {{folded}}), $2) > 0 OR strpos(lower(e.notes {{folded}}), $2) > 0
        OR strpos({iso("e.start_time")}, upper($2)) = 1
        OR EXISTS (SELECT 1 FROM parts p JOIN sensors s ON s.id = p.sensor_id
            WHERE p.examination_id = e.id AND strpos(s.uuid, $2) > 0))
    ORDER BY e.id DESC LIMIT $3
"""
_NOTES: Final = "SELECT notes FROM examinations WHERE id = $1"
_ADD_NOTE: Final = """
    UPDATE examinations SET notes = notes || $2 WHERE id = $1 AND length(notes) <= $3 RETURNING id
"""


class PostgresArchive:
    """One database, read beside its writer, over a connection of its own."""

    def __init__(self, link: Link, dsn: Dsn) -> None:
        self._link, self.place = link, dsn
        self._folded: str | None = None
        """What compares in any alphabet; a database's own rules may know ASCII only."""

    async def _ask(self, sql: str, *values: Any) -> list[Any]:
        try:
            return await self._link.fetch(sql, *values, deadline_s=DEADLINE_S)
        except Again as error:
            raise StoreError(str(self.place), str(error)) from error

    async def _taken(self, steps: Steps[T]) -> T:
        try:
            sql, values = next(steps)
            while True:
                sql, values = steps.send(await self._ask(sql, *values))
        except StopIteration as end:
            result: T = end.value
            return result

    async def page(
        self,
        examination_id: int,
        sensor_id: str,
        bin_s: float,
        place: Place | None,
        rows_max: int = lookback.PAGE_ROWS,
    ) -> Page | None:
        """Return a page of a sensor's rows, the newest one without a place; None: there is none."""
        key = await self._ask(_KEY, sensor_id)
        if not key:
            return None
        of = (_TEXTS, examination_id, key[0][0])
        end = place or await self._taken(lookback.newest_place(*of))
        if end is None:
            return None
        return await self._taken(lookback.read_page(*of, end, bin_s, rows_max))

    async def sensors_of(self, examination_id: int) -> list[str]:
        """Return which sensors have rows in an examination, :data:`SENSORS_MAX` of them at most."""
        return [row[0] for row in await self._ask(_SENSORS, examination_id, SENSORS_MAX)]

    async def bodies_with_events(
        self, examination_id: int, before: int | None
    ) -> tuple[list[str], int | None]:
        """Return results that have events, the newest first, and where to go on (None: the end)."""
        end = _LAST if before is None else before
        last = await self._ask(_RESULT_BEFORE, examination_id, end, RESULTS_AT_ONCE - 1)
        low = last[0][0] if last else 0
        bodies, size = list[str](), 0
        for at_us, body in await self._ask(_WITH_EVENTS, examination_id, low, end):
            if size > RESULTS_MAX_BYTES:
                return bodies, at_us
            bodies.append(body)
            size += len(body)
        return bodies, low - 1 if last else None

    async def examinations(self, search: str, before: int | None) -> list[dict[str, Any]]:
        """Return some examinations, the newest first."""
        if self._folded is None:
            self._folded = 'COLLATE "und-x-icu"' if await self._ask(_ICU) else ""
        end = _LAST if before is None else before - 1
        sql = _EXAMINATIONS.format(folded=self._folded)
        wanted = search.replace("\0", "").lower()
        return [dict(row) for row in await self._ask(sql, end, wanted, EXAMINATIONS_MAX)]

    async def notes(self, examination_id: int) -> list[dict[str, Any]]:
        """Return an examination's notes that are ours; others' text in that column isn't."""
        found = await self._ask(_NOTES, examination_id)
        return notes_of(found[0][0] if found else None)

    async def add_note(self, examination_id: int, note: dict[str, Any]) -> bool:
        """Add a note, a line of JSON; return whether there was an examination with room for it."""
        line = json.dumps(note, ensure_ascii=False) + "\n"
        return bool(await self._ask(_ADD_NOTE, examination_id, line, NOTES_MAX_CHARS - len(line)))
