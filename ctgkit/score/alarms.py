"""Which alarms the truth calls for, and which of those that were raised it does.

The truth is judged by the stub's own guideline clauses, from what really happened instead of
from a signal. This module performs no I/O.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from ctgkit.analysis.alerts import AlertBook
from ctgkit.analysis.features import Features, Minute, compute
from ctgkit.analysis.variability import NOTHING
from ctgkit.events import Event, Kind
from ctgkit.samples import FIRST_PREDICTION_AFTER_S, PREDICTION_EVERY_S, PREDICTION_WINDOW_S
from ctgkit.score.matching import overlap_s

TOLERANCE_S = 600.0
"""An alarm within so much of a time for which it is called is right. FIGO 2015 assesses 10 min."""

LEAST_S = 300.0
"""An alarm that is called for less long isn't missed when nobody raises it, seconds. Chosen: how
long the stub's alarms stay up."""

MEMORY_MIN = 65
"""How many minutes the clauses look back: the longest asks for more than 50."""

FALLS = frozenset({"prolonged_deceleration", "bradycardia"})
"""Each is right where the other is called for: a fall that lasts is a prolonged deceleration for
its first 10 min, and a change of the baseline from then on (FIGO 2015)."""

ANY = "any"
"""The code of an alarm that doesn't say what it is about."""


class Alarm(NamedTuple):
    """An alarm that is up, or should be; data time, seconds."""

    code: str
    onset_s: float
    end_s: float
    serious: bool = True
    """Whether it is a warning or worse; what is less may be told and may be kept."""


@dataclass(frozen=True, slots=True)
class AlarmTally:
    """How many alarms were called for and raised, which were missed and false, in how long."""

    wanted: int = 0
    raised: int = 0
    missed: tuple[Alarm, ...] = ()
    false: tuple[Alarm, ...] = ()
    hours: float = 0.0

    def __add__(self, other: "AlarmTally") -> "AlarmTally":
        return AlarmTally(
            self.wanted + other.wanted,
            self.raised + other.raised,
            self.missed + other.missed,
            self.false + other.false,
            self.hours + other.hours,
        )

    @property
    def met(self) -> int:
        """How many of those called for were raised."""
        return self.wanted - len(self.missed)

    @property
    def sensitivity(self) -> float | None:
        """Share of the alarms called for that were raised; None when none was."""
        return self.met / self.wanted if self.wanted else None

    @property
    def false_per_h(self) -> float | None:
        """False alarms per hour of recording; None without any time."""
        return len(self.false) / self.hours if self.hours else None


def called_for(
    events: Sequence[Event], baseline: Iterable[tuple[float, float, float]], length_s: float
) -> list[Alarm]:
    """Return the alarms for which a simulation's truth calls, by onset.

    Parameters
    ----------
    events : sequence of Event
        All kinds.
    baseline : iterable of (from_s, to_s, bpm)
        The true baseline.
    length_s : float
        Length of the recording, seconds.
    """
    book = AlertBook()
    up: dict[tuple[str, float], Alarm] = {}
    for now_s, found in true_features(events, baseline, length_s):
        captured_s = covered_s(events, ("maternal_capture",), now_s - PREDICTION_WINDOW_S, now_s)
        found.values["maternal_pulse_min"] = captured_s / 60
        for alert in book.update(found, now_s):
            key = (alert.code, alert.since_s)
            up[key] = Alarm(alert.code, alert.since_s, alert.held_s, alert.level != "info")
    return sorted(up.values(), key=lambda a: (a.onset_s, a.code))


def true_features(
    events: Sequence[Event], baseline: Iterable[tuple[float, float, float]], length_s: float
) -> Iterator[tuple[float, Features]]:
    """Yield when each prediction is due and what the clauses would see of the truth by then.

    Parameters
    ----------
    events, baseline, length_s
        As for `called_for`.
    """
    levels = list(baseline)
    minutes = [_minute(events, levels, 60.0 * n) for n in range(int(length_s // 60))]
    told = [
        _as_seen(e, levels)
        for e in events
        if e.kind in ("acceleration", "deceleration", "contraction")
        and e.meets_clinical is not False
    ]
    now_s = FIRST_PREDICTION_AFTER_S
    while now_s <= length_s:
        past = minutes[max(0, int(now_s // 60) - MEMORY_MIN) : int(now_s // 60)]
        known = [m.baseline_bpm for m in past[-10:] if m.baseline_bpm is not None]
        yield (
            now_s,
            compute(
                past,
                [_until(e, now_s) for e in told if e.onset_s < now_s < e.end_s + 3600],
                now_s,
                sum(known) / len(known) if known else None,
            ),
        )
        now_s += PREDICTION_EVERY_S


def _until(event: Event, now_s: float) -> Event:
    return msgspec.structs.replace(event, end_s=min(event.end_s, now_s))


def _minute(
    events: Sequence[Event], baseline: Sequence[tuple[float, float, float]], start_s: float
) -> Minute:
    end_s = start_s + 60
    bands = [e.size for e in events if e.kind == "variability" and e.onset_s <= start_s < e.end_s]
    hidden_s = covered_s(events, ("loss", "fault"), start_s, end_s)
    waves_s = covered_s(events, ("sinusoidal",), end_s - PREDICTION_WINDOW_S, end_s)
    known = bands and not waves_s  # the band of a wave isn't variability
    return Minute(
        start_s=start_s,
        baseline_bpm=next((bpm for a, b, bpm in baseline if a <= start_s < b), None),
        reliability=1.0,
        valid_share=1 - hidden_s / 60,
        variability=NOTHING._replace(bandwidth_bpm=bands[0] if known else None),
        sinusoidal=waves_s >= PREDICTION_WINDOW_S,
        resting_tone=None if covered_s(events, ("fault",), start_s, end_s) else 0.0,
        doubled_share=covered_s(events, ("doubling", "halving"), start_s, end_s) / 60,
    )


def covered_s(events: Iterable[Event], kinds: Sequence[Kind], from_s: float, to_s: float) -> float:
    """Return how much of a time is covered by events of *kinds*, seconds."""
    spans = sorted(
        (max(e.onset_s, from_s), min(e.end_s, to_s))
        for e in events
        if e.kind in kinds and e.onset_s < to_s and e.end_s > from_s
    )
    total_s, reached_s = 0.0, from_s
    for onset_s, end_s in spans:
        total_s += max(0.0, end_s - max(onset_s, reached_s))
        reached_s = max(reached_s, end_s)
    return total_s


def _as_seen(event: Event, baseline: Sequence[tuple[float, float, float]]) -> Event:
    """Return an event with what the clauses ask of a deceleration: how low it goes."""
    level = next((bpm for a, b, bpm in baseline if a <= event.onset_s < b), None)
    if event.kind != "deceleration" or level is None or event.size is None:
        return event
    nadir = {"nadir_bpm": level - event.size}
    return msgspec.structs.replace(event, details={**event.details, **nadir})


def judge_alarms(
    wanted: Sequence[Alarm], raised: Sequence[Alarm], length_s: float, *, by_code: bool
) -> AlarmTally:
    """Return which alarms were met, and which are false.

    An alarm is right when the truth calls for its code within 10 min of the time that it was
    up. Those that don't say what they are about are compared with all that is called for.
    """
    serious = [alarm for alarm in wanted if alarm.serious]
    if not by_code:
        wanted, serious = merged(wanted), merged(serious)
    asked = [
        a for a in serious if a.end_s - a.onset_s >= LEAST_S and a.onset_s <= length_s - LEAST_S
    ]
    return AlarmTally(
        wanted=len(asked),
        raised=len(raised),
        missed=tuple(a for a in asked if not any(_same(a, r) for r in raised)),
        false=tuple(r for r in raised if not any(_same(a, r) for a in wanted)),
        hours=length_s / 3600,
    )


def _same(a: Alarm, b: Alarm) -> bool:
    alike = a.code == b.code or {a.code, b.code} == FALLS
    return alike and overlap_s(a, b) > -TOLERANCE_S


def merged(alarms: Iterable[Alarm]) -> list[Alarm]:
    """Return when any alarm is up."""
    result: list[Alarm] = []
    for alarm in sorted(alarms, key=lambda a: a.onset_s):
        if result and alarm.onset_s <= result[-1].end_s:
            before = result.pop()
            result.append(Alarm(ANY, before.onset_s, max(before.end_s, alarm.end_s)))
        else:
            result.append(Alarm(ANY, alarm.onset_s, alarm.end_s))
    return result


def intervals(course: Iterable[tuple[float, Iterable[str]]], end_s: float) -> list[Alarm]:
    """Return the alarms that were up, from which codes were up at which times.

    Parameters
    ----------
    course : iterable of (float, iterable of str)
        Data time, seconds, and the codes that are up from then on, in order of time.
    end_s : float
        When the last ones end, seconds.
    """
    up: dict[str, float] = {}
    result = []
    for at_s, codes in course:
        now = set(codes)
        result += [Alarm(code, up.pop(code), at_s) for code in up.keys() - now]
        for code in now - up.keys():
            up[code] = at_s
    result += [Alarm(code, onset_s, end_s) for code, onset_s in up.items()]
    return sorted(result, key=lambda a: (a.onset_s, a.code))
