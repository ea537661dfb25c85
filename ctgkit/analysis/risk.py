"""The stub's probability: a small logistic layer, with a floor set by rules.

Pure, but for its coefficients, which are read once from ``risk_model.json`` beside this file;
``benchmarks/fit_risk.py`` wrote them. What it can and can't tell: docs/analysis.md.
"""

import math
from importlib import resources
from typing import NamedTuple

import msgspec

from ctgkit.analysis.features import Features, Value
from ctgkit.analysis.guideline import Verdict
from ctgkit.samples import PREDICTION_EVERY_S

SMOOTHED_S = 900.0
"""Time constant of the smoothed probability, seconds: over recordings with a known pH the mean of
half an hour separates better than the last value (docs/analysis.md)."""


PATHOLOGICAL = 0.51
"""FIGO pathological on a signal that isn't poor is at least *high*, by a hair: of 60 recordings 11
ended pathological, 8 of them with a pH below 7.20. Nothing supports more than that."""

BELOW_80 = 0.81
BELOW_80_SHARES = {"below_80_share_5min": 0.8, "below_80_share_10min": 0.6}
"""*Critical*, by a hair, is a heart rate that stays below 80 beats/min for 4 of 5 min (FIGO 2015: a
deceleration of more than 5 min below 80 needs emergent intervention) or 6 of 10. Of 60 recordings
two reach it, with a pH of 7.01 and 7.17: a rule, not a measurement."""


class Floor(NamedTuple):
    """What the probability is at least, and by which rule."""

    probability: float
    reason: str


NO_FLOOR = Floor(0.0, "")


class Term(NamedTuple):
    """What one feature adds to the log-odds."""

    feature: str
    value: float | None
    usual: float
    """Its mean over the recordings of the fit."""
    log_odds: float


CLIPPED = 3.0
"""No feature counts further than this from its mean, standard deviations (chosen)."""


class RiskModel(msgspec.Struct, frozen=True):
    """A logistic model: its terms, and where they come from."""

    provenance: str
    features: list[str]
    means: list[float]
    scales: list[float]
    coefficients: list[float]
    """Per standard deviation of the feature."""
    intercept: float

    def terms(self, values: dict[str, Value]) -> list[Term]:
        """Return what each feature adds; an unknown one counts as usual, and adds nothing."""
        found = []
        rows = zip(self.features, self.means, self.scales, self.coefficients, strict=True)
        for name, mean, scale, coefficient in rows:
            value = values.get(name)
            known = value if isinstance(value, int | float) else None
            distance = 0.0 if known is None else (known - mean) / scale
            added = coefficient * max(-CLIPPED, min(CLIPPED, distance))
            found.append(Term(name, known, mean, added))
        return found

    def probability(self, values: dict[str, Value]) -> float:
        """Return the probability in (0, 1)."""
        total = self.intercept + sum(term.log_odds for term in self.terms(values))
        return 1 / (1 + math.exp(-total))


def load_model() -> RiskModel:
    """Return the model that is shipped."""
    data = resources.files("ctgkit.analysis").joinpath("risk_model.json").read_bytes()
    return msgspec.json.decode(data, type=RiskModel)


MODEL = load_model()


def probability(features: Features, figo: Verdict) -> float:
    """Return the hypoxia probability, in [0, 1], with three decimals."""
    least = floor(features.values, figo).probability
    return round(max(MODEL.probability(features.values), least), 3)


def floor(values: dict[str, Value], figo: Verdict) -> Floor:
    """Return what the probability is at least."""
    for name, limit in BELOW_80_SHARES.items():
        share = values.get(name)
        if isinstance(share, float) and share >= limit:
            return Floor(BELOW_80, f"{name} {share:g}, limit {limit:g}")
    known = figo.level == "pathological" and values.get("signal_quality") != "poor"
    return Floor(PATHOLOGICAL, "FIGO pathological") if known else NO_FLOOR


def smoothed(before: float | None, now: float) -> float:
    """Return the smoothed probability, from that of 30 s before; None at the start."""
    if before is None:
        return now
    return before + (now - before) * (1 - math.exp(-PREDICTION_EVERY_S / SMOOTHED_S))
