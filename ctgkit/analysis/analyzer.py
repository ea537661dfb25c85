"""One sensor's samples in, an analysis every 30 s of data time out.

Pure: no I/O, no clock. The result depends on the samples and their data time only, never on how
they were chunked or when they came. The stages are modules of their own: :mod:`.validity`,
:mod:`.baseline`, :mod:`.morphology` and :mod:`.contractions`, :mod:`.variability`,
:mod:`.describe` and :mod:`.features`, :mod:`.guideline`.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ctgkit.analysis import (
    alerts,
    baseline,
    contractions,
    describe,
    features,
    minute,
    morphology,
    risk,
    texts,
    validity,
)
from ctgkit.analysis.features import Features, Minute
from ctgkit.analysis.guideline import Verdict
from ctgkit.analysis.plateau import Plateaus
from ctgkit.analysis.tables import FIGO, GUIDELINES
from ctgkit.analysis.trace import SLOT_HZ, TICK_S, TICK_SLOTS, WINDOW_S, Trace
from ctgkit.analysis.tracking import CONFIRMED_AFTER_S, Tracker
from ctgkit.events import Event
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
service does, PROTOCOL.md)."""

RESTART_BACK_S = 60.0
"""So does a sample this much earlier than the latest one. Chosen: longer than any resend."""

RESTART_AHEAD_S = float(WINDOW_S)
"""So does one this much later: nothing of the window would be left."""

REMEMBERED_S = 3600.0
"""Events and minutes are kept for an hour: guidelines ask for up to 50 min."""

FINAL_AFTER_MAX_S = 600.0

DOUBTED = 0.6
"""What is left of the confidence while another level is nearly as likely to be the baseline."""

Profile = Literal["ctgkit", "original"]
Floats = NDArray[np.float64]
_NAN: Final = float("nan")
_LOOK_TICKS = int(PREDICTION_EVERY_S) // TICK_S
"""Baseline and events are looked at again when something will be said of them: every third tick.
The tick after it looks for contractions, every other time, and the one before it closes minutes, so
that no sample bears all the work."""


_BIN_CENTRES = (np.arange(WINDOW_S / baseline.BIN_S) + 0.5) * baseline.BIN_S
_SECONDS = np.arange(WINDOW_S) + 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzerSettings:
    """How samples are analysed."""

    guideline: str = "figo"
    """One of :data:`ctgkit.analysis.tables.GUIDELINES`; FIGO is always judged as well."""
    language: texts.Language = "en"
    profile: Profile = "ctgkit"
    """``original`` gives the confidence that the original ML service gave."""
    final_after_s: float = 300.0
    """How long after its end an event is final, seconds, up to 600."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What is said about the last minutes of one sensor."""

    at_s: float
    """Data time, seconds."""
    prediction: Prediction
    features: Features
    events: list[Event]
    """Those that changed, or still may change, since the analysis before."""
    figo: Verdict
    verdict: Verdict
    """Of the guideline that was asked for."""
    alerts: list[alerts.Alert]

    def members(self) -> dict[str, Any]:
        """Return what a result says beyond the contract: on what its prediction rests."""
        extra = {
            "features": self.features.values,
            "events": self.events,
            "figo": self.figo,
            "alert_details": self.alerts,
        }
        if self.verdict is not self.figo:
            extra["guideline"] = self.verdict
        return extra


class Analyzer:
    """The streaming analysis of one sensor, in bounded memory (some 0.2 MB).

    Parameters
    ----------
    settings : AnalyzerSettings
        How to analyse.
    """

    def __init__(self, settings: AnalyzerSettings | None = None) -> None:
        self.settings = settings or AnalyzerSettings()
        if not 0 <= self.settings.final_after_s <= FINAL_AFTER_MAX_S:
            raise ValueError(f"final_after_s is not in [0, {FINAL_AFTER_MAX_S:g}]")
        self.samples_seen = 0
        self.latest: Analysis | None = None
        """The last analysis; None before the first one, 5 min after the start."""
        self._trace: Trace | None = None
        self._latest_s = self._due_s = 0.0

    # --- samples in -----------------------------------------------------------------------------

    def add(self, sample: Sample) -> Analysis | None:
        """Take one sample; return a new analysis when one is due, otherwise None.

        A sample that goes back to the start, or by more than 60 s, or jumps ahead by more than
        20 min, starts a new examination. One that comes late for its place is left out.
        """
        toco = sample.uterus if sample.uterus is not None else sample.spasms
        return self.push(
            sample.sec_from_start, sample.fhr_bpm or 0.0, _NAN if toco is None else toco
        )

    def push(self, sec_from_start: float, fhr_bpm: float, toco: float) -> Analysis | None:
        """Take one sample as numbers: 0 without heart rate, NaN without tocogram."""
        latest_s = self._latest_s
        if sec_from_start > latest_s:
            restarts = sec_from_start > latest_s + RESTART_AHEAD_S
            self._latest_s = sec_from_start
        else:
            restarts = (
                sec_from_start < latest_s - RESTART_BACK_S
                or sec_from_start < RESTART_BELOW_S <= latest_s
            )
        trace = self._trace
        if trace is None or restarts:
            trace = self._start(sec_from_start)
        self.samples_seen += 1
        slot = trace.slot_of(sec_from_start)
        if slot < TICK_SLOTS:
            trace.put(slot, fhr_bpm, toco)
            return None
        while slot >= TICK_SLOTS:
            trace.close_tick(slot)
            slot -= TICK_SLOTS
            self._tick(trace)
        trace.put(slot, fhr_bpm, toco)
        examined_s = trace.judged_s - trace.origin_s
        if examined_s < self._due_s:
            return None
        self._due_s += PREDICTION_EVERY_S * (1 + (examined_s - self._due_s) // PREDICTION_EVERY_S)
        self.latest = self._analysis(trace)
        return self.latest

    def _start(self, sec_from_start: float) -> Trace:
        final_after_s = self.settings.final_after_s
        self.samples_seen = 0
        self.latest = None
        self._latest_s = sec_from_start
        self._due_s = FIRST_PREDICTION_AFTER_S
        self._row_lag_s = int(min(CONFIRMED_AFTER_S, final_after_s)) // TICK_S * TICK_S
        self._level, self._baseline = baseline.NOTHING, np.empty(0)
        self._plateaus = Plateaus(WINDOW_S // int(PREDICTION_EVERY_S) + 1)
        self._minutes: deque[Minute] = deque(maxlen=int(REMEMBERED_S / 60) + 5)
        self._minutes_done = 0
        self._accelerations = Tracker("acc", final_after_s, REMEMBERED_S)
        self._decelerations = Tracker("dec", final_after_s, REMEMBERED_S)
        self._contractions = Tracker("uc", final_after_s, REMEMBERED_S)
        self._has_toco = False
        self._captured_s = 0.0
        self._smoothed: float | None = None
        self._alerts = alerts.AlertBook()
        self._trace = Trace(sec_from_start)
        return self._trace

    # --- each tick ------------------------------------------------------------------------------

    def _tick(self, trace: Trace) -> None:
        phase = trace.ticks % _LOOK_TICKS
        if phase == 0:
            self._look(trace)
        elif phase == 2:
            self._close_minutes(trace, self._row_lag_s)
        elif trace.ticks % (2 * _LOOK_TICKS) == 1:
            self._find_contractions(trace)
            recent = trace.fhr_bpm[-int(PREDICTION_WINDOW_S) * SLOT_HZ :]
            self._captured_s = validity.captured_s(recent)

    def _find_contractions(self, trace: Trace) -> None:
        self._has_toco = contractions.measured(trace.toco)
        seconds = min(WINDOW_S, trace.ticks * TICK_S)
        origin_s = trace.now_s - seconds
        since = max(0, int(self._contractions.since_s(trace.now_s) - origin_s))
        found = contractions.find(trace.toco[-seconds:], since) if self._has_toco else []
        events = [describe.contraction_event(c, origin_s) for c in found]
        self._contractions.update(events, trace.now_s)

    def _look(self, trace: Trace) -> None:
        """Estimate the baseline anew, and look again for what deviates from it."""
        trace.judge()
        seconds = min(WINDOW_S, trace.ticks * TICK_S)
        bins = int(seconds / baseline.BIN_S)
        self._level = baseline.estimate(
            trace.mean_bpm[-bins:],
            trace.valid_share[-bins:],
            self._plateaus,
            round((trace.judged_s - trace.origin_s) / baseline.BIN_S),
        )
        means = self._level.baseline_bpm
        level = self._baseline = np.interp(_SECONDS[:seconds], _BIN_CENTRES[:bins], means)
        fhr_bpm = trace.fhr_1hz[-seconds:]
        if not np.isfinite(level[0]) or not np.isfinite(fhr_bpm).any():
            return  # no signal for 20 min
        origin_s = trace.judged_s - seconds
        since = max(0, int(self._decelerations.since_s(trace.judged_s) - origin_s))
        filled = morphology.fill(fhr_bpm)
        bandwidth_bpm = minute.usual_bandwidth(self._minutes)
        zones = morphology.zones(fhr_bpm, filled, level, since, bandwidth_bpm)
        around = self._contractions.events if self._has_toco else None
        self._accelerations.update(
            [
                describe.acceleration_event(z, filled, level, origin_s)
                for z in zones
                if z.sign > 0
                and not self._accelerations.is_settled(origin_s + z.start, origin_s + z.end)
            ],
            trace.judged_s,
        )
        self._decelerations.update(
            [
                self._decelerations.unmoved(origin_s + z.start, origin_s + z.end)
                or describe.deceleration_event(z, filled, level, around, origin_s)
                for z in zones
                if z.sign < 0
                and not self._decelerations.is_settled(origin_s + z.start, origin_s + z.end)
            ],
            trace.judged_s,
        )

    def _close_minutes(self, trace: Trace, lag_s: int) -> None:
        """Add the minutes that ended *lag_s* before the last look, or earlier."""
        looked_s = round(trace.judged_s - trace.origin_s)
        while (self._minutes_done + 1) * 60 <= looked_s - lag_s:
            self._minutes_done += 1
            ended_s = looked_s - 60 * self._minutes_done
            self._minutes.append(
                minute.close(
                    trace,
                    minute.Level(self._baseline, self._level),
                    ended_s,
                    self._heart_events(),
                    self._has_toco,
                )
            )

    def _heart_events(self) -> Iterable[Event]:
        return self._accelerations.events + self._decelerations.events

    # --- each prediction ------------------------------------------------------------------------

    def _analysis(self, trace: Trace) -> Analysis:
        now_s = trace.judged_s
        events = [*self._heart_events(), *self._contractions.events]
        found = features.compute(
            list(self._minutes), events, now_s, self._level.present_bpm(), self._started(trace)
        )
        found.values["baseline_other_bpm"] = self._level.other_bpm
        found.values["maternal_pulse_min"] = round(self._captured_s / 60, 1)
        for minutes in (5, 10):
            share = validity.below_share(trace.fhr_1hz[-minutes * 60 :], features.DEEP_BPM)
            found.values[f"below_80_share_{minutes}min"] = share
        figo = FIGO.judge(found)
        asked = self.settings.guideline
        verdict = figo if asked == FIGO.name else GUIDELINES[asked].judge(found)
        active = self._alerts.update(found, now_s)
        probability = risk.probability(found, figo)
        self._smoothed = risk.smoothed(self._smoothed, probability)
        found.values["hypoxia_probability_smoothed"] = round(self._smoothed, 3)
        changed_after_s = self._decelerations.since_s(now_s) - PREDICTION_EVERY_S
        prediction = Prediction(
            hypoxia_probability=probability,
            hypoxia_risk=risk_of(probability),
            alerts=texts.alert_texts(active, self.settings.language),
            confidence=self._confidence(found),
            recommendations=texts.recommendations(active, self.settings.language),
        )
        return Analysis(
            at_s=now_s,
            prediction=prediction,
            features=found,
            events=[e for e in events if e.end_s > changed_after_s],
            figo=figo,
            verdict=verdict,
            alerts=active,
        )

    def _started(self, trace: Trace) -> tuple[float, float]:
        """Return what there is before the first whole minute: seconds, and the share of signal."""
        seen_s = self._latest_s - trace.origin_s
        if self._minutes or seen_s <= 0:
            return 0.0, 0.0
        first = trace.fhr_1hz[-round(trace.judged_s - trace.origin_s) :][: math.ceil(seen_s)]
        return seen_s, float(np.isfinite(first).mean())

    def _confidence(self, found: Features) -> float:
        """Return the amount of data, times quality and reliability of the baseline."""
        if self.settings.profile == "original":
            return round(0.1 + 0.9 * min(self.samples_seen / 2400, 1.0), 3)
        values = found.values
        examined_min, loss_pct = values["examined_min"], values["signal_loss_pct"]
        reliability = values["baseline_reliability"]
        assert isinstance(examined_min, float)
        assert isinstance(loss_pct, float)
        assert isinstance(reliability, float)
        sure = 1.0 if values["baseline_other_bpm"] is None else DOUBTED
        amount = 0.1 + 0.9 * min(examined_min * 60 / PREDICTION_WINDOW_S, 1.0)
        return round(amount * (1 - loss_pct / 100) * min(1.0, 2 * reliability) * sure, 3)

    # --- the end --------------------------------------------------------------------------------

    def finish(self) -> Analysis | None:
        """Settle everything with the samples there are; return the last analysis.

        None when there was no complete tick (10 s) at all.
        """
        trace = self._trace
        if trace is None:
            return None
        trace.close_tick(TICK_SLOTS + WINDOW_S)
        self._find_contractions(trace)
        self._look(trace)
        self._close_minutes(trace, 0)
        for tracker in (self._accelerations, self._decelerations, self._contractions):
            tracker.settle()
        self.latest = self._analysis(trace)
        return self.latest

    @property
    def events(self) -> list[Event]:
        """All events of the last hour, by onset."""
        if self._trace is None:
            return []
        return sorted([*self._heart_events(), *self._contractions.events], key=lambda e: e.onset_s)

    @property
    def minutes(self) -> list[Minute]:
        """The minutes of the last hour, oldest first."""
        return list(self._minutes) if self._trace is not None else []
