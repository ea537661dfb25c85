"""The stub's probability: a small logistic layer, with floors set by rules.

Pure, but for its coefficients, which are read once from ``risk_model.json`` beside this file;
``benchmarks/fit_risk.py`` wrote them. What it can and can't tell: docs/analysis.md.
"""

import math
from importlib import resources

import msgspec

from ctgkit.analysis.features import Features, Value
from ctgkit.analysis.guideline import Verdict

PATHOLOGICAL_FLOOR = 0.5
"""FIGO pathological is at least this (analysis.md 5.6); raised by a hair, so that the contract's
strict limit makes it *high*."""

PROLONGED_FLOOR = 0.8
"""A deceleration of more than 5 min below 80 beats/min is at least this, likewise."""

NORMAL_CEILING, NORMAL_MIN = 0.3, 30.0
"""FIGO normal on 30 min or more is at most this."""

HAIR = 0.01


class RiskModel(msgspec.Struct, frozen=True):
    """A logistic model: its terms, and where they come from."""

    provenance: str
    features: list[str]
    means: list[float]
    scales: list[float]
    coefficients: list[float]
    """Per standard deviation of the feature."""
    intercept: float

    def probability(self, values: dict[str, Value]) -> float:
        """Return the probability in (0, 1); an unknown feature counts as average."""
        total = self.intercept
        terms = zip(self.features, self.means, self.scales, self.coefficients, strict=True)
        for name, mean, scale, coefficient in terms:
            value = values.get(name)
            if isinstance(value, int | float):
                total += coefficient * max(-3.0, min(3.0, (value - mean) / scale))
        return 1 / (1 + math.exp(-total))


def load_model() -> RiskModel:
    """Return the model that is shipped."""
    data = resources.files("ctgkit.analysis").joinpath("risk_model.json").read_bytes()
    return msgspec.json.decode(data, type=RiskModel)


MODEL = load_model()


def probability(features: Features, figo: Verdict) -> float:
    """Return the hypoxia probability, in [0, 1], with three decimals."""
    values = features.values
    result = MODEL.probability(values)
    if figo.level == "pathological":
        result = max(result, PATHOLOGICAL_FLOOR + HAIR)
    deep_min = values.get("recent_deep_deceleration_min")
    if isinstance(deep_min, float) and deep_min > 5:
        result = max(result, PROLONGED_FLOOR + HAIR)
    examined_min = values.get("examined_min")
    if figo.level == "normal" and isinstance(examined_min, float) and examined_min >= NORMAL_MIN:
        result = min(result, NORMAL_CEILING)
    return round(result, 3)
