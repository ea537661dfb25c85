"""The guidelines' tables. Data only; what is certain and what is not: docs/analysis.md.

Pure. Sources: FIGO 2015 consensus on intrapartum fetal monitoring; NICHD 2008 workshop report;
Fischer 1976; Savelyeva 1984; Krebs 1978; Sonicaid Team 3 manual (Dawes-Redman); NICE NG229.
"""

from ctgkit.analysis.guideline import Clause, Condition, Guideline, Row, Scale

_INF = float("inf")
K = Condition

FIGO = Guideline(
    "figo",
    "FIGO 2015, intrapartum",
    ("normal", "suspicious", "pathological"),
    (
        Clause("FIGO-P1", "pathological", (K("baseline_bpm", "<", 100),), "baseline below 100 bpm"),
        Clause(
            "FIGO-P2",
            "pathological",
            (K("reduced_variability_min", ">", 50),),
            "variability below 5 bpm for more than 50 min",
        ),
        Clause(
            "FIGO-P3",
            "pathological",
            (K("flat_deceleration_min", ">", 3),),
            "variability below 5 bpm for more than 3 min inside a deceleration",
        ),
        Clause(
            "FIGO-P4",
            "pathological",
            (K("increased_variability_min", ">", 30),),
            "variability above 25 bpm for more than 30 min (saltatory)",
        ),
        Clause(
            "FIGO-P5",
            "pathological",
            (K("sinusoidal_min", ">", 30),),
            "sinusoidal for more than 30 min",
        ),
        Clause(
            "FIGO-P6",
            "pathological",
            (K("late_or_prolonged_share_30min", ">", 0.5),),
            "late or prolonged decelerations with most contractions for 30 min",
        ),
        Clause(
            "FIGO-P7",
            "pathological",
            (K("late_or_prolonged_share_20min", ">", 0.5), K("variability_bpm", "<", 5)),
            "late or prolonged decelerations with most contractions for 20 min, "
            "with reduced variability",
        ),
        Clause(
            "FIGO-P8",
            "pathological",
            (K("longest_deceleration_min", ">", 5),),
            "a deceleration of more than 5 min",
        ),
        Clause("FIGO-S1", "suspicious", (K("baseline_bpm", "<", 110),), "baseline below 110 bpm"),
        Clause("FIGO-S2", "suspicious", (K("baseline_bpm", ">", 160),), "baseline above 160 bpm"),
        Clause("FIGO-S3", "suspicious", (K("variability_bpm", "<", 5),), "variability below 5 bpm"),
        Clause(
            "FIGO-S4", "suspicious", (K("variability_bpm", ">", 25),), "variability above 25 bpm"
        ),
        Clause(
            "FIGO-S5",
            "suspicious",
            (K("deceleration_share_30min", ">", 0.5),),
            "decelerations with most contractions (repetitive)",
        ),
        Clause(
            "FIGO-S6",
            "suspicious",
            (K("longest_deceleration_min", ">", 3),),
            "a deceleration of more than 3 min",
        ),
    ),
)

NICHD = Guideline(
    "nichd",
    "NICHD 2008, three-tier",
    ("I", "II", "III"),
    (
        Clause("NICHD-III1", "III", (K("sinusoidal_min", ">=", 20),), "sinusoidal for 20 min"),
        Clause(
            "NICHD-III2",
            "III",
            (K("variability_bpm", "<", 2), K("late_share_20min", ">=", 0.5)),
            "absent variability with recurrent late decelerations",
        ),
        Clause(
            "NICHD-III3",
            "III",
            (K("variability_bpm", "<", 2), K("variable_share_20min", ">=", 0.5)),
            "absent variability with recurrent variable decelerations",
        ),
        Clause(
            "NICHD-III4",
            "III",
            (K("variability_bpm", "<", 2), K("baseline_rounded_bpm", "<", 110)),
            "absent variability with bradycardia",
        ),
        Clause("NICHD-II1", "II", (K("baseline_rounded_bpm", "<", 110),), "bradycardia"),
        Clause("NICHD-II2", "II", (K("baseline_rounded_bpm", ">", 160),), "tachycardia"),
        Clause(
            "NICHD-II3", "II", (K("variability_bpm", "<=", 5),), "minimal or absent variability"
        ),
        Clause("NICHD-II4", "II", (K("variability_bpm", ">", 25),), "marked variability"),
        Clause(
            "NICHD-II5", "II", (K("decelerations_late_per_30min", ">", 0),), "late decelerations"
        ),
        Clause(
            "NICHD-II6",
            "II",
            (K("decelerations_variable_per_30min", ">", 0),),
            "variable decelerations",
        ),
        Clause(
            "NICHD-II7",
            "II",
            (K("longest_deceleration_min", ">=", 2),),
            "a prolonged deceleration, 2 min or longer",
        ),
    ),
)

NG229 = Guideline(
    "ng229",
    "NICE NG229, only the row on contractions",
    ("indeterminate", "amber"),
    (
        Clause(
            "NG229-A1",
            "amber",
            (K("contractions_per_10min", ">=", 5),),
            "5 or more contractions in 10 min",
        ),
    ),
    requires=(),
)

DAWES_REDMAN = Guideline(
    "dawes-redman",
    "Dawes-Redman, antepartum; without its centile tables, so it can fail but not be met",
    ("indeterminate", "not met"),
    (
        Clause(
            "DR-2a",
            "not met",
            (K("largest_deceleration_lost_beats", ">", 20), K("examined_min", "<=", 30)),
            "a deceleration of more than 20 lost beats",
        ),
        Clause(
            "DR-2b",
            "not met",
            (K("largest_deceleration_lost_beats", ">", 100),),
            "a deceleration of more than 100 lost beats",
        ),
        Clause("DR-3a", "not met", (K("baseline_bpm", "<", 116),), "basal rate below 116 bpm"),
        Clause("DR-3b", "not met", (K("baseline_bpm", ">", 160),), "basal rate above 160 bpm"),
        Clause("DR-5", "not met", (K("sinusoidal_min", ">", 0),), "a sinusoidal rhythm"),
        Clause("DR-6", "not met", (K("stv_ms", "<", 3),), "short-term variation below 3 ms"),
    ),
)

_SUM_OF_TEN = ((8, "normal"), (5, "suspicious"), (0, "pathological"))

FISCHER = Scale(
    "fischer",
    "Fischer 1976, 10 points",
    (
        Row("baseline_bpm", ((110, 160, 2), (100, 180, 1))),
        Row("variability_bpm", ((10, 30, 2), (5, _INF, 1))),
        Row("oscillations_per_min", ((6.0001, _INF, 2), (2, 6, 1))),
        Row("acceleration_pattern", words={"none": 0, "periodic": 1, "sporadic": 2}),
        Row(
            "deceleration_pattern",
            words={"late_or_severe": 0, "late_short": 0, "variable": 1, "early": 1, "none": 2},
        ),
    ),
    _SUM_OF_TEN,
)

SAVELYEVA = Scale(
    "fischer-savelyeva",
    "Fischer as modified by Savelyeva 1984, 10 points",
    (
        Row("baseline_bpm", ((120, 160, 2), (100, 180, 1))),
        Row("oscillations_per_min", ((6.0001, _INF, 2), (3, 6, 1))),
        Row("variability_bpm", ((10, 25, 2), (5.0001, _INF, 1))),
        Row("acceleration_pattern", words={"none": 0, "periodic": 1, "sporadic": 2}),
        Row(
            "deceleration_pattern",
            words={"late_or_severe": 0, "late_short": 1, "variable": 1, "early": 2, "none": 2},
        ),
    ),
    _SUM_OF_TEN,
)

KREBS = Scale(
    "krebs",
    "Krebs 1978, 12 points; movements are not measured",
    (
        Row("baseline_bpm", ((120.0001, 159.9999, 2), (100, 180, 1))),
        Row("variability_bpm", ((6, 25, 2), (3, 5.9999, 1))),
        Row("oscillations_per_min", ((6.0001, _INF, 2), (3, 6, 1))),
        Row("accelerations_per_30min", ((5, _INF, 2), (1, 4.9999, 1))),
        Row("decelerations_not_early_per_30min", ((0, 0.9999, 2), (1, 1.9999, 1))),
        Row("movements_per_30min", ((5, _INF, 2), (1, 4.9999, 1))),
    ),
    ((9, "satisfactory"), (6, "suspicious"), (0, "threatening")),
)

GUIDELINES: dict[str, Guideline | Scale] = {
    g.name: g for g in (FIGO, NICHD, FISCHER, SAVELYEVA, KREBS, NG229, DAWES_REDMAN)
}
"""All of them, by the name that ``--guideline`` takes."""


def clause_text(guideline: str, code: str) -> str:
    """Return what a clause of a guideline says."""
    clauses = getattr(GUIDELINES[guideline], "clauses", ())
    return next((c.text for c in clauses if c.code == code), "")
