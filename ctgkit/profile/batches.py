"""The samples of a source, cut as a profile sends them. Pure."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

from ctgkit.profile.model import Profile
from ctgkit.profile.session import Beside
from ctgkit.samples import Sample
from ctgkit.simulate.block import MASK_BITS
from ctgkit.simulate.sensor import Sensor
from ctgkit.simulate.source import Source

ANOTHER = sum(
    MASK_BITS[name] for name in ("maternal_capture", "doubling", "halving", "outlier", "twin")
)
"""Bits of a sample that shows something else than the fetus's rate."""
CHUNK_SAMPLES = 64
"""Samples read from a source at once. Chosen: 16 s at 4 Hz."""


def samples_of(source: Source, sensor_id: str) -> Iterator[Sample]:
    """Yield the samples of a source; NaN becomes None."""
    while True:
        chunk = source.read(CHUNK_SAMPLES)
        for sec, *values in zip(*(channel.tolist() for channel in chunk), strict=True):
            fhr, uterus, spasms = (v if v == v else None for v in values)
            yield Sample(sensor_id, sec, fhr, uterus, spasms)
        if len(chunk.sec_from_start) < CHUNK_SAMPLES:
            return


def batches(
    source: Source, profile: Profile, sensor_id: str, duration_s: float = math.inf
) -> Iterator[list[Sample]]:
    """Yield what is sent together: single samples, or batches of ``batch_s`` of data time."""
    samples = _first(samples_of(source, sensor_id), duration_s)
    if profile.per != "batch":
        return ([sample] for sample in samples)
    return _cut(samples, profile.batch_s)


def beside(source: Source, batch: Sequence[Sample], *, second: bool = False) -> dict[float, Beside]:
    """Return what a simulated sensor knows besides of some samples; nothing of a recording.

    Parameters
    ----------
    source : Source
        What the samples are from.
    batch : sequence of Sample
        Consecutive ones.
    second : bool
        Whether the other twin's heart rate is wanted: it is another sensor to render.
    """
    if not isinstance(source, Sensor) or not batch:
        return {}
    first = round(batch[0].sec_from_start * source.rate_hz)
    truth = source.render(first, len(batch)).truth
    rates: Iterable[float] = itertools.repeat(math.nan)
    if second and (other := source.other_twin) is not None:
        rates = other.render(first, len(batch)).chunk.fhr_bpm.tolist()
    return {
        sample.sec_from_start: Beside(float(mother), _quality(sample, int(mask)), rate)
        for sample, mother, mask, rate in zip(
            batch, truth.mother_bpm, truth.mask, rates, strict=False
        )
    }


def _quality(sample: Sample, mask: int) -> int:
    if sample.fhr_bpm is None:
        return 0
    return 1 if mask & ANOTHER else 2


def _first(samples: Iterator[Sample], duration_s: float) -> Iterator[Sample]:
    """Yield the samples of the first *duration_s* seconds of data time."""
    end_s = math.inf
    for number, sample in enumerate(samples):
        if number == 0:
            end_s = sample.sec_from_start + duration_s
        if sample.sec_from_start >= end_s:
            return
        yield sample


def _cut(samples: Iterable[Sample], length_s: float) -> Iterator[list[Sample]]:
    def number(sample: Sample) -> int:
        return int(sample.sec_from_start / length_s + 1e-9)

    return (list(batch) for _, batch in itertools.groupby(samples, number))
