"""What a scripted ML service does: answers as told, late, wrongly, or not at all.

This module performs no I/O and reads no clock. A script is a list of rules; the first that matches
a request decides, and where none does the service answers honestly. As TOML::

    seed = 1
    disconnect_after = 5000     # requests per connection

    [[rule]]                    # silent in the sixth minute
    from_s = 300
    to_s = 360
    answer = "silence"

    [[rule]]                    # a canned prediction whenever the heart rate is below 100
    fhr_below = 100
    prediction = { hypoxia_probability = 0.9, alerts = ["bradycardia"] }
    delay_s = 0.5
    jitter_s = 0.2

    [[rule]]                    # one answer in twenty is garbage
    probability = 0.05
    answer = "garbage"
"""

import re
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
import numpy as np

from ctgkit import toml, wire
from ctgkit.errors import WireError
from ctgkit.samples import SEC_FROM_START_MAX_S, Prediction, Sample, Status, risk_of, status_of

Answer = Literal["honest", "plain", "silence", "error", "garbage", "truncated", "oversized"]
OVERSIZED_BYTES = 2 << 20
"""Twice the largest result that the reference backend reads (and its client library's default)."""
GARBAGE = b'\x00{"sensorID": [}'

_Seconds = Annotated[float, msgspec.Meta(ge=0, le=SEC_FROM_START_MAX_S)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Canned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A prediction to be given; its risk follows the probability unless told."""

    hypoxia_probability: _Share
    hypoxia_risk: Literal["low", "medium", "high", "critical"] | None = None
    alerts: list[str] = []
    confidence: _Share = 1.0
    recommendations: list[str] = []


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests, and what becomes of them."""

    from_s: _Seconds | None = None
    to_s: _Seconds | None = None
    """Data time: at or after *from_s*, before *to_s*, seconds."""
    sensor: str | None = None
    fhr_below: float | None = None
    fhr_above: float | None = None
    """Heart rate, beats/min; a sample without signal is neither."""
    matching: str | None = None
    """A regular expression that the request's text must contain."""
    every: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Only each n-th of the requests that match."""
    probability: _Share = 1.0
    """Only this share of them, by the script's seed."""
    answer: Answer = "honest"
    """``plain`` is a result without prediction, ``truncated`` half of an honest one."""
    prediction: Canned | None = None
    status: Status | None = None
    """With *prediction*: instead of the one that follows from its probability."""
    sensor_id: str | None = None
    """Answer in this sensor's name."""
    text: str | None = None
    """Answer this, to the letter."""
    delay_s: _Seconds = 0.0
    jitter_s: _Seconds = 0.0
    """Answer so much later, and up to *jitter_s* more; later answers wait for earlier ones."""
    disconnect: bool = False
    """Drop the connection afterwards."""

    def __post_init__(self) -> None:
        if self.matching is not None:
            try:
                re.compile(self.matching)
            except (re.error, OverflowError, RecursionError) as error:
                raise ValueError(f"matching is not a regular expression: {error}") from None
        if self.from_s is not None and self.to_s is not None and not self.from_s < self.to_s:
            raise ValueError("from_s is not before to_s: no request ever fits")

    def fits(self, sample: Sample | None, text: str) -> bool:
        """Return whether a request is meant; *sample* is None where it can't be read."""
        if self.matching is not None and not re.search(self.matching, text):
            return False
        wanted = (self.from_s, self.to_s, self.sensor, self.fhr_below, self.fhr_above)
        if sample is None:
            return wanted == (None,) * len(wanted)
        fhr = sample.fhr_bpm
        return (
            (self.from_s is None or sample.sec_from_start >= self.from_s)
            and (self.to_s is None or sample.sec_from_start < self.to_s)
            and (self.sensor is None or sample.sensor_id == self.sensor.lower())
            and (self.fhr_below is None or (fhr is not None and fhr < self.fhr_below))
            and (self.fhr_above is None or (fhr is not None and fhr > self.fhr_above))
        )


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules, in order; the same seed and requests give the same answers and delays."""

    rule: list[Rule] = []
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    disconnect_after: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Requests of one connection after whose last answer it is dropped."""


class Act(msgspec.Struct, frozen=True):
    """What to do about one request."""

    text: bytes | None
    """None: nothing is said."""
    delay_s: float = 0.0
    disconnect: bool = False


def parse_script(text: str, where: str) -> Script:
    """Read a script.

    Raises
    ------
    ConfigError
        Naming *where* it comes from, the key and the reason.
    """
    return toml.converted(toml.parse(text, where), Script, where)


class Performance:
    """A script on one connection: counts and draws as it goes.

    Parameters
    ----------
    script : Script
        What to do.
    honest : callable
        Request -> the answer of the analysis.
    """

    def __init__(self, script: Script, honest: Callable[[bytes | str], bytes]) -> None:
        self._script, self._honest = script, honest
        self._luck = np.random.default_rng(script.seed)
        self._fitted = [0] * len(script.rule)
        self._requests = 0

    def act(self, request: bytes | str, timestamp: str) -> Act:
        """Say what to do about a request; *timestamp* is ISO 8601 with ``Z``."""
        self._requests += 1
        text = request if isinstance(request, str) else request.decode(errors="replace")
        try:
            sample = wire.decode_request(request)
        except WireError:
            sample = None
        honest = self._honest(request)  # always asked, so that the analysis follows the sensor
        last = self._requests == self._script.disconnect_after
        rule = self._choose(sample, text)
        if rule is None:
            return Act(honest, disconnect=last)
        delay_s = rule.delay_s + (
            float(self._luck.uniform(0, rule.jitter_s)) if rule.jitter_s else 0.0
        )
        said = _answer(rule, sample, honest, timestamp)
        return Act(said, delay_s, rule.disconnect or last)

    def _choose(self, sample: Sample | None, text: str) -> Rule | None:
        for number, rule in enumerate(self._script.rule):
            if rule.fits(sample, text):
                self._fitted[number] += 1
                if self._fitted[number] % rule.every == 0 and (
                    rule.probability == 1 or self._luck.random() < rule.probability
                ):
                    return rule
        return None


def _answer(rule: Rule, sample: Sample | None, honest: bytes, timestamp: str) -> bytes | None:
    if rule.text is not None:
        return rule.text.encode()
    match rule.answer:
        case "silence":
            return None
        case "error":
            return wire.encode_error_result("scripted error", timestamp)
        case "garbage":
            return GARBAGE
        case "truncated":
            return honest[: len(honest) // 2]
        case "oversized":
            return honest[:-1] + b', "padding": "' + b"x" * OVERSIZED_BYTES + b'"}'
    if sample is None:
        return honest
    named = msgspec.structs.replace(sample, sensor_id=rule.sensor_id or sample.sensor_id)
    if rule.prediction is not None:
        canned = rule.prediction
        p = canned.hypoxia_probability
        prediction = Prediction(
            hypoxia_probability=p,
            hypoxia_risk=canned.hypoxia_risk or risk_of(p),
            alerts=canned.alerts,
            confidence=canned.confidence,
            recommendations=canned.recommendations,
        )
        return wire.encode_result(named, prediction, rule.status or status_of(p), timestamp)
    if rule.answer == "plain":
        return wire.encode_result(named, None, rule.status or "ok", timestamp)
    if rule.sensor_id is None:
        return honest
    return honest.replace(sample.sensor_id.encode(), rule.sensor_id.encode(), 1)
