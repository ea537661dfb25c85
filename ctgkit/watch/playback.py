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
from ctgkit.samples import Sample
from ctgkit.watch.feed import Link
from ctgkit.wire import encode_result

MESSAGES_PER_TURN = 500
"""Messages handed out before others get their turn, at full speed."""


async def play(
    messages: Iterable[tuple[float, bytes]], speed: float
) -> AsyncGenerator[Link | bytes]:
    """Yield messages when they are due.

    Parameters
    ----------
    messages : iterable
        From :func:`messages_of`.
    speed : float
        Seconds of the recording per second, > 0; ``inf`` for all at once.
    """
    clock = asyncio.get_running_loop().time
    yield Link("live")
    begun_s, first_s = clock(), None
    for number, (at_s, message) in enumerate(messages):
        if first_s is None:
            first_s = at_s
        ahead_s = begun_s + (at_s - first_s) / speed - clock()
        if ahead_s > 0:
            await asyncio.sleep(ahead_s)
        elif number % MESSAGES_PER_TURN == 0:
            await asyncio.sleep(0)
        yield message


def messages_of(path: Path, options: ReadOptions | None = None) -> Iterator[tuple[float, bytes]]:
    """Return what a viewer was sent; where none was recorded, what one would have got without ML.

    Parameters
    ----------
    path : Path
        A recording of any format; all its sensors are played. It has been opened, and a file of
        samples read, when this returns.
    options : ReadOptions or None
        How to read a file of samples.

    Returns
    -------
    iterator
        Each message with its time, seconds.

    Raises
    ------
    RecordingError
        When it cannot be read.
    """
    messages = _messages(path, options)
    first = next(messages, None)
    return iter(()) if first is None else itertools.chain((first,), messages)


def _messages(path: Path, options: ReadOptions | None) -> Iterator[tuple[float, bytes]]:
    results = read_results(path, options)
    if first := next(results, None):
        yield from itertools.chain((first,), results)
        return
    samples = heapq.merge(
        *(_samples(r, f"sensor-{n}") for n, r in enumerate(read_recordings(path, options), 1)),
        key=lambda sample: sample.sec_from_start,
    )
    for sample in samples:
        yield sample.sec_from_start, encode_result(sample, None, "ok", utc_timestamp())


def _samples(recording: Recording, name: str) -> Iterator[Sample]:
    sensor_id = recording.sensor_id or name
    columns = (recording.sec_from_start, recording.fhr_bpm, recording.uterus, recording.spasms)
    for sec, *values in zip(*(column.tolist() for column in columns), strict=True):
        yield Sample(sensor_id, sec, *(None if math.isnan(v) else v for v in values))
