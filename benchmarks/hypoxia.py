"""Does the analyzer see a fetus that goes down? Events, baseline, class and risk against the truth.

    python -m benchmarks.hypoxia [--seeds 1-12]

One patient per scenario and seed; no target, no exit code. The class and the risk are compared
from the first prediction on at which the FIGO clauses, judging the truth, say pathological.
"""

import argparse
from itertools import takewhile

import numpy as np

from ctgkit.analysis import AnalyzerSettings, analyze
from ctgkit.analysis.tables import FIGO
from ctgkit.score.alarms import true_features
from ctgkit.score.matching import match
from ctgkit.score.truth import Span, simulated
from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor

MINUTES = {
    "hypoxia-subacute": 60, "hypoxia-gradual": 180, "hypoxia-acute": 40, "terminal-bradycardia": 40,
}  # fmt: skip
LAG_S = 120.0
NEAR_BPM = 10


def matched(truth, report, kind):
    """Return how many events were matched, how many are true, and how many found count."""
    wanted = [e for e in truth.events if e.kind == kind]
    found = [e for e in report.events if e.kind == kind]
    pairs = match(wanted, found)
    taken = {j for _, j in pairs}
    rest = [e for j, e in enumerate(found) if j not in taken]
    forgiven = len(match([e for e in truth.spared if e.kind == kind], rest))
    return np.array([len(pairs), len(wanted), len(found) - forgiven])


def course(events, levels, report, length_s):
    """Return at each prediction the time, true class, and whether class and risk are serious."""
    said = {a.at_s: a for a in report.analyses}
    return [
        (
            at_s,
            FIGO.judge(features).level == "pathological",
            said[at_s].figo.level == "pathological",
            said[at_s].prediction.hypoxia_risk in ("high", "critical"),
        )
        for at_s, features in true_features(events, levels, length_s)
        if at_s in said
    ]


def patient(name, seed):
    """Return the counts of decelerations and accelerations, minutes near, and the course."""
    minutes = MINUTES[name]
    sensor = Sensor(load_scenario(name), seed=seed)
    rendered = sensor.render(0, minutes * 240)
    sensor.seek(minutes * 240)
    events = sensor.events()
    true_bpm = rendered.truth.baseline_bpm.reshape(-1, 240).mean(axis=1)
    levels = [Span(60.0 * n, 60.0 * n + 60, float(bpm)) for n, bpm in enumerate(true_bpm)]
    truth = simulated(name, events, levels)
    report = analyze(rendered.chunk, AnalyzerSettings(final_after_s=LAG_S))
    own = np.full(minutes, np.nan)
    for minute in report.minutes[:minutes]:
        if minute.baseline_bpm is not None:
            own[int(minute.start_s // 60)] = minute.baseline_bpm
    counts = (matched(truth, report, kind) for kind in ("deceleration", "acceleration"))
    return *counts, np.abs(own - true_bpm) <= NEAR_BPM, course(events, levels, report, minutes * 60)


def delay_min(rows, column):
    """Return the minutes from the truth to the analyzer's first, infinite when it never says so."""
    since_s = next((row[0] for row in rows if row[1]), None)
    if since_s is None:
        return None
    return next(((row[0] - since_s) / 60 for row in rows if row[0] >= since_s and row[column]),
                float("inf"))  # fmt: skip


def summary(name, seeds):
    """Return a line of the table."""
    falls, rises, near, courses = zip(*(patient(name, seed) for seed in seeds), strict=True)
    (hit, wanted, found), (good, _, told) = np.sum(falls, axis=0), np.sum(rises, axis=0)
    late = [row for rows in courses for row in rows if row[1]]
    early = [row for rows in courses for row in takewhile(lambda row: not row[1], rows)]

    def share(rows, column):
        return f"{100 * np.mean([row[column] for row in rows]):.0f} %" if rows else "-"

    def delays(column):
        known = [d for rows in courses if (d := delay_min(rows, column)) is not None]
        return f"{np.median(known):.1f}/{max(known):.1f}" if known else "-"

    score = f"{2 * hit / (wanted + found):.3f}" if wanted else "-"
    return (
        name, f"{score} ({hit}/{wanted}/{found})", f"{good}/{told}",
        f"{100 * np.mean(np.concatenate(near)):.0f} %", share(late, 2), share(late, 3),
        str(len(late)), share(early, 2), delays(2), delays(3),
    )  # fmt: skip


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hypoxia", description=__doc__)
    parser.add_argument("--seeds", default="1-12", metavar="FROM-TO", help="default 1-12")
    first, _, last = parser.parse_args().seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    print("scenario | decelerations F1 (matched/true/found) | accelerations right/found | baseline "
          "within 10 bpm | pathological | risk high | predictions | pathological too early | "
          "class delay min, median/worst | risk delay min")  # fmt: skip
    for name in MINUTES:
        print(" | ".join(summary(name, seeds)), flush=True)


if __name__ == "__main__":
    main()
