"""When the monitor loses the fetal heart or shows something else: as episodes in time slots."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from ctgkit.simulate.patient import Patient
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

_MEDIAN_S, _SIGMA_LOW, _SIGMA_HIGH = 2.0, 0.7, 1.38
"""Short gaps [M]: quartiles 1.25, 2.0, 5.25 s, 90 % below 12 s; lognormal on either side."""
_LONG_MEDIAN_S, _LONG_SIGMA = 110.0, 0.7


def _flicker_s(z: Floats) -> Floats:
    sigma = np.where(z < 0, _SIGMA_LOW, _SIGMA_HIGH)
    return np.clip(_MEDIAN_S * np.exp(sigma * z), 0.25, FLICKER_LONGEST_S)


def _long_s(z: Floats) -> Floats:
    return np.clip(_LONG_MEDIAN_S * np.exp(_LONG_SIGMA * z), 30.0, LONG_LONGEST_S)


_FLICKER_MEAN_S, _LONG_MEAN_S = 4.85, 140.0
"""Means of the two after clipping, computed once."""

_CLUSTER = 1.3
"""Sd of the logarithm of the slowly changing hazard: gaps come in clusters [M]."""

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
        found = self._flicker(from_s, to_s, stress) + self._long(from_s, to_s)
        for what, rate, median_s, sigma in _SIMPLE:
            found += self._simple(what, rate, median_s, sigma, from_s, to_s)
        return [e for e in found if e.end_s > from_s and e.onset_s < to_s]

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
        cluster = np.exp(_CLUSTER * swell - 0.5 * _CLUSTER**2)
        factor = 1 + (self._patient.at("loss.events", starts) - 1) * stress(starts)
        hazard = -np.log1p(-np.minimum(share, 0.99)) / _FLICKER_MEAN_S * cluster * factor
        happening = np.flatnonzero(u[:, 0] < hazard * FLICKER_SLOT_S)
        if not len(happening):
            return []
        z = self._streams.normal("fhr.flicker.length", first, stop, 1)[:, 0]
        ends = starts + _flicker_s(z)
        return [
            Episode(f"g{first + i}", "loss", float(starts[i]), float(ends[i])) for i in happening
        ]

    def _long(self, from_s: float, to_s: float) -> list[Episode]:
        first = int((from_s - LONG_LONGEST_S) // LONG_SLOT_S)
        stop = int(to_s // LONG_SLOT_S) + 1
        u = self._streams.uniform("fhr.gap", first, stop, 2)
        starts = (np.arange(first, stop) + u[:, 1]) * LONG_SLOT_S
        share = self._patient.at("loss.share", starts)
        share = share * self._patient.at("loss.long_share", starts)
        hazard = -np.log1p(-np.minimum(share, 0.99)) / _LONG_MEAN_S
        happening = np.flatnonzero(u[:, 0] < hazard * LONG_SLOT_S)
        if not len(happening):
            return []
        ends = starts + _long_s(self._streams.normal("fhr.gap", first, stop, 1)[:, 0])
        return [
            Episode(f"l{first + i}", "loss", float(starts[i]), float(ends[i])) for i in happening
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
        z = self._streams.normal(f"artefact.{what}", first, stop, 1)[:, 0]
        return [
            Episode(
                f"{what[0]}{first + i}",
                what,
                float(starts[i]),
                float(starts[i] + min(median_s * np.exp(sigma * z[i]), longest_s)),
            )
            for i in happening
        ]
