"""The analysis of a whole recording at once, as a service would have given it live.

Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ctgkit.analysis.analyzer import Analysis, Analyzer, AnalyzerSettings
from ctgkit.analysis.features import Minute
from ctgkit.events import Event


class Samples(Protocol):
    """What is analysed: equally long arrays of shape (n_samples,), in order of time."""

    @property
    def sec_from_start(self) -> NDArray[np.float64]:
        """Data time, seconds, >= 0."""

    @property
    def fhr_bpm(self) -> NDArray[np.float64]:
        """Heart rate, beats/min; NaN or 0 without signal."""

    @property
    def uterus(self) -> NDArray[np.float64]:
        """Uterine activity, device units; NaN where not measured."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in a recording."""

    events: list[Event]
    """By onset; each as it was once final, those of the end as they looked at the end."""
    minutes: list[Minute]
    """Every minute; its baseline as it looked when the minute was confirmed."""
    named_at_s: dict[str, float]
    """Event id -> data time of the first analysis that told it, seconds; what was final before
    the first one never was."""
    analyses: list[Analysis]
    """Every 30 s from the 5th minute on, and one at the end."""

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data: what ``ctgkit analyze --json`` prints."""
        last = self.analyses[-1]
        return {
            "note": "simulated analysis, not a medical device",
            "events": [
                {
                    "type": e.kind,
                    "start_s": e.onset_s,
                    "end_s": e.end_s,
                    "named_at_s": self.named_at_s.get(e.id),
                    **{k: v for k, v in msgspec.to_builtins(e).items() if k not in _RENAMED},
                }
                for e in self.events
            ],
            "baseline_per_minute": [
                None if m.baseline_bpm is None else round(m.baseline_bpm, 1) for m in self.minutes
            ],
            "baseline_from_s": self.minutes[0].start_s if self.minutes else 0.0,
            "baseline_held_per_minute": [m.held for m in self.minutes],
            "prediction": msgspec.to_builtins(last.prediction),
            "guideline": msgspec.to_builtins(last.verdict),
            "features": last.features.values,
            "course": [
                {
                    "at_s": a.at_s,
                    "hypoxia_probability": a.prediction.hypoxia_probability,
                    "hypoxia_probability_smoothed": a.features.values[
                        "hypoxia_probability_smoothed"
                    ],
                    "class": a.verdict.level,
                    "unknown": list(a.verdict.reasons),
                    "alerts": [alert.code for alert in a.alerts],
                }
                for a in self.analyses
            ],
        }


_RENAMED = {"kind", "onset_s", "end_s"}


def analyze(
    recording: Samples,
    settings: AnalyzerSettings | None = None,
    on_analysis: Callable[[float], None] = lambda seconds: None,
) -> Report:
    """Return what the analyzer finds in a recording.

    Parameters
    ----------
    recording : Samples
        A recording, or anything with the same three arrays.
    settings : AnalyzerSettings
        How to analyse; ``final_after_s`` is the lag at which events and baseline are taken.
    on_analysis : callable
        Called after each analysis with the seconds of data since the one before.

    Raises
    ------
    ValueError
        When there is no sample at all.
    """
    if len(recording.sec_from_start) == 0:
        raise ValueError("a recording without samples")
    analyzer = Analyzer(settings)
    events: dict[str, Event] = {}
    minutes: dict[float, Minute] = {}
    named_at_s: dict[str, float] = {}
    analyses: list[Analysis] = []

    def collect(analysis: Analysis | None) -> None:
        if analysis is not None:
            on_analysis(analysis.at_s - (analyses[-1].at_s if analyses else 0.0))
            analyses.append(analysis)
            named_at_s.update(
                (e.id, analysis.at_s) for e in analysis.events if e.id not in named_at_s
            )
            events.update((e.id, e) for e in analyzer.events if e.tier == "final")
            minutes.update((m.start_s, m) for m in analyzer.minutes)

    heart_rate = np.where(np.isfinite(recording.fhr_bpm), recording.fhr_bpm, 0.0).tolist()
    for sec_from_start, fhr_bpm, toco in zip(
        recording.sec_from_start.tolist(), heart_rate, recording.uterus.tolist(), strict=True
    ):
        collect(analyzer.push(sec_from_start, fhr_bpm, toco))
    collect(analyzer.finish())
    ordered = sorted(events.values(), key=lambda e: e.onset_s)
    ordered_minutes = [minutes[start] for start in sorted(minutes)]
    return Report(ordered, ordered_minutes, named_at_s, analyses)
