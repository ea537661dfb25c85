"""Decelerations: which contractions carry one, of which type, and how they look.

The deceleration of contraction k is row k of its stream, so switching decelerations on or off
doesn't move contractions. Those without a contraction live in time slots, like movements.
"""

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

    @property
    def nadir_s(self) -> float:
        """Where it is deepest, seconds."""
        return self.onset_s + self.fall_s

    @property
    def end_s(self) -> float:
        """Where it is over, seconds; shoulder and overshoot come later."""
        return self.onset_s + self.fall_s + self.hold_s + self.recovery_s


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
    if d.shoulder_bpm:
        for start_s in (d.onset_s - SHOULDER_S, d.end_s):
            x = np.clip((t_s - start_s) / SHOULDER_S, 0, 1)
            wave += d.shoulder_bpm * np.sin(np.pi * x) ** 2
    if d.overshoot_bpm:
        x = np.clip((t_s - d.end_s) / d.overshoot_s, 0, 1)
        wave += d.overshoot_bpm * np.sin(np.pi * x**OVERSHOOT_POWER) ** 2
    return wave


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
    to the reflex), and smoother."""  # noqa: D205, D209
    longer = 1 + 0.7 * stress
    return d._replace(
        depth_bpm=d.depth_bpm * (1 + 0.4 * stress),
        hold_s=d.hold_s * longer,
        recovery_s=d.recovery_s * longer,
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
            if d.onset_s - SHOULDER_S < to_s and d.end_s + max(SHOULDER_S, d.overshoot_s) > from_s
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
        for kind in TYPES:
            share = self._patient.at(f"decel.{kind}", c.peak_s)
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
        usual = self._patient.at("toco.amplitude", c.peak_s)
        squeeze = min(max(c.height / usual if usual else 1.0, 0.4), 1.6)
        middle = self._patient.at("decel.depth", c.peak_s) * sum(shape.depth_bpm) / 2
        followed: float = middle * squeeze**fitted.CORD_POWER
        return (1 - follows) * depth + follows * followed

    def _make(
        self, id_: str, kind: str, c: Contraction | None, peak_s: float, u: Floats, z: Floats
    ) -> Deceleration:
        shape = SHAPES[kind]
        stretch = self._patient.at("decel.duration", peak_s)
        fall, hold, recovery, depth = (
            low + (high - low) * float(x) for (low, high), x in zip(shape, u[1:5], strict=True)
        )
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
        atypical = kind == "atypical"
        return Deceleration(
            id_, kind, onset_s, fall, hold, recovery, depth,
            shoulder_bpm=(5 + 7 * float(u[7])) if typical else 0.0,
            overshoot_bpm=(10 + 15 * float(u[7])) if atypical and u[6] < 0.5 else 0.0,
            overshoot_s=20 + 40 * float(u[8]),
            notch=0.5 * float(u[9]) if atypical or kind == "prolonged" else 0.0,
            variability=self._patient.at("decel.variability", peak_s),
            contraction=c.id if c is not None else "",
        )  # fmt: skip
