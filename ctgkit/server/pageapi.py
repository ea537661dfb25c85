"""What the live page asks for beside its socket: the past, marks, notes, examinations.

The work of one request is bounded (:data:`PAGES_MAX`), and done a page of rows at a time; requests
take turns, and too many at once are refused with 503.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ctgkit.clock import utc_timestamp
from ctgkit.config import SensorEntry
from ctgkit.display import MAX_SENSORS
from ctgkit.errors import StoreError
from ctgkit.net.addresses import host_and_port, is_loopback
from ctgkit.net.http import NOT_FOUND, Answer, json_answer, problem
from ctgkit.net.query import BadQuery, Query, first, whole
from ctgkit.samples import RATE_HZ
from ctgkit.server.pageasks import (
    SEARCH_MAX_CHARS,
    NoteQuery,
    Order,
    PaperQuery,
    PastQuery,
    events_of,
    packed,
)
from ctgkit.server.printout import Printer, can_print
from ctgkit.server.store.lookback import FALL_S, PAGE_ROWS, Page
from ctgkit.server.store.writer import Store

log = logging.getLogger(__name__)

PAGES_MAX = 640
"""Pages of one answer: 64 sensors, each 2.5 hours at 4 Hz. One page has at most 30 KB."""
MARKS_PAGES_MAX = 50
"""Requests that the page makes for the marks of one examination, at most."""
WAITING_MAX = 64
"""Requests at a time; a page makes two."""


class PageApi:
    """Answers the live page.

    Parameters
    ----------
    store : Store
        Its archive is read.
    sensors : sequence of SensorEntry
        The configured ones.
    open_examinations : callable
        Returns id -> bed of the examinations that are open.
    """

    def __init__(
        self,
        store: Store,
        sensors: Sequence[SensorEntry],
        open_examinations: Callable[[], Mapping[int, str]],
    ) -> None:
        self._store, self._archive, self._sensors = store, store.archive, sensors
        self._open_examinations = open_examinations
        self._asking = 0
        self._printer = Printer()
        self._answers = {
            "ward": self._ward,
            "past": self._past,
            "marks": self._marks,
            "examinations": self._examinations,
            "note": self._note,
            "instructor": self._instructor,
            "paper": self._paper,
        }

    async def run(self) -> None:
        """Do what outlives one request, until cancelled."""
        await self._printer.run()

    async def answer(self, name: str, query: Query) -> Answer:
        """Answer one request, admitted already."""
        answer = self._answers.get(name)
        if answer is None:
            return NOT_FOUND
        if self._asking >= WAITING_MAX:
            return problem(503, "too many requests for the past")
        self._asking += 1
        try:
            return await answer(query)
        except BadQuery as error:
            return problem(400, str(error))
        except StoreError as error:
            log.error("the page could not be answered: %s", error)
            return problem(503, "the database cannot be read")
        finally:
            self._asking -= 1

    async def _ward(self, query: Query) -> Answer:
        """Return who is who: names, beds, and who has a control address."""
        known = [
            {"id": s.id, "bed": s.bed, "name": s.name, "control": s.control is not None}
            for s in self._sensors
        ]
        hint = start_hint(self._sensors)
        said = {"sensors": known, "start_hint": hint, "past": True, "paper": can_print()}
        return json_answer(said)

    async def _instructor(self, query: Query) -> Answer:
        """Return what our own sensors can be told: scenarios, and events with their ranges."""
        from ctgkit.simulate.knobs import FORCED, KNOBS
        from ctgkit.simulate.library import scenario_names

        events = {name: rules._asdict() for name, rules in FORCED.items()}
        knobs = {name: rules._asdict() for name, rules in KNOBS.items() if not rules.fixed}
        return json_answer({"scenarios": scenario_names(), "events": events, "knobs": knobs})

    async def kept(self, examination_id: int | None, order: Order, answer: Answer) -> Answer:
        """Return the answer to an order, once what the sensor did is kept with its examination."""
        if answer.status != 200 or examination_id is None or order.verb == "stop":
            return answer
        at_s = json.loads(answer.body)["at_s"]
        said = {"sensor": order.sensor, "sec": at_s, "text": f"⚡ {order}", "at": utc_timestamp()}
        try:
            await self._store.settled()  # the examination may have begun just now
            await self._archive.add_note(examination_id, said)
        except StoreError as error:
            log.error("the command to sensor %s could not be recorded: %s", order.sensor, error)
        return answer

    async def _past(self, query: Query) -> Answer:
        wanted = PastQuery.of(query)
        if wanted.examination is not None and wanted.sensor is not None:
            pages, about = await self._back(wanted, wanted.examination, wanted.sensor, PAGES_MAX)
            parts = [(about, pages)]
        else:
            await self._store.settled()  # what was shown before is then found there
            parts, left = [], PAGES_MAX
            for examination_id, bed in sorted(self._open_examinations().items()):
                if len(parts) == MAX_SENSORS or left <= 0:
                    break
                for sensor_id in await self._archive.sensors_of(examination_id):
                    if len(parts) < MAX_SENSORS and left > 0:
                        pages, about = await self._back(wanted, examination_id, sensor_id, left)
                        parts.append((about | {"bed": bed}, pages))
                        left -= len(pages)
        body = await asyncio.to_thread(packed, parts)
        return Answer(200, body, "application/octet-stream")

    async def _back(
        self, wanted: PastQuery, examination_id: int, sensor_id: str, pages_max: int
    ) -> tuple[list[Page], dict[str, Any]]:
        """Return pages, newest first, as far back as is wanted, or to where the trace begins."""
        pages: list[Page] = []
        place = wanted.before
        rows = max(1, min(PAGE_ROWS, int(RATE_HZ * wanted.seconds)))
        until_s, begins_s = float("-inf"), float("inf")
        about: dict[str, Any] = {"id": sensor_id, "examination": examination_id, "next": None}
        while len(pages) < pages_max and begins_s > until_s:
            page = await self._archive.page(examination_id, sensor_id, wanted.bin_s, place, rows)
            if page is None:
                break
            place = page.earlier
            if len(page.bins):
                ends_s = float(page.bins[-1]) * wanted.bin_s
                if ends_s > begins_s + FALL_S + wanted.bin_s:
                    about |= {"next": str(page.place), "fell": True}
                    break
                if not pages:
                    until_s = ends_s - wanted.seconds
                begins_s = float(page.bins[0]) * wanted.bin_s
                pages.append(page)
            about["next"] = place and str(place)
            if place is None:
                break
        return pages, about

    async def _marks(self, query: Query) -> Answer:
        """Return events and notes of one examination, or of all open ones, from the newest on."""
        examination, before = whole(query, "examination"), whole(query, "before")
        if before is not None and examination is None:
            raise BadQuery("before needs examination")
        wanted = (
            [examination]
            if examination is not None
            else sorted(self._open_examinations())[:MAX_SENSORS]
        )
        if before is None:
            await self._store.settled()
        found = []
        for examination_id in wanted:
            bodies, following = await self._archive.bodies_with_events(examination_id, before)
            notes = [] if before else await self._archive.notes(examination_id)
            events = await asyncio.to_thread(events_of, bodies)
            found.append(
                {"id": examination_id, "events": events, "notes": notes, "next": following}
            )
        return json_answer({"examinations": found})

    async def _paper(self, query: Query) -> Answer:
        """Return a stretch of an examination on CTG paper, with the events that were reported."""
        wanted = PaperQuery.of(query)
        if not can_print():
            return problem(404, "the paper extra isn't installed: pip install 'ctgkit[paper]'")
        archive = self._archive
        if wanted.sensor not in await archive.sensors_of(wanted.examination):
            return problem(404, "no such examination, or no such sensor in it")

        async def events() -> list[dict[str, Any]]:
            await self._store.settled()
            said: list[str] = []
            before: int | None = None
            for _ in range(MARKS_PAGES_MAX):
                bodies, before = await archive.bodies_with_events(wanted.examination, before)
                said += bodies
                if before is None:
                    break
            return (await asyncio.to_thread(events_of, said)).get(wanted.sensor, [])

        return await self._printer.pdf(archive.place, wanted, events)

    async def _examinations(self, query: Query) -> Answer:
        search, before = first(query, "search")[:SEARCH_MAX_CHARS].strip(), whole(query, "before")
        archive = self._archive
        rows = await archive.examinations(search, before)
        names = {s.id: s.name for s in self._sensors}
        for row in rows:
            sensors = await archive.sensors_of(row["id"])
            row["sensors"] = [{"id": s, "name": names.get(s, "")} for s in sensors]
        return json_answer({"examinations": rows})

    async def _note(self, query: Query) -> Answer:
        note = NoteQuery.of(query)
        said = {"sensor": note.sensor, "sec": note.sec, "text": note.text, "at": utc_timestamp()}
        if not await self._archive.add_note(note.examination, said):
            return problem(404, "no such examination, or it has too many notes")
        return json_answer({"note": said})


def start_hint(sensors: Sequence[SensorEntry]) -> str:
    """Return the command that waits where the sensors' control addresses are, "" if none does.

    >>> start_hint([SensorEntry(id="a", token="t", control="127.0.0.1:9001")])
    'ctgkit sensor --sensors 1 --control 127.0.0.1:9001'
    """
    addresses = [host_and_port(s.control) for s in sensors if s.control]
    if not addresses or len(addresses) < len(sensors):
        return ""
    host, port = addresses[0]
    if not is_loopback(host) or addresses != [(host, port + n) for n in range(len(addresses))]:
        return ""
    return f"ctgkit sensor --sensors {len(addresses)} --control {host}:{port}"
