"""Movements and the accelerations they bring.

Time is cut into slots; whether a movement begins in slot j, and which, is row j of the stream.
"""

from typing import NamedTuple

import numpy as np

from ctgkit.simulate.patient import Patient
from ctgkit.simulate.signal import fitted
from ctgkit.simulate.signal.behaviour import Behaviour
from ctgkit.simulate.signal.fetus import Fetus
from ctgkit.simulate.signal.stream import Floats, Streams

SLOT_S = 20.0
LONGEST_S = 600.0
"""An acceleration of 10 minutes is a change of baseline (FIGO 2015)."""


class Acceleration(NamedTuple):
    """One acceleration: up to three overlapping lobes, one per movement."""

    id: str
    onset_s: float
    duration_s: float
    height_bpm: float
    rise: float
    """Share of the length before the peak."""
    lobes: int
    plateau: float = 1.0
    """How much steeper its sides are than those of a bell."""
    notch: float = 0.15
    """Half the depth of the notches between lobes, over the height."""
    uneven: float = 1.0
    """Power of time in which lobes are of one length."""

    @property
    def end_s(self) -> float:
        """Where it ends, seconds."""
        return self.onset_s + self.duration_s


def bump(acceleration: Acceleration, t_s: Floats) -> Floats:
    """Return the acceleration, bpm, at increasing times *t_s*, shape (n_samples,)."""
    wave = np.zeros_like(t_s)
    inside = slice(*np.searchsorted(t_s, (acceleration.onset_s, acceleration.end_s)))
    t_s = t_s[inside]
    x = (t_s - acceleration.onset_s) / acceleration.duration_s
    lobe: Floats | float = 1.0
    if acceleration.lobes > 1:  # notches where the movement pauses
        turns = x**acceleration.uneven - acceleration.rise**acceleration.uneven
        pause = np.cos(2 * np.pi * acceleration.lobes * turns)
        lobe = 1 - acceleration.notch * (1 - pause)
    y = np.where(x < acceleration.rise, x / acceleration.rise, (1 - x) / (1 - acceleration.rise))
    y *= acceleration.plateau
    wave[inside] = acceleration.height_bpm * lobe * 0.5 * (1 - np.cos(np.pi * np.clip(y, 0, 1)))
    return wave


def _bent(height_bpm: float) -> float:
    """Return a height that is bent towards a largest one."""
    from_bpm, range_bpm = fitted.TALL_BPM
    over = max(height_bpm - from_bpm, 0.0)
    return float(height_bpm - over + range_bpm * np.tanh(over / range_bpm))


class Accelerations:
    """The accelerations of one fetus."""

    def __init__(
        self, patient: Patient, streams: Streams, behaviour: Behaviour, fetus: Fetus
    ) -> None:
        self._patient, self._streams, self._behaviour = patient, streams, behaviour
        self.fetus = fetus

    def between(self, from_s: float, to_s: float) -> list[Acceleration]:
        """Return the accelerations that touch [*from_s*, *to_s*)."""
        first, stop = int((from_s - LONGEST_S) // SLOT_S), int(to_s // SLOT_S) + 1
        u = self._streams.uniform("fhr.acceleration", first, stop, 4)
        starts = (np.arange(first, stop) + u[:, 1]) * SLOT_S
        rate = self._patient.at("accel.per_h", starts) * self._behaviour.effects(starts)[2]
        rate = rate * self.fetus.effects(starts).accelerations
        happening = np.flatnonzero(u[:, 0] < rate * SLOT_S / 3600)
        if not len(happening):
            return []
        z = self._streams.normal("fhr.acceleration", first, stop, 4)
        young = self._patient.scenario.ga_weeks < fitted.PRETERM_WEEKS
        height = fitted.PRETERM_HEIGHT if young else 1.0
        length = fitted.PRETERM_LENGTH if young else 1.0
        found = []
        for i in happening:
            start_s = float(starts[i])
            one = Acceleration(
                f"a{first + i}",
                start_s,
                float(
                    np.clip(
                        length
                        * self._patient.at("accel.duration_s", start_s)
                        * np.exp(0.5 * z[i, 0]),
                        length * fitted.SHORTEST_ACCELERATION_S,
                        LONGEST_S,
                    )
                ),
                _bent(
                    height * self._patient.at("accel.height_bpm", start_s) * np.exp(0.35 * z[i, 1])
                ),
                float(np.clip(0.62 + 0.15 * z[i, 2], 0.15, 0.85)),
                1 + int(3 * u[i, 2]),
                1 + 1.3 * float(u[i, 3]) ** 2,
                float(np.clip(0.17 + 0.08 * z[i, 3], 0.03, 0.32)),
                0.6 + 1.2 * (3 * float(u[i, 2]) % 1),
            )
            if one.end_s > from_s and one.onset_s < to_s:
                found.append(one)
        return found
