"""Which numbers of sensors to try, whether one held, and where the knee is.

This module performs no I/O.
"""

import math
from collections.abc import Generator, Iterable, Sequence
from typing import Literal

import msgspec

PRECISION = 0.1
"""The search ends when the smallest level that failed is within this share above the knee. Chosen:
below it runs differ by chance."""

CPU_MAX_SHARE = 0.9
"""Share of one core beyond which the load generator counts as busy. Chosen: one process with one
thread can't have more than 1, and near it every wait grows."""

LATENESS_MAX_SHARE = 0.25
"""Share of the latency bound below which the generator's own lateness (p99) explains nothing.
Chosen: timers are late by a millisecond anyway."""

Verdict = Literal["held", "failed", "generator"]
Limit = Literal["backend", "generator", "sensors"]


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """What happened at one number of sensors; samples are those of the measured window."""

    sensors: int
    due: int
    """Samples that fell due."""
    samples_per_s: float
    """Samples seen again, per second of the window."""
    p50_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
    max_ms: float | None = None
    """Latency from the time a sample was due, milliseconds; None when nothing was seen."""
    held_back: int = 0
    """Samples never sent: the backend had stopped reading."""
    lost: int = 0
    """Samples never seen where they should be, those held back included."""
    unacked: int = 0
    """Samples without acknowledgement at the end; 0 without ``ctgkit.v1``."""
    rejected: int = 0
    cut: int = 0
    """Sensors whose connection the backend closed."""
    refused: str = ""
    """Why sensors could not connect, if some couldn't: nothing was measured then."""
    viewer_closed: str = ""
    """How the viewer's connection ended, if it did."""
    lateness_p99_ms: float = 0.0
    """How late the load generator itself was, milliseconds."""
    generator_cpu: float = 0.0
    """Share of one core that the load generator used."""
    statuses: dict[str, int] = {}
    """What the viewer's messages said, by status: ``error`` is a sample without a result."""


class Judged(msgspec.Struct, frozen=True):
    """A level and what it means."""

    level: Level
    verdict: Verdict
    why: str
    """Empty when it held."""


class Knee(msgspec.Struct, frozen=True, kw_only=True):
    """The largest level that held, with all below it."""

    sensors: int
    """0 when not even the smallest level held."""
    samples_per_s: float
    limited_by: Limit
    """``sensors``: no level failed, more were not asked for or not known to the backend."""
    failed_at: int | None
    """The smallest level that did not hold."""
    why: str


def search(first: int, most: int, precision: float = PRECISION) -> Generator[int, bool, None]:
    """Yield the levels to try, doubling until one fails, then halving the gap.

    Parameters
    ----------
    first, most : int
        The first level and the largest possible one, >= 1.
    precision : float
        Ends when the gap between what held and what failed is at most this share of what held.

    Yields
    ------
    int
        A number of sensors. Send in whether it held.
    """
    held, failed = 0, most + 1
    sensors = min(first, most)
    while held < most and (failed > most or failed - held > max(1, precision * held)):
        if (yield sensors):
            held = sensors
        else:
            failed = sensors
        sensors = min(2 * held, most) if failed > most else (held + failed) // 2


def judge(level: Level, max_p99_ms: float) -> Judged:
    """Decide whether a level held, and if not, whose fault that is.

    It is the load generator's when it was out of processor time, or so late itself that the load
    was not what it should have been, or that without its lateness the bound would have been kept.

    Parameters
    ----------
    level : Level
        As measured.
    max_p99_ms : float
        Latency that 99 of 100 samples must keep within, milliseconds.
    """
    reasons = list(_reasons(level, max_p99_ms))
    if not reasons:
        return Judged(level, "held", "")
    late_ms = level.lateness_p99_ms
    explained = level.p99_ms is not None and level.p99_ms - late_ms <= max_p99_ms
    verdict: Verdict = "failed"
    if level.generator_cpu > CPU_MAX_SHARE:
        verdict = "generator"
        reasons.append(f"the generator used {level.generator_cpu:.0%} of a core")
    elif late_ms > max_p99_ms or (explained and late_ms > LATENESS_MAX_SHARE * max_p99_ms):
        verdict = "generator"
        reasons.append(f"the generator itself was {late_ms:.1f} ms late")
    return Judged(level, verdict, "; ".join(reasons))


def _reasons(level: Level, max_p99_ms: float) -> Iterable[str]:
    if level.refused:
        yield level.refused
        return
    if level.viewer_closed:
        yield f"the viewer was closed: {level.viewer_closed}"
    for count, what in (
        (level.cut, "sensors were disconnected"),
        (level.held_back, f"of {level.due} samples were not taken"),
        (level.lost - level.held_back, f"of {level.due} samples were lost"),
        (level.unacked, "samples were not acknowledged"),
        (level.rejected, "samples were rejected"),
    ):
        if count > 0:
            yield f"{count} {what}"
    if level.p99_ms is None:
        yield "nothing came back"
    elif level.p99_ms > max_p99_ms:
        yield f"p99 is {level.p99_ms:.1f} ms"


def best_attempts(levels: Iterable[Judged]) -> list[Judged]:
    """Return each number of sensors once, ascending: the attempt that held, or came nearest."""
    best: dict[int, Judged] = {}
    for judged in sorted(levels, key=_badness, reverse=True):
        best[judged.level.sensors] = judged
    return [best[sensors] for sensors in sorted(best)]


def _badness(judged: Judged) -> tuple[bool, float]:
    p99_ms = judged.level.p99_ms
    return judged.verdict != "held", math.inf if p99_ms is None else p99_ms


def find_knee(levels: Sequence[Judged]) -> Knee:
    """Return the knee of what was measured, which is not nothing."""
    holds: Judged | None = None
    for judged in best_attempts(levels):
        if judged.verdict != "held":
            attempts = [j for j in levels if j.level.sensors == judged.level.sensors]
            backend = any(j.verdict == "failed" for j in attempts)
            return Knee(
                sensors=holds.level.sensors if holds else 0,
                samples_per_s=holds.level.samples_per_s if holds else 0.0,
                limited_by="backend" if backend else "generator",
                failed_at=judged.level.sensors,
                why=judged.why,
            )
        holds = judged
    assert holds is not None
    return Knee(
        sensors=holds.level.sensors,
        samples_per_s=holds.level.samples_per_s,
        limited_by="sensors",
        failed_at=None,
        why="",
    )
