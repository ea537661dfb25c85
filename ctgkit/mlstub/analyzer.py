"""One sensor's samples in, an analysis every 30 s of data time out.

This module performs no I/O and reads no clock: the result depends on the samples only.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ctgkit.samples import (
    FIRST_PREDICTION_AFTER_S,
    PREDICTION_EVERY_S,
    PREDICTION_WINDOW_S,
    Prediction,
    Sample,
    risk_of,
)

RESTART_BELOW_S = 5.0
"""A sample earlier than this, after a later one, starts a new examination (as the original ML
service does, contract.md 3.5)."""

RESTART_BACK_S = 60.0
"""So does a sample this much earlier than the latest one. Chosen: longer than any resend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What is said about the last minutes of one sensor."""

    prediction: Prediction
    features: dict[str, Any] = field(default_factory=dict)


class Analyzer:
    """The streaming analysis of one sensor."""

    def __init__(self) -> None:
        self.latest: Analysis | None = None
        self.samples_seen = 0
        self._window: deque[tuple[float, float]] = deque(maxlen=8192)
        self._started_s: float | None = None
        self._latest_s = 0.0
        self._due_s = 0.0

    def add(self, sample: Sample) -> Analysis | None:
        """Take one sample; return a new analysis when one is due, otherwise None."""
        now_s = sample.sec_from_start
        if self._started_s is None or restarts(now_s, self._latest_s):
            self.__init__()  # type: ignore[misc]
            self._started_s, self._due_s = now_s, now_s + FIRST_PREDICTION_AFTER_S
        self._latest_s = max(self._latest_s, now_s)
        self.samples_seen += 1
        self._window.append((now_s, sample.fhr_bpm or np.nan))
        while self._window[0][0] < now_s - PREDICTION_WINDOW_S:
            self._window.popleft()
        if now_s < self._due_s:
            return None
        self._due_s += PREDICTION_EVERY_S * (1 + (now_s - self._due_s) // PREDICTION_EVERY_S)
        self.latest = self._analysis()
        return self.latest

    def _analysis(self) -> Analysis | None:
        fhr_bpm = np.array([fhr for _, fhr in self._window])
        valid = fhr_bpm[np.isfinite(fhr_bpm)]
        if valid.size < 2:
            return self.latest
        baseline_bpm = float(np.median(valid))
        band = float(np.percentile(valid, 95) - np.percentile(valid, 5))
        strain = max(0.0, abs(baseline_bpm - 135) - 25) / 20 + max(0.0, 5 - band) / 5
        probability = round(1 - 0.9 * float(np.exp(-strain)), 3)
        return Analysis(
            prediction=Prediction(
                hypoxia_probability=probability,
                hypoxia_risk=risk_of(probability),
                alerts=[],
                confidence=round(valid.size / fhr_bpm.size, 3),
                recommendations=[],
            ),
            features={"baseline_bpm": round(baseline_bpm, 1), "variability_bpm": round(band, 1)},
        )


def restarts(now_s: float, latest_s: float) -> bool:
    """Whether a sample at *now_s* after one at *latest_s* belongs to a new examination."""
    return now_s < latest_s - RESTART_BACK_S or now_s < RESTART_BELOW_S <= latest_s
