"""When the monitor loses the fetal heart or shows something else: as episodes in time slots."""

from collections.abc import Callable
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np

from ctgkit.simulate.patient import Patient
from ctgkit.simulate.signal import fitted
from ctgkit.simulate.signal.noise import slow
from ctgkit.simulate.signal.stream import Floats, Streams

What = Literal["loss", "off", "maternal_capture", "doubling", "halving", "outlier"]


class Episode(NamedTuple):
    """The monitor is wrong from *onset_s* to *end_s*."""

    id: str
    what: What
    onset_s: float
    end_s: float


FLICKER_SLOT_S, LONG_SLOT_S = 2.0, 60.0
FLICKER_LONGEST_S, LONG_LONGEST_S = 60.0, 1200.0

_LONG_MEDIAN_S, _LONG_SIGMA, _LONG_MEAN_S = 60.0, 0.8, 85.0
"""Gaps of minutes: median, sd of the logarithm, and mean after clipping (signal model 7.5)."""


def _gap_s(shortest_s: float, method: str, z: Floats) -> Floats:
    median_s, sigma, _ = fitted.GAP_EXCESS[method]
    return np.minimum(shortest_s + median_s * np.exp(sigma * z), FLICKER_LONGEST_S)


_Z = np.array([NormalDist().inv_cdf((i + 0.5) / 400) for i in range(400)])


def _mean_gap_s(shortest_s: float, method: str) -> float:
    return float(_gap_s(shortest_s, method, _Z).mean())


def _long_s(z: Floats) -> Floats:
    return np.clip(_LONG_MEDIAN_S * np.exp(_LONG_SIGMA * z), 20.0, LONG_LONGEST_S)


_CLUSTER, _TREND = 1.0, 1.7
"""Sd of the logarithm of the hazard, over a minute and over ten: gaps come in clusters [M]."""

_SIMPLE: tuple[tuple[What, str, float, float], ...] = (
    ("maternal_capture", "artefact.capture_per_h", 23.0, 1.35),
    ("doubling", "artefact.doubling_per_h", 6.0, 0.7),
    ("halving", "artefact.halving_per_h", 6.0, 0.7),
    ("outlier", "artefact.outlier_per_h", 1.5, 0.6),
)
"""Kind, its rate, median length in seconds, sd of its logarithm (signal model 7.6, 7.7 [M])."""


class Dropouts:
    """The episodes of one sensor."""

    def __init__(self, patient: Patient, streams: Streams) -> None:
        self._patient, self._streams = patient, streams
        self._method = patient.words["sensor.method"]
        self._shortest_s = patient.at("loss.shortest_s", 0.0)
        self._mean_s = _mean_gap_s(self._shortest_s, self._method)

    def between(
        self, from_s: float, to_s: float, stress: Callable[[Floats], Floats]
    ) -> list[Episode]:
        """Return the episodes that touch [*from_s*, *to_s*).

        Parameters
        ----------
        from_s, to_s : float
            Stretch of time, seconds.
        stress : callable
            From times to how much the signal suffers from contractions and falls, 0 to 1.
        """
        from_s, to_s = from_s - 5, to_s + 5
        found = self._flicker(from_s, to_s, stress) + self._long(from_s, to_s)
        for what, rate, median_s, sigma in _SIMPLE:
            found += self._simple(what, rate, median_s, sigma, from_s, to_s)
        return [*found, *self._too_short(found)]

    def _too_short(self, episodes: list[Episode]) -> list[Episode]:
        """Return as loss what lies between two gaps and is too short for the monitor to show."""
        lock_s = fitted.GAP_EXCESS[self._method][2]
        gaps = sorted((e.onset_s, e.end_s, e.id) for e in episodes if e.what in ("loss", "off"))
        found, end_s = [], -np.inf
        for onset_s, next_end_s, id_ in gaps:
            if 0 < onset_s - end_s < lock_s:
                found.append(Episode(id_ + "s", "loss", end_s, onset_s))
            end_s = max(end_s, next_end_s)
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
        swell = slow(self._streams, "fhr.flicker", starts, 20.0, 60.0)
        trend = slow(self._streams, "fhr.flicker.trend", starts, 120.0, 600.0)
        cluster = np.exp(
            _CLUSTER * swell + _TREND * trend - 0.5 * (_CLUSTER**2 + _TREND**2)
        )
        factor = 1 + (self._patient.at("loss.events", starts) - 1) * stress(starts)
        hazard = -np.log1p(-np.minimum(share, 0.99)) / self._mean_s * cluster * factor
        happening = np.flatnonzero(u[:, 0] < hazard * FLICKER_SLOT_S)
        if not len(happening):
            return []
        z = self._streams.normal("fhr.flicker.length", first, stop, 1)[:, 0]
        ends = starts + _gap_s(self._shortest_s, self._method, z)
        return [
            Episode(f"g{first + i}", "loss", float(starts[i]), float(ends[i])) for i in happening
        ]

    def _long(self, from_s: float, to_s: float) -> list[Episode]:
        first = int((from_s - LONG_LONGEST_S) // LONG_SLOT_S)
        stop = int(to_s // LONG_SLOT_S) + 1
        u = self._streams.uniform("fhr.gap", first, stop, 3)
        starts = (np.arange(first, stop) + u[:, 1]) * LONG_SLOT_S
        share = self._patient.at("loss.share", starts)
        share = share * self._patient.at("loss.long_share", starts)
        hazard = -np.log1p(-np.minimum(share, 0.99)) / _LONG_MEAN_S
        happening = np.flatnonzero(u[:, 0] < hazard * LONG_SLOT_S)
        if not len(happening):
            return []
        ends = starts + _long_s(self._streams.normal("fhr.gap", first, stop, 1)[:, 0])
        off = self._patient.at("loss.off_share", from_s)
        return [
            Episode(
                f"l{first + i}",
                "off" if u[i, 2] < off else "loss",
                float(starts[i]),
                float(ends[i]),
            )
            for i in happening
        ]

    def _simple(
        self, what: What, rate: str, median_s: float, sigma: float, from_s: float, to_s: float
    ) -> list[Episode]:
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
            onset_s, id_ = float(starts[i]), f"{what[0]}{first + i}"
            end_s = onset_s + float(min(median_s * np.exp(sigma * z[i, 0]), longest_s))
            before_s, after_s = fitted.EDGE_LOSS_S * np.abs(z[i, 1:])
            found += [
                Episode(id_ + "a", "loss", onset_s - float(before_s), onset_s),
                Episode(id_, what, onset_s, end_s),
                Episode(id_ + "b", "loss", end_s, end_s + float(after_s)),
            ]
        return found
