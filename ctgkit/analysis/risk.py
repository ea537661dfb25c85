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
"""FIGO pathological on a signal that isn't poor is at least *high*, by a hair: of 60 recordings 13
ended pathological, 10 of them with a pH below 7.20. Nothing supports more than that."""


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
    return round(max(MODEL.probability(features.values), floor(features.values, figo)), 3)


def floor(values: dict[str, Value], figo: Verdict) -> float:
    """Return what the probability is at least."""
    known = figo.level == "pathological" and values.get("signal_quality") != "poor"
    return PATHOLOGICAL if known else 0.0


def smoothed(before: float | None, now: float) -> float:
    """Return the smoothed probability, from that of 30 s before; None at the start."""
    if before is None:
        return now
    return before + (now - before) * (1 - math.exp(-PREDICTION_EVERY_S / SMOOTHED_S))
