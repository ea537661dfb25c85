"""Stage 4c: from minutes and events to the numbers that guidelines ask for.

Pure. Every feature has a clinical name with its unit; None means that it can't be told.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import NamedTuple, get_args

from ctgkit.analysis.burden import burden
from ctgkit.analysis.variability import NOTHING, Variability
from ctgkit.events import DecelerationType, Event

RELIABLE_MINUTES_MIN = 2
"""A baseline or variability needs as many usable minutes in 10 (NICHD 2008)."""

RECENT_MIN, LONG_MIN, NICHD_MIN = 10, 30, 20
"""Windows: the present (FIGO 2015), rates and repetition (FIGO), recurrence (NICHD), minutes."""

CONTRACTIONS_MIN = 3
"""Repetition isn't judged on fewer contractions (chosen)."""

SPANNING_S = 120.0
"""A deceleration this long (NICHD 2008: prolonged) is with each contraction that peaks before its
end and ends after its onset: the fall may be late for the first one."""

SHOWN_AFTER_S = 60.0
"""Contractions count for repetition from this much after their peak on: before, a late deceleration
may not show yet (chosen: the nadir comes up to 90 s after the peak)."""

RETURN_LATE_S = {"recovery_s": 60.0, "onset_lag_s": 20.0, "nadir_lag_s": 10.0}
"""For FIGO a deceleration is late by its timing and a gradual return too, however fast the fall
(2015: "gradual onset and/or gradual return", over 30 s); NICHD goes by the fall. A minute, because
the return of a variable one is often measured as 30 s (docs/analysis.md)."""

RUN_MEDIAN_MIN = 5
"""Runs of reduced or increased variability look at medians over 5 min: one odd minute neither
makes nor breaks a run (chosen)."""

GOOD_SHARE, FAIR_SHARE = 0.8, 0.5
"""Valid share of 10 min for good and fair quality; below, nothing is classified (analysis.md
5.1)."""

DEEP_BPM = 80.0
"""Below this a long deceleration is an emergency (FIGO 2015)."""

REDUCED_BPM, INCREASED_BPM = 5.0, 25.0
"""Normal variability is 5-25 beats/min (FIGO 2015)."""

DECELERATION_TYPES = get_args(DecelerationType)

Value = float | str | None


class Minute(NamedTuple):
    """What one minute of signal came to."""

    start_s: float
    baseline_bpm: float | None
    reliability: float
    """Of the baseline, in [0, 1]."""
    valid_share: float
    variability: Variability = NOTHING
    sinusoidal: bool = False
    """Whether the 10 min that end with this minute are."""
    resting_tone: float | None = None
    """Device units; None without a tocogram."""
    doubled_share: float = 0.0
    """Share that was doubled or halved by the monitor, and is left out."""
    held: bool = False
    """Whether the baseline is that of before, because nothing around supports any."""


@dataclass(frozen=True, slots=True)
class Features:
    """The features at one time, and which events they rest on."""

    values: dict[str, Value] = field(default_factory=dict)
    event_ids: dict[str, list[str]] = field(default_factory=dict)


def compute(
    minutes: Sequence[Minute],
    events: Iterable[Event],
    now_s: float,
    baseline_bpm: float | None,
    started: tuple[float, float] = (0.0, 0.0),
) -> Features:
    """Return all features.

    Parameters
    ----------
    minutes : sequence of Minute
        The last hour or so, oldest first.
    events : iterable of Event
        Accelerations, decelerations and contractions of the last half hour at least.
    now_s : float
        Data time, seconds.
    baseline_bpm : float or None
        Mean of the last 10 min as they look now, beats/min.
    started : (float, float)
        Before the first whole minute: seconds examined, and the share of them with a signal.
    """
    result = Features()
    hour = list(events)
    listed = [e for e in hour if e.end_s > now_s - LONG_MIN * 60]
    examined_min = (now_s - minutes[0].start_s if minutes else started[0]) / 60
    result.values["examined_min"] = round(examined_min, 2)
    _signal(result, minutes, baseline_bpm, started[1])
    _variability_runs(result, minutes)
    long_s = min(LONG_MIN * 60.0, max(60.0, examined_min * 60))
    _rates(result, [e for e in listed if e.end_s > now_s - long_s], long_s)
    has_toco = any(m.resting_tone is not None for m in minutes[-RECENT_MIN:])
    _contractions(result, listed, now_s, long_s, has_toco)
    for window_min in (NICHD_MIN, LONG_MIN):
        _repetition(result, listed, now_s, window_min, has_toco, examined_min)
    found = [e for e in listed if e.kind == "deceleration" and e.end_s > now_s - long_s]
    _decelerations(result, found, "")
    _decelerations(result, [e for e in found if e.end_s > now_s - RECENT_MIN * 60], "recent_")
    lost = max((_number(e, "area_bpm_s") / 60 for e in found), default=0.0)
    result.values["largest_deceleration_lost_beats"] = round(lost, 1)
    result.values["deceleration_pattern"] = _pattern(found)
    result.values.update(burden(minutes, hour, now_s, 60 * examined_min))
    return result


def _signal(
    result: Features, minutes: Sequence[Minute], baseline_bpm: float | None, started_share: float
) -> None:
    values, recent = result.values, minutes[-RECENT_MIN:]
    valid = fmean(m.valid_share for m in recent) if recent else started_share
    values["signal_loss_pct"] = round(100 * (1 - valid), 1)
    values["signal_quality"] = (
        "good" if valid >= GOOD_SHARE else "fair" if valid >= FAIR_SHARE else "poor"
    )
    values["baseline_reliability"] = round(fmean([m.reliability for m in recent] or [0.0]), 2)
    values["baseline_held_min"] = float(sum(m.held for m in recent))
    values["baseline_bpm"] = None if baseline_bpm is None else round(baseline_bpm, 1)
    values["baseline_rounded_bpm"] = None if baseline_bpm is None else 5.0 * round(baseline_bpm / 5)
    long = [m.baseline_bpm for m in minutes[-LONG_MIN:] if m.baseline_bpm is not None]
    values["baseline_min_bpm"] = round(min(long), 1) if long else None
    values["baseline_max_bpm"] = round(max(long), 1) if long else None
    for name, number, rows in (
        ("stv_ms", 1, minutes[-60:]),
        ("ltv_ms", 2, minutes[-60:]),
        ("oscillations_per_min", 3, recent),
    ):
        found = [v for m in rows if (v := m.variability[number]) is not None]
        values[name] = round(fmean(found), 2) if len(found) >= RELIABLE_MINUTES_MIN else None
    _variability(values, recent)
    tones = [m.resting_tone for m in recent if m.resting_tone is not None]
    values["resting_tone"] = round(fmean(tones), 1) if tones else None
    values["doubled_halved_min"] = round(sum(m.doubled_share for m in recent), 1)


def _variability(values: dict[str, Value], recent: Sequence[Minute]) -> None:
    """Add the variability: beside events where there is enough, else inside them as well."""
    beside = [b for m in recent if (b := m.variability.bandwidth_bpm) is not None]
    inside = [b for m in recent if (b := m.variability.inside_bpm) is not None]
    enough = len(beside) >= RELIABLE_MINUTES_MIN
    found = beside if enough else beside + inside
    known = len(found) >= RELIABLE_MINUTES_MIN
    bpm = median(found) if known else None
    if bpm is not None and not enough:
        bpm = min(bpm, INCREASED_BPM)  # guidelines know reduced variability inside events only
    values["variability_bpm"] = None if bpm is None else round(bpm, 2)
    values["variability_from"] = ("baseline" if enough else "events") if known else None
    values["variability_inside_bpm"] = round(median(inside), 2) if inside else None


def _variability_runs(result: Features, minutes: Sequence[Minute]) -> None:
    back = minutes[::-1]
    values = result.values
    values["reduced_variability_min"] = _run(_smooth_bands(minutes), lambda b: b < REDUCED_BPM)
    values["increased_variability_min"] = _run(_smooth_bands(minutes), lambda b: b > INCREASED_BPM)
    values["tachycardia_min"] = _run((m.baseline_bpm for m in back), lambda b: b > 160)
    values["bradycardia_min"] = _run((m.baseline_bpm for m in back), lambda b: b < 110)
    sinusoidal = _run((float(m.sinusoidal) for m in back), lambda flag: flag > 0)
    values["sinusoidal_min"] = sinusoidal + RECENT_MIN - 1 if sinusoidal else 0.0


def _smooth_bands(minutes: Sequence[Minute]) -> Iterable[float | None]:
    """Yield the medians of each minute and those before it, latest first."""
    bands = [m.variability.bandwidth_bpm for m in minutes]
    for end in range(len(bands), 0, -1):
        near = [b for b in bands[max(0, end - RUN_MEDIAN_MIN) : end] if b is not None]
        yield median(near) if near else None


def _run(latest_first: Iterable[float | None], holds: Callable[[float], bool]) -> float:
    """Return for how many minutes up to the last one *holds*; unknown minutes don't break it."""
    length = known = 0
    for value in latest_first:
        if value is None:
            length += 1
        elif holds(value):
            length += 1
            known = length
        else:
            break
    return float(known)


def _rates(result: Features, events: Sequence[Event], window_s: float) -> None:
    per_30min = 1800 / window_s
    clinical = [e for e in events if e.kind == "acceleration" and e.meets_clinical]
    result.values["accelerations_per_30min"] = round(len(clinical) * per_30min, 1)
    result.event_ids["accelerations_per_30min"] = [e.id for e in clinical]
    decelerations = [e for e in events if e.kind == "deceleration"]
    typed: dict[str, list[str]] = {name: [] for name in DECELERATION_TYPES}
    for event in decelerations:
        if event.subtype in typed:
            typed[event.subtype].append(event.id)
    for subtype, ids in typed.items():
        name = f"decelerations_{subtype}_per_30min"
        result.values[name] = round(len(ids) * per_30min, 1)
        result.event_ids[name] = ids
    not_early = [e for e in decelerations if e.subtype != "early"]
    result.values["decelerations_not_early_per_30min"] = round(len(not_early) * per_30min, 1)
    for kind in ("acceleration", "deceleration"):
        area = sum(_number(e, "area_bpm_s") for e in events if e.kind == kind)
        result.values[f"{kind}_area_bpm"] = round(area / window_s, 3)


def _contractions(
    result: Features, events: Sequence[Event], now_s: float, window_s: float, has_toco: bool
) -> None:
    values = result.values
    found = [e for e in events if e.kind == "contraction" and (e.peak_s or 0) > now_s - window_s]
    values["contractions_per_10min"] = round(600 * len(found) / window_s, 1) if has_toco else None
    values["tachysystole_per_10min"] = (
        values["contractions_per_10min"] if has_toco and window_s >= LONG_MIN * 60 else None
    )
    result.event_ids["tachysystole_per_10min"] = [e.id for e in found]
    over = [e.duration_s for e in found if e.tier != "provisional"]  # its end is still a guess
    longest = max(over, default=0.0)
    values["longest_contraction_s"] = longest if has_toco else None
    paired = {e.linked_contraction for e in events if e.kind == "deceleration"}
    spans = [(e.onset_s - 15, e.end_s + 15) for e in found]
    rises = [e for e in events if e.kind == "acceleration" and e.end_s > now_s - window_s]
    with_contraction = [e for e in rises if any(a <= (e.peak_s or 0) <= b for a, b in spans)]
    values["acceleration_pattern"] = (
        "none" if not rises else "periodic" if len(with_contraction) == len(rises) else "sporadic"
    )
    values["contraction_deceleration_share"] = (
        round(sum(e.id in paired for e in found) / len(found), 2) if found else None
    )


def _repetition(
    result: Features,
    events: Sequence[Event],
    now_s: float,
    window_min: int,
    has_toco: bool,
    examined_min: float,
) -> None:
    """Add the shares of contractions with decelerations; None unless the window is complete."""
    since_s = now_s - 60 * window_min
    shown_s = now_s - SHOWN_AFTER_S
    contractions = [
        e
        for e in events
        if e.kind == "contraction" and e.onset_s > since_s and (e.peak_s or 0) < shown_s
    ]
    complete = has_toco and examined_min >= window_min and len(contractions) >= CONTRACTIONS_MIN
    decelerations = [e for e in events if e.kind == "deceleration" and e.end_s > since_s]
    for name, subtypes in (
        ("deceleration", None),
        ("late", ("late",)),
        ("variable", ("variable",)),
        ("late_or_prolonged", ("late", "late_ambiguous", "prolonged")),
    ):
        counted = [
            e
            for e in decelerations
            if subtypes is None
            or e.subtype in subtypes
            or (name == "late_or_prolonged" and _returns_late(e))
        ]
        key = f"{name}_share_{window_min}min"
        result.values[key] = _share_with(contractions, counted) if complete else None
        result.event_ids[key] = [e.id for e in counted]


def _returns_late(event: Event) -> bool:
    return event.subtype == "variable" and all(
        _number(event, name) > least for name, least in RETURN_LATE_S.items()
    )


def _share_with(contractions: Sequence[Event], decelerations: Sequence[Event]) -> float:
    """Return the share of contractions that have one of the decelerations."""
    with_one = {e.linked_contraction for e in decelerations}
    long = [(e.onset_s, e.end_s) for e in decelerations if e.duration_s >= SPANNING_S]
    found = 0
    for c in contractions:
        peak_s = c.peak_s or 0.0
        found += c.id in with_one or any(
            start_s <= c.end_s and peak_s <= end_s for start_s, end_s in long
        )
    return round(found / len(contractions), 2)


def _decelerations(result: Features, events: Sequence[Event], prefix: str) -> None:
    """Add how long the longest deceleration is: of all, of the deep and of the flat ones."""
    for name, eligible in (
        ("longest", events),
        ("deep", [e for e in events if _number(e, "nadir_bpm") < DEEP_BPM]),
        ("flat", [e for e in events if _number(e, "bandwidth_bpm", 99.0) < REDUCED_BPM]),
    ):
        longest = max(eligible, key=lambda e: e.duration_s, default=None)
        key = f"{prefix}{name}_deceleration_min"
        result.values[key] = round(longest.duration_s / 60, 2) if longest else 0.0
        result.event_ids[key] = [longest.id] if longest else []


def _pattern(decelerations: Sequence[Event]) -> str:
    """Return the worst kind of deceleration, as the scales name them."""
    if any(e.subtype == "prolonged" or _late_long(e) or _severe(e) for e in decelerations):
        return "late_or_severe"
    if any(e.subtype in ("late", "late_ambiguous", "variable") for e in decelerations):
        late = any(e.subtype == "late" for e in decelerations)
        return "late_short" if late else "variable"
    return "early" if decelerations else "none"


def _late_long(event: Event) -> bool:
    return event.subtype == "late" and event.duration_s > 60


def _severe(event: Event) -> bool:
    """Whether it is a severe variable deceleration: 60 s, 60 beats/min deep, or to 60 (chosen)."""
    return event.subtype == "variable" and (
        event.duration_s > 60 or (event.size or 0) > 60 or _number(event, "nadir_bpm") < 60
    )


def _number(event: Event, name: str, default: float = 0.0) -> float:
    value = event.details.get(name)
    return float(value) if isinstance(value, int | float) else default
