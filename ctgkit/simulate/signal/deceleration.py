"""Decelerations: which contractions carry one, of which type, and how they look.

The deceleration of contraction k is row k of its stream, so switching decelerations on or off
doesn't move contractions. Those without a contraction live in time slots, like movements.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ctgkit.simulate.patient import Patient
from ctgkit.simulate.signal import fitted
from ctgkit.simulate.signal.contraction import Contraction
from ctgkit.simulate.signal.stream import Floats, Streams

TYPES = ("early", "late", "variable", "atypical", "prolonged")
SLOT_S = 30.0
LONGEST_S = 1000.0
"""No deceleration drawn by chance reaches further than this from its contraction."""


class Deceleration(NamedTuple):
    """One deceleration: fall, hold, recovery; perhaps shoulders before and after."""

    id: str
    type: str
    """One of :data:`TYPES`."""
    onset_s: float
    fall_s: float
    hold_s: float
    recovery_s: float
    depth_bpm: float
    shoulder_bpm: float = 0.0
    """Rise just before and after (typical variable ones)."""
    overshoot_bpm: float = 0.0
    """Rise after it (atypical ones)."""
    overshoot_s: float = 0.0
    notch: float = 0.0
    """Depth of the notch in the middle of the hold (W-shape), share of the depth."""
    variability: float = 1.0
    """Factor on the variability inside."""
    contraction: str = ""
    """Id of the contraction it belongs to."""
    ragged: float = 0.0
    """Mean size of the short falls and recoveries inside, over the depth."""
    left_bpm: float = 0.0
    """How far the heart is still below its baseline when it ends (above, if negative)."""
    left_s: float = 60.0
    """How long it takes to go back from there."""

    @property
    def nadir_s(self) -> float:
        """Where it is deepest, seconds."""
        return self.onset_s + self.fall_s

    @property
    def end_s(self) -> float:
        """Where it is over, seconds; shoulder and overshoot come later."""
        return self.onset_s + self.fall_s + self.hold_s + self.recovery_s

    @property
    def gone_s(self) -> float:
        """Where the heart shows nothing of it any more, seconds."""
        return self.end_s + max(SHOULDER_S, self.overshoot_s, self.left_s)


SHOULDER_S = 14.0
"""Length of a shoulder, seconds (notes/signal_model.md 5.2: 10-20 s)."""


OVERSHOOT_POWER = 0.7
"""Less than 1: an overshoot rises faster than it falls. Chosen."""


def _easing(hold_s: float) -> float:
    """Return which share of the depth is gone by the end of the hold: a reflex wanes."""
    return 0.05 + 0.2 * min(1.0, 40.0 / hold_s)


def dip(d: Deceleration, t_s: Floats) -> Floats:
    """Return how far the deceleration lowers the heart rate, bpm, at increasing times *t_s*."""
    wave = np.zeros_like(t_s)
    low, high = t_s.searchsorted((d.onset_s, d.end_s)).tolist()
    if low < high:
        wave[low:high] = depth(d, t_s[low:high] - d.onset_s)
    return wave


def depth(d: Deceleration, x_s: Floats) -> Floats:
    """Return how far the deceleration lowers the heart rate, bpm, *x_s* after its onset.

    Parameters
    ----------
    d : Deceleration
        Which one.
    x_s : ndarray
        Seconds, also before 0 and after its end.

    Returns
    -------
    ndarray
        Of the shape of *x_s*.
    """
    recovering_s = x_s - (d.fall_s + d.hold_s)
    fall, recovery = _part(x_s, d.fall_s), _part(recovering_s, d.recovery_s)
    share = 0.5 * d.depth_bpm * (np.cos(np.pi * recovery) - np.cos(np.pi * fall))
    if d.hold_s > 0:
        inside = _part(x_s - d.fall_s, d.hold_s)
        kept = 1 - _easing(d.hold_s) * inside
        if d.notch:
            kept -= d.notch * np.sin(np.pi * inside) ** 2
        share *= kept
    return share


def _part(x_s: Floats, length_s: float) -> Floats:
    """Return how much of *length_s* is over, 0 to 1."""
    part: Floats = np.minimum(np.maximum(x_s / length_s, 0.0), 1.0)  # quicker than np.clip
    return part


def rebound(d: Deceleration, t_s: Floats) -> Floats:
    """Return shoulders and overshoot, bpm upwards, at *t_s*, shape (n_samples,)."""
    wave = np.zeros_like(t_s)
    rises = (
        (d.onset_s - SHOULDER_S, SHOULDER_S, d.shoulder_bpm, 1.0),
        (d.end_s, SHOULDER_S, d.shoulder_bpm, 1.0),
        (d.end_s, d.overshoot_s, d.overshoot_bpm, OVERSHOOT_POWER),
    )
    for start_s, length_s, size_bpm, power in rises:
        if size_bpm:
            inside = slice(*t_s.searchsorted((start_s, start_s + length_s)).tolist())
            x = (t_s[inside] - start_s) / length_s
            wave[inside] += size_bpm * np.sin(np.pi * x**power) ** 2
    return wave


def break_up(beside: Floats, d: Deceleration, streams: Streams, t_s: Floats) -> None:
    """Add to *beside* what the heart does beside the plain fall, bpm upwards, at times *t_s*.

    The vagus doesn't act evenly while the cord is squeezed: short steep falls and half recoveries
    follow one another, and what is left at the end goes back over a minute or two. None of that is
    an event of its own.
    """
    if not d.ragged:
        return
    low, high = t_s.searchsorted((d.onset_s, d.end_s + d.left_s)).tolist()
    if low == high:
        return
    t_s = t_s[low:high]
    left_s = (d.onset_s, d.nadir_s, d.end_s, d.end_s + 0.4 * d.left_s, d.end_s + d.left_s)
    beside[low:high] += np.interp(t_s, left_s, (0, -d.left_bpm, -d.left_bpm, -0.45 * d.left_bpm, 0))
    beside[low:high] += np.interp(t_s, *_broken(d, streams), 0.0, 0.0)


def _broken(d: Deceleration, streams: Streams) -> tuple[Floats, Floats]:
    """Return times and heights of the corners of the falls and recoveries inside."""
    long_s = d.end_s - d.onset_s
    count = int(long_s / fitted.BROKEN_EVERY_S) + 2
    u = streams.generator(f"fhr.ragged.{d.id[0]}", int(d.id[1:])).random((count, 6))
    falls = u[:, 0] < fitted.BROKEN_FALLS
    steep_s, flat_s, gentle_s = 0.3 + 1.3 * u[:, 1], 4 * u[:, 2] ** 2, 0.7 + 4.3 * u[:, 3]
    before_s = np.where(falls, steep_s, gentle_s)
    after_s = np.where(falls, gentle_s, steep_s)
    free_s = -np.log1p(-u[:, 4])
    free_s *= fitted.BROKEN_EVERY_S - 2
    starts = d.onset_s + 0.3 * d.fall_s + np.cumsum(free_s)
    starts[1:] += np.cumsum(before_s + flat_s + after_s)[:-1]
    times = starts[:, None] + np.column_stack(
        [np.zeros(count), before_s, before_s + flat_s, before_s + flat_s + after_s]
    )
    low = dip(d, times[:, 1])
    size = -d.ragged * np.log1p(-u[:, 5])
    heights = np.where(
        falls,
        -np.minimum(size, 0.8) * np.maximum(low, 0.35 * d.depth_bpm),
        np.minimum(1.5 * size, 0.95) * low,
    )
    heights[times[:, 0] > d.end_s] = 0.0
    nothing = np.zeros(count)
    return times.ravel(), np.column_stack([nothing, heights, heights, nothing]).ravel()


class Shape(NamedTuple):
    """Ranges of one type: fall, hold, recovery in seconds, depth in bpm."""

    fall_s: tuple[float, float]
    hold_s: tuple[float, float]
    recovery_s: tuple[float, float]
    depth_bpm: tuple[float, float]


SHAPES = {  # notes/signal_model.md 5.2; ranges lie inside the guideline's definition of the type
    "early": Shape((36, 62), (0, 0), (36, 62), (15.5, 26)),
    "late": Shape((36, 60), (0, 24), (32, 85), (15.5, 42)),
    "variable": Shape((3, 16), (2, 22), (4, 18), (17, 55)),
    "atypical": Shape((5, 15), (20, 50), (30, 55), (45, 75)),
    "prolonged": Shape((12, 35), (130, 420), (60, 160), (40, 70)),
}


class Rows(NamedTuple):
    """Random numbers of consecutive contractions, from number ``first`` on."""

    first: int
    u: Floats
    z: Floats


def _stressed(d: Deceleration, stress: float) -> Deceleration:
    """Return the deceleration of a fetus in debt: deeper, slower to recover (the myocardium adds
    to the reflex), smoother, and without shoulders."""  # noqa: D205, D209
    longer = 1 + 0.7 * stress
    return d._replace(
        depth_bpm=d.depth_bpm * (1 + 0.4 * stress),
        hold_s=d.hold_s * longer,
        recovery_s=d.recovery_s * longer,
        shoulder_bpm=d.shoulder_bpm * (1 - min(stress, 1.0)),
        variability=d.variability * (1 - 0.7 * min(stress, 1.0)),
    )


class Decelerations:
    """The decelerations of one fetus."""

    def __init__(self, patient: Patient, streams: Streams) -> None:
        self._patient, self._streams = patient, streams
        self.stress_at: Callable[[Contraction], float] = lambda _: 0.0
        """How much of the fetus's compensation is used up when a contraction comes."""

    def between(
        self, contractions: list[Contraction], from_s: float, to_s: float
    ) -> list[Deceleration]:
        """Return the decelerations that touch [*from_s*, *to_s*), given the contractions there."""
        natural = [c for c in contractions if c.id.startswith("c")]
        rows = self.rows(natural)
        linked = (self.of(c, rows, self.stress_at(c)) for c in natural)
        return [
            d
            for d in [*(d for d in linked if d is not None), *self._unlinked(from_s, to_s)]
            if d.onset_s - SHOULDER_S < to_s and d.gone_s > from_s
        ]

    def rows(self, natural: list[Contraction]) -> Rows:
        """Return the random numbers of contractions, which are ordered by number."""
        if not natural:
            return Rows(0, np.empty((0, 10)), np.empty((0, 3)))
        first, stop = natural[0].number, natural[-1].number + 1
        return Rows(
            first,
            self._streams.uniform("fhr.deceleration", first, stop, 10),
            self._streams.normal("fhr.deceleration", first, stop, 3),
        )

    def of(self, c: Contraction, rows: Rows, stress: float) -> Deceleration | None:
        """Return what contraction *c* does, given how stressed the fetus is, 0 to 1.2."""
        u, z = rows.u[c.number - rows.first], rows.z[c.number - rows.first]
        choice = u[0]
        follows = self._patient.at("decel.follows", c.peak_s)
        squeeze = self._squeeze(c) ** follows if follows else 1.0
        for kind in TYPES:
            share = self._patient.at(f"decel.{kind}", c.peak_s)
            if kind in ("variable", "atypical"):
                share *= squeeze
            if kind == "late":  # the placenta's reserve is gone sooner, the less the fetus has left
                placenta = self._patient.at("hypoxia.placenta", c.peak_s)
                share += placenta * (0.35 + 0.65 * min(stress, 1.0))
            choice -= share
            if choice < 0:
                d = self._make(f"d{c.number}", kind, c, c.peak_s, u, z)
                return d if stress == 0 else _stressed(d, stress)
        return None

    def _unlinked(self, from_s: float, to_s: float) -> list[Deceleration]:
        first, stop = int((from_s - LONGEST_S) // SLOT_S), int((to_s + 30) // SLOT_S) + 1
        u = self._streams.uniform("fhr.dip", first, stop, 12)
        peaks = (np.arange(first, stop) + u[:, 11]) * SLOT_S
        rate = self._patient.at("decel.unlinked_per_h", peaks)
        happening = np.flatnonzero(u[:, 10] < rate * SLOT_S / 3600)
        if not len(happening):
            return []
        z = self._streams.normal("fhr.dip", first, stop, 3)
        return [
            self._make(f"v{first + i}", "variable", None, float(peaks[i]), u[i], z[i])
            for i in happening
        ]

    def _followed(self, depth: float, follows: float, shape: Shape, c: Contraction) -> float:
        """Return a depth, bpm, that goes partly with how strongly *c* squeezes the cord."""
        middle = self._patient.at("decel.depth", c.peak_s) * sum(shape.depth_bpm) / 2
        followed: float = middle * self._squeeze(c) ** fitted.CORD_POWER
        return (1 - follows) * depth + follows * followed

    def _squeeze(self, c: Contraction) -> float:
        """Return how strongly *c* squeezes the cord: its height over the usual, within reason."""
        usual = self._patient.at("toco.amplitude", c.peak_s)
        return float(min(max(c.height / usual if usual else 1.0, 0.4), 1.6))

    def _make(
        self, id_: str, kind: str, c: Contraction | None, peak_s: float, u: Floats, z: Floats
    ) -> Deceleration:
        shape = SHAPES[kind]
        stretch = self._patient.at("decel.duration", peak_s)
        fall, hold, recovery, depth = (
            low + (high - low) * float(x) for (low, high), x in zip(shape, u[1:5], strict=True)
        )
        if kind not in ("variable", "atypical"):  # a contraction's length, or long enough
            stretch = min(stretch, 1.0)
        hold, recovery = hold * stretch, recovery * stretch
        depth *= self._patient.at("decel.depth", peak_s)
        follows = self._patient.at("decel.follows", peak_s)
        if follows and c is not None and kind in ("variable", "atypical"):
            depth = self._followed(depth, follows, shape, c)
        if kind == "early":
            onset_s = peak_s + 12 * float(u[5]) - 6 - fall
            recovery = fall
        elif kind == "late":
            onset_s = peak_s + 15 + 30 * float(u[5]) - fall
            if c is not None:
                onset_s = max(onset_s, c.onset_s + 21)
        else:
            spread_s = fitted.CORD_SPREAD_S * float(z[0])
            onset_s = peak_s + self._patient.at("decel.lag_s", peak_s) + spread_s - fall
        typical = kind == "variable" and u[6] < 0.6
        usual = self._patient.at("decel.ragged", peak_s)
        broken = usual * math.exp(fitted.BROKEN_SPREAD * z[1] - fitted.BROKEN_SPREAD**2 / 2)
        if kind in ("early", "late"):
            broken *= fitted.BROKEN_GRADUAL
        mean, spread, least_bpm, most_bpm = fitted.LEFT
        left_bpm = min(usual, 1.0) * depth * (mean + spread * float(z[2]))
        left_bpm = min(max(left_bpm, least_bpm), most_bpm)
        atypical = kind == "atypical"
        return Deceleration(
            id_, kind, onset_s, fall, hold, recovery, depth,
            shoulder_bpm=(5 + 7 * float(u[7])) if typical else 0.0,
            overshoot_bpm=(10 + 15 * float(u[7])) if atypical and u[6] < 0.5 else 0.0,
            overshoot_s=20 + 40 * float(u[8]),
            notch=0.5 * float(u[9]) if atypical or kind == "prolonged" else 0.0,
            variability=self._patient.at("decel.variability", peak_s),
            contraction=c.id if c is not None else "",
            ragged=broken,
            left_bpm=left_bpm,
            left_s=40 + 110 * float(u[8]),
        )  # fmt: skip
