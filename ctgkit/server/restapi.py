"""Sensors and examinations over HTTP, to read: lists, one, samples in pages, events.

Each request opens the database for reading, in a thread, as `ctgkit exam` does beside a running
backend; at most :data:`AT_ONCE` of them read at a time, the others wait.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec

from ctgkit.config import SensorEntry
from ctgkit.dsn import Dsn
from ctgkit.errors import CtgkitError
from ctgkit.events import Event
from ctgkit.net.http import Answer, json_answer, problem
from ctgkit.net.query import BadQuery, Query, first, whole
from ctgkit.server.endpoints import ID_MAX, PAGE_DEFAULT, PAGE_MAX
from ctgkit.server.numbering import Attendance
from ctgkit.server.store.reader import Reader, open_reader

AT_ONCE = 2
"""Chosen: lists stay quick while somebody fetches a long examination."""
WAITING_MAX = 64
"""Requests that wait or read; more are refused. Chosen."""
NO_SENSOR = "no such sensor"
NO_EXAMINATION = "no such examination"


class RestApi:
    """Answers the requests of :data:`~ctgkit.server.endpoints.ENDPOINTS` that read.

    Parameters
    ----------
    database : Path or Dsn
        Where the backend stores.
    sensors : sequence of SensorEntry
        Those that it knows.
    connected : callable
        Returns the sensors that are connected, with what they take part in.
    """

    def __init__(
        self,
        database: Path | Dsn,
        sensors: Sequence[SensorEntry],
        connected: Callable[[], Mapping[str, Attendance]],
    ) -> None:
        self._database, self._sensors, self._connected = database, sensors, connected
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def answer(self, name: str, places: Mapping[str, str], query: Query) -> Answer:
        """Return the answer to a request.

        Parameters
        ----------
        name : str
            Of the endpoint.
        places : mapping
            What stands in its path.
        query : mapping
            Its parameters.
        """
        try:
            if name == "sensors":
                return json_answer({"sensors": [self._sensor(one) for one in self._sensors]})
            if name == "sensor":
                return self._one_sensor(places["sensor"])
            read = _reading(name, places, query)
        except BadQuery as error:
            return problem(400, str(error))
        if self._waiting >= WAITING_MAX:
            return problem(503, "too many requests wait")
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(self._read, read)
        except CtgkitError as error:
            return problem(503, "the database cannot be read", str(error))
        finally:
            self._waiting -= 1

    def _one_sensor(self, sensor_id: str) -> Answer:
        for one in self._sensors:
            if one.id == sensor_id.lower():
                return json_answer(self._sensor(one))
        return problem(404, NO_SENSOR)

    def _sensor(self, one: SensorEntry) -> dict[str, Any]:
        attendance = self._connected().get(one.id)
        return {
            "id": one.id,
            "bed": one.bed,
            "connected": attendance is not None,
            "examination": None if attendance is None else attendance.examination_id,
            "controllable": one.control is not None,
        }

    def _read(self, read: "Callable[[Any], Answer]") -> Answer:
        with self._opened() as reader:
            return read(reader)

    def _opened(self) -> AbstractContextManager[Any]:
        if isinstance(self._database, Dsn):
            from ctgkit.server.store.postgres.reader import open_reader as open_postgres

            return open_postgres(self._database)
        return open_reader(self._database)


def _reading(name: str, places: Mapping[str, str], query: Query) -> Callable[[Reader], Answer]:
    """Return what reads the answer; what is wrong with the request is said before."""
    after = whole(query, "after", 0, ID_MAX) or 0
    limit = whole(query, "limit", 1, PAGE_MAX) or PAGE_DEFAULT
    sensor, bed = first(query, "sensor").lower(), first(query, "bed")
    if name == "examinations":
        return lambda reader: _examinations(reader, bed, after, limit)
    try:
        number = whole({"id": [places["examination"]]}, "id", 1, ID_MAX) or 0
    except BadQuery:
        return lambda _reader: problem(404, NO_EXAMINATION)

    def of_one(reader: Reader) -> Answer:
        found = reader.examination(number)
        if found is None:
            return problem(404, NO_EXAMINATION)
        if name == "samples":
            rows, following = reader.page(number, sensor, after, limit)
            return json_answer({"samples": rows, "next": following})
        if name == "events":
            return json_answer({"events": list(_events(reader, number, sensor))})
        return json_answer(found)

    return of_one


def _examinations(reader: Reader, bed: str, after: int, limit: int) -> Answer:
    listed = (row for row in reader.examinations() if row["id"] > after and bed in ("", row["bed"]))
    page = list(itertools.islice(listed, limit + 1))
    following = page[limit - 1]["id"] if len(page) > limit else None
    return json_answer({"examinations": page[:limit], "next": following})


class _Said(msgspec.Struct):
    """What of a stored result is of interest here."""

    sensorID: str = ""  # noqa: N815 (the wire's name)
    events: list[Event] | None = None


def _events(reader: Reader, examination: int, sensor: str) -> Iterator[dict[str, Any]]:
    """Yield each event as it was last reported, by sensor and onset."""
    found: dict[tuple[str, str], Event] = {}
    for body in reader.predictions(examination):
        try:
            said = msgspec.json.decode(body, type=_Said)
        except msgspec.MsgspecError:
            continue  # an ML service's own ideas of events
        whose = said.sensorID.lower()
        if sensor not in ("", whose):
            continue
        for event in said.events or ():
            found[whose, event.id or f"{event.kind} {event.onset_s:g}"] = event
    for (whose, _), event in sorted(found.items(), key=lambda item: (item[0][0], item[1].onset_s)):
        yield {"sensor": whose, **msgspec.to_builtins(event)}
