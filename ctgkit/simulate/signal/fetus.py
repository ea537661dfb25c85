"""The fetus behind the trace: how interrupted supply becomes oxygen debt, and what debt does.

A model of a few lines, not medicine. Each deceleration is an interruption of supply (peripheral
chemoreflex and cord compression, Lear et al. 2016, doi 10.1113/JP271205) whose depth and length
make debt; between them the debt is slowly paid back. Debt takes accelerations away first, raises
the baseline, then takes variability, and at last the heart rate (Chandraharan 2017). Rates as in
Ross and Gala 2002 (doi 10.1067/mob.2002.123204): base deficit rises by 1 mmol/L in 30 min of
severe variable decelerations, in 6-15 min of subacute and in 2-3 min of acute hypoxia, and
recovers by 0.1 mmol/L per minute.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ctgkit.simulate.patient import Patient, interpolated
from ctgkit.simulate.signal.contraction import Contraction
from ctgkit.simulate.signal.deceleration import Deceleration, Decelerations
from ctgkit.simulate.signal.stream import Floats

DEFICIT_PER_MIN = 0.4
"""Base deficit of one minute without supply, mmol/L (Ross and Gala 2002: 1 in 2-3 min)."""

RECOVERY_PER_MIN, RECOVERY_TAU_MIN = 0.1, 40.0
"""Paid back without interruption, mmol/L per minute (Ross and Gala 2002); less than that once the
debt is so small that this share of it per minute is less, as with any exchange. Chosen."""

FULL_DEPTH_BPM = 60.0
"""Depth of a deceleration at which the supply is interrupted wholly. Chosen."""

LONGEST_MIN = 8.0
"""Most of one deceleration that is counted, minutes. Chosen."""

CARBON_PER_MIN, CARBON_TAU_MIN = 10.0, 4.0
"""Rise of pCO2 in one minute without supply, mmHg, and how fast it is blown off. Chosen."""

MOST_DEFICIT, MOST_CARBON = 24.0, 25.0
"""What both approach, mmol/L and mmHg: the longer, the less is made. Chosen."""

FAILING_BELOW_BPM, FAILED_BPM = 100.0, 70.0
"""A baseline this low no longer supplies the fetus, in part or at all. Chosen."""

AT_FIRST = 6.0
"""Base deficit from which the heart shows it at all, mmol/L. Chosen."""

LEAD_S = 120.0
"""A deceleration begins no earlier than this before the peak of its contraction."""

_CHUNK_S = 1800.0


def acidity(base_deficit: "Floats | float", pco2: "Floats | float") -> "Floats | float":
    """Return pH from base deficit, mmol/L, and pCO2, mmHg: the bedside rule of 0.15 per 10 mmol/L
    and 0.08 per 10 mmHg."""  # noqa: D205, D209
    return 7.40 - 0.015 * base_deficit - 0.008 * (pco2 - 40)


class Effect(NamedTuple):
    """What oxygen debt does to the heart."""

    shift_bpm: "Floats | float"
    bandwidth: "Floats | float"
    """Factor on variability."""
    accelerations: "Floats | float"
    """Factor on their rate."""


HEALTHY = Effect(0.0, 1.0, 1.0)


class Course(NamedTuple):
    """Base deficit and pH; arrays of shape (n_samples,)."""

    base_deficit: Floats
    """mmol/L."""
    ph: Floats


def stress(base_deficit: float) -> float:
    """Return how much of the compensation is used up, 0 to 1.2."""
    return min(max((base_deficit - AT_FIRST) / 8, 0.0), 1.2)


def _nearer(level: float, most: float, gain: float) -> float:
    """Return *level* plus a *gain* that is the smaller the nearer *level* is to *most*."""
    return min(level + gain * (1 - (level / most) ** 2), most)


class Fetus:
    """Oxygen debt of one fetus over time.

    Parameters
    ----------
    patient : Patient
        Supplies the ``hypoxia`` knobs; with sensitivity 0 and placenta 0 nothing is simulated.
    contractions : callable
        Returns those that touch a stretch of time.
    decelerations : Decelerations
        What else interrupts the supply.
    forced : callable
        Returns the forced decelerations.
    """

    def __init__(
        self,
        patient: Patient,
        contractions: Callable[[float, float], list[Contraction]],
        decelerations: Decelerations,
        forced: Callable[[], list[Deceleration]],
    ) -> None:
        self._patient, self._contractions = patient, contractions
        self._decelerations, self._forced = decelerations, forced
        ends = patient.edges_s("hypoxia.sensitivity") + patient.edges_s("hypoxia.placenta")
        self.simulated = any(
            patient.at(f"hypoxia.{knob}", t_s) > 0
            for t_s in ends
            for knob in ("sensitivity", "placenta")
        )
        self._start = patient.at("hypoxia.base_deficit", 0.0)
        self._carbon = patient.at("hypoxia.pco2", 0.0)
        self._times, self._deficits, self._carbons = [0.0], [self._start], [0.0]
        self._stress: dict[int, float] = {}
        self._reached_s, self._failing = 0.0, 0.0
        self._look(0.0)

    def course(self, t_s: Floats) -> Course:
        """Return base deficit and pH at *t_s*, increasing times in seconds."""
        self._until(float(t_s[-1]))
        deficit = np.interp(t_s, self._times, self._deficits)
        ph = acidity(deficit, self._carbon + np.interp(t_s, self._times, self._carbons))
        return Course(deficit, np.asarray(ph))

    def resting_ph(self, t_s: float) -> float:
        """Return pH without the carbon dioxide of the latest interruption."""
        return float(acidity(float(self.course(np.array([t_s])).base_deficit[0]), self._carbon))

    def effects(self, t_s: Floats) -> Effect:
        """Return what the debt does at *t_s*, increasing times in seconds."""
        if not self.simulated:
            return HEALTHY
        self._until(float(t_s[-1]))
        low = max(bisect_left(self._times, float(t_s[0])) - 1, 0)
        high = bisect_right(self._times, float(t_s[-1])) + 1
        times, deficits = self._times[low:high], self._deficits[low:high]
        if max(deficits) <= AT_FIRST:
            return HEALTHY
        debt = np.interp(t_s, times, deficits)
        rise = 18 * np.clip((debt - 7) / 6, 0, 1) - 75 * np.clip((debt - 18) / 3, 0, 1)
        return Effect(
            rise, 1 - 0.8 * np.clip((debt - 10) / 7, 0, 1), 1 - np.clip((debt - AT_FIRST) / 5, 0, 1)
        )

    def stress_at(self, c: Contraction) -> float:
        """Return the stress that contraction *c* finds."""
        if not self.simulated or c.peak_s < 0:
            return stress(self._start) if self.simulated else 0.0
        self._until(c.peak_s)
        return self._stress.get(c.number, 0.0)

    def _until(self, t_s: float) -> None:
        while self._reached_s <= t_s:
            from_s, to_s = self._reached_s, self._reached_s + _CHUNK_S
            self._reached_s = to_s  # before the loop: the decelerations ask for the stress
            near = self._contractions(from_s - 1, to_s + 1)
            natural = [c for c in near if c.id.startswith("c") and from_s <= c.peak_s < to_s]
            draw = self._decelerations.rows(natural)
            forced = [d for d in self._forced() if from_s <= d.onset_s < to_s]
            marks: list[tuple[float, Contraction | Deceleration | None]] = [
                *((c.peak_s, c) for c in natural),
                *((d.onset_s, d) for d in forced),
                *((from_s + 60.0 * (i + 1), None) for i in range(int(_CHUNK_S / 60))),
            ]
            for at_s, what in sorted(marks, key=lambda mark: mark[0]):
                self._rest(at_s)
                if isinstance(what, Contraction):
                    used = self._stress[what.number] = self._stress_before(at_s)
                    self._interrupt(at_s, what, self._decelerations.of(what, draw, used))
                elif what is not None:
                    self._interrupt(at_s, None, what)
                else:
                    self._look(at_s)

    def _stress_before(self, at_s: float) -> float:
        """Return the stress before anything of a contraction with its peak at *at_s* begins."""
        return stress(interpolated(at_s - LEAD_S, self._times, self._deficits))

    def _look(self, at_s: float) -> None:
        """Note what the heart supplies until the next look."""
        sunk = 75 * min(max((self._deficits[-1] - 18) / 3, 0.0), 1.0)
        level = self._patient.at("fhr.baseline_bpm", at_s) - sunk
        share = (FAILING_BELOW_BPM - level) / (FAILING_BELOW_BPM - FAILED_BPM)
        self._failing = min(max(share, 0.0), 1.0)

    def _rest(self, to_s: float) -> None:
        """Go on to *to_s* without a contraction."""
        minutes = (to_s - self._times[-1]) / 60
        if minutes <= 0:
            return
        failing, debt = self._failing, self._deficits[-1]
        sensitivity = self._patient.at("hypoxia.sensitivity", to_s)
        placenta = self._patient.at("hypoxia.placenta", to_s)
        supplied_min = minutes * (1 - failing) * (1 - placenta)
        excess = debt - self._start
        debt -= min(
            RECOVERY_PER_MIN * supplied_min,
            excess * (1 - math.exp(-supplied_min / RECOVERY_TAU_MIN)),
        )
        debt = _nearer(debt, MOST_DEFICIT, sensitivity * DEFICIT_PER_MIN * failing * minutes)
        carbon = self._carbons[-1] * math.exp(-minutes / CARBON_TAU_MIN)
        carbon = _nearer(carbon, MOST_CARBON, CARBON_PER_MIN * 0.4 * failing * minutes)
        self._note(to_s, debt, carbon)

    def _interrupt(self, at_s: float, c: Contraction | None, d: Deceleration | None) -> None:
        """Add the debt of one contraction or deceleration."""
        minutes = 0.0
        if d is not None:
            long_min = min((d.fall_s / 2 + d.hold_s + d.recovery_s / 2) / 60, LONGEST_MIN)
            minutes += min(d.depth_bpm / FULL_DEPTH_BPM, 1.2) * long_min
        if c is not None:
            share = self._patient.at("hypoxia.placenta", at_s)
            minutes += 0.5 * share * (c.rise_s + c.fall_s) / 60
        sensitivity = self._patient.at("hypoxia.sensitivity", at_s)
        gain = sensitivity * DEFICIT_PER_MIN * minutes
        debt = _nearer(self._deficits[-1], MOST_DEFICIT, gain)
        carbon = _nearer(self._carbons[-1], MOST_CARBON, CARBON_PER_MIN * minutes)
        self._note(at_s + 1, debt, carbon)

    def _note(self, at_s: float, debt: float, carbon: float) -> None:
        self._times.append(max(at_s, self._times[-1]))
        self._deficits.append(debt)
        self._carbons.append(carbon)
