"""What happened: a simulation's truth, or the zones that experts drew.

This module performs no I/O.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, NamedTuple

import msgspec

from ctgkit.events import Event, Kind
from ctgkit.score.alarms import Alarm, called_for, covered_s

KINDS: Final[tuple[Kind, ...]] = ("acceleration", "deceleration", "contraction")
"""The kinds of events that are scored."""

ACIDOSIS = "acidosis"
"""Subtype of a fetal state whose simulated pH is at or below 7.15."""

EXPERT_MARGIN_S = 30.0
"""What was found further than this from the first and the last expert event doesn't count: the
experts left parts of the records out, and nobody says which."""

EDGE_S = 60.0
"""Nothing is asked for in the first and last minute of a simulation: what is cut off by the
edge can't be told from something smaller. Chosen."""

HIDDEN_SHARE = 1 / 3
"""An event of which more than this is without signal isn't asked for (FHRMA's rule)."""

HEART_HIDING: Final[tuple[Kind, ...]] = ("loss", "fault", "maternal_capture")
HIDING: Final[Mapping[str, tuple[Kind, ...]]] = {
    "acceleration": HEART_HIDING,
    "deceleration": HEART_HIDING,
    "contraction": ("fault",),
}
"""What takes the signal away in which an event could be seen."""


class Span(NamedTuple):
    """The mean baseline of some time."""

    from_s: float
    to_s: float
    bpm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What there is to find in one recording."""

    name: str
    kinds: tuple[Kind, ...]
    """Of what it speaks; about other kinds it wrote nothing."""
    events: tuple[Event, ...]
    """What has to be found, by onset."""
    spared: tuple[Event, ...] = ()
    """What may be found and may be missed: too small by the guideline, hidden, at the edge."""
    from_s: float = float("-inf")
    to_s: float = float("inf")
    """What was found outside doesn't count."""
    baseline: tuple[Span, ...] = ()
    length_s: float | None = None
    """None where it isn't known."""
    alarms: tuple[Alarm, ...] | None = None
    """What it calls for; None where it can't tell."""
    acidotic: bool | None = None
    """Whether the simulated pH was low at the end; None where no fetus was simulated."""
    acidotic_since_s: float | None = None


def simulated(name: str, events: Sequence[Event], baseline: Sequence[Span] = ()) -> Truth:
    """Return the truth of a simulation.

    Parameters
    ----------
    name : str
        Of the recording.
    events : sequence of Event
        All kinds, as the simulator tells them.
    baseline : sequence of Span
        The baseline where it is known more closely than by the events (10 min).

    Raises
    ------
    ValueError
        When no event says how long the simulation was.
    """
    segments = [Span(e.onset_s, e.end_s, e.size or 0.0) for e in events if e.kind == "baseline"]
    if not segments:
        raise ValueError("no baseline among its events: not a simulation's truth")
    length_s = max(span.to_s for span in segments)
    levels = tuple(baseline) or tuple(segments)
    states = sorted((e for e in events if e.kind == "fetal_state"), key=lambda e: e.onset_s)
    asked: list[Event] = []
    spared: list[Event] = []
    for kind in KINDS:
        for event in joined([e for e in events if e.kind == kind]):
            inside = event.onset_s > EDGE_S and event.end_s < length_s - EDGE_S
            clear = event.meets_clinical is not False and not _hidden(
                events, HIDING[kind], event.onset_s, event.end_s
            )
            (asked if inside and clear else spared).append(event)
    return Truth(
        name=name,
        kinds=KINDS,
        events=tuple(sorted(asked, key=lambda e: e.onset_s)),
        spared=tuple(spared),
        from_s=0.0,
        to_s=length_s,
        baseline=tuple(s for s in levels if not _hidden(events, HEART_HIDING, s.from_s, s.to_s)),
        length_s=length_s,
        alarms=tuple(called_for(events, levels, length_s)),
        acidotic=states[-1].subtype == ACIDOSIS if states else None,
        acidotic_since_s=next((e.onset_s for e in states if e.subtype == ACIDOSIS), None),
    )


def joined(events: Iterable[Event]) -> list[Event]:
    """Join events that overlap: nobody can see two where one begins inside the other.

    One that meets the guideline lends the whole its type; two different types make none.
    """
    result: list[Event] = []
    for event in sorted(events, key=lambda e: e.onset_s):
        if not result or event.onset_s >= result[-1].end_s:
            result.append(event)
            continue
        before = result.pop()
        clinical = [e for e in (before, event) if e.meets_clinical is not False]
        types = {e.subtype for e in clinical or (before, event)}
        result.append(
            msgspec.structs.replace(
                before,
                end_s=max(before.end_s, event.end_s),
                subtype=types.pop() if len(types) == 1 else "",
                meets_clinical=before.meets_clinical is not False
                or event.meets_clinical is not False,
            )
        )
    return result


def _hidden(events: Sequence[Event], hiding: tuple[Kind, ...], from_s: float, to_s: float) -> bool:
    return covered_s(events, hiding, from_s, to_s) > HIDDEN_SHARE * (to_s - from_s)


def by_experts(
    name: str,
    events: Sequence[Event],
    baselines: Sequence[Sequence[float | None]] = (),
) -> Truth:
    """Return what experts marked.

    Parameters
    ----------
    name : str
        Of the recording.
    events : sequence of Event
        Accelerations and decelerations.
    baselines : sequence of sequences
        Baselines minute by minute, beats/min, None where unknown; their median counts.
    """
    ordered = tuple(sorted(events, key=lambda e: e.onset_s))
    spans = []
    for minute, levels in enumerate(zip(*baselines, strict=False)):
        known = [level for level in levels if level is not None]
        if known:
            spans.append(Span(60.0 * minute, 60.0 * minute + 60, median(known)))
    if not ordered:  # nothing marked says nothing about what was looked at
        return Truth(name=name, kinds=(), events=(), baseline=tuple(spans))
    return Truth(
        name=name,
        kinds=("acceleration", "deceleration"),
        events=ordered,
        from_s=ordered[0].onset_s - EXPERT_MARGIN_S,
        to_s=max(e.end_s for e in ordered) + EXPERT_MARGIN_S,
        baseline=tuple(spans),
    )
