"""The findings as lines and as JSON.

This module performs no I/O.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ctgkit.bench.knee import Judged, Knee, best_attempts
from ctgkit.bench.machine import Machine

DISCLAIMER = "synthetic load from a test tool, not a medical device"
BAR_CHARACTERS = 48
BAR_AXIS = 2.0
"""The bars end at this multiple of the bound; longer ones are cut off."""
_PLACES = {
    "viewer": "at a viewer",
    "ack": "as an acknowledgement (no viewer shows samples; try --ml-listen)",
    "answer": "as an answer, 2xx",
    "pong": "nowhere: latency is that of a ping behind a sample, and loss can't be judged",
}
_VERDICTS = {"held": "holds", "failed": "FAILS", "generator": "generator"}


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a benchmark found, with what the figures belong to."""

    target: str
    seen_at: str
    acks: bool
    """Whether the backend acknowledges (``ctgkit.v1``)."""
    backend: dict[str, Any]
    """What its ``/api/health`` says; empty without one."""
    machine: Machine
    """The load generator's."""
    settings: dict[str, Any]
    levels: tuple[Judged, ...] = ()
    knee: Knee | None = None

    @property
    def max_p99_ms(self) -> float:
        """The bound."""
        return float(self.settings["max_p99_ms"])


def as_dict(findings: Findings) -> dict[str, Any]:
    """Return the findings ready for JSON; each level with its verdict beside its figures."""
    built: dict[str, Any] = msgspec.to_builtins(findings)
    for judged in built["levels"]:
        judged |= judged.pop("level")
    return {**built, "simulated": True}


def head(findings: Findings) -> Iterator[str]:
    """Yield what the figures belong to, and the table's head."""
    settings = findings.settings
    health = findings.backend
    known = [
        f"{key} {health[key]}" for key in ("service", "version", "ml", "store") if key in health
    ]
    yield f"target     {findings.target}" + (f" ({', '.join(known)})" if known else "")
    yield f"machine    {findings.machine}"
    if findings.machine.load > findings.machine.cores:
        yield "           it was busy before the run: the figures are not the backend's alone"
    yield (
        f"settings   {settings['rate_hz']:g} Hz a sensor, warm-up {settings['warm_up_s']:g} s,"
        f" window {settings['window_s']:g} s, p99 at most {settings['max_p99_ms']:g} ms"
    )
    acks = "acknowledged" if findings.acks else "not acknowledged"
    yield f"samples    {acks}; seen {_PLACES[findings.seen_at]}"
    yield f"           {DISCLAIMER}"
    yield ""
    yield (
        f"{'sensors':>7} {'samples/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'p99.9':>8} {'max':>8}"
        f" {'lost':>6} {'unacked':>7}  {'generator':<17} verdict"
    )


def row(judged: Judged) -> str:
    """Return one level as a line of the table."""
    level = judged.level
    latencies = (level.p50_ms, level.p99_ms, level.p999_ms, level.max_ms)
    shown = " ".join(f"{'–' if ms is None else format(ms, '.1f'):>8}" for ms in latencies)
    generator = f"{level.lateness_p99_ms:.1f} ms, {level.generator_cpu:.0%}"
    why = f": {judged.why}" if judged.why else ""
    return (
        f"{level.sensors:>7} {level.samples_per_s:>9.0f} {shown} {level.lost:>6}"
        f" {level.unacked:>7}  {generator:<17} {_VERDICTS[judged.verdict]}{why}"
    )


def tail(findings: Findings) -> Iterator[str]:
    """Yield a plot of p99 over the sensors, what viewers saw, and the knee."""
    yield ""
    yield from _bars(findings.levels, findings.max_p99_ms)
    yield ""
    statuses = sum((Counter(j.level.statuses) for j in findings.levels), Counter[str]())
    if statuses:
        shares = ", ".join(f"{n} {status}" for status, n in statuses.most_common())
        note = "; error: no result of an ML service" if statuses["error"] else ""
        yield f"the viewer saw, by status: {shares}{note}"
    if findings.knee is not None:
        yield conclusion(findings)


def conclusion(findings: Findings) -> str:
    """Return the knee as a sentence."""
    knee, settings = findings.knee, findings.settings
    assert knee is not None
    if not knee.sensors:
        what = f"not even {knee.failed_at} sensors hold"
    else:
        least = "" if knee.limited_by == "backend" else "at least "
        what = (
            f"knee: {least}{knee.sensors} sensors of {settings['rate_hz']:g} Hz"
            f" ({knee.samples_per_s:.0f} samples/s) with p99 ≤ {settings['max_p99_ms']:g} ms and"
            " nothing lost"
        )
    if knee.limited_by == "sensors":
        return f"{what}: no more were asked for, or there are no more credentials"
    what += f"; {knee.failed_at} don't: {knee.why}" if knee.sensors else f": {knee.why}"
    if knee.limited_by == "generator":
        what += (
            "\nThe load generator was the bottleneck, not the backend: give it a quiet machine of"
            " its own."
        )
    return what


def _bars(levels: Sequence[Judged], max_p99_ms: float) -> Iterator[str]:
    bound_at = round(BAR_CHARACTERS / BAR_AXIS)
    ruler = f"|<- {max_p99_ms:g} ms"
    yield f"{'sensors':>7}  p99{' ' * (bound_at - 3)}{ruler}"
    for judged in best_attempts(levels):
        p99_ms = judged.level.p99_ms
        if p99_ms is None:
            yield f"{judged.level.sensors:>7}  nothing seen"
            continue
        length = round(p99_ms / max_p99_ms * bound_at)
        bar = "█" * min(max(length, 1), BAR_CHARACTERS) + ("…" if length > BAR_CHARACTERS else "")
        bar = bar if len(bar) > bound_at else f"{bar:<{bound_at}}|"
        mark = "" if judged.verdict == "held" else " !"
        yield f"{judged.level.sensors:>7}  {bar} {p99_ms:.1f}{mark}"
