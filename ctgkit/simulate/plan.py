"""What happens when: all events of one sensor, drawn or forced, for any stretch of time.

This module performs no I/O.
"""

from collections.abc import Callable, Sequence
from functools import cache, cached_property, lru_cache
from typing import NamedTuple, TypeVar, cast

import numpy as np

from ctgkit.simulate.patient import ForcedAt, Patient
from ctgkit.simulate.signal.acceleration import Acceleration, Accelerations
from ctgkit.simulate.signal.behaviour import Behaviour
from ctgkit.simulate.signal.belt import level
from ctgkit.simulate.signal.contraction import LONGEST_S, Contraction, Contractions
from ctgkit.simulate.signal.deceleration import SHOULDER_S, Deceleration, Decelerations, depth
from ctgkit.simulate.signal.dropout import AROUND_S, Dropouts, Episode, What
from ctgkit.simulate.signal.fetus import Fetus
from ctgkit.simulate.signal.field import Composite, composite
from ctgkit.simulate.signal.stream import Floats, Streams

DOUBLED_BELOW_BPM, HALVED_ABOVE_BPM = 120.0, 180.0
"""Where ultrasound doubles and halves (notes/signal_model.md 7.7)."""

STEEP_BPM = 12.0
"""Change within 3 s at which autocorrelation fails. Chosen."""

RECOVERING = 0.3
"""How steep a recovery seems over a fall: its beats are predicted by those before. Chosen."""

KEPT_S = 1500.0
"""Nothing that is drawn lasts longer, seconds."""

_AFTER_S = 120.0  # a deceleration may begin this long before the contraction it belongs to
_LEAD_S = 20.0  # windows contain decelerations that begin this much later, for their shoulders
_UNDER_WAY_S = 300.0  # what a change moves past it had begun this long before it at most
_SHARED_S = 900.0  # changes within this time look at one stretch, which is kept
_BEFORE_S = 120.0  # gaps reach back this far, and their hazard depends on what happened then


class Window(NamedTuple):
    """What touches a stretch of time."""

    contractions: list[Contraction]
    accelerations: list[Acceleration]
    decelerations: list[Deceleration]
    episodes: list[Episode]
    rezeros: list[tuple[float, float]]
    """Forced resets of the toco: time, seconds, and the value set."""


def forced_deceleration(id_: str, at: ForcedAt) -> Deceleration:
    """Return a deceleration of the wanted size and length that begins exactly at its time."""
    kind = at.what.event.removesuffix("_deceleration")
    length = at.what.duration_s
    fall, hold = {
        "early": (length / 2, 0.0),
        "late": (0.43 * length, 0.08 * length),
        "variable": (min(12.0, 0.35 * length), 0.3 * length),
        "atypical": (min(12.0, 0.2 * length), 0.4 * length),
        "prolonged": (min(25.0, 0.15 * length), 0.6 * length),
    }[kind]
    return Deceleration(id_, kind, at.t_s, fall, hold, length - fall - hold, at.what.size)


def forced_contraction(id_: str, at: ForcedAt) -> Contraction:
    """Return a Gaussian contraction that rises from zero at its time."""
    rise_s = 0.45 * at.what.duration_s
    # the bell reaches zero, 2 % of its height, at 1.304 times the way to 10 %
    return Contraction(
        id_, -1, at.t_s + 1.304 * rise_s, rise_s, at.what.duration_s - rise_s, at.what.size, 2.0
    )


Drawn = TypeVar("Drawn", Contraction, Acceleration, Deceleration, Episode)


def _begins_s(event: Contraction | Acceleration | Deceleration | Episode) -> float:
    """Return when something of an event may show first, seconds."""
    if isinstance(event, Contraction):
        return event.peak_s - 2 * event.rise_s
    lead_s = SHOULDER_S if isinstance(event, Deceleration) else 0.0
    return event.onset_s - lead_s


class Plan:
    """Everything that happens to one sensor.

    Parameters
    ----------
    patient : Patient
        Whose sensor it is.
    streams : Streams
        Its random numbers.
    before : Plan or None
        What held until *since_s*: its events that have begun by then end as they would have.
    since_s : float
        When this one begins to hold, seconds.
    """

    def __init__(
        self,
        patient: Patient,
        streams: Streams,
        before: "Plan | None" = None,
        since_s: float = 0.0,
    ) -> None:
        self.patient, self.streams = patient, streams
        self.since_s, self._before = since_s, before
        # each plan of a chain asks the one before for the same stretch
        self._mixed_contractions = lru_cache(maxsize=4)(self._mix_contractions)
        self._mixed_window = lru_cache(maxsize=4)(self._mix_window)
        self.undisturbed: Plan | None = None
        """The same without what was injected, if anything was."""
        if before and before.undisturbed:
            self.undisturbed = Plan(patient, streams, before.undisturbed, since_s)
        self.behaviour = Behaviour(patient, streams)
        self._own_contractions = Contractions(patient, streams)
        self._decelerations = Decelerations(patient, streams)
        self._dropouts = Dropouts(patient, streams)
        self._forced: list[tuple[str, ForcedAt]] = (
            list(before._forced)
            if before
            else [(f"f{i}", at) for i, at in enumerate(patient.forced)]
        )
        self.fetus = self._new_fetus()
        self._accelerations = Accelerations(patient, streams, self.behaviour, self.fetus)

    def _new_fetus(self) -> Fetus:
        fetus = Fetus(self.patient, self.contractions, self._decelerations, self._forced_falls)
        self._decelerations.stress_at = fetus.stress_at
        return fetus

    def _forced_falls(self) -> list[Deceleration]:
        return [
            forced_deceleration(id_, at)
            for id_, at in self._forced
            if at.what.event.endswith("_deceleration")
        ]

    def _planned_falls(self) -> list[Deceleration]:
        planned = self._forced[: len(self.patient.forced)]
        return [
            forced_deceleration(id_, at)
            for id_, at in planned
            if at.what.event.endswith("_deceleration")
        ]

    def force(self, at: ForcedAt) -> str:
        """Add an event; return its id."""
        if self.undisturbed is None:
            before = self._before and (self._before.undisturbed or self._before)
            self.undisturbed = Plan(self.patient, self.streams, before, self.since_s)
        id_ = f"f{len(self._forced)}"
        self._forced.append((id_, at))
        self._mixed_contractions.cache_clear()
        self._mixed_window.cache_clear()
        self.__dict__.pop("_under_way", None)
        self.fetus = self._new_fetus()
        self._accelerations.fetus = self.fetus
        return id_

    def forced_rezeros(self) -> list[tuple[float, float]]:
        """Return all forced resets of the toco: time, seconds, and the value set."""
        return [(at.t_s, at.what.size) for _, at in self._forced if at.what.event == "rezero"]

    def _around(self) -> tuple[float, float]:
        """Return a stretch that holds what was under way when this plan took over, seconds."""
        from_s = (self.since_s - _UNDER_WAY_S) // _SHARED_S * _SHARED_S
        return from_s, (self.since_s // _SHARED_S + 1) * _SHARED_S

    @cached_property
    def _under_way(self) -> frozenset[str]:
        """Ids of what had begun when this plan took over: its own of that id are the same events,
        moved by the change, and don't happen again."""  # noqa: D205, D209
        if self._before is None:
            return frozenset()
        window = self._before.window(*self._around())
        lists = (window.accelerations, window.decelerations, window.episodes)
        found = {
            event.id for events in lists for event in events if _begins_s(event) < self.since_s
        }
        return frozenset(found | self._contractions_under_way)

    @cached_property
    def _contractions_under_way(self) -> frozenset[str]:
        """As :attr:`_under_way`; the fetus, and with it all else, needs these first."""
        if self._before is None:
            return frozenset()
        near = self._before.contractions(*self._around())
        begun = frozenset(c.id for c in near if _begins_s(c) < self.since_s)
        return begun | self._before._contractions_under_way

    def _by_onset(
        self, earlier: Sequence[Drawn], own: Sequence[Drawn], begun: frozenset[str]
    ) -> list[Drawn]:
        """Return what began before this plan, and of what it has itself the rest."""
        kept = [event for event in earlier if _begins_s(event) < self.since_s]
        since = [event for event in own if _begins_s(event) >= self.since_s]
        rest = [event for event in since if event.id not in begun]
        return sorted(kept + rest, key=lambda event: event.onset_s)

    def contractions(self, from_s: float, to_s: float) -> list[Contraction]:
        """Return the contractions that touch [*from_s*, *to_s*) and aren't forced, by number."""
        plan = self
        while plan._before is not None and to_s <= plan.since_s:
            plan = plan._before  # nothing there is this plan's
        if plan._before is None:
            return plan._own_contractions.between(from_s, to_s)
        return list(plan._mixed_contractions(from_s, to_s))

    def _mix_contractions(self, from_s: float, to_s: float) -> list[Contraction]:
        assert self._before is not None
        own = self._own_contractions.between(from_s, to_s)
        begun = self._contractions_under_way
        if from_s > self.since_s + KEPT_S:
            return [c for c in own if c.id not in begun]
        found = self._by_onset(self._before.contractions(from_s, to_s), own, begun)
        return sorted(found, key=lambda c: c.number)

    def window(self, from_s: float, to_s: float) -> Window:
        """Return what touches [*from_s*, *to_s*), each list ordered by time."""
        plan = self
        while plan._before is not None and to_s + _LEAD_S <= plan.since_s:
            plan = plan._before
        if plan._before is None or from_s > plan.since_s + KEPT_S:
            return plan._drawn(from_s, to_s)
        return plan._mixed_window(from_s, to_s)

    def _mix_window(self, from_s: float, to_s: float) -> Window:
        assert self._before is not None
        own = self._drawn(from_s, to_s)
        earlier = self._before.window(from_s, to_s)
        return own._replace(
            accelerations=self._by_onset(earlier.accelerations, own.accelerations, self._under_way),
            decelerations=self._by_onset(earlier.decelerations, own.decelerations, self._under_way),
            episodes=self._by_onset(earlier.episodes, own.episodes, self._under_way),
        )

    def _drawn(self, from_s: float, to_s: float) -> Window:
        early_s = from_s - _BEFORE_S
        wide = self.contractions(early_s - LONGEST_S, to_s + _AFTER_S)
        accelerations = self._accelerations.between(from_s, to_s)
        decelerations = self._decelerations.between(wide, early_s, to_s + AROUND_S)
        # what an instructor adds must leave the past alone: gaps near it would not
        falls = decelerations + self._planned_falls()
        stress = _stress(list(wide), falls, early_s, to_s + AROUND_S)
        possible = self._possible(falls)
        episodes = []
        for id_, at in self._forced:
            event = at.what.event
            if event == "acceleration":
                accelerations.append(
                    Acceleration(id_, at.t_s, at.what.duration_s, at.what.size, 0.5, 1)
                )
            elif event.endswith("_deceleration"):
                decelerations.append(forced_deceleration(id_, at))
            elif event == "contraction":
                wide.append(forced_contraction(id_, at))
            elif event != "rezero":
                episodes.append(
                    Episode(id_, cast(What, event), at.t_s, at.t_s + at.what.duration_s)
                )
        episodes += self._dropouts.between(from_s, to_s, stress, possible)
        return Window(
            sorted((c for c in wide if _near(c, from_s, to_s)), key=lambda c: c.peak_s),
            sorted(
                (a for a in accelerations if a.onset_s < to_s and a.end_s > from_s),
                key=lambda a: a.onset_s,
            ),
            sorted(
                (d for d in decelerations if d.onset_s - _LEAD_S < to_s and d.gone_s + 10 > from_s),
                key=lambda d: d.onset_s,
            ),
            sorted(
                (e for e in episodes if e.onset_s < to_s and e.end_s > from_s),
                key=lambda e: e.onset_s,
            ),
            self.forced_rezeros(),
        )

    def composite(self, t_s: Floats, window: Window) -> Composite:
        """Return the noise-free heart rate at *t_s*, given a window around it."""
        return composite(
            self.patient,
            self.streams,
            self.behaviour,
            self.fetus,
            t_s,
            window.accelerations,
            window.decelerations,
        )

    def _possible(self, decelerations: list[Deceleration]) -> Callable[[What, float], bool]:
        def happens(what: What, t_s: float) -> bool:
            if what not in ("doubling", "halving"):
                return True
            now = np.array([t_s])
            heart = composite(
                self.patient, self.streams, self.behaviour, self.fetus, now, [], decelerations
            )
            if what == "doubling":
                return bool(heart.clean[0] < DOUBLED_BELOW_BPM)
            return bool(heart.clean[0] > HALVED_ABOVE_BPM)

        return happens


def _near(c: Contraction, from_s: float, to_s: float) -> bool:
    return c.peak_s - 2 * c.rise_s < to_s and c.peak_s + 2 * c.fall_s > from_s


def _stress(
    contractions: list[Contraction], decelerations: list[Deceleration], from_s: float, to_s: float
) -> Callable[[Floats], Floats]:
    """Return how much the signal suffers at times from *from_s* to *to_s*."""
    t_s = np.arange(np.floor(from_s), to_s + 1)  # whole seconds: the same from any start

    @cache
    def at_seconds() -> Floats:
        falls = np.zeros_like(t_s)
        for d in decelerations:
            inside = slice(*t_s.searchsorted((d.onset_s, d.end_s + 3)).tolist())
            if inside.start == inside.stop:
                continue
            now, before = depth(d, t_s[inside] - np.array([[d.onset_s], [d.onset_s + 3]]))
            change = now - before
            steep = np.maximum(change, -RECOVERING * change) / STEEP_BPM
            falls[inside] = np.maximum(falls[inside], np.maximum(now / 30, steep))
        return np.minimum(level(contractions, t_s) + falls, 1.0)

    return lambda times_s: np.interp(times_s, t_s, at_seconds())
