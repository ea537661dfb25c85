"""What viewers are shown: the ML service's results, samples without one, and the recent past."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol

from ctgkit.clock import utc_timestamp
from ctgkit.samples import Sample, Status
from ctgkit.server.counters import Counters
from ctgkit.server.store.writer import Store
from ctgkit.wire import ResultHead, encode_result

RATE_MAX_HZ = 10.0
"""Fastest supported sensor (8.33 Hz, rounded up): bounds how many rows a backfill reads."""
BACKFILL_BATCH = 500


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
        """Sensor -> its last result with a prediction, for viewers who join later."""

    def relay(self, turn: Sequence[tuple[ResultHead, bytes]]) -> None:
        """Store results and show them byte for byte."""
        texts: list[bytes] = []
        for head, text in turn:
            sensor_id = head.sensor_id.lower()
            examination_id = self.examination_of.get(sensor_id)
            try:
                body = text.decode()
            except UnicodeDecodeError:
                examination_id = None
            if examination_id is None:
                self._counters.results["garbage"] += 1
                continue
            self._store.add_prediction(
                examination_id, sensor_id, head.sec_from_start, head.status, body
            )
            if head.prediction:
                self._latest[sensor_id] = text
            texts.append(text)
        self._counters.results["relayed"] += len(texts)
        self._viewers.publish(texts)

    def show_unanswered(self, samples: Sequence[Sample]) -> None:
        """Show samples without a result: a live trace must not die with the analyzer."""
        self._counters.results["fallback"] += len(samples)
        self._show(samples, "error")

    def show_plain(self, sample: Sample) -> None:
        """Show a sample where there is no ML service."""
        self._show((sample,), "ok")

    def _show(self, samples: Sequence[Sample], status: Status) -> None:
        if len(self._viewers):
            now = utc_timestamp()
            self._viewers.publish([encode_result(s, None, status, now) for s in samples])

    async def past(self, backfill_s: float) -> AsyncIterator[list[bytes]]:
        """Yield the recent samples of the open examinations, then each sensor's last result."""
        if backfill_s <= 0:
            return
        await self._store.settled()  # what was shown before is then found there
        now = utc_timestamp()
        opened = self._open_examinations()
        for sensor_id, examination_id in sorted(self.examination_of.items()):
            if examination_id not in opened:
                continue
            limit = int(backfill_s * RATE_MAX_HZ) + 1
            rows = await self._store.recent(examination_id, sensor_id, limit)
            since_s = rows[-1][0] - backfill_s if rows else 0.0
            texts = [
                encode_result(Sample(sensor_id, *row), None, "ok", now)
                for row in rows
                if row[0] >= since_s
            ]
            for start in range(0, len(texts), BACKFILL_BATCH):
                yield texts[start : start + BACKFILL_BATCH]
            if sensor_id in self._latest:
                yield [self._latest[sensor_id]]
