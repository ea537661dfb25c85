"""A score as text for people, JSON for scripts, JUnit for CI.

This module performs no I/O.
"""

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ctgkit.cli.junit import Case, as_junit
from ctgkit.score.against import Comparison
from ctgkit.score.alarms import Alarm
from ctgkit.score.limits import Outcome
from ctgkit.score.matching import Tally
from ctgkit.score.risk import FALSE_ALARM_SHARE, verdict
from ctgkit.score.scoring import TYPED, Played, Score, f1_intervals, figure_intervals

DISCLAIMER = "a test tool, not a medical device"
NOTHING = "-"
WIDTH, NAME_WIDTH = 80, 22
HEADER = (
    f"{'':{NAME_WIDTH}} {'acc':>5} {'dec':>5} {'type':>5} {'uc':>5} {'base':>5} {'delay':>5}"
    f" {'alarms':>6} {'false':>5} {'auc':>5}"
)
LEGEND = (
    "acc, dec, uc: F1 of accelerations, decelerations, contractions; type: accuracy of\n"
    "deceleration types; base: baseline RMSD, bpm; delay: median, s; alarms: raised of\n"
    "called for; false: alarms that the truth doesn't call for; auc: of the probability"
)


def row(score: Score) -> str:
    """Return one recording as a line of 80 columns at most."""
    if not score.said:
        return f"{_cut(score.name)} no results"
    tallies = score.tallies or {}
    kinds = ("acceleration", "deceleration", "contraction")
    acc, dec, uc = (_share(tallies[k].f1 if k in tallies else None) for k in kinds)
    alarms = score.alarms
    return (
        f"{_cut(score.name)} {acc:>5} {dec:>5} {_share(score.type_accuracy):>5} {uc:>5}"
        f" {_number(score.baseline_rmsd_bpm, 1):>5} {_number(score.delay_s(50), 0):>5}"
        f" {f'{alarms.met}/{alarms.wanted}' if alarms else NOTHING:>6}"
        f" {len(alarms.false) if alarms else NOTHING:>5}"
        f" {_share(score.calls.auc if score.calls else None):>5}"
    )


def _cut(name: str) -> str:
    short = name if len(name) <= NAME_WIDTH else name[: NAME_WIDTH - 1] + "…"
    return f"{short:{NAME_WIDTH}}"


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def overall_lines(score: Score) -> Iterator[str]:
    """Yield the figures of all recordings together, or of one."""
    if score.tallies is None:
        yield "events: not reported, or none are known"
    else:
        titles = ("true", "found", "hits", "sens", "prec", "F1", "onset")
        yield " " * NAME_WIDTH + "".join(f" {title:>6}" for title in titles)
        for kind, tally in score.tallies.items():
            yield _tally_line(kind, tally)
            if kind == TYPED:
                for name, of_type in sorted((score.types or {}).items()):
                    yield _tally_line(f"  {name}", of_type)
    if score.typed is not None:
        yield (
            f"deceleration type: right for {score.typed.hits} of {score.typed.wanted} found"
            f" ({_share(score.type_accuracy)})"
        )
    elif score.tallies is not None:
        yield "deceleration type: not reported, or not known"
    yield _baseline_line(score)
    yield _delay_line(score)
    yield from _alarm_lines(score)
    yield from _call_lines(score)
    yield from _risk_lines(score)
    if score.unreadable:
        yield f"left out, unreadable or of another examination: {score.unreadable}"


def _tally_line(name: str, tally: Tally) -> str:
    shares = (tally.sensitivity, tally.precision, tally.f1)
    return (
        f"{name:{NAME_WIDTH}} {tally.wanted:6} {tally.found:6} {tally.hits:6}"
        + "".join(f" {_share(share):>6}" for share in shares)
        + f" {_number(tally.onset_rmsd_s, 1):>6}"
    )


def _baseline_line(score: Score) -> str:
    gaps = score.baseline_gaps_bpm
    if not gaps:
        return "baseline: not reported, or not known"
    return (
        f"baseline: RMSD {_number(score.baseline_rmsd_bpm, 2)} bpm, absolute gap median"
        f" {_number(score.baseline_gap_bpm(50), 2)}, p95 {_number(score.baseline_gap_bpm(95), 2)}"
        f" ({len(gaps)} spans)"
    )


def _delay_line(score: Score) -> str:
    if not score.delays_s:
        return "delay from onset: not reported, or no event found"
    return (
        f"delay from onset: median {score.delay_s(50):.0f} s, p95 {score.delay_s(95):.0f} s"
        f" ({len(score.delays_s)} events)"
    )


def _alarm_lines(score: Score) -> Iterator[str]:
    alarms = score.alarms
    if alarms is None:
        yield "alarms: not reported, or not known"
        return
    yield (
        f"alarms: {alarms.met} of {alarms.wanted} called for; {alarms.raised} raised,"
        f" {len(alarms.false)} false in {alarms.hours:.1f} h"
        f" ({_number(alarms.false_per_h, 2)}/h)"
    )
    if not score.alarms_by_code:
        yield "  they carry no code, so each was compared with all that is called for"
    for what, which in (("missed", alarms.missed), ("false", alarms.false)):
        if which:
            counted = Counter(alarm.code for alarm in which).most_common()
            told = f"{what}: " + ", ".join(f"{n} {code}" for code, n in counted)
            yield textwrap.fill(told, WIDTH, initial_indent="  ", subsequent_indent="    ")


def _call_lines(score: Score) -> Iterator[str]:
    calls = score.calls
    if calls is None:
        yield "probability and status: not reported, or nothing known to hold them against"
        return
    by = "probability" if calls.by_probability else "status"
    yield (
        f"{by} alone: AUC {_share(calls.auc)}, Brier {_number(calls.brier, 3)}"
        f" ({len(calls.moments)} moments)"
    )
    yield (
        f"  time to alarm {_number(calls.delay_s, 0)} s,"
        f" {len(calls.tally.false)} false ({_number(calls.tally.false_per_h, 2)}/h)"
    )
    for one in calls.calibration():
        yield (
            f"  said {one.from_p:.1f} to {one.to_p:.1f}: mean {one.said:.2f}, true"
            f" {one.called:.2f} ({one.moments} moments)"
        )


def _risk_lines(score: Score) -> Iterator[str]:
    if score.risks is None:
        return
    v = verdict(score.risks)
    yield f"hypoxia probability: {v.acidotic} acidotic (simulated pH), {v.others} others"
    if v.auc is not None and v.auc_95 is not None:
        low, high = v.auc_95
        told = f"AUC {v.auc:.2f} ({low:.2f} to {high:.2f})"
        told += f", sensitivity {_share(v.sensitivity)} at {FALSE_ALARM_SHARE:.0%} false alarms"
        if v.delay_s is not None:
            told += f", {v.delay_s / 60:.0f} min after the pH"
        yield f"  {told}"
    if v.calibration:
        bins = " ".join(f"{b.predicted:.2f}:{b.observed:.2f}" for b in v.calibration)
        yield f"  said:true {bins}"


def _risk(score: Score) -> dict[str, Any] | None:
    if score.risks is None:
        return None
    v = verdict(score.risks)
    return {
        "acidotic": v.acidotic,
        "others": v.others,
        "auc": _rounded(v.auc),
        "auc_95": None if v.auc_95 is None else [_rounded(x) for x in v.auc_95],
        "sensitivity": _rounded(v.sensitivity),
        "false_alarm_share": FALSE_ALARM_SHARE,
        "threshold": _rounded(v.threshold),
        "delay_s": _rounded(v.delay_s, 1),
        "calibration": [
            {"predicted": _rounded(b.predicted), "observed": _rounded(b.observed),
             "recordings": b.recordings}
            for b in v.calibration
        ],
    }  # fmt: skip


def text(
    scores: Sequence[Score],
    overall: Score,
    outcomes: Sequence[Outcome],
    played: Played | None = None,
    compared: Sequence[Comparison] = (),
) -> str:
    """Return the whole report for people."""
    lines = []
    if len(scores) > 1:
        lines += [HEADER, *(row(one) for one in scores), LEGEND, ""]
    lines += overall_lines(overall)
    if intervals := f1_intervals(scores):
        told = ", ".join(
            f"{kind} {low:.2f} to {high:.2f}" for kind, (low, high) in intervals.items()
        )
        lines += textwrap.wrap(f"F1, 95 % over recordings: {told}", WIDTH, subsequent_indent="  ")
    if figures := figure_intervals(scores):
        told = ", ".join(f"{name} {low:.3g} to {high:.3g}" for name, (low, high) in figures.items())
        lines += textwrap.wrap(f"95 % over recordings: {told}", WIDTH, subsequent_indent="  ")
    lines += [
        f"{'kept  ' if outcome.kept else 'BROKEN'} {outcome.asked}: {outcome.actual}"
        for outcome in outcomes
    ]
    if compared:
        lines += ["", "against the earlier run, means over recordings:", *map(str, compared)]
    if played and played.partial:
        lines += textwrap.wrap("out of time, scored in part: " + ", ".join(played.partial), WIDTH)
    if played and played.left:
        told = f"out of time, not played: {', '.join(played.left)}; --resume FILE goes on"
        lines += textwrap.wrap(told, WIDTH, subsequent_indent="  ")
    lines.append(summary(scores))
    return "\n".join(lines)


def summary(scores: Sequence[Score]) -> str:
    """Return the last line of a report."""
    scored = sum(score.scored for score in scores)
    silent = sum(not score.said for score in scores)
    told = f"{scored} of {len(scores)} scored" if scored else "nothing was scored"
    without = f", {silent} without results" if silent else ""
    return f"{told}{without} ({DISCLAIMER})"


def as_dict(
    scores: Sequence[Score],
    overall: Score,
    outcomes: Sequence[Outcome],
    played: Played | None = None,
    compared: Sequence[Comparison] = (),
) -> dict[str, Any]:
    """Return the whole report for JSON; None is what was not reported or isn't known."""
    return {
        "note": DISCLAIMER,
        "signal_version": played.signal_version if played else None,
        "seed": played.seed if played else None,
        "scored": sum(score.scored for score in scores),
        "without_results": [score.name for score in scores if not score.said],
        "overall": _figures(overall),
        "f1_95": {
            kind: [_rounded(low), _rounded(high)]
            for kind, (low, high) in f1_intervals(scores).items()
        },
        "intervals_95": {
            name: [_rounded(low), _rounded(high)]
            for name, (low, high) in figure_intervals(scores).items()
        },
        "recordings": [{"name": s.name, **_figures(s)} for s in scores if s.said],
        "thresholds": [outcome._asdict() for outcome in outcomes],
        "partial": list(played.partial) if played else [],
        "not_played": list(played.left) if played else [],
        "against": [one._asdict() for one in compared],
    }


def _figures(score: Score) -> dict[str, Any]:
    alarms, gaps, delays = score.alarms, score.baseline_gaps_bpm, score.delays_s
    return {
        "events": _tallies(score.tallies),
        "deceleration_types": _tallies(score.types),
        "type_accuracy": _rounded(score.type_accuracy),
        "baseline": None
        if not gaps
        else {
            "rmsd_bpm": _rounded(score.baseline_rmsd_bpm, 2),
            "gap_median_bpm": _rounded(score.baseline_gap_bpm(50), 2),
            "gap_p95_bpm": _rounded(score.baseline_gap_bpm(95), 2),
            "spans": len(gaps),
        },
        "delay_from_onset": None
        if not delays
        else {
            "median_s": _rounded(score.delay_s(50), 1),
            "p95_s": _rounded(score.delay_s(95), 1),
            "events": len(delays),
        },
        "alarms": None
        if alarms is None
        else {
            "called_for": alarms.wanted,
            "met": alarms.met,
            "sensitivity": _rounded(alarms.sensitivity),
            "raised": alarms.raised,
            "false": len(alarms.false),
            "hours": _rounded(alarms.hours),
            "false_per_h": _rounded(alarms.false_per_h),
            "by_code": score.alarms_by_code,
            "missed_alarms": [_alarm(alarm) for alarm in alarms.missed],
            "false_alarms": [_alarm(alarm) for alarm in alarms.false],
        },
        "calls": _calls(score),
        "hypoxia_probability": _risk(score),
        "unreadable": score.unreadable,
    }


def _calls(score: Score) -> dict[str, Any] | None:
    calls = score.calls
    if calls is None:
        return None
    return {
        "by": "probability" if calls.by_probability else "status",
        "auc": _rounded(calls.auc),
        "brier": _rounded(calls.brier),
        "moments": len(calls.moments),
        "time_to_alarm_s": _rounded(calls.delay_s, 1),
        "called_for": calls.tally.wanted,
        "met": calls.tally.met,
        "false": len(calls.tally.false),
        "false_per_h": _rounded(calls.tally.false_per_h),
        "calibration": [
            {
                "from": one.from_p,
                "to": one.to_p,
                "said": _rounded(one.said),
                "called": _rounded(one.called),
                "moments": one.moments,
            }
            for one in calls.calibration()
        ],
    }


def _alarm(alarm: Alarm) -> dict[str, Any]:
    return {"code": alarm.code, "start_s": alarm.onset_s, "end_s": alarm.end_s}


def _tallies(tallies: Mapping[str, Tally] | None) -> dict[str, Any] | None:
    if tallies is None:
        return None
    return {
        name: {
            "true": t.wanted,
            "found": t.found,
            "hits": t.hits,
            "sensitivity": _rounded(t.sensitivity),
            "precision": _rounded(t.precision),
            "f1": _rounded(t.f1),
            "onset_rmsd_s": _rounded(t.onset_rmsd_s, 1),
        }
        for name, t in tallies.items()
    }


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)


def junit(scores: Sequence[Score], outcomes: Sequence[Outcome]) -> bytes:
    """Return the report as JUnit XML: a case per recording, and one per threshold."""
    cases = []
    for score in scores:
        figures = "\n".join(overall_lines(score))
        if not score.said:
            case = Case("ctgkit.score", score.name, "fail", "no results")
        elif not score.scored:
            case = Case("ctgkit.score", score.name, "skipped", "nothing to compare")
        else:
            case = Case("ctgkit.score", score.name, "pass", text=figures)
        cases.append(case)
    cases += [
        Case("ctgkit.score.threshold", o.asked, "pass" if o.kept else "fail", o.actual)
        for o in outcomes
    ]
    return as_junit("ctgkit score", cases)
