"""What every number of a report rests on: ``ctgkit analyze --explain``.

Pure. Nothing is decided here: the values, limits and events are those that decided.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ctgkit.analysis import describe, morphology
from ctgkit.analysis.alerts import LEVELS, Alert
from ctgkit.analysis.analyzer import Analysis
from ctgkit.analysis.features import Value
from ctgkit.analysis.guideline import Evidence, Verdict
from ctgkit.analysis.report import Report
from ctgkit.analysis.risk import MODEL, floor
from ctgkit.analysis.tables import clause_text
from ctgkit.display import clock
from ctgkit.events import Event

BASELINE_FEATURES = (
    "baseline_bpm", "baseline_reliability", "baseline_held_min", "baseline_other_bpm",
    "variability_bpm", "variability_from", "variability_inside_bpm", "signal_loss_pct",
)  # fmt: skip


def explanation(report: Report) -> dict[str, Any]:
    """Return what a report rests on, as plain data: the ``explanation`` of its JSON."""
    last = report.analyses[-1]
    return {
        "class": _verdict(last.verdict),
        "alerts": [_alert(a) for a in raised(report.analyses)],
        "risk": _risk(last),
        "baseline": {name: last.features.values.get(name) for name in BASELINE_FEATURES},
        "events": {event.id: why(event) for event in report.events},
    }


def raised(analyses: Iterable[Analysis]) -> list[Alert]:
    """Return every alert that was up, by time, as it first stood at its highest level.

    How long its clause held is that of the last time.
    """
    found: dict[tuple[str, float], Alert] = {}
    for analysis in analyses:
        for alert in analysis.alerts:
            kept = found.get((alert.code, alert.since_s), alert)
            if LEVELS.index(alert.level) > LEVELS.index(kept.level):
                kept = alert
            found[alert.code, alert.since_s] = replace(kept, held_s=alert.held_s)
    return sorted(found.values(), key=lambda a: (a.since_s, a.code))


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "guideline": verdict.guideline,
        "level": verdict.level,
        "clauses": {code: clause_text(verdict.guideline, code) for code in verdict.clauses},
        "evidence": [_evidence(e) for e in verdict.evidence],
        "points": verdict.points,
        "unknown": list(verdict.reasons),
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "code": alert.code,
        "level": alert.level,
        "since_s": alert.since_s,
        "held_s": alert.held_s,
        "clause": alert.clause,
        "evidence": [_evidence(e) for e in alert.evidence],
    }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return evidence._asdict()


def _risk(analysis: Analysis) -> dict[str, Any]:
    values = analysis.features.values
    least = floor(values, analysis.figo)
    return {
        "probability": analysis.prediction.hypoxia_probability,
        "smoothed": values["hypoxia_probability_smoothed"],
        "terms": [term._asdict() for term in MODEL.terms(values)],
        "at_least": least.probability,
        "at_least_because": least.reason,
        "model": MODEL.provenance,
    }


def why(event: Event) -> list[str]:
    """Return what makes it an event of its kind and type, each with its value and limit."""
    details = event.details
    if event.kind == "contraction":
        return [f"{event.size} units over the tone", f"{event.duration_s:.0f} s"]
    sign = 1 if event.kind == "acceleration" else -1
    found = [
        f"{event.size} bpm {'above' if sign > 0 else 'below'} a baseline of "
        f"{details.get('baseline_bpm')} (least {morphology.HEIGHT_BPM[sign]:g})",
        f"area {details.get('area_bpm_s')} bpm·s (least {morphology.AREA_BPM_S[sign]:g})",
        f"{event.duration_s:.0f} s",
    ]
    if missing := details.get("missing_share"):
        found.append(f"{100 * float(missing):.0f} % of it without signal")
    return found + (_type_reasons(event, details) if sign < 0 else [])


def _type_reasons(event: Event, details: Mapping[str, Value | bool]) -> list[str]:
    """Return why a deceleration has its type."""
    fall = f"onset to nadir {details.get('onset_to_nadir_s')} s"
    if event.subtype == "prolonged":
        return [f"prolonged: longer than {describe.PROLONGED_S:g} s"]
    if event.subtype == "variable":
        atypical = str(details.get("atypical") or "none").replace(",", ", ")
        return [f"variable: {fall}, below {describe.ABRUPT_S:g}", f"atypical features: {atypical}"]
    if event.subtype == "unclassified":
        return [f"gradual: {fall}; no contraction to time it by"]
    return [
        f"gradual: {fall}",
        f"{event.subtype.replace('_', ' ')}: onset {details.get('onset_lag_s')} s after that of "
        f"{event.linked_contraction}, nadir {details.get('nadir_lag_s')} s after its peak",
    ]


def as_text(report: Report) -> list[str]:
    """Return the explanation as lines."""
    found, by_id = explanation(report), {e.id: e for e in report.events}
    verdict = found["class"]
    lines = [f"Class ({verdict['guideline']}): {verdict['level']}"]
    for code, text in verdict["clauses"].items():
        lines.append(f"  {code} {text}")
        lines += _evidence_lines([e for e in verdict["evidence"] if e["clause"] == code], by_id)
    lines += [f"  {row}: {p} points" for row, p in (verdict["points"] or {}).items()]
    lines += [f"  unknown: {reason}" for reason in verdict["unknown"]]
    for alert in found["alerts"]:
        since, until = (clock(alert[key], seconds=True) for key in ("since_s", "held_s"))
        lines.append(
            f"Alert {alert['code']}, {alert['level']}, {since} to {until} ({alert['clause']})"
        )
        lines += _evidence_lines(alert["evidence"], by_id)
    return [*lines, *_risk_lines(found["risk"]), *_baseline_lines(found["baseline"]), "Events"] + [
        f"  {_named(event)}: {'; '.join(found['events'][event.id])}" for event in report.events
    ]


def _evidence_lines(evidence: Sequence[Mapping[str, Any]], by_id: Mapping[str, Event]) -> list[str]:
    lines = []
    for e in evidence:
        lines.append(f"    {e['feature']} {e['value']:g} {e['op']} {e['threshold']:g}")
        lines += [f"      {_named(by_id[name])}" for name in e["events"] if name in by_id]
    return lines


def _risk_lines(risk: Mapping[str, Any]) -> list[str]:
    lines = [f"Risk {risk['probability']:.2f}, smoothed {risk['smoothed']:.2f}"]
    for term in risk["terms"]:
        value = "unknown" if term["value"] is None else f"{term['value']:g}"
        lines.append(
            f"  {term['feature']} {value}, usual {term['usual']:g}: {term['log_odds']:+.2f}"
        )
    if risk["at_least"]:
        lines.append(f"  at least {risk['at_least']:g}: {risk['at_least_because']}")
    return [*lines, f"  ({risk['model']})"]


def _baseline_lines(values: Mapping[str, Value]) -> list[str]:
    lines = [
        f"Baseline {values['baseline_bpm']} bpm over the last 10 min; share of the signal that "
        f"supports it {values['baseline_reliability']}, lost {values['signal_loss_pct']} %"
    ]
    if values["baseline_held_min"]:
        lines.append(f"  held from before for {values['baseline_held_min']:g} of 10 min")
    if values["baseline_other_bpm"] is not None:
        lines.append(f"  doubted: {values['baseline_other_bpm']:g} bpm is nearly as likely")
    inside = values["variability_from"] == "events"
    lines.append(
        f"Variability {values['variability_bpm']} bpm, median of 10 min"
        + (", inside events: too few minutes without any" if inside else "")
    )
    return lines


def _named(event: Event) -> str:
    kind = " ".join(filter(None, (event.subtype.replace("_", " "), event.kind)))
    span = f"{clock(event.onset_s, seconds=True)}-{clock(event.end_s, seconds=True)}"
    return f"{event.id} {span} {kind}"
