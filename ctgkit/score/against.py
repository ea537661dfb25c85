"""Two runs compared, recording by recording: better, worse, or no difference shown.

This module performs no I/O.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

SIGNIFICANT = 0.05
"""A difference that chance makes as often as this or oftener is none. The usual limit."""
EXACT_MAX = 14
"""Pairs up to which every combination of signs is tried; beyond, `DRAWS` of them."""
DRAWS = 20_000
PAIRS_MIN = 6
"""With fewer recordings no test can reach the limit: 2 / 2⁵ > 0.05."""

METRICS: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("F1 of accelerations", ("events", "acceleration", "f1"), True),
    ("F1 of decelerations", ("events", "deceleration", "f1"), True),
    ("F1 of contractions", ("events", "contraction", "f1"), True),
    ("type accuracy", ("type_accuracy",), True),
    ("baseline RMSD, bpm", ("baseline", "rmsd_bpm"), False),
    ("median delay, s", ("delay_from_onset", "median_s"), False),
    ("alarm sensitivity", ("alarms", "sensitivity"), True),
    ("false alarms per hour", ("alarms", "false_per_h"), False),
    ("AUC of the probability", ("calls", "auc"), True),
    ("Brier score", ("calls", "brier"), False),
    ("time to alarm, s", ("calls", "time_to_alarm_s"), False),
    ("false calls per hour", ("calls", "false_per_h"), False),
)
"""What is compared: its name, where a report has it, and whether more is better."""


class Comparison(NamedTuple):
    """One figure in two runs."""

    metric: str
    old: float
    new: float
    """Means over the recordings that both runs have."""
    recordings: int
    p: float | None
    """How often chance makes such a difference (paired permutation test, two-sided)."""
    verdict: str
    """``better``, ``worse``, ``same``, or ``too few``."""

    def __str__(self) -> str:
        chance = "" if self.p is None else f", p = {self.p:.3f}"
        return (
            f"{self.metric:24} {self.old:8.3f} -> {self.new:8.3f}  {self.verdict}"
            f" ({self.recordings} recordings{chance})"
        )


def compare_runs(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Comparison]:
    """Return a comparison of each figure that both reports have.

    Parameters
    ----------
    old, new : mapping
        Reports as ``score --json`` prints them.

    Raises
    ------
    ValueError
        When *old* is no such report.
    """
    earlier = _by_name(old)
    return [
        _compared(metric, pairs, more_is_better=more)
        for metric, path, more in METRICS
        if (pairs := list(_pairs(earlier, _by_name(new), path)))
    ]


def _by_name(report: Mapping[str, Any]) -> dict[str, Any]:
    recordings = report.get("recordings") if isinstance(report, Mapping) else None
    if not isinstance(recordings, list) or not all(
        isinstance(r, dict) and isinstance(r.get("name"), str) for r in recordings
    ):
        raise ValueError("not what `ctgkit score --json` prints: no recordings with names")
    return {r["name"]: r for r in recordings}


def _pairs(
    old: Mapping[str, Any], new: Mapping[str, Any], path: Sequence[str]
) -> Iterator[tuple[float, float]]:
    for name in sorted(old.keys() & new.keys()):
        was, now = _at(old[name], path), _at(new[name], path)
        if was is not None and now is not None:
            yield was, now


def _at(figures: Any, path: Sequence[str]) -> float | None:
    for name in path:
        figures = figures.get(name) if isinstance(figures, dict) else None
    return float(figures) if isinstance(figures, int | float) else None


def _compared(
    metric: str, pairs: Sequence[tuple[float, float]], *, more_is_better: bool
) -> Comparison:
    was, now = np.array(pairs).T
    gaps = now - was
    p = None if len(pairs) < PAIRS_MIN else permutation_p(gaps.tolist())
    verdict = "same"
    if p is None:
        verdict = "too few" if np.any(gaps) else "same"
    elif p < SIGNIFICANT:
        verdict = "better" if (gaps.mean() > 0) == more_is_better else "worse"
    return Comparison(metric, float(was.mean()), float(now.mean()), len(pairs), p, verdict)


def permutation_p(gaps: Sequence[float]) -> float:
    """Return how often signs at random make a mean at least as far from 0, in (0, 1].

    >>> permutation_p([0.1] * 6), permutation_p([0.1, -0.1] * 3), permutation_p([0.0] * 6)
    (0.03125, 1.0, 1.0)
    """
    values = np.abs(np.array(gaps))
    n = len(values)
    if n <= EXACT_MAX:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        reached = np.abs(signs @ values) >= abs(float(np.sum(gaps))) - 1e-12
        return float(reached.mean())
    signs = np.random.default_rng(0).choice((-1, 1), size=(DRAWS, n))
    reached = np.abs(signs @ values) >= abs(float(np.sum(gaps))) - 1e-12
    return float((reached.sum() + 1) / (DRAWS + 1))
