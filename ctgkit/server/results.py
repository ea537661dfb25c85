"""What viewers are shown: the ML service's results, samples without one, and the recent past."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Protocol

from ctgkit.clock import utc_timestamp
from ctgkit.errors import WireError
from ctgkit.samples import PREDICTION_WINDOW_S, Sample, Status
from ctgkit.server.counters import Counters
from ctgkit.server.owed import Answered
from ctgkit.server.repeats import Repeats, ResultRow
from ctgkit.server.settings import HOUSEKEEPING_EVERY_S, KeepResults
from ctgkit.server.store.writer import Store
from ctgkit.wire import encode_result
from ctgkit.wire.checked import check_result

PAGES_AT_ONCE = 2
"""Pages of the past that are read and encoded at a time, for all viewers together: a page is a
millisecond's work, which sensors don't notice."""
MEANWHILE_S = 60.0
"""Data time that may be stored between a sample and the reading of what came before it, seconds."""
LATEST_MAX_BYTES = 16 << 20
"""Last results that are kept for viewers to come, together: 5,000 usual ones with a prediction."""


class Others(Protocol):
    """Nodes whose viewers are shown the results of this one's sensors."""

    def publish(self, texts: Sequence[tuple[str, bytes]]) -> None:
        """Queue results, each after its sensor's id; never waits."""


class Viewers(Protocol):
    """Who is shown results."""

    def __len__(self) -> int: ...

    def publish(self, texts: Sequence[tuple[str, bytes]]) -> None:
        """Queue results, each after its sensor's id, for every viewer; never waits."""


class Results:
    """The results of one backend.

    Parameters
    ----------
    store : Store
        Keeps them, and the samples of the past.
    viewers : Viewers
        Get them.
    counters : Counters
        Count them.
    open_examinations : callable
        Returns id -> bed of the examinations that are open.
    keep : {"changes", "all"}
        Which results are stored as they came.
    """

    def __init__(
        self,
        store: Store,
        viewers: Viewers,
        counters: Counters,
        open_examinations: Callable[[], Mapping[int, str]],
        keep: KeepResults = "changes",
    ) -> None:
        self._repeats = Repeats(keep_all=keep == "all")
        self._store, self._viewers, self._counters = store, viewers, counters
        self._open_examinations = open_examinations
        self.examination_of: dict[str, int] = {}
        """Sensor -> its examination in this run, kept after it left: results may come late."""
        self._latest: dict[str, bytes] = {}
        """Sensor -> its last result with a prediction, for viewers who join later; newest last."""
        self._latest_bytes = 0
        self._pages = asyncio.Semaphore(PAGES_AT_ONCE)
        self._repaired_s: dict[str, float] = {}
        """Sensor -> data time of the last sample that a repair found, seconds."""
        self.others: Others | None = None
        self.elsewhere: Callable[[], Mapping[str, int]] = dict
        """Returns sensor -> open examination of those that other nodes may have."""

    def begin(self, sensor_id: str, examination_id: int) -> bool:
        """Note to which examination a sensor belongs; return whether that is a new one."""
        before = self.examination_of.get(sensor_id)
        self.examination_of[sensor_id] = examination_id
        return before != examination_id

    def relay(self, turn: Sequence[Answered]) -> None:
        """Store results and show them byte for byte."""
        texts: list[tuple[str, bytes]] = []
        now_s = time.monotonic()
        for head, body, text, answers in turn:
            sensor_id = head.sensor_id.lower()
            examination_id = self.examination_of.get(sensor_id)
            if examination_id is None:
                self._counters.results["garbage"] += 1
                continue
            row = ResultRow(examination_id, sensor_id, head.sec_from_start, head.status, body)
            self._keep_rows(self._repeats.take(row, text, now_s, answers=answers))
            if head.prediction is not None:
                self._keep(sensor_id, text)
            texts.append((sensor_id, text))
        self._counters.results["relayed"] += len(texts)
        self._publish(texts)

    def _publish(self, texts: Sequence[tuple[str, bytes]]) -> None:
        self._viewers.publish(texts)
        if self.others is not None:
            self.others.publish(texts)

    def relay_others(self, texts: Sequence[tuple[str, bytes]]) -> None:
        """Show results of other nodes' sensors; what is none isn't shown."""
        shown: list[tuple[str, bytes]] = []
        for sensor_id, text in texts:
            try:
                head = check_result(text)
            except WireError:
                self._counters.results["garbage"] += 1
                continue
            if head.sensor_id.lower() != sensor_id or (not text.isascii() and not _is_utf8(text)):
                self._counters.results["garbage"] += 1
                continue
            if head.prediction is not None:
                self._keep(sensor_id, text)
            shown.append((sensor_id, text))
        self._counters.results["others"] += len(shown)
        self._viewers.publish(shown)

    def _keep_rows(self, rows: Iterable[ResultRow]) -> None:
        for row in rows:
            self._store.add_prediction(*row)

    async def keep_house(self) -> None:
        """Store what was held for long enough, for ever."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_EVERY_S)
            self.store_due(time.monotonic())

    def store_due(self, at_s: float) -> None:
        """Store what of repeated results has waited long enough."""
        self._keep_rows(self._repeats.due(at_s))

    def store_held(self, examination_id: int | None = None) -> None:
        """Store what of repeated results waits: of an examination that ends, or of all."""
        self._keep_rows(self._repeats.end(examination_id))

    def _keep(self, sensor_id: str, text: bytes) -> None:
        """Keep a sensor's last result; those that are kept longest go first."""
        latest = self._latest
        self._latest_bytes += len(text) - len(latest.pop(sensor_id, b""))
        latest[sensor_id] = text
        while self._latest_bytes > LATEST_MAX_BYTES:
            self._latest_bytes -= len(latest.pop(next(iter(latest))))

    def show_unanswered(self, samples: Sequence[Sample]) -> None:
        """Show samples without a result: a live trace must not die with the analyzer."""
        self._counters.results["fallback"] += len(samples)
        self._show(samples, "error")

    def show_plain(self, samples: Sequence[Sample]) -> None:
        """Show samples where there is no ML service."""
        self._show(samples, "ok")

    def _show(self, samples: Sequence[Sample], status: Status) -> None:
        if len(self._viewers) or self.others is not None:
            now = utc_timestamp()
            self._publish([(s.sensor_id, encode_result(s, None, status, now)) for s in samples])

    async def past_of(self, sensor_id: str) -> list[Sample]:
        """Return what is stored of a sensor's last ten minutes, and a bit more (PROTOCOL M-2.3)."""
        examination_id = self.examination_of.get(sensor_id)
        if examination_id is None:
            return []
        await self._store.settled()
        past_s = PREDICTION_WINDOW_S + MEANWHILE_S
        pages = self._store.recent(examination_id, sensor_id, past_s)
        return [Sample(sensor_id, *row) async for rows in pages for row in rows]

    async def past(
        self, backfill_s: float, shows: Callable[[str], bool] | None = None
    ) -> AsyncIterator[list[bytes]]:
        """Yield the recent samples of the open examinations, then each sensor's last result.

        Of the sensors for which *shows* is true, or all. A page at a time: none of the past is
        held for a viewer that doesn't take it.
        """
        if backfill_s <= 0:
            return
        await self._store.settled()  # what was shown before is then found there
        opened = self._open_examinations()
        mine = {s: e for s, e in self.examination_of.items() if e in opened}
        for sensor_id, examination_id in sorted({**self.elsewhere(), **mine}.items()):
            if shows is not None and not shows(sensor_id):
                continue
            async for texts in self._past_of(sensor_id, examination_id, backfill_s):
                yield texts

    async def _past_of(
        self, sensor_id: str, examination_id: int, past_s: float
    ) -> AsyncIterator[list[bytes]]:
        """Yield a sensor's recent samples, then its last result with a prediction."""
        pages, some = self._store.recent(examination_id, sensor_id, past_s), False
        while True:
            async with self._pages:
                rows = await anext(pages, None)
                if rows is None:
                    break
                some, now = True, utc_timestamp()
                samples = (Sample(sensor_id, *row) for row in rows)
                texts = [encode_result(sample, None, "ok", now) for sample in samples]
            yield texts
        if sensor_id in self._latest:
            yield [self._latest[sensor_id]]
        elif some and (stored := await self._store.last_result(examination_id, sensor_id)):
            text = stored.encode()
            with contextlib.suppress(WireError):
                if check_result(text).prediction is not None:
                    self._keep(sensor_id, text)
                    yield [text]

    async def repair(self, missed_s: float) -> None:
        """Show this node's viewers what others stored of their sensors lately.

        Without a result, as the past is shown, then the last one that has a prediction. What an
        earlier repair showed isn't shown again.
        """
        if not len(self._viewers):
            return
        for sensor_id, examination_id in sorted(self.elsewhere().items()):
            shown_s, last_s = self._repaired_s.get(sensor_id, -1.0), -1.0
            async for texts in self._past_of(sensor_id, examination_id, missed_s):
                heads = [(check_result(text), text) for text in texts]
                last_s = max([last_s, *(head.sec_from_start or 0.0 for head, _ in heads)])
                fresh = [
                    (sensor_id, text)
                    for head, text in heads
                    if head.prediction is not None or (head.sec_from_start or 0.0) > shown_s
                ]
                self._counters.results["repaired"] += len(fresh)
                self._viewers.publish(fresh)
                await asyncio.sleep(0)
            if last_s >= 0:  # one that begins again is shown from its beginning
                self._repaired_s[sensor_id] = last_s


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
