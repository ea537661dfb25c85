"""The truth beside the samples: typed events, measured on the noise-free composite.

This module performs no I/O.
"""

from collections.abc import Iterator
from typing import cast

import numpy as np

from ctgkit.events import Event, Kind
from ctgkit.simulate.plan import Plan, Window
from ctgkit.simulate.shown import RETURN_BPM, SIZE_BPM, Measured, excursion, fits_type, shown_type
from ctgkit.simulate.signal.acceleration import Acceleration
from ctgkit.simulate.signal.belt import rezeros
from ctgkit.simulate.signal.contraction import Contraction
from ctgkit.simulate.signal.deceleration import OVERSHOOT_POWER, Deceleration
from ctgkit.simulate.signal.fitted import maturity
from ctgkit.simulate.signal.stream import Floats

KINDS: dict[str, Kind] = {"off": "fault", "twin": "twin_capture"}
"""Kind of event of an episode whose name is another."""

STRETCH_S = 1800.0
"""Events are collected in stretches of this length, so that a day costs 48 half hours."""

BEFORE_S, AFTER_S = 150.0, 800.0
"""What happens this near a stretch can change the shape of its events: the longest deceleration
drawn by chance and what is measured around it."""

SEGMENT_S = 600.0
"""Length of baseline and variability segments, seconds (FIGO 2015 assesses 10 minutes)."""

STEP_S = 0.25
"""Where the composite is measured: at the engine's samples."""

SIZE_S = 15.0
"""Acceleration and deceleration: 15 bpm for 15 s (FIGO 2015); 10 by 10 before 32 weeks."""
PRETERM_WEEKS, PRETERM_SIZE_BPM, PRETERM_SIZE_S = 32.0, 10.0, 10.0
LATE_SHALLOW_BPM, LATE_SHALLOW_BAND_BPM = 10.0, 5.0
"""With a band below 5 bpm, late decelerations count from 10 bpm on (FIGO 2015)."""
TACHYCARDIA_BPM, BRADYCARDIA_BPM = 160.0, 110.0
BANDS_BPM = ((2.0, "absent"), (5.0, "reduced"), (25.0, "normal"), (float("inf"), "increased"))
"""Variability by its 1-minute band (FIGO 2015; absent: NICHD 2008, undetectable)."""
CONTRACTION_UNITS = 10.0
"""A contraction below this height, toco units, is lost in the belt's noise. Chosen."""
ACIDOSIS_PH = 7.15
"""Cord pH at or below which the CTU-UHB database's authors speak of acidosis (Chudacek 2014)."""
SINUSOIDAL_S, SALTATORY_S = 1800.0, 1800.0
SINUSOIDAL_FROM_BPM = 2.5  # half the least peak-to-peak size of 5 bpm
TACHYSYSTOLE_COUNT, TACHYSYSTOLE_S = 15, 1800.0
"""More than 5 contractions in 10 minutes, averaged over 30 (NICHD 2008)."""


def truth_events(plan: Plan, until_s: float) -> list[Event]:
    """Return all events that began in [0, *until_s*), by onset.

    Parameters
    ----------
    plan : Plan
        What happens.
    until_s : float
        Seconds from the sensor's start.
    """
    if until_s <= 0:
        return []
    events: dict[str, Event] = {}
    for i in range(int(np.ceil(until_s / STRETCH_S))):
        from_s, to_s = i * STRETCH_S, min((i + 1) * STRETCH_S, until_s)
        window = plan.window(from_s - BEFORE_S, to_s + AFTER_S)
        for event in _of_window(plan, window):
            if from_s <= event.onset_s < to_s:
                events.setdefault(event.id, event)
    contractions = [e for e in events.values() if e.kind == "contraction"]
    found = [
        *_merged_losses(list(events.values())),
        *_segments(plan, until_s),
        *_phases(plan, until_s),
        *_fetal_states(plan, until_s),
        *_tachysystole(contractions),
        *_rezeros(plan, until_s),
    ]
    return sorted((e for e in found if e.onset_s < until_s), key=lambda e: (e.onset_s, e.id))


def _rezeros(plan: Plan, until_s: float) -> Iterator[Event]:
    forced = plan.forced_rezeros()
    for i, reset in enumerate(rezeros(plan.patient, plan.streams, 0.0, until_s, forced)):
        yield Event(
            kind="rezero", id=f"rezero{i}", onset_s=reset.t_s, end_s=reset.t_s,
            details={"offset": reset.offset},
        )  # fmt: skip


def _measure(
    plan: Plan, window: Window, onset_s: float, end_s: float, near_s: float, sign: int
) -> Measured:
    for lead_s in (60.0, BEFORE_S):
        first, stop = round((onset_s - lead_s) / STEP_S), round((end_s + 90) / STEP_S)
        t_s = np.arange(first, stop, dtype=np.float64) * STEP_S
        nearby = Window(
            [],
            [a for a in window.accelerations if a.onset_s < t_s[-1] and a.end_s > t_s[0]],
            [d for d in window.decelerations if d.onset_s - 20 < t_s[-1] and d.end_s + 70 > t_s[0]],
            [],
            [],
        )
        heart = plan.composite(t_s, nearby)
        deviation_bpm = sign * (heart.clean - heart.baseline)
        low, here, high = t_s.searchsorted((onset_s, near_s, end_s)).tolist()
        if deviation_bpm[here] <= RETURN_BPM:  # hidden there by its opposite: what is left of it
            near_s = float(t_s[low + int(np.argmax(deviation_bpm[low:high]))])
        found = excursion(t_s, deviation_bpm, near_s)
        if found.onset_s > t_s[0]:
            return found
    return found._replace(first_s=np.inf)  # nobody knows how it began


def _of_window(plan: Plan, window: Window) -> Iterator[Event]:
    by_id = {c.id: c for c in window.contractions}
    for c in window.contractions:
        if c.peak_s >= 0:
            shown = c.height * plan.patient.at("toco.gain", c.peak_s)
            yield Event(
                kind="contraction", id=c.id, onset_s=max(c.onset_s, 0.0), peak_s=c.peak_s,
                end_s=c.end_s, size=shown, details={"rise_s": c.rise_s},
                meets_clinical=shown >= CONTRACTION_UNITS,
            )  # fmt: skip
    for a in window.accelerations:
        if a.end_s > 0:
            yield _acceleration(plan, window, a)
    for d in window.decelerations:
        if d.end_s > 0:  # whoever sees the trace sees its rest: it is told, and never clinical
            yield _deceleration(plan, window, d, by_id.get(d.contraction))
        if d.overshoot_bpm and (rise := _overshoot(d)).end_s > 0:
            yield _acceleration(plan, window, rise, "overshoot")
    for e in window.episodes:
        if e.end_s > 0 and e.what not in ("outlier", "hold"):
            kind = KINDS.get(e.what, cast(Kind, e.what))
            yield Event(
                kind=kind, id=e.id, onset_s=max(float(e.onset_s), 0.0), end_s=float(e.end_s),
                subtype="off" if e.what == "off" else "",
            )  # fmt: skip


def _acceleration(plan: Plan, window: Window, a: Acceleration, subtype: str = "") -> Event:
    peak_s = _peak_s(a)
    m = _measure(plan, window, a.onset_s, a.end_s, peak_s, 1)
    preterm = plan.patient.scenario.ga_weeks < PRETERM_WEEKS
    size_bpm, size_s = (PRETERM_SIZE_BPM, PRETERM_SIZE_S) if preterm else (SIZE_BPM, SIZE_S)
    return Event(
        kind="acceleration", subtype=subtype, id=a.id, onset_s=max(a.onset_s, 0.0),
        peak_s=max(peak_s, 0.0), end_s=a.end_s, size=a.height_bpm,
        meets_clinical=m.size_bpm >= size_bpm and m.end_s - m.onset_s >= size_s and peak_s >= 0,
    )  # fmt: skip


def _peak_s(a: Acceleration) -> float:
    return a.onset_s + a.rise * a.duration_s


def _overshoot(d: Deceleration) -> Acceleration:
    """Return the rise after a deceleration: who sees only the trace calls it an acceleration."""
    return Acceleration(
        d.id + "o", d.end_s, d.overshoot_s, d.overshoot_bpm, 0.5 ** (1 / OVERSHOOT_POWER), 1
    )


def _deceleration(plan: Plan, window: Window, d: Deceleration, c: Contraction | None) -> Event:
    m = _measure(plan, window, d.onset_s, d.end_s, d.nadir_s, -1)
    band_bpm = plan.patient.at("fhr.bandwidth_bpm", max(d.onset_s, 0.0))
    kind = shown_type(d.type, m, c)
    shallow = kind == "late" and band_bpm < LATE_SHALLOW_BAND_BPM
    meets = (
        m.size_bpm >= (LATE_SHALLOW_BPM if shallow else SIZE_BPM)
        and m.end_s - m.onset_s >= SIZE_S
        and m.onset_s >= 0
        and fits_type(kind, m, c)
    )
    return Event(
        kind="deceleration",
        subtype="variable" if kind == "atypical" else kind,
        id=d.id,
        onset_s=max(d.onset_s, 0.0),
        peak_s=max(d.nadir_s, 0.0),
        end_s=d.end_s,
        size=d.depth_bpm,
        linked_contraction=d.contraction,
        meets_clinical=meets,
        details={"atypical": True} if kind == "atypical" else {},
    )


def _merged_losses(events: list[Event]) -> Iterator[Event]:
    """Yield the events, with overlapping losses as one."""
    yield from (e for e in events if e.kind != "loss")
    open_: Event | None = None
    for e in sorted((e for e in events if e.kind == "loss"), key=lambda e: e.onset_s):
        if open_ is not None and e.onset_s <= open_.end_s:
            open_ = Event(
                kind="loss", id=open_.id, onset_s=open_.onset_s, end_s=max(open_.end_s, e.end_s)
            )
            continue
        if open_ is not None:
            yield open_
        open_ = e
    if open_ is not None:
        yield open_


def _segments(plan: Plan, until_s: float) -> Iterator[Event]:
    for i, from_s in enumerate(np.arange(0.0, until_s, SEGMENT_S)):
        t_s = np.arange(from_s, min(from_s + SEGMENT_S, until_s), 2.0)
        heart = plan.composite(t_s, Window([], [], [], [], []))
        level_bpm = float(np.mean(heart.baseline))
        band_bpm = float(np.mean(_band_bpm(plan, t_s)))
        level = (
            "tachycardia"
            if level_bpm > TACHYCARDIA_BPM
            else "bradycardia"
            if level_bpm < BRADYCARDIA_BPM
            else "normal"
        )
        band = next(name for limit, name in BANDS_BPM if band_bpm <= limit)
        onset_s, end_s = float(from_s), float(min(from_s + SEGMENT_S, until_s))
        yield Event(
            kind="baseline", id=f"baseline{i}", onset_s=onset_s, end_s=end_s, size=level_bpm,
            subtype=level,
        )  # fmt: skip
        yield Event(
            kind="variability", id=f"variability{i}", onset_s=onset_s, end_s=end_s, size=band_bpm,
            subtype=band,
        )  # fmt: skip


def _band_bpm(plan: Plan, t_s: Floats) -> Floats:
    factor = plan.behaviour.effects(t_s)[0] * plan.fetus.effects(t_s).bandwidth
    factor = factor * maturity(plan.patient.scenario.ga_weeks)
    return np.broadcast_to(plan.patient.at("fhr.bandwidth_bpm", t_s) * factor, t_s.shape)


def _fetal_states(plan: Plan, until_s: float) -> Iterator[Event]:
    """Yield pH and base deficit at the end of each ten minutes: a model's, not medicine."""
    if not plan.fetus.simulated:
        return
    starts = np.arange(0.0, until_s, SEGMENT_S)
    ends = np.minimum(starts + SEGMENT_S, until_s)
    course = plan.fetus.course(ends)
    for i, ph in enumerate(course.ph):
        yield Event(
            kind="fetal_state", id=f"fetus{i}", onset_s=float(starts[i]), end_s=float(ends[i]),
            subtype="acidosis" if ph <= ACIDOSIS_PH else "normal",
            details={
                "simulated_ph": round(float(ph), 3),
                "simulated_base_deficit_mmol_l": round(float(course.base_deficit[i]), 2),
            },
        )  # fmt: skip


def _phases(plan: Plan, until_s: float) -> Iterator[Event]:
    """Yield states, hypoxia phases, and sinusoidal and saltatory stretches."""
    if plan.behaviour.mode != "none":
        for i, span in enumerate(plan.behaviour.until(until_s)):
            yield Event(
                kind="state", id=f"state{i}", onset_s=span.onset_s, end_s=min(span.end_s, until_s),
                subtype=span.state,
            )  # fmt: skip
    phases = plan.patient.phases
    for i, phase in enumerate(phases):
        end_s = phases[i + 1].t_s if i + 1 < len(phases) else until_s
        ph = plan.patient.at("hypoxia.nominal_ph", phase.t_s)
        if plan.fetus.simulated:
            ph = round(plan.fetus.resting_ph(phase.t_s), 3)
        yield Event(
            kind="hypoxia_phase", id=f"phase{i}", onset_s=phase.t_s, end_s=max(end_s, phase.t_s),
            subtype=phase.name, details={"simulated_nominal_ph": ph},
        )  # fmt: skip
    t_s = np.arange(0.0, until_s, 5.0)
    sinus = np.broadcast_to(plan.patient.at("fhr.sinus_bpm", t_s), t_s.shape)
    stretches: tuple[tuple[Kind, Floats, float, float], ...] = (
        ("sinusoidal", sinus, SINUSOIDAL_FROM_BPM, SINUSOIDAL_S),
        ("saltatory", _band_bpm(plan, t_s), BANDS_BPM[2][0], SALTATORY_S),
    )
    for kind, curve, above, long_s in stretches:
        inside = np.concatenate([[False], curve > above, [False]])
        edges = np.flatnonzero(inside[1:] != inside[:-1])
        for i, (low, high) in enumerate(zip(edges[::2], edges[1::2], strict=True)):
            onset_s, end_s = float(t_s[low]), float(min(t_s[high - 1] + 5.0, until_s))
            yield Event(
                kind=kind, id=f"{kind}{i}", onset_s=onset_s, end_s=end_s,
                size=float(curve[low:high].max()), meets_clinical=end_s - onset_s > long_s,
            )  # fmt: skip


def _tachysystole(contractions: list[Event]) -> Iterator[Event]:
    """Yield stretches in which 30 minutes hold more than 15 contractions."""
    peaks = sorted(e.peak_s for e in contractions if e.peak_s is not None)
    onset_s = end_s = -np.inf
    for i in range(len(peaks) - TACHYSYSTOLE_COUNT):
        first, last = peaks[i], peaks[i + TACHYSYSTOLE_COUNT]
        if last - first >= TACHYSYSTOLE_S:
            continue
        if first > end_s:
            if np.isfinite(onset_s):
                yield _tachysystole_event(onset_s, end_s)
            onset_s = first
        end_s = last
    if np.isfinite(onset_s):
        yield _tachysystole_event(onset_s, end_s)


def _tachysystole_event(onset_s: float, end_s: float) -> Event:
    return Event(
        kind="tachysystole", id=f"tachysystole{onset_s:.0f}", onset_s=onset_s, end_s=end_s,
        meets_clinical=True,
    )  # fmt: skip
