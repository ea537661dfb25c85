"""What viewers are shown: the ML service's results, samples without one, and the recent past."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol

from ctgkit.clock import utc_timestamp
from ctgkit.samples import Sample, Status
from ctgkit.server.counters import Counters
from ctgkit.server.store.writer import Store
from ctgkit.wire import encode_result
from ctgkit.wire.checked import CheckedResult

PAGES_AT_ONCE = 2
"""Pages of the past that are read and encoded at a time, for all viewers together: a page is a
millisecond's work, which sensors don't notice."""
LATEST_MAX_BYTES = 16 << 20
"""Last results that are kept for viewers to come, together: 5,000 usual ones with a prediction."""


class Viewers(Protocol):
    """Who is shown results."""

    def __len__(self) -> int: ...

    def publish(self, texts: Sequence[bytes]) -> None:
        """Queue results for every viewer; never waits."""


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
    """

    def __init__(
        self,
        store: Store,
        viewers: Viewers,
        counters: Counters,
        open_examinations: Callable[[], Mapping[int, str]],
    ) -> None:
        self._store, self._viewers, self._counters = store, viewers, counters
        self._open_examinations = open_examinations
        self.examination_of: dict[str, int] = {}
        """Sensor -> its examination in this run, kept after it left: results may come late."""
        self._latest: dict[str, bytes] = {}
        """Sensor -> its last result with a prediction, for viewers who join later; newest last."""
        self._latest_bytes = 0
        self._pages = asyncio.Semaphore(PAGES_AT_ONCE)

    def relay(self, turn: Sequence[tuple[CheckedResult, str, bytes]]) -> None:
        """Store results and show them byte for byte."""
        texts: list[bytes] = []
        for head, body, text in turn:
            sensor_id = head.sensor_id.lower()
            examination_id = self.examination_of.get(sensor_id)
            if examination_id is None:
                self._counters.results["garbage"] += 1
                continue
            self._store.add_prediction(
                examination_id, sensor_id, head.sec_from_start, head.status, body
            )
            if head.prediction is not None:
                self._keep(sensor_id, text)
            texts.append(text)
        self._counters.results["relayed"] += len(texts)
        self._viewers.publish(texts)

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
        if len(self._viewers):
            now = utc_timestamp()
            self._viewers.publish([encode_result(s, None, status, now) for s in samples])

    async def past(self, backfill_s: float) -> AsyncIterator[list[bytes]]:
        """Yield the recent samples of the open examinations, then each sensor's last result.

        A page at a time: none of the past is held for a viewer that doesn't take it.
        """
        if backfill_s <= 0:
            return
        await self._store.settled()  # what was shown before is then found there
        for sensor_id, examination_id in sorted(self.examination_of.items()):
            if examination_id not in self._open_examinations():
                continue
            pages = self._store.recent(examination_id, sensor_id, backfill_s)
            while True:
                async with self._pages:
                    rows = await anext(pages, None)
                    if rows is None:
                        break
                    now = utc_timestamp()
                    samples = (Sample(sensor_id, *row) for row in rows)
                    texts = [encode_result(sample, None, "ok", now) for sample in samples]
                yield texts
            if sensor_id in self._latest:
                yield [self._latest[sensor_id]]
