"""A recording as a viewer stream: its samples as results, at their times."""

import asyncio
import heapq
import math
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from ctgkit.clock import utc_timestamp
from ctgkit.recording import Recording, read_recordings
from ctgkit.samples import Sample
from ctgkit.watch.feed import Link
from ctgkit.wire import encode_result

SAMPLES_PER_TURN = 500
"""Samples handed out before others get their turn, at full speed."""


async def play(path: Path, speed: float) -> AsyncGenerator[Link | bytes]:
    """Yield what a viewer of the recorded sensors would have got without an ML service.

    Parameters
    ----------
    path : Path
        A recording of any format; all its sensors are played.
    speed : float
        Data seconds per second, > 0; ``inf`` for all at once.

    Raises
    ------
    RecordingError
        When it cannot be read.
    """
    samples = heapq.merge(
        *(_samples(r, f"sensor-{n}") for n, r in enumerate(read_recordings(path), 1)),
        key=lambda sample: sample.sec_from_start,
    )
    clock = asyncio.get_running_loop().time
    yield Link("live")
    begun_s, first_s = clock(), None
    for number, sample in enumerate(samples):
        if first_s is None:
            first_s = sample.sec_from_start
        ahead_s = begun_s + (sample.sec_from_start - first_s) / speed - clock()
        if ahead_s > 0:
            await asyncio.sleep(ahead_s)
        elif number % SAMPLES_PER_TURN == 0:
            await asyncio.sleep(0)
        yield encode_result(sample, None, "ok", utc_timestamp())


def _samples(recording: Recording, name: str) -> Iterator[Sample]:
    sensor_id = recording.sensor_id or name
    columns = (recording.sec_from_start, recording.fhr_bpm, recording.uterus, recording.spasms)
    for sec, *values in zip(*(column.tolist() for column in columns), strict=True):
        yield Sample(sensor_id, sec, *(None if math.isnan(v) else v for v in values))
