"""A simulated sensor: scenario, seed and index in, samples and their truth out.

Sample n is a function of (scenario, seed, sensor index, n): any chunk size, any starting point,
any machine gives the same. This module performs no I/O.
"""

import math
from collections.abc import Iterable
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from ctgkit.errors import near
from ctgkit.events import Event
from ctgkit.samples import RATE_HZ
from ctgkit.simulate.block import BLOCK, Rendered, Truth, rendered
from ctgkit.simulate.kept import Kept
from ctgkit.simulate.knobs import FORCED, check_change
from ctgkit.simulate.patient import ForcedAt, Patient
from ctgkit.simulate.plan import Plan
from ctgkit.simulate.scenario import ForcedEvent, Scenario
from ctgkit.simulate.signal.noise import ENGINE_HZ
from ctgkit.simulate.signal.stream import Streams
from ctgkit.simulate.source import Chunk
from ctgkit.simulate.truth import truth_events

CHANGES_MAX: Final = 100
"""Of knobs, in one run: around each, two plans are followed."""

GOLDEN: Final = 0.618034
"""Spreads where in a block sensors render the next one: a fleet that began together would
otherwise stop together, for milliseconds each."""


class Injected(NamedTuple):
    """An event forced from outside; a list of them repeats a run."""

    at_sample: int
    event: str
    size: float
    duration_s: float


class Changed(NamedTuple):
    """A knob that was turned from outside; with a list of them a run is repeated too."""

    at_sample: int
    knob: str
    to: float
    ramp_s: float


class Sensor:
    """One simulated sensor, a :class:`ctgkit.simulate.source.Source`.

    Parameters
    ----------
    scenario : Scenario
        What happens.
    seed : int
        The run's seed.
    index : int
        Which sensor of the run, from 0: each is another patient.
    rate_hz : float
        Samples per second, > 0. The engine works at 4 Hz like monitors do; other rates repeat
        or skip its samples.
    duration_s : float or None
        Where it ends, seconds; ``None`` never.
    injected : iterable of Injected
        A former run's :attr:`log`, to repeat it.
    changed : iterable of Changed
        A former run's :attr:`changes`.

    Examples
    --------
    >>> from ctgkit.simulate.library import load_scenario
    >>> sensor = Sensor(load_scenario("normal-reactive"), seed=1)
    >>> sensor.read(4).sec_from_start
    array([0.  , 0.25, 0.5 , 0.75])
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int = 0,
        index: int = 0,
        rate_hz: float = RATE_HZ,
        duration_s: float | None = None,
        injected: Iterable[Injected] = (),
        changed: Iterable[Changed] = (),
    ) -> None:
        if not rate_hz > 0:
            raise ValueError(f"rate_hz must be positive, got {rate_hz}")
        self.rate_hz = rate_hz
        self.n_samples = None if duration_s is None else round(duration_s * rate_hz)
        self.position = 0
        """Index of the next sample."""
        self.log: list[Injected] = []
        self.changes: list[Changed] = []
        twins = scenario.has_twins
        mother = index - index % 2 if twins else index
        streams = Streams(seed, index, scenario.patients, mother)
        self._twin: Plan | None = None
        """What happens to the other twin."""
        if twins:
            other = Streams(seed, mother + 1 - index % 2, scenario.patients, mother)
            self._twin = Plan(Patient(scenario, other), other)
        self.patient = Patient(scenario, streams)
        self._streams = streams
        self._played = scenario, seed, index
        self._plans = [Plan(self.patient, streams)]
        """What happens; each but the first from where a knob was turned."""
        self._blocks: dict[int, Rendered | Kept] = {}
        """What is rendered, by number: the present block, and in time the next. With their truth
        once somebody asked for it."""
        self._ahead_at = int(BLOCK * (0.1 + 0.8 * (index * GOLDEN % 1)))
        for entry in injected:
            self._force(entry)
        for change in changed:
            self._turn(change)

    @cached_property
    def other_twin(self) -> "Sensor | None":
        """The sensor on the other twin, from its start; None where there is one fetus.

        It knows nothing of events that are forced on this one.
        """
        if self._twin is None:
            return None
        scenario, seed, index = self._played
        duration_s = None if self.n_samples is None else self.n_samples / self.rate_hz
        return Sensor(scenario, seed, index ^ 1, self.rate_hz, duration_s)

    def read(self, n_samples: int) -> Chunk:
        """Return the next *n_samples* samples; fewer, down to none, at the end."""
        left = BLOCK - self.position % BLOCK
        if left < n_samples <= BLOCK and self.rate_hz == ENGINE_HZ:
            # block by block: rendered together they would be kept with their truth, five times more
            parts = self.read(left), self.read(n_samples - left)
            return Chunk(*(np.concatenate(both) for both in zip(*parts, strict=True)))
        chunk = self._within_block(n_samples) or self.render(self.position, n_samples).chunk
        self.position += len(chunk.sec_from_start)
        block, inside = divmod(int(self.position * ENGINE_HZ / self.rate_hz), BLOCK)
        self._blocks.pop(block - 1, None)
        if inside >= self._ahead_at and self._lasts_until(block + 1):
            if isinstance(self._blocks.get(block), Rendered):
                self._at_block(block + 1)
            else:
                self._kept(block + 1)
        return chunk

    def _within_block(self, n_samples: int) -> Chunk | None:
        """Return the next samples where they are a piece of one block, as they usually are.

        The same as :meth:`render`, at a fifth of the cost: it matters with a thousand sensors.
        """
        block, at = divmod(self.position, BLOCK)
        end = self.position + n_samples
        last = end if self.n_samples is None else self.n_samples
        if self.rate_hz != ENGINE_HZ or at + n_samples > BLOCK or end > last:
            return None
        kept = self._kept(block)
        if isinstance(kept, Rendered):
            channels = [channel[at : at + n_samples].copy() for channel in kept.chunk[1:]]
        else:
            channels = list(kept.piece(at, at + n_samples))
        return Chunk(np.arange(self.position, end) / self.rate_hz, *channels)

    def seek(self, sample: int) -> None:
        """Continue at *sample*, an index >= 0; costs nothing."""
        if sample < 0:
            raise ValueError(f"sample must be at least 0, got {sample}")
        self.position = sample

    def render(self, first: int, n_samples: int) -> Rendered:
        """Return *n_samples* samples from *first* on with their truth, without moving.

        Parameters
        ----------
        first : int
            Sample index, >= 0.
        n_samples : int
            How many; cut at the end of the recording.
        """
        stop = first + n_samples if self.n_samples is None else self.n_samples
        indices = np.arange(first, max(first, min(first + n_samples, stop)))
        if not len(indices):
            none = np.empty(0)
            return Rendered(
                Chunk(none, none, none, none), Truth(none, none, none, np.empty(0, np.uint8), none)
            )
        engine = np.floor(indices * (ENGINE_HZ / self.rate_hz) + 1e-9).astype(np.intp)
        parts = []
        for block in range(engine[0] // BLOCK, engine[-1] // BLOCK + 1):
            low, high = engine.searchsorted((block * BLOCK, (block + 1) * BLOCK))
            inside = engine[low:high] - block * BLOCK
            if len(inside):
                one = self._at_block(int(block))
                every = self.rate_hz == ENGINE_HZ
                take = slice(inside[0], inside[-1] + 1) if every else inside
                parts.append(([a[take] for a in one.chunk[1:]], [a[take] for a in one.truth]))
        chunk = [np.concatenate(arrays) for arrays in zip(*(p[0] for p in parts), strict=True)]
        truth = [np.concatenate(arrays) for arrays in zip(*(p[1] for p in parts), strict=True)]
        return Rendered(Chunk(indices / self.rate_hz, *chunk), Truth(*truth))

    def events(self) -> list[Event]:
        """Return the truth: all events that began before the current sample, by onset."""
        return truth_events(self._plans[-1], self.position / self.rate_hz)

    def inject(
        self,
        event: str,
        at_sample: int | None = None,
        size: float | None = None,
        duration_s: float | None = None,
    ) -> Injected:
        """Force an event, now or later; it is added to :attr:`log`.

        Parameters
        ----------
        event : str
            A key of :data:`ctgkit.simulate.knobs.FORCED`.
        at_sample : int or None
            Sample at which it begins, not before :attr:`position`; default: the next one.
        size, duration_s : float or None
            In the unit and range that ``FORCED`` gives; default: its default.

        Raises
        ------
        ValueError
            Unknown event, value out of range, or a sample that was already read.
        """
        if event not in FORCED:
            raise ValueError(f"unknown event {event!r}{near(event, FORCED)}")
        rules = FORCED[event]
        size = rules.size if size is None else size
        duration_s = rules.duration_s if duration_s is None else duration_s
        at_sample = self.position if at_sample is None else at_sample
        if not rules.size_low <= size <= rules.size_high:
            raise ValueError(
                f"size {size:g} is outside {rules.size_low:g} to {rules.size_high:g}"
                f" {rules.size_unit}".rstrip()
            )
        if not rules.duration_low_s <= duration_s <= rules.duration_high_s:
            raise ValueError(
                f"duration_s {duration_s:g} is outside {rules.duration_low_s:g} to"
                f" {rules.duration_high_s:g} s"
            )
        if at_sample < self.position:
            raise ValueError(f"sample {at_sample} was already read; the next is {self.position}")
        entry = Injected(at_sample, event, float(size), float(duration_s))
        self._force(entry)
        return entry

    def _force(self, entry: Injected) -> None:
        self.log.append(entry)
        what = ForcedEvent(entry.event, entry.size, entry.duration_s)
        for plan in self._plans:
            plan.force(ForcedAt(entry.at_sample / self.rate_hz, what))
        self._blocks.clear()  # what was rendered ahead is no longer true

    def change(
        self, knob: str, to: float, ramp_s: float = 60.0, at_sample: int | None = None
    ) -> Changed:
        """Let a knob go to another value; it is added to :attr:`changes`.

        What the scenario does to this knob later no longer happens; events that have begun end as
        they would have.

        Parameters
        ----------
        knob : str
            A key of :data:`ctgkit.simulate.knobs.KNOBS` that isn't fixed.
        to : float
            Where it goes, in its unit and range.
        ramp_s : float
            How long that takes, seconds, 0 to a day.
        at_sample : int or None
            Sample at which that begins, not before :attr:`position` or an earlier change; default:
            the next one.

        Raises
        ------
        ValueError
            For a knob that can't change, a value out of range, a sample that was already read.
        """
        at_sample = self.position if at_sample is None else at_sample
        check_change(knob, to, ramp_s)
        earliest = max([self.position, *(change.at_sample for change in self.changes[-1:])])
        if at_sample < earliest:
            raise ValueError(f"sample {at_sample} is too early; the earliest is {earliest}")
        if len(self.changes) == CHANGES_MAX:
            raise ValueError(f"a run has at most {CHANGES_MAX} changes")
        entry = Changed(at_sample, knob, float(to), float(ramp_s))
        self._turn(entry)
        return entry

    def _turn(self, entry: Changed) -> None:
        self.changes.append(entry)
        t_s = entry.at_sample / self.rate_hz
        self.patient = self.patient.changed(entry.knob, t_s, entry.ramp_s, entry.to)
        last = self._plans[-1]
        self._plans.append(Plan(self.patient, self._streams, last, t_s))
        self._blocks.clear()

    def _at_block(self, block: int) -> Rendered:
        """Return a block with its truth."""
        one = self._blocks.get(block)
        if not isinstance(one, Rendered):
            one = self._render_block(block)
            self._keep(block, one)
        return one

    def _kept(self, block: int) -> Rendered | Kept:
        """Return a block's samples; their truth, most of what it takes, nobody has asked for."""
        one = self._blocks.get(block)
        if one is None:
            one = Kept(self._render_block(block).chunk[1:])
            self._keep(block, one)
        return one

    def _keep(self, block: int, one: Rendered | Kept) -> None:
        self._blocks = {n: kept for n, kept in self._blocks.items() if n == block - 1}
        self._blocks[block] = one

    def _lasts_until(self, block: int) -> bool:
        last = math.inf if self.n_samples is None else self.n_samples
        return block * BLOCK < last * ENGINE_HZ / self.rate_hz

    def _render_block(self, block: int) -> Rendered:
        """Return a block, each of its samples as the plan says that held then."""
        starts = [
            math.ceil(plan.since_s * ENGINE_HZ - 1e-6) - block * BLOCK for plan in self._plans
        ]
        ends = [*starts[1:], BLOCK]
        if starts[-1] <= 0:
            return rendered(block, self._plans[-1], self._twin)
        chunks, truths = [], []
        for plan, start, end in zip(self._plans, starts, ends, strict=True):
            low, high = max(start, 0), min(end, BLOCK)
            if low < high:
                one = rendered(block, plan, self._twin)
                chunks.append([channel[low:high] for channel in one.chunk])
                truths.append([channel[low:high] for channel in one.truth])
        chunk, truth = (
            [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]
            for parts in (chunks, truths)
        )
        return Rendered(Chunk(*chunk), Truth(*truth))
