"""Copy a database into another, examination by examination, and compare them.

An examination is one transaction: after an interruption those that are there are compared, and the
rest is copied. Checksums are of what a database says, not of how it says it: the same for SQLite
and PostgreSQL. They don't depend on the order of rows; a result that repeats the one before is
summed together with that one.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from ctgkit.errors import StoreError

_MODULUS = 1 << 128
ADVANCE_BY = 1000
"""Samples after which somebody hears of them."""
Advance = Callable[[float], None]


def _nobody(_amount: float) -> None:
    """Hear of progress nobody waits for."""


class Sensor(NamedTuple):
    """A sensor as both kinds of databases know it."""

    uuid: str
    token_digest: bytes | None
    bed: str | None
    control: str | None


class Stream(NamedTuple):
    """A stream of numbers (PROTOCOL S-6.7)."""

    id: int
    uuid: str
    name: str | None


class Row(NamedTuple):
    """A stored sample."""

    uuid: str
    stream: int
    seq: int | None
    sec_from_start: float
    bpm: float | None
    uterus: float | None
    spasms: float | None
    created_at: str
    """ISO 8601 with milliseconds and Z."""


class Result(NamedTuple):
    """A stored result; of a sensor in the order in which `repeated` needs them."""

    uuid: str
    sec_from_start: float | None
    status: str | None
    body: str
    created_at: str
    repeated: bytes | None


@dataclass(frozen=True, slots=True)
class Examination:
    """An examination without its rows."""

    id: int
    bed: str
    status: int
    start_time: str
    end_time: str | None
    notes: str = ""


class Side(Protocol):
    """A database that is read, or filled."""

    where: str

    def examinations(self) -> list[Examination]:
        """Return all, by ascending id; one that is open as it will be: interrupted."""

    def sensors(self) -> list[Sensor]:
        """Return all sensors."""

    def streams(self) -> list[Stream]:
        """Return all streams."""

    def count(self) -> int:
        """Return how many samples there are."""

    def samples(self, examination_id: int) -> Iterator[Row]:
        """Yield the samples of an examination in the order in which they were stored."""

    def results(self, examination_id: int) -> Iterator[Result]:
        """Yield its results."""


class Target(Side, Protocol):
    """A database that is filled."""

    def prepare(self, sensors: list[Sensor], streams: list[Stream]) -> None:
        """Know what rows refer to; it may be known already."""

    def put(
        self, examination: Examination, samples: Iterable[Row], results: Iterable[Result]
    ) -> None:
        """Add an examination in one transaction."""

    def finish(self) -> None:
        """Let new examinations and streams have new ids."""


@dataclass(slots=True)
class Sum:
    """What is in an examination, in short."""

    samples: int = 0
    results: int = 0
    checksum: int = 0
    advance: Advance = field(default=_nobody, compare=False)
    """Hears of samples on their way."""

    def add_examination(self, one: Examination) -> None:
        """Count the examination itself."""
        self._add(repr((one.id, one.bed, one.status, one.start_time, one.end_time, one.notes)))

    def of_samples(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Count samples on their way."""
        for row in rows:
            self.samples += 1
            self._add(repr(tuple(row)))
            if self.samples % ADVANCE_BY == 0:
                self.advance(ADVANCE_BY)
            yield row
        self.advance(self.samples % ADVANCE_BY)

    def of_results(self, rows: Iterable[Result]) -> Iterator[Result]:
        """Count results on their way."""
        before: dict[str, str] = {}
        for row in rows:
            self.results += 1
            repeats = before.get(row.uuid, "") if row.repeated else ""
            before[row.uuid] = row.body
            self._add(repr((*row[:4], row.repeated or b"", repeats)))
            yield row

    def _add(self, text: str) -> None:
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        low, high = struct.unpack("<QQ", digest)
        self.checksum = (self.checksum + (high << 64 | low)) % _MODULUS

    @property
    def shown(self) -> str:
        """The checksum as text."""
        return f"{self.checksum:032x}"


def sum_of(side: Side, examination: Examination, advance: Advance = _nobody) -> Sum:
    """Return what a database holds of an examination."""
    found = Sum(advance=advance)
    found.add_examination(examination)
    for _ in found.of_samples(side.samples(examination.id)):
        pass
    for _ in found.of_results(side.results(examination.id)):
        pass
    return found


def copy(
    source: Side,
    target: Target,
    tell: Callable[[Examination, Sum, bool], None],
    advance: Advance = _nobody,
) -> int:
    """Copy what isn't there yet; return how many examinations were.

    Parameters
    ----------
    source, target : Side, Target
        Nobody else writes to them meanwhile.
    tell : callable
        Hears of each examination, what it holds, and whether it was copied now.
    advance : callable
        Hears how many samples were read, in all twice as many as there are.

    Raises
    ------
    StoreError
        When the target holds an examination that the source hasn't, or has otherwise.
    """
    wanted = {one.id: one for one in source.examinations()}
    there = {one.id: one for one in target.examinations()}
    if strangers := there.keys() - wanted.keys():
        reason = f"holds examination {min(strangers)}, which {source.where} has not"
        raise StoreError(target.where, f"{reason}: it must be empty, or hold part of the same copy")
    target.prepare(source.sensors(), source.streams())
    copied = 0
    for number, one in wanted.items():
        if number not in there:
            sent = Sum(advance=advance)
            sent.add_examination(one)
            samples, results = source.samples(number), source.results(number)
            target.put(one, sent.of_samples(samples), sent.of_results(results))
            copied += 1
        else:
            sent = sum_of(source, one, advance)
        _demand_equal(target, one, sent, there.get(number, one), advance)
        tell(one, sent, number not in there)
    target.finish()
    return copied


def _demand_equal(
    target: Side, one: Examination, sent: Sum, there: Examination, advance: Advance
) -> None:
    """Read it back."""
    held = sum_of(target, there, advance)
    if held != sent:
        reason = (
            f"examination {one.id} differs: {held.samples} samples and {held.results} results,"
            f" checksum {held.shown}; {sent.samples} and {sent.results}, {sent.shown} were sent"
        )
        raise StoreError(target.where, reason)


def compare(
    left: Side, right: Side, advance: Advance = _nobody
) -> Iterator[tuple[int, Sum | None, Sum | None]]:
    """Yield each examination with what both hold of it; None: it isn't there."""
    found = [{one.id: one for one in side.examinations()} for side in (left, right)]
    for number in sorted(found[0].keys() | found[1].keys()):
        one, other = (
            sum_of(side, of[number], advance) if number in of else None
            for side, of in zip((left, right), found, strict=True)
        )
        yield number, one, other


def interrupted(one: Examination, last: str | None) -> Examination:
    """Return an open examination as a restart without grace would leave it."""
    if one.end_time is not None:
        return one
    return replace(one, status=2, end_time=last or one.start_time)
