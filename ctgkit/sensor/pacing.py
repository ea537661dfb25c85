"""When each sample of a sensor is due.

This module performs no I/O and reads no clock: times come in as seconds of a monotonic clock.
"""

import math

import msgspec

from ctgkit.samples import Sample, SampleAndMother
from ctgkit.simulate.sensor import Sensor
from ctgkit.simulate.source import Source

CHUNK_SAMPLES = 16
"""Samples read from the source at once. Chosen: 4 s at 4 Hz, which is how soon an injected event
can begin."""


class Feed:
    """The samples of one source, numbered, each handed out when it is due.

    A sample is due at ``start + (its time - the first one's time) / speed``: an absolute
    deadline, so lateness never adds up, and a feed that was held up catches up in one go.

    Parameters
    ----------
    source : Source
        Where the samples come from.
    sensor_id : str
        UUID, lower case.
    first_seq : int
        Sequence number of the first sample, >= 0.
    speed : float
        Data seconds per second, > 0; ``inf`` makes everything due at once.
    duration_s : float
        Length to play, seconds of data time; ``inf`` for all there is.
    mother : bool
        Whether the samples of a simulated sensor tell the mother's heart rate.
    """

    __slots__ = (
        "_at", "_due_s", "_duration_s", "_first_sec", "_mother", "_ready", "_sensor_id", "_source",
        "_source_ended", "_speed", "_zero_s", "next_due_s", "next_seq",
    )  # fmt: skip

    def __init__(
        self, source: Source, *, sensor_id: str, first_seq: int, speed: float, duration_s: float,
        mother: bool = False,
    ) -> None:  # fmt: skip
        self._source = source
        self._mother = mother
        self._sensor_id = sensor_id
        self.next_seq = first_seq
        """The number that follows on every sample read so far."""
        self._speed = speed
        self._duration_s = duration_s
        self._zero_s: float | None = None
        self._first_sec: float | None = None
        self._ready: list[Sample] = []
        self._due_s: list[float] = []
        self._at = 0
        self._source_ended = False
        self.next_due_s = math.inf
        """When the next sample is due; ``inf`` before the start and after the end."""

    def inject(self, event: str, size: float | None, duration_s: float | None) -> float:
        """Force an event on a simulated sensor; return when it begins, seconds of data time.

        Raises
        ------
        ValueError
            When the source has no events to force, doesn't know this one, or the size or the
            duration is out of range.
        """
        if not isinstance(self._source, Sensor):
            raise ValueError("a recording has no events to force")
        entry = self._source.inject(event, size=size, duration_s=duration_s)
        return entry.at_sample / self._source.rate_hz

    def change(self, knob: str, to: float, ramp_s: float) -> float:
        """Let a simulated sensor's knob go elsewhere; return when that begins, as above.

        Raises
        ------
        ValueError
            When the source has no knobs, or can't turn this one there.
        """
        if not isinstance(self._source, Sensor):
            raise ValueError("a recording has no knobs")
        entry = self._source.change(knob, to, ramp_s)
        return entry.at_sample / self._source.rate_hz

    def prepare(self) -> None:
        """Read the first samples, which takes a simulated sensor milliseconds, before the start."""
        if not self._ready:
            self._refill()

    def start(self, now_s: float) -> None:
        """Make the first sample due at *now_s*."""
        self.prepare()
        self._zero_s = now_s
        self._find_due()

    def stop(self) -> None:
        """End the feed: nothing more will be due."""
        self._ready, self._due_s, self._at = [], [], 0
        self._source_ended, self.next_due_s = True, math.inf

    @property
    def ended(self) -> bool:
        """Whether every sample was handed out, or the feed was stopped."""
        return self._source_ended and self._at == len(self._ready)

    def due_at(self, sample: Sample) -> float:
        """Return when a sample of this feed is due."""
        assert self._zero_s is not None
        assert self._first_sec is not None
        return self._zero_s + (sample.sec_from_start - self._first_sec) / self._speed

    def _find_due(self) -> None:
        self._due_s = [self.due_at(sample) for sample in self._ready]
        self.next_due_s = self._due_s[0] if self._due_s else math.inf

    def take_due(self, now_s: float, limit: int) -> list[Sample]:
        """Return what is due at *now_s*, oldest first, at most *limit* samples."""
        due: list[Sample] = []
        while len(due) < limit and self.next_due_s <= now_s:
            due.append(self._ready[self._at])
            self._at += 1
            if self._at < len(self._due_s):
                self.next_due_s = self._due_s[self._at]
            else:
                self._refill()
        return due

    def _mother_bpm(self) -> list[float] | None:
        """Return her heart rate at the next samples, in whole beats/min, as monitors show it."""
        if not self._mother or not isinstance(self._source, Sensor):
            return None
        truth = self._source.render(self._source.position, CHUNK_SAMPLES).truth
        beats: list[float] = truth.mother_bpm.round().tolist()
        return beats

    def _refill(self) -> None:
        if self._source_ended:
            self.next_due_s = math.inf
            return
        sensor_id, seq = self._sensor_id, self.next_seq
        beats = self._mother_bpm()
        chunk = self._source.read(CHUNK_SAMPLES)
        self._ready = [
            Sample(
                sensor_id,
                sec,
                fhr if fhr == fhr else None,  # NaN is the only number unlike itself
                uterus if uterus == uterus else None,
                spasms if spasms == spasms else None,
                seq + n,
            )
            for n, (sec, fhr, uterus, spasms) in enumerate(
                zip(*(channel.tolist() for channel in chunk), strict=True)
            )
        ]
        if beats is not None:
            self._ready = [
                SampleAndMother(**msgspec.structs.asdict(sample), mother_bpm=bpm)
                for sample, bpm in zip(self._ready, beats, strict=True)
            ]
        self._at = 0
        self._source_ended = len(self._ready) < CHUNK_SAMPLES
        if self._first_sec is None and self._ready:
            self._first_sec = self._ready[0].sec_from_start
        if self._first_sec is not None and self._duration_s < math.inf:
            end_s = self._first_sec + self._duration_s
            n_read = len(self._ready)
            self._ready = [s for s in self._ready if s.sec_from_start < end_s]
            self._source_ended |= len(self._ready) < n_read
        if self._zero_s is not None:
            self._find_due()
        self.next_seq = seq + len(self._ready)
