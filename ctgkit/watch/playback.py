"""A recording as a viewer stream: the recorded results, or else its samples, at their times."""

import asyncio
import heapq
import itertools
import math
from collections.abc import AsyncGenerator, Iterable, Iterator
from pathlib import Path

from ctgkit.clock import utc_timestamp
from ctgkit.recording import Recording, read_recordings, read_results
from ctgkit.recording.files.options import ReadOptions
from ctgkit.samples import Prediction, Sample, Status, status_of
from ctgkit.watch.feed import Link
from ctgkit.wire import encode_result

SLOWEST, FASTEST = 1 / 16, 1024.0
"""Bounds of the pace that keys can reach."""
MESSAGES_PER_TURN = 500
"""Messages handed out before others get their turn, at full speed."""


class Pace:
    """How fast a recording is played; it may change meanwhile.

    Parameters
    ----------
    speed : float
        Seconds of the recording per second, > 0; ``inf`` for all at once.
    """

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._changed = asyncio.Event()

    def change(self, factor: float) -> float:
        """Play so many times as fast from now on; return the new speed."""
        if math.isfinite(self.speed):
            self.speed = min(max(self.speed * factor, SLOWEST), FASTEST)
            self._changed.set()
        return self.speed

    async def wait(self, ahead_s: float) -> bool:
        """Wait for a time of the recording; False when the pace changed before it was over."""
        self._changed.clear()
        try:
            async with asyncio.timeout(ahead_s / self.speed):
                await self._changed.wait()
        except TimeoutError:
            return True
        return False


async def play(messages: Iterable[tuple[float, bytes]], pace: Pace) -> AsyncGenerator[Link | bytes]:
    """Yield messages when they are due, and the end.

    Parameters
    ----------
    messages : iterable
        From :func:`messages_of`.
    pace : Pace
        How fast.
    """
    clock = asyncio.get_running_loop().time
    yield Link("live")
    begun_s, position_s, speed = clock(), 0.0, pace.speed
    first_s: float | None = None
    for number, (at_s, message) in enumerate(messages):
        first_s = at_s if first_s is None else first_s
        while True:
            played_s = (
                position_s + (clock() - begun_s) * speed if math.isfinite(speed) else math.inf
            )
            ahead_s = at_s - first_s - played_s
            if ahead_s <= 0 or await pace.wait(ahead_s):
                break
            begun_s, position_s, speed = clock(), played_s, pace.speed
        if ahead_s <= 0 and number % MESSAGES_PER_TURN == 0:
            await asyncio.sleep(0)
        yield message
    yield Link("ended")


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


async def load_and_play(
    path: Path, options: ReadOptions | None, pace: Pace, *, analysed: bool
) -> AsyncGenerator[Link | bytes]:
    """Read a recording beside the view, and play it; see :func:`messages_of` for the errors."""
    yield Link("loading", await asyncio.to_thread(_size, path))
    messages = await asyncio.to_thread(messages_of, path, options, analysed=analysed)
    async for item in play(messages, pace):
        yield item


def messages_of(
    path: Path, options: ReadOptions | None = None, *, analysed: bool = False
) -> Iterator[tuple[float, bytes]]:
    """Return what a viewer was sent; where none was recorded, what one would have got without ML.

    Parameters
    ----------
    path : Path
        A recording of any format; all its sensors are played. It has been opened, and a file of
        samples read, when this returns.
    options : ReadOptions or None
        How to read a file of samples.
    analysed : bool
        Whether samples without results get what `ctgkit ml` would have said.

    Returns
    -------
    iterator
        Each message with its time, seconds.

    Raises
    ------
    RecordingError
        When it cannot be read.
    """
    messages = _messages(path, options, analysed)
    first = next(messages, None)
    return iter(()) if first is None else itertools.chain((first,), messages)


def _messages(
    path: Path, options: ReadOptions | None, analysed: bool
) -> Iterator[tuple[float, bytes]]:
    results = read_results(path, options)
    if first := next(results, None):
        yield from itertools.chain((first,), results)
        return
    samples = heapq.merge(
        *(_samples(r, f"sensor-{n}") for n, r in enumerate(read_recordings(path, options), 1)),
        key=lambda sample: sample.sec_from_start,
    )
    said: dict[str, _Said] = {}
    for sample in samples:
        if analysed:
            one = said.setdefault(sample.sensor_id, _Said())
            yield sample.sec_from_start, one.result(sample)
        else:
            yield sample.sec_from_start, encode_result(sample, None, "ok", utc_timestamp())


class _Said:
    """What the analyzer said of one sensor so far."""

    def __init__(self) -> None:
        from ctgkit.analysis.analyzer import Analyzer

        self._analyzer = Analyzer()
        self._prediction: Prediction | None = None
        self._status: Status = "ok"

    def result(self, sample: Sample) -> bytes:
        """Return the result that a viewer would have got."""
        analysis = self._analyzer.add(sample)
        extra = None
        if analysis is not None:
            self._prediction = analysis.prediction
            self._status = status_of(analysis.prediction.hypoxia_probability)
            extra = analysis.members()
        return encode_result(sample, self._prediction, self._status, utc_timestamp(), extra)


def _samples(recording: Recording, name: str) -> Iterator[Sample]:
    sensor_id = recording.sensor_id or name
    columns = (recording.sec_from_start, recording.fhr_bpm, recording.uterus, recording.spasms)
    for sec, *values in zip(*(column.tolist() for column in columns), strict=True):
        yield Sample(sensor_id, sec, *(None if math.isnan(v) else v for v in values))
