"""A simulated sensor: scenario, seed and index in, samples and their truth out.

Sample n is a function of (scenario, seed, sensor index, n): any chunk size, any starting point,
any machine gives the same. This module performs no I/O.
"""

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit.errors import near
from ctgkit.events import Event
from ctgkit.samples import RATE_HZ
from ctgkit.simulate.knobs import FORCED
from ctgkit.simulate.patient import ForcedAt, Patient
from ctgkit.simulate.plan import Plan, Window
from ctgkit.simulate.scenario import ForcedEvent, Scenario
from ctgkit.simulate.signal.belt import level, toco
from ctgkit.simulate.signal.device import MARGIN, WARM_UP, hold, monitor, mother_bpm, wild_bpm
from ctgkit.simulate.signal.dropout import Episode
from ctgkit.simulate.signal.field import heart_rate
from ctgkit.simulate.signal.noise import ENGINE_HZ
from ctgkit.simulate.signal.stream import Floats, Streams
from ctgkit.simulate.source import Chunk
from ctgkit.simulate.truth import truth_events

BLOCK: Final = 2048
"""Engine samples that are rendered at once: 512 s."""

GOLDEN: Final = 0.618034
"""Spreads where in a block sensors render the next one: a fleet that began together would
otherwise stop together, for milliseconds each."""

CAPTURE_LEAD_S: Final = 2.5
"""The mother's heart is followed this long before it is shown, so that no shown interval mixes
two hearts."""

MASK_BITS: Final = {
    "loss": 1, "off": 2, "maternal_capture": 4, "doubling": 8, "halving": 16, "outlier": 32,
    "hold": 64, "twin": 128,
}  # fmt: skip
"""What each bit of the mask means."""


class Truth(NamedTuple):
    """What is true at each sample; arrays of shape (n_samples,)."""

    baseline_bpm: Floats
    fhr_clean_bpm: Floats
    """Baseline, accelerations, decelerations and sinusoidal pattern, without noise."""
    toco_clean: Floats
    """Tone, contractions and pushing, without the belt's artefacts; device units."""
    mask: NDArray[np.uint8]
    """Sum of :data:`MASK_BITS`; 0 where the sensor shows the fetus."""
    mother_bpm: Floats
    """The mother's heart rate."""


class Rendered(NamedTuple):
    """Samples and their truth."""

    chunk: Chunk
    truth: Truth


class Injected(NamedTuple):
    """An event forced from outside; a list of them repeats a run."""

    at_sample: int
    event: str
    size: float
    duration_s: float


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
    ) -> None:
        if not rate_hz > 0:
            raise ValueError(f"rate_hz must be positive, got {rate_hz}")
        self.rate_hz = rate_hz
        self.n_samples = None if duration_s is None else round(duration_s * rate_hz)
        self.position = 0
        """Index of the next sample."""
        self.log: list[Injected] = []
        twins = scenario.words["sensor.twins"] == "yes"
        mother = index - index % 2 if twins else index
        streams = Streams(seed, index, scenario.patients, mother)
        self._twin: Plan | None = None
        """What happens to the other twin."""
        if twins:
            other = Streams(seed, mother + 1 - index % 2, scenario.patients, mother)
            self._twin = Plan(Patient(scenario, other), other)
        self.patient = Patient(scenario, streams)
        self._streams = streams
        self._plan = Plan(self.patient, streams)
        self._blocks: dict[int, Rendered] = {}
        """What is rendered, by number: the present block, and in time the next."""
        self._ahead_at = int(BLOCK * (0.1 + 0.8 * (index * GOLDEN % 1)))
        for entry in injected:
            self._force(entry)

    def read(self, n_samples: int) -> Chunk:
        """Return the next *n_samples* samples; fewer, down to none, at the end."""
        chunk = self._within_block(n_samples) or self.render(self.position, n_samples).chunk
        self.position += len(chunk.sec_from_start)
        block, inside = divmod(int(self.position * ENGINE_HZ / self.rate_hz), BLOCK)
        self._blocks.pop(block - 1, None)
        if inside >= self._ahead_at and self._lasts_until(block + 1):
            self._at_block(block + 1)
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
        _, *channels = self._at_block(block).chunk
        seconds = np.arange(self.position, end) / self.rate_hz
        return Chunk(seconds, *(channel[at : at + n_samples].copy() for channel in channels))

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
            inside = engine[(engine >= block * BLOCK) & (engine < (block + 1) * BLOCK)]
            if len(inside):
                one = self._at_block(int(block))
                take = inside - block * BLOCK
                parts.append(([a[take] for a in one.chunk[1:]], [a[take] for a in one.truth]))
        chunk = [np.concatenate(arrays) for arrays in zip(*(p[0] for p in parts), strict=True)]
        truth = [np.concatenate(arrays) for arrays in zip(*(p[1] for p in parts), strict=True)]
        return Rendered(Chunk(indices / self.rate_hz, *chunk), Truth(*truth))

    def events(self) -> list[Event]:
        """Return the truth: all events that began before the current sample, by onset."""
        return truth_events(self._plan, self.position / self.rate_hz)

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
        self._plan.force(ForcedAt(entry.at_sample / self.rate_hz, what))
        self._blocks.clear()  # what was rendered ahead is no longer true

    def _at_block(self, block: int) -> Rendered:
        if block not in self._blocks:
            self._blocks = {n: one for n, one in self._blocks.items() if n == block - 1}
            self._blocks[block] = self._render_block(block)
        return self._blocks[block]

    def _lasts_until(self, block: int) -> bool:
        last = math.inf if self.n_samples is None else self.n_samples
        return block * BLOCK < last * ENGINE_HZ / self.rate_hz

    def _render_block(self, block: int) -> Rendered:
        patient, streams, plan = self.patient, self._streams, self._plan
        first = block * BLOCK - MARGIN
        t_s = np.arange(first, first + MARGIN + BLOCK) / ENGINE_HZ
        window = plan.window(float(t_s[0]), float(t_s[-1]) + 1 / ENGINE_HZ)
        strength = level(window.contractions, t_s)
        heart = plan.composite(t_s, window)
        full = heart_rate(patient, streams, plan.behaviour, plan.fetus, first, heart, strength)
        mask = _mask(window.episodes, t_s)
        mother = mother_bpm(patient, streams, t_s, strength)
        seen = self._heard(window, t_s, full, mother) if mask.any() else full
        shown = self._shown(block, t_s, monitor(patient, streams, block, first, seen), mask)
        belt = toco(patient, streams, first, len(t_s), window.contractions, window.rezeros)
        mask, t_s = mask[MARGIN:], t_s[MARGIN:]
        off = (mask & MASK_BITS["off"]).astype(bool)
        uterus, spasms = self._wire(block, belt.shown, belt.contractile[MARGIN:])
        uterus, spasms = np.where(off, np.nan, uterus), np.where(off, np.nan, spasms)
        return Rendered(
            Chunk(t_s, shown, uterus, spasms),
            Truth(
                heart.baseline[MARGIN:],
                heart.clean[MARGIN:],
                belt.clean[MARGIN:],
                mask,
                mother[MARGIN:],
            ),
        )

    def _heard(self, window: Window, t_s: Floats, fetus: Floats, mother: Floats) -> Floats:
        """Return the heart that the sensor hears, bpm: the fetus's, the mother's, the twin's."""
        heard = fetus
        for e in window.episodes:
            if e.what not in ("maternal_capture", "twin"):
                continue
            lead_s = 0.0 if e.id.startswith("f") else CAPTURE_LEAD_S  # what is forced is sudden
            inside = (t_s >= e.onset_s - lead_s) & (t_s < e.end_s)
            if e.what == "maternal_capture":
                heard = np.where(inside, mother, heard)
            elif self._twin is not None:
                heard = np.where(inside, self._twin_bpm(t_s), heard)
        return heard

    def _twin_bpm(self, t_s: Floats) -> Floats:
        """Return the other twin's heart rate, bpm."""
        twin = self._twin
        assert twin is not None
        window = twin.window(float(t_s[0]), float(t_s[-1]) + 1 / ENGINE_HZ)
        heart, strength = twin.composite(t_s, window), level(window.contractions, t_s)
        first = round(float(t_s[0]) * ENGINE_HZ)
        return heart_rate(
            twin.patient, twin.streams, twin.behaviour, twin.fetus, first, heart, strength
        )

    def _shown(self, block: int, t_s: Floats, measured: Floats, mask: NDArray[np.uint8]) -> Floats:
        """Return what the monitor shows, given what it measured; after the first MARGIN samples."""
        mask, t_s = mask[WARM_UP:], t_s[WARM_UP:]
        shown = np.where(mask & MASK_BITS["doubling"], measured * 2, measured)
        shown = np.where(mask & MASK_BITS["halving"], shown / 2, shown)
        if (mask & MASK_BITS["outlier"]).any():
            wild = wild_bpm(self.patient, self._streams, block, t_s)
            shown = np.where(mask & MASK_BITS["outlier"], wild, shown)
        grid = self.patient.at("sensor.grid_bpm", 0.0)
        shown = np.clip(np.round(shown / grid) * grid, 50, 240)
        held = (mask & MASK_BITS["hold"]).astype(bool)
        if held.any():
            shown = hold(self._streams, block, shown, held, grid)
        shown = np.where(mask & (MASK_BITS["loss"] | MASK_BITS["off"]), np.nan, shown)
        return shown[MARGIN - WARM_UP :]

    def _wire(self, block: int, shown: Floats, contractile: Floats) -> tuple[Floats, Floats]:
        """Return uterus and spasms in the units of the profile (notes/signal_model.md 3).

        *shown* has MARGIN samples before the block, in which a shown value may begin.
        """
        if self.patient.words["sensor.profile"] == "original":
            tenths = np.round(10 * np.clip(14.8 + 0.4 * shown[MARGIN:], 0, 60))
            hiss = self._streams.generator("sensor.spasms", block).standard_normal(BLOCK)
            spasms = 20 + 1.5 * np.maximum(0, tenths / 10 - 28) + 0.5 * hiss
            return tenths / 10, np.round(10 * spasms) / 10
        grid = self.patient.at("toco.grid", 0.0)
        every = max(1, round(self.patient.at("toco.update_s", 0.0) * ENGINE_HZ))
        phase = int(every * self._streams.generator("toco.update", 0).random())
        age = (block * BLOCK - phase + np.arange(BLOCK)) % every
        shown = shown[MARGIN + np.arange(BLOCK) - age]
        return np.round(shown / grid) * grid, np.round(contractile * 2) / 2


def _mask(episodes: list[Episode], t_s: Floats) -> NDArray[np.uint8]:
    mask = np.zeros(len(t_s), np.uint8)
    for episode in episodes:
        low, high = np.searchsorted(t_s, (episode.onset_s, episode.end_s))
        mask[low:high] |= MASK_BITS[episode.what]
    return mask
