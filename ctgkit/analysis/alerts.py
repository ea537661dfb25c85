"""Alerts: clauses with a severity, that raise at once and clear slowly.

Pure. An alert says what, since when, and on what evidence; its texts are in
:mod:`ctgkit.analysis.texts`.
"""

from dataclasses import dataclass

from ctgkit.analysis.features import Features
from ctgkit.analysis.guideline import Clause, Condition, Evidence, evidence

LEVELS = ("info", "warning", "critical")

CLEAR_AFTER_S = 300.0
"""An alert is cleared when its clause hasn't held for 5 min (chosen)."""

K = Condition

RULES = (
    Clause("signal_loss", "info", (K("signal_loss_pct", ">", 50),), "signal"),
    Clause("maternal_pulse", "info", (K("maternal_pulse_min", ">", 0.5),), "signal"),
    Clause("doubled_halved", "info", (K("doubled_halved_min", ">", 0.1),), "signal"),
    Clause("tachycardia", "warning", (K("tachycardia_min", ">=", 10),), "FIGO-S2"),
    Clause("bradycardia", "warning", (K("bradycardia_min", ">=", 10),), "FIGO-S1"),
    Clause(
        "bradycardia",
        "critical",
        (K("bradycardia_min", ">=", 10), K("baseline_bpm", "<", 100)),
        "FIGO-P1",
    ),
    Clause("reduced_variability", "info", (K("reduced_variability_min", ">=", 20),), "FIGO-S3"),
    Clause("reduced_variability", "warning", (K("reduced_variability_min", ">", 50),), "FIGO-P2"),
    Clause(
        "reduced_variability",
        "critical",
        (K("reduced_variability_min", ">", 50), K("late_share_30min", ">", 0.5)),
        "FIGO-P2",
    ),
    Clause(
        "increased_variability", "warning", (K("increased_variability_min", ">=", 10),), "FIGO-S4"
    ),
    Clause(
        "increased_variability", "critical", (K("increased_variability_min", ">", 30),), "FIGO-P4"
    ),
    Clause("sinusoidal", "warning", (K("sinusoidal_min", ">=", 15),), "NICHD-III1"),
    Clause("sinusoidal", "critical", (K("sinusoidal_min", ">", 30),), "FIGO-P5"),
    Clause(
        "late_decelerations", "warning", (K("late_share_20min", ">", 0.5),), "NICHD-II5 recurrent"
    ),
    Clause("late_decelerations", "critical", (K("late_share_30min", ">", 0.5),), "FIGO-P6"),
    Clause("variable_decelerations", "warning", (K("variable_share_30min", ">", 0.5),), "FIGO-S5"),
    Clause(
        "prolonged_deceleration",
        "warning",
        (K("recent_longest_deceleration_min", ">", 3),),
        "FIGO-S6",
    ),
    Clause(
        "prolonged_deceleration",
        "critical",
        (K("recent_longest_deceleration_min", ">", 5),),
        "FIGO-P8",
    ),
    Clause(
        "prolonged_deceleration",
        "critical",
        (K("recent_deep_deceleration_min", ">", 3),),
        "FIGO-P8",
    ),
    Clause("tachysystole", "warning", (K("tachysystole_per_10min", ">", 5),), "FIGO tachysystole"),
    Clause("hypertonus", "warning", (K("longest_contraction_s", ">", 180),), "FIGO hypertonus"),
)
"""Every alert there is; of several clauses of one code the worst that holds counts."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person should know."""

    code: str
    level: str
    since_s: float
    """Data time at which it was raised, seconds."""
    evidence: tuple[Evidence, ...]
    held_s: float
    """Data time at which its clause held last, seconds."""
    clause: str = ""


class AlertBook:
    """The alerts that are up for one sensor."""

    def __init__(self) -> None:
        self.active: dict[str, Alert] = {}

    def update(self, features: Features, now_s: float) -> list[Alert]:
        """Raise, keep and clear; return what is up, worst first."""
        for code, alert in list(self.active.items()):
            if now_s - alert.held_s >= CLEAR_AFTER_S:
                del self.active[code]
        held: dict[str, Clause] = {}
        for rule in RULES:  # of one code, in order of severity
            if rule.holds(features.values):
                held[rule.code] = rule
        for code, rule in held.items():
            before = self.active.get(code)
            level, since_s = rule.level, now_s
            if before is not None:
                since_s = before.since_s
                level = max(before.level, rule.level, key=LEVELS.index)
            found = tuple(evidence(rule, features))
            self.active[code] = Alert(code, level, since_s, found, now_s, rule.text)
        return sorted(self.active.values(), key=lambda a: -LEVELS.index(a.level))
