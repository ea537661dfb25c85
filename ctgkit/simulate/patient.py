"""One patient: a scenario after the dice were cast, its knobs as functions of time.

This module performs no I/O.
"""

import copy
from typing import NamedTuple, overload

import numpy as np

from ctgkit.simulate.knobs import KNOBS
from ctgkit.simulate.scenario import Change, ForcedEvent, Number, Scenario
from ctgkit.simulate.signal.stream import Floats, Streams


class ForcedAt(NamedTuple):
    """A forced event and when it begins, seconds."""

    t_s: float
    what: ForcedEvent


class Phase(NamedTuple):
    """A hypoxia phase and when it begins, seconds."""

    t_s: float
    name: str


class Patient:
    """The knobs of one sensor over time.

    Parameters
    ----------
    scenario : Scenario
        What is simulated; of a mix, one part is drawn.
    streams : Streams
        The sensor's random numbers.
    """

    def __init__(self, scenario: Scenario, streams: Streams) -> None:
        self._streams = streams
        if scenario.mix:
            u = self._luck("mix")
            scenario = next(part for share, part in scenario.mix if u < share or share >= 1)
        self.scenario = scenario
        self.words = {
            path: w if isinstance(w, str) else w.at(self._luck(path))
            for path, w in scenario.words.items()
        }
        self._times: dict[str, list[float]] = {path: [0.0] for path in KNOBS}
        self._values = {path: [self._cast(path, n)] for path, n in scenario.numbers.items()}
        self.forced: list[ForcedAt] = []
        self.phases: list[Phase] = []
        happening = [
            (self._cast(f"at.{i}.t", change.t_s), i, change)
            for i, change in enumerate(scenario.timeline)
            if self._luck(f"at.{i}.chance") < change.chance
        ]
        for t_s, i, change in sorted(happening, key=lambda entry: entry[:2]):
            self._apply(t_s, i, change)

    def _luck(self, name: str) -> float:
        return float(self._streams.generator(f"patient.{name}", 0).random())

    def _cast(self, name: str, number: Number) -> float:
        return number if isinstance(number, float) else number.at(self._luck(name))

    def _apply(self, t_s: float, i: int, change: Change) -> None:
        for path, number in change.set.items():
            self._turn(path, t_s, change.ramp_s, self._cast(f"at.{i}.{path}", number))
        for path, number in change.scale.items():
            factor = self._cast(f"at.{i}.{path}", number)
            knob = KNOBS[path]
            target = min(max(self.at(path, t_s) * factor, knob.low), knob.high)
            self._turn(path, t_s, change.ramp_s, target)
        if change.force is not None:
            self.forced.append(ForcedAt(t_s, change.force))
        if change.phase:
            self.phases.append(Phase(t_s, change.phase))

    def _turn(self, path: str, t_s: float, ramp_s: float, target: float) -> None:
        """Append to a knob's curve: hold until *t_s*, then go to *target*."""
        now = self.at(path, t_s)
        times, values = self._times[path], self._values[path]
        while len(times) > 1 and times[-1] > t_s:  # a ramp that is still under way stops here
            times.pop()
            values.pop()
        times += [t_s, t_s + max(ramp_s, 0.25)]
        values += [now, target]

    def changed(self, path: str, t_s: float, ramp_s: float, target: float) -> "Patient":
        """Return the same patient, one of whose knobs goes elsewhere from *t_s* on."""
        other = copy.copy(self)
        other._times = self._times | {path: list(self._times[path])}
        other._values = self._values | {path: list(self._values[path])}
        other._turn(path, t_s, ramp_s, target)
        return other

    def edges_s(self, path: str) -> list[float]:
        """Return the times at which a knob's curve bends, seconds."""
        return self._times[path]

    def never(self, path: str) -> bool:
        """Return whether a knob is 0 all the time."""
        return self._values[path] == [0.0]

    @overload
    def at(self, path: str, t_s: float) -> float: ...
    @overload
    def at(self, path: str, t_s: Floats) -> "Floats | float": ...
    def at(self, path: str, t_s: "Floats | float") -> "Floats | float":
        """Return a knob at one time, or at many; one float when it never changes."""
        values = self._values[path]
        if len(values) == 1:
            return values[0]
        curve = np.interp(t_s, self._times[path], values)
        return float(curve) if isinstance(t_s, float | int) else curve
