"""Several heart rates in one file: two probes of one fetus, or two fetuses.

This module performs no I/O.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit.recording.files.options import ReadOptions, Report

_TOGETHER = 8
"""Samples with signal from both from which on they are compared."""
_ALIKE_BPM = 3.0
"""Median difference up to which both measure the same heart, beats/min. Chosen: an ultrasound
probe and an electrode on one fetus differ by 1 or 2; two fetuses by 5 and more."""


class Heart(NamedTuple):
    """One fetus's heart rate."""

    fetus: int
    """From 1; 0 when it is the only one."""
    name: str
    fhr_bpm: NDArray[np.float64]


def hearts_of(
    channels: list[tuple[int, str, NDArray[np.float64]]], options: ReadOptions, report: Report
) -> list[Heart]:
    """Return one heart rate per fetus: probes of one fetus are joined, twins are not.

    Parameters
    ----------
    channels : list
        Fetus as the names number it, name, and values with NaN for no signal, shape (n,).
    options : ReadOptions
        ``fetus`` chooses one, as the names number them.
    report : Report
        Gets what was joined, and what is empty.

    Raises
    ------
    ValueError
        When the wanted fetus isn't there.
    """
    hearts: list[Heart] = []
    for fetus in sorted({fetus for fetus, _, _ in channels}):
        own = [Heart(fetus, name, values) for number, name, values in channels if number == fetus]
        hearts += _joined(own, report)
    if options.fetus:
        numbered = [heart for heart in hearts if heart.fetus == options.fetus]
        if not numbered and len({h.fetus for h in hearts}) < len(hearts) >= options.fetus:
            numbered = [hearts[options.fetus - 1]]
        if not numbered:
            raise ValueError(f"--fetus {options.fetus}: it has {len(hearts)} heart rates")
        report.leave(*(heart.name for heart in hearts if heart is not numbered[0]))
        return [numbered[0]._replace(fetus=0)]
    alive = [heart for heart in hearts if not np.isnan(heart.fhr_bpm).all()]
    for heart in hearts:
        if alive and np.isnan(heart.fhr_bpm).all():
            report.note(f"{heart.name} is empty")
    hearts = _joined(alive, report) if alive else hearts[:1]
    if len(hearts) == 1:
        return [hearts[0]._replace(fetus=0)]
    report.note(
        f"{len(hearts)} heart rates of different fetuses: {len(hearts)} recordings,"
        " --fetus chooses one"
    )
    return [heart._replace(fetus=number) for number, heart in enumerate(hearts, 1)]


def _joined(hearts: list[Heart], report: Report) -> list[Heart]:
    """Return the hearts with each that measures the same as an earlier one joined to it."""
    joined: list[Heart] = []
    for heart in hearts:
        for place, known in enumerate(joined):
            if _same(known.fhr_bpm, heart.fhr_bpm):
                values = np.where(np.isnan(known.fhr_bpm), heart.fhr_bpm, known.fhr_bpm)
                joined[place] = Heart(known.fetus, known.name, values)
                if not np.isnan(heart.fhr_bpm).all():
                    report.note(
                        f"{known.name} and {heart.name} measure one fetus: {heart.name} fills in"
                        f" where {known.name} has no signal"
                    )
                break
        else:
            joined.append(heart)
    return joined


def _same(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    together = ~np.isnan(one) & ~np.isnan(other)
    if together.sum() < _TOGETHER:
        # too little to compare: probes that take turns
        alone = min(int((~np.isnan(one)).sum()), int((~np.isnan(other)).sum()))
        return bool(together.sum() <= 0.05 * alone) or alone == 0
    return bool(np.median(np.abs(one[together] - other[together])) <= _ALIKE_BPM)
