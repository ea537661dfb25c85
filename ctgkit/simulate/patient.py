"""One patient: a scenario after the dice were cast, its knobs as functions of time.

This module performs no I/O.
"""

import copy
from bisect import bisect_right
from typing import NamedTuple, cast, overload

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


def interpolated(t_s: float, times_s: list[float], values: list[float]) -> float:
    """Return what ``numpy.interp`` gives for one time, at a tenth of the cost."""
    after = bisect_right(times_s, t_s)
    if after == 0 or after == len(times_s):
        return values[max(after - 1, 0)]
    from_s, before = times_s[after - 1], values[after - 1]
    return before + (values[after] - before) / (times_s[after] - from_s) * (t_s - from_s)


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
        self._drawn = {
            path: n.at(self._luck(path))
            for path, n in scenario.numbers.items()
            if not isinstance(n, float)
        }
        """What isn't the same for all patients, by knob; of more than a hundred a few."""
        self._curves: dict[str, tuple[list[float], list[float]]] = {}
        """Times, seconds, and values of the knobs that change."""
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
        if t_s <= 0 and ramp_s == 0:  # not a change, but what it begins with
            self._curves[path] = [0.0], [target]
            return
        now = self.at(path, t_s)
        if path not in self._curves:
            self._curves[path] = [0.0], [now]
        times, values = self._curves[path]
        while len(times) > 1 and times[-1] > t_s:  # a ramp that is still under way stops here
            times.pop()
            values.pop()
        times += [t_s, t_s + max(ramp_s, 0.25)]
        values += [now, target]

    def changed(self, path: str, t_s: float, ramp_s: float, target: float) -> "Patient":
        """Return the same patient, one of whose knobs goes elsewhere from *t_s* on."""
        other = copy.copy(self)
        other._curves = self._curves.copy()
        if path in self._curves:
            times, values = self._curves[path]
            other._curves[path] = times.copy(), values.copy()
        other._turn(path, t_s, ramp_s, target)
        return other

    def edges_s(self, path: str) -> list[float]:
        """Return the times at which a knob's curve bends, seconds."""
        return self._curves[path][0] if path in self._curves else [0.0]

    def never(self, path: str) -> bool:
        """Return whether a knob is 0 all the time."""
        return path not in self._curves and self.at(path, 0.0) == 0

    @overload
    def at(self, path: str, t_s: float) -> float: ...
    @overload
    def at(self, path: str, t_s: Floats) -> "Floats | float": ...
    def at(self, path: str, t_s: "Floats | float") -> "Floats | float":
        """Return a knob at one time, or at many increasing ones; one float where it is constant."""
        if path not in self._curves:
            drawn = self._drawn.get(path)
            return cast(float, self.scenario.numbers[path]) if drawn is None else drawn
        times, values = self._curves[path]
        if isinstance(t_s, float | int):
            return interpolated(t_s, times, values)
        if len(t_s) and t_s[0] >= times[-1]:
            return values[-1]
        return np.interp(t_s, times, values)
