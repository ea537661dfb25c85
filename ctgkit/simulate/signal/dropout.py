"""When the monitor loses the fetal heart or shows something else: as episodes in time slots."""

import math
from collections.abc import Callable
from functools import cache
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np

from ctgkit.simulate.patient import Patient
from ctgkit.simulate.signal import fitted
from ctgkit.simulate.signal.noise import slow, slow_samples
from ctgkit.simulate.signal.stream import Floats, Streams

What = Literal["loss", "off", "maternal_capture", "doubling", "halving", "outlier", "hold", "twin"]


class Episode(NamedTuple):
    """The monitor is wrong from *onset_s* to *end_s*."""

    id: str
    what: What
    onset_s: float
    end_s: float


AROUND_S = 45.0
"""Gaps this near decide what is shown between them."""

FADED_S = 5 * fitted.FADING_AFTER_S
"""Gaps this near decide how far the monitor is off."""

FLICKER_SLOT_S, LONG_SLOT_S, LOCK_SLOT_S = 2.0, 60.0, 90.0
FLICKER_LONGEST_S, LONG_LONGEST_S = 60.0, 1200.0


def _gap_s(shortest_s: float, method: str, z: Floats) -> Floats:
    median_s, sigma, _ = fitted.GAP_EXCESS[method]
    return np.minimum(shortest_s + median_s * np.exp(sigma * z), FLICKER_LONGEST_S)


_Z = np.array([NormalDist().inv_cdf((i + 0.5) / 400) for i in range(400)])


def _mean_gap_s(shortest_s: float, method: str) -> float:
    return float(_gap_s(shortest_s, method, _Z).mean())


_LOADS = np.concatenate([[0.0], np.geomspace(1e-4, 60, 120)])


@cache
def _lost_shares(unsteady_percent: int) -> Floats:
    """Return what share of time is lost for each of _LOADS: gaps per time times their length.

    Gaps that come in clusters overlap, so more are needed for the same share. For whole hundredths
    of the knob, which sensors share: this takes half as long as all else at a sensor's start.
    """
    sigma = float(np.hypot(fitted.FLICKER_SWELL, unsteady_percent / 100))
    weights = np.exp(sigma * _Z - 0.5 * sigma**2)
    shares: Floats = 1 - np.exp(-_LOADS[:, None] * weights).mean(axis=1)
    return shares


def _long_s(z: Floats) -> Floats:
    median_s, sigma, _ = fitted.LONG_GAP_S
    return np.clip(median_s * np.exp(sigma * z), 20.0, LONG_LONGEST_S)


_ARTEFACTS: tuple[tuple[What, str], ...] = (
    ("maternal_capture", "artefact.capture_per_h"),
    ("twin", "artefact.twin_per_h"),
    ("doubling", "artefact.doubling_per_h"),
    ("halving", "artefact.halving_per_h"),
    ("outlier", "artefact.outlier_per_h"),
)


def _lock_on(u: float, long_s: float = 0.0) -> What:
    """Return what the monitor takes for the heart; only the mother's beats for long."""
    mother, halving = fitted.LOCKS_ON
    if long_s > fitted.NOISE_LASTS_S:
        return "maternal_capture"
    return "maternal_capture" if u < mother else "halving" if u < mother + halving else "outlier"


def _edge(u: float) -> What:
    """Return what is shown beside a gap: the rate jumps down there, hardly ever up [M]."""
    return "halving" if u < fitted.LOCKS_ON[1] else "maternal_capture"


class Dropouts:
    """The episodes of one sensor."""

    def __init__(self, patient: Patient, streams: Streams) -> None:
        self._patient, self._streams = patient, streams
        self._method = patient.words["sensor.method"]
        self._shortest_s = patient.at("loss.shortest_s", 0.0)
        self._mean_s = _mean_gap_s(self._shortest_s, self._method)
        self._shares = _lost_shares(round(100 * patient.at("loss.unsteady", 0.0)))

    def between(
        self,
        from_s: float,
        to_s: float,
        stress: Callable[[Floats], Floats],
        happens: Callable[[What, float], bool],
    ) -> list[Episode]:
        """Return the episodes that touch [*from_s*, *to_s*).

        Parameters
        ----------
        from_s, to_s : float
            Stretch of time, seconds.
        stress : callable
            From times to how much the signal suffers from contractions and falls, 0 to 1.
        happens : callable
            Whether an artefact is possible at a time: only slow hearts are doubled.
        """
        from_s, to_s = from_s - AROUND_S, to_s + AROUND_S
        found = self._flicker(from_s, to_s, stress) + self._long(from_s, to_s)
        for what, rate in _ARTEFACTS:
            found += [
                episode
                for group in self._artefact(what, rate, from_s, to_s)
                if happens(what, group[0].onset_s)
                for episode in group
            ]
        return [*found, *self._around(found, from_s, to_s, stress)]

    def _around(
        self,
        episodes: list[Episode],
        from_s: float,
        to_s: float,
        stress: Callable[[Floats], Floats],
    ) -> list[Episode]:
        """Return what gaps do to the signal beside them.

        What lies between two gaps and is too short for the monitor is lost as well. Ultrasound
        repeats its last value for some seconds before it shows none. Where the signal is poor,
        the autocorrelation locks on something else: short stretches between gaps, and the seconds
        beside a gap, show the mother, half the rate, or noise; most where the probe is moved and
        the heart slows, and the same thing for a minute or so.
        """
        lock_s = fitted.GAP_EXCESS[self._method][2]
        gaps = sorted((e.onset_s, e.end_s, e.id) for e in episodes if e.what in ("loss", "off"))
        if not gaps:
            return []
        onsets = np.array([onset_s for onset_s, _, _ in gaps])
        u = self._lock_numbers(onsets)
        wrong = self._wrong(onsets, stress)
        hold_s = self._patient.at("sensor.hold_s", 0.0)
        holds = self._patient.at("sensor.hold_share", 0.0)
        found, end_s = [], -math.inf
        rows = zip(gaps, wrong.tolist(), u.tolist(), strict=True)
        for (onset_s, next_end_s, id_), share, row in rows:
            shown_s = onset_s - end_s
            if 0 < shown_s < lock_s:
                found.append(Episode(id_ + "s", "loss", end_s, onset_s))
            elif shown_s > 0:
                held_s = hold_s * (0.85 + 0.3 * row[1]) if row[0] < holds else 0.0
                held_s = min(held_s, shown_s - 0.5)
                if held_s > 0:
                    found.append(Episode(id_ + "h", "hold", onset_s - held_s, onset_s))
                if share > 0:
                    found += self._locks(id_, end_s, onset_s, held_s, share, row)
            end_s = max(end_s, next_end_s)
        return found

    def _wrong(self, t_s: Floats, stress: Callable[[Floats], Floats]) -> Floats:
        """Return the share of short stretches, before gaps at *t_s*, that show something else."""
        calm, more = fitted.LOCK_STRESS
        share = self._patient.at("artefact.wrong_lock", np.maximum(t_s, 0.0))
        return np.minimum(share * (calm + more * stress(t_s)), 1.0)

    def _lock_numbers(self, t_s: Floats) -> Floats:
        """Return the random numbers of gaps at *t_s*, one row each.

        The fourth decides what is shown: mostly what was shown just before.
        """
        at = (t_s // FLICKER_SLOT_S).astype(np.intp)
        rows = self._streams.uniform("sensor.lock", int(at[0]), int(at[-1]) + 1, 10)
        u: Floats = rows[at - at[0]]
        at = (t_s // LOCK_SLOT_S).astype(np.intp)
        kinds = self._streams.uniform("sensor.lock.kind", int(at[0]), int(at[-1]) + 1, 1)
        u[:, 3] = np.where(u[:, 8] < fitted.LOCKS_ALIKE, kinds[at - at[0], 0], u[:, 3])
        return u

    def _locks(
        self, id_: str, from_s: float, to_s: float, held_s: float, share: float, u: list[float]
    ) -> list[Episode]:
        """Return where the stretch from one gap to the next shows something else."""
        shown_s = to_s - from_s
        wholly = share * max(1 - shown_s / fitted.LOCK_LASTS_S, 0.0)
        if u[2] < wholly:
            return [Episode(id_ + "w", _lock_on(u[3], shown_s), from_s, to_s)]
        edge = share * (fitted.EDGE_LOCK if held_s else fitted.EDGE_LOCK_NO_HOLD)
        found = []
        after_s, before_s = 0.5 + 3 * u[6] ** 2, held_s + 0.5 + 3 * u[7] ** 2
        # the monitor goes from one heart to another through a gap
        between_s = self._shortest_s + fitted.BETWEEN_HEARTS_S * u[9]
        if u[4] < edge and shown_s > 12:
            from_wrong_s = to_s - before_s
            found.append(Episode(id_ + "p", _edge(u[3]), from_wrong_s, to_s))
            found.append(Episode(id_ + "pd", "loss", from_wrong_s - between_s, from_wrong_s))
        if u[5] < 0.3 * edge and shown_s > 12 and from_s > -math.inf:
            to_right_s = from_s + after_s
            found.append(Episode(id_ + "q", _edge(u[3]), from_s, to_right_s))
            found.append(Episode(id_ + "qd", "loss", to_right_s, to_right_s + between_s))
        return found

    def _flicker(
        self, from_s: float, to_s: float, stress: Callable[[Floats], Floats]
    ) -> list[Episode]:
        first = int((from_s - FLICKER_LONGEST_S) // FLICKER_SLOT_S)
        stop = int(to_s // FLICKER_SLOT_S) + 1
        u = self._streams.uniform("fhr.flicker", first, stop, 2)
        starts = (np.arange(first, stop) + u[:, 1]) * FLICKER_SLOT_S
        share = self._patient.at("loss.share", starts)
        share = share * (1 - self._patient.at("loss.long_share", starts))
        swell = slow(self._streams, "fhr.flicker", starts, 12.0, 36.0)
        # what moves the belt moves the probe
        moving = slow(self._streams, "toco.restless", starts, 8.0, 20.0)
        moving = 0.6 * moving + 0.8 * slow(self._streams, "toco.spike.unrest", starts, 60.0, 90.0)
        swell = fitted.FLICKER_SWELL * (0.7 * swell + 0.71 * moving)
        trend = slow(self._streams, "fhr.flicker.trend", starts, 120.0, 600.0)
        unsteady = self._patient.at("loss.unsteady", starts)
        # over a minute its logarithm has an sd of 1: gaps come in clusters [M]
        cluster = np.exp(swell + unsteady * trend - 0.5 * (fitted.FLICKER_SWELL**2 + unsteady**2))
        more = self._patient.at("loss.events", starts) - 1
        hazard = np.interp(share, self._shares, _LOADS) / self._mean_s * cluster
        hazard = hazard / (1 + more * fitted.MEAN_STRESS) * FLICKER_SLOT_S
        likely = np.flatnonzero(u[:, 0] < hazard * (1 + more))
        if not len(likely):
            return []
        factor = 1 + np.broadcast_to(more, starts.shape)[likely] * stress(starts[likely])
        happening = likely[u[likely, 0] < hazard[likely] * factor]
        if not len(happening):
            return []
        z = self._streams.normal("fhr.flicker.length", first, stop, 1)[:, 0]
        ends = starts + _gap_s(self._shortest_s, self._method, z)
        each = zip(happening, starts[happening].tolist(), ends[happening].tolist(), strict=True)
        return [Episode(f"g{first + i}", "loss", start_s, end_s) for i, start_s, end_s in each]

    def _long(self, from_s: float, to_s: float) -> list[Episode]:
        first = int((from_s - LONG_LONGEST_S) // LONG_SLOT_S)
        stop = int(to_s // LONG_SLOT_S) + 1
        u = self._streams.uniform("fhr.gap", first, stop, 3)
        starts = (np.arange(first, stop) + u[:, 1]) * LONG_SLOT_S
        share = self._patient.at("loss.share", starts)
        share = share * self._patient.at("loss.long_share", starts)
        hazard = -np.log1p(-np.minimum(share, 0.99)) / fitted.LONG_GAP_S[2]
        happening = np.flatnonzero(u[:, 0] < hazard * LONG_SLOT_S)
        if not len(happening):
            return []
        ends = starts + _long_s(self._streams.normal("fhr.gap", first, stop, 1)[:, 0])
        off = u[:, 2] < self._patient.at("loss.off_share", starts)
        return [
            Episode(
                f"l{first + i}",
                "off" if off[i] else "loss",
                float(starts[i]),
                float(ends[i]),
            )
            for i in happening
        ]

    def _artefact(self, what: What, rate: str, from_s: float, to_s: float) -> list[list[Episode]]:
        """Return artefacts of a kind, each between the losses before and after it."""
        if self._patient.never(rate):
            return []
        median_s, sigma = fitted.ARTEFACT_S[what]
        longest_s = median_s * 20
        first, stop = int((from_s - longest_s) // LONG_SLOT_S), int(to_s // LONG_SLOT_S) + 1
        u = self._streams.uniform(f"artefact.{what}", first, stop, 3)
        starts = (np.arange(first, stop) + u[:, 1]) * LONG_SLOT_S
        per_h = self._patient.at(rate, starts)
        happening = np.flatnonzero(u[:, 0] < per_h * LONG_SLOT_S / 3600)
        if not len(happening):
            return []
        z = self._streams.normal(f"artefact.{what}", first, stop, 3)
        found = []
        for i in happening:
            onset_s, id_ = float(starts[i]), f"{what}{first + i}"
            end_s = onset_s + float(min(median_s * np.exp(sigma * z[i, 0]), longest_s))
            before_s, after_s = np.maximum(fitted.EDGE_LOSS_S * np.abs(z[i, 1:]), self._shortest_s)
            group = [
                Episode(id_ + "a", "loss", onset_s - float(before_s), onset_s),
                Episode(id_, what, onset_s, end_s),
                Episode(id_ + "b", "loss", end_s, end_s + float(after_s)),
            ]
            found.append(group)
        return found


def fading_bpm(patient: Patient, streams: Streams, episodes: list[Episode], t_s: Floats) -> Floats:
    """Return how far the monitor is off beside short gaps, bpm, shape (n_samples,)."""
    size_bpm = fitted.FADING_BPM * patient.at("sensor.fading", 0.0)
    if size_bpm == 0:
        return np.zeros_like(t_s)
    holds = {e.id: e.onset_s for e in episodes if e.what == "hold"}
    gaps = sorted(
        (holds.get(e.id + "h", e.onset_s), e.end_s)
        for e in episodes
        if e.what == "loss" and e.id.startswith("g")
    )
    lost_s, found_s = np.array([(-np.inf, -np.inf), *gaps, (np.inf, np.inf)]).T
    begun = np.searchsorted(lost_s, t_s, side="right")
    before = (lost_s[begun] - t_s) / fitted.FADING_BEFORE_S
    after = (t_s - np.maximum.accumulate(found_s)[begun - 1]) / fitted.FADING_AFTER_S
    faded = np.minimum(before, np.maximum(after, 0))
    near = np.where(faded < FADED_S / fitted.FADING_AFTER_S, np.exp(-faded), 0.0)
    wave: Floats = size_bpm * near * slow_samples(streams, "sensor.fading", t_s, 1.5, 5.0)
    return wave
