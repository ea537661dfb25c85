"""Behavioural states: quiet sleep (1F), active sleep (2F), active wakefulness (4F)."""

from typing import NamedTuple

import numpy as np

from ctgkit.simulate.patient import Patient
from ctgkit.simulate.signal import fitted
from ctgkit.simulate.signal.stream import Floats, Streams

CHANGE_S = 60.0
"""How long a change of state takes. Chosen: tracings change within about a minute."""

_DWELL_SHAPE = 4.0  # gamma: mean as set, coefficient of variation one half


class Span(NamedTuple):
    """A stay in one state."""

    state: str
    onset_s: float
    end_s: float


class Effect(NamedTuple):
    """What a state does."""

    bandwidth: float
    """Factor on variability."""
    shift_bpm: float
    """Added to the baseline."""
    accelerations: float
    """Factor on their rate."""


EFFECTS = {
    "none": Effect(1.0, 0.0, 1.0),
    "quiet": Effect(fitted.QUIET_FACTOR, fitted.QUIET_SHIFT_BPM, 0.05),
    "active": Effect(1.0, 0.0, 1.0),
    "awake": Effect(fitted.AWAKE_FACTOR, fitted.AWAKE_SHIFT_BPM, 1.6),
}


class Behaviour:
    """The states of one fetus over time.

    Parameters
    ----------
    patient : Patient
        Supplies the mode and the mean lengths.
    streams : Streams
        The sensor's random numbers.
    """

    def __init__(self, patient: Patient, streams: Streams) -> None:
        self._patient, self._streams = patient, streams
        self.mode = patient.words["state.mode"]
        self._spans: list[Span] = []

    def until(self, t_s: float) -> list[Span]:
        """Return the stays from the start to beyond *t_s*."""
        if self.mode != "cycling":
            return [Span(self.mode, 0.0, float("inf"))]
        while not self._spans or self._spans[-1].end_s < t_s + CHANGE_S:
            index = len(self._spans)
            start_s = self._spans[-1].end_s if self._spans else 0.0
            first_u = float(self._streams.uniform("state.first", 0, 1, 2)[0, 0])
            state = ("active", "quiet")[(index + (first_u < 0.35)) % 2]
            mean_s = 60 * self._patient.at(f"state.{state}_min", start_s)
            draw = self._streams.generator("state.dwell", index)
            dwell_s = mean_s * float(draw.standard_gamma(_DWELL_SHAPE)) / _DWELL_SHAPE
            if index == 0:  # the recording begins somewhere in the middle of a stay
                dwell_s *= float(draw.random())
            self._spans.append(Span(state, start_s, start_s + max(dwell_s, 2 * CHANGE_S)))
        return self._spans

    def effects(self, t_s: Floats) -> "tuple[Floats | float, Floats | float, Floats | float]":
        """Return the three effects at *t_s*, shape (n_samples,) each, or constants."""
        spans = self.until(float(t_s[-1]))
        if len(spans) == 1:
            effect = EFFECTS[spans[0].state]
            return effect.bandwidth, effect.shift_bpm, effect.accelerations
        low = next(i for i, s in enumerate(spans) if s.end_s + CHANGE_S > t_s[0])
        near = [s for s in spans[max(low - 1, 0) :] if s.onset_s - CHANGE_S < t_s[-1]]
        times = [x for s in near for x in (s.onset_s + CHANGE_S / 2, s.end_s - CHANGE_S / 2)]
        values = np.array([EFFECTS[s.state] for s in near for _ in range(2)])
        curves = [np.interp(t_s, times, values[:, column]) for column in range(3)]
        return curves[0], curves[1], curves[2]
