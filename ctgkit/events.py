"""What happens in a CTG: the events that ground truth, analyzer, score and pictures share.

This module performs no I/O. Times are data time, seconds from the sensor's start.
"""

from typing import Literal

import msgspec

Kind = Literal[
    "acceleration",
    "deceleration",
    "contraction",
    "baseline",
    "variability",
    "state",
    "sinusoidal",
    "saltatory",
    "tachysystole",
    "hypoxia_phase",
    "fetal_state",
    "loss",
    "maternal_capture",
    "twin_capture",
    "doubling",
    "halving",
    "rezero",
    "fault",
]

DecelerationType = Literal[
    "early", "late", "late_ambiguous", "variable", "prolonged", "unclassified"
]

Tier = Literal["provisional", "confirmed", "final"]
"""How settled an event is: as soon as seen, after 120 s, after 300 s (notes/analysis.md 0.3)."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened between ``onset_s`` and ``end_s``."""

    kind: Kind
    onset_s: float
    end_s: float
    id: str = ""
    """Stable across tiers and runs; unique per sensor."""
    subtype: str = ""
    """For decelerations one of :data:`DecelerationType`; otherwise free and documented."""
    peak_s: float | None = None
    """Time of the peak or nadir, seconds."""
    size: float | None = None
    """Height of an acceleration or contraction, depth of a deceleration (positive); beats/min
    or toco units."""
    linked_contraction: str = ""
    """Id of the contraction that a deceleration belongs to."""
    meets_clinical: bool | None = None
    """Whether it satisfies its guideline definition (15 beats/min for 15 s, FIGO 2015)."""
    tier: Tier = "final"
    details: dict[str, float | str | bool | None] = {}
    """What else is known, keyed by a name with its unit."""

    @property
    def duration_s(self) -> float:
        """Length, seconds."""
        return self.end_s - self.onset_s
