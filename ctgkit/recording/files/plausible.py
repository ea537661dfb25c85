"""The last look at every recording that was read: values that nobody measured become no signal.

This module performs no I/O.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ctgkit.recording import Recording
from ctgkit.recording.files.clocks import step_of
from ctgkit.recording.files.options import Implausible, ReadOptions, Report
from ctgkit.samples import FHR_MAX_BPM, FHR_MIN_BPM, TOCO_MAX, TOCO_MIN

_BYTE_MAX = 255.0
"""No value where it is stored in one byte."""
_SHOWN_MAX_BPM, _TOCO_SHOWN_MAX = 240.0, 150.0
"""What monitors show at most: a 255 above a channel's own values isn't one of them."""
_TOCO_OUTSIDE_MAX = 0.1
"""The same for a toco, where what is inside its wide limits may be of another unit too."""
_OUTSIDE_MAX = 0.5
"""Share of values outside the limits from which on a channel is something else."""
_USUAL_BPM = (90.0, 220.0)
"""A median outside is rather another channel or unit, beats/min: the 60 real recordings' medians
are 111 to 166, a mother's pulse is 60 to 100, halved and doubled counts lie outside."""
_MARK_BPM = (50.0, 240.0)
"""Outside, a single value that comes again and again looks like a mark."""
_MARK_TOCO = 100.0
"""Above, the same in a toco: 127 is the largest number of seven bits. Many monitors cut off at 100,
which is a value."""
_MARK_ROWS, _MARKS_ALONE = 3, 60
"""How often a value comes from which on it is a mark: beside others, and where it is alone."""
_CONSTANT_S = 300.0
"""Length from which on a heart rate without any change is remarkable, seconds."""
_STEP_MAX_S, _STEP_MIN_S = 30.0, 0.001
"""Steps that no monitor has: milliseconds named seconds, days named seconds."""
_SAMPLE_NUMBERS_S = 3 * 3600.0
"""Length from which on times in whole steps of 1 look like sample numbers, seconds."""
_HELD_SHARE = 0.45
"""Share of equal neighbours from which on steps of 1 look like 4 samples a second: 53 to 66 % in
60 real recordings at 4 Hz, 10 to 33 % in the same at 1 Hz."""


def checked(one: Recording, options: ReadOptions, report: Report) -> Recording:
    """Return a recording whose values are within the protocol's limits, or NaN.

    Raises
    ------
    Implausible
        When most of its heart rates cannot be any; ``accept_implausible`` lets them pass.
    """
    sec = one.sec_from_start
    _look_at_times(one, options, report)
    return replace(
        one,
        fhr_bpm=_heart(one, options, report),
        uterus=_toco(sec, one.uterus, "toco", options, report),
        spasms=_toco(sec, one.spasms, "contraction intensity", options, report),
    )


def _heart(one: Recording, options: ReadOptions, report: Report) -> NDArray[np.float64]:
    sec, fhr_bpm = one.sec_from_start, one.fhr_bpm
    fhr_bpm = np.where(fhr_bpm == 0, np.nan, fhr_bpm)
    said = ~np.isnan(fhr_bpm)
    negative = fhr_bpm < 0
    marks = _byte_marks(fhr_bpm, _SHOWN_MAX_BPM)
    outside = said & ~negative & ~marks & ~((fhr_bpm >= FHR_MIN_BPM) & (fhr_bpm <= FHR_MAX_BPM))
    n_values = int((said & ~negative & ~marks).sum())
    if n_values and _mostly(fhr_bpm, outside, n_values):
        what, limits = f"{n_values} heart rates", (FHR_MIN_BPM, FHR_MAX_BPM)
        report.warn(_accepted(what, limits, outside, sec, fhr_bpm, options))
    for there, what in ((negative, "negative"), (marks, "255"), (outside, "out of limits")):
        _say(there, what, "heart rates", sec, fhr_bpm, report)
    clean = np.where(negative | marks | outside, np.nan, fhr_bpm)
    for beyond in (clean > _MARK_BPM[1], clean < _MARK_BPM[0]):
        _look_for_marks(sec, clean, beyond, "heart rates", report)
    good = clean[~np.isnan(clean)]
    if not len(good):
        report.warn("no heart rate at all in it")
    elif not _is_usual(good):
        report.warn(f"its median heart rate is {np.median(good):g} bpm: a fetus's, and in bpm?")
    elif _is_constant(sec, clean):
        report.warn(f"the heart rate is {good[0]:g} bpm throughout")
    return clean


def _is_usual(good: NDArray[np.float64]) -> bool:
    """Tell whether the median is a fetus's; counting is faster than ordering."""
    low, high = _USUAL_BPM
    if 2 * max(np.count_nonzero(good < low), np.count_nonzero(good > high)) < len(good):
        return True
    return bool(low <= np.median(good) <= high)


def _look_for_marks(
    sec: NDArray[np.float64],
    values: NDArray[np.float64],
    beyond: NDArray[np.bool_],
    name: str,
    report: Report,
) -> None:
    """Tell of one value that comes again and again *beyond* what is usual."""
    if not beyond.any():
        return
    found = values[beyond]
    times = int((np.diff(beyond.astype(int)) == 1).sum())
    if times >= _MARK_ROWS and (found == found[0]).all():
        at = int(np.argmax(beyond))
        report.warn(
            f"{len(found)} {name} are {found[0]:g}, first at {sec[at]:g} s, and nothing"
            " else is near: do they mark no signal?"
        )


def _accepted(
    what: str,
    limits: tuple[float, float],
    outside: NDArray[np.bool_],
    sec: NDArray[np.float64],
    values: NDArray[np.float64],
    options: ReadOptions,
) -> str:
    """Return what to say of a channel that is mostly outside its limits; refuse it by default."""
    at = int(np.argmax(outside))
    reason = (
        f"{outside.sum()} of {what} are outside {limits[0]:g} to {limits[1]:g},"
        f" first {values[at]:g} at {sec[at]:g} s: another channel or unit?"
    )
    if not options.accept_implausible:
        raise Implausible(reason + " --accept-implausible reads them as no signal")
    return reason


def _mostly(fhr_bpm: NDArray[np.float64], outside: NDArray[np.bool_], n_values: int) -> bool:
    """Tell whether what lies outside is the channel itself, and not one mark for no signal."""
    if outside.sum() <= _OUTSIDE_MAX * n_values:
        return False
    kinds = np.unique(fhr_bpm[outside])
    return len(kinds) > 2 or outside.sum() == n_values


def _toco(
    sec: NDArray[np.float64],
    values: NDArray[np.float64],
    name: str,
    options: ReadOptions,
    report: Report,
) -> NDArray[np.float64]:
    outside = ~np.isnan(values) & ~((values >= TOCO_MIN) & (values <= TOCO_MAX))
    n_values = int((~np.isnan(values)).sum())
    if outside.sum() > _TOCO_OUTSIDE_MAX * n_values and len(np.unique(values[outside])) > 2:
        what = f"{n_values} values of {name}"
        _accepted(what, (TOCO_MIN, TOCO_MAX), outside, sec, values, options)
    marks = _byte_marks(values, _TOCO_SHOWN_MAX)
    minus = _minus_ones(values)
    for there, what in ((minus, "-1"), (marks, "255"), (outside, "out of limits")):
        _say(there, what, f"values of {name}", sec, values, report)
    clean = np.where(outside | marks | minus, np.nan, values)
    _look_for_marks(sec, clean, clean > _MARK_TOCO, f"values of {name}", report)
    if _is_constant(sec, clean):
        report.warn(f"{name} is {clean[~np.isnan(clean)][0]:g} throughout")
    return clean


def _is_constant(sec: NDArray[np.float64], values: NDArray[np.float64]) -> bool:
    for part in (values[:256], values):  # the beginning of most tells
        good = part[~np.isnan(part)]
        if len(good) and good.min() != good.max():
            return False
    if not len(good):
        return False
    return bool(len(good) * min(step_of(sec), 1.0) >= _CONSTANT_S)


def _byte_marks(values: NDArray[np.float64], shown_max: float) -> NDArray[np.bool_]:
    """Tell where 255 stands for no value: it is the only one above what monitors show."""
    marks: NDArray[np.bool_] = values == _BYTE_MAX
    if not marks.any():
        return marks
    high = (values > shown_max) & ~(values > 500)
    if (high & ~marks).any():
        return np.zeros(len(values), dtype=bool)
    return marks


def _minus_ones(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell where -1 stands for no value: the only negative one, far from its neighbours."""
    marks: NDArray[np.bool_] = values == -1
    if not marks.any() or ((values < 0) & ~marks & (values > -999)).any():
        return np.zeros(len(values), dtype=bool)
    rest = values[~marks & ~np.isnan(values)]
    edges = np.flatnonzero(np.diff(marks.astype(int)))
    beside = np.concatenate((values[edges], values[edges + 1]))
    beside = beside[(beside != -1) & ~np.isnan(beside)]
    if not len(rest):
        return marks if len(marks) >= _MARKS_ALONE else np.zeros(len(values), dtype=bool)
    if len(beside) and np.median(beside) < 2:
        return np.zeros(len(values), dtype=bool)
    return marks


def _say(
    there: NDArray[np.bool_],
    what: str,
    name: str,
    sec: NDArray[np.float64],
    values: NDArray[np.float64],
    report: Report,
) -> None:
    if there.any():
        at = int(np.argmax(there))
        report.warn(
            f"{there.sum()} {name} {what}, first {values[at]:g} at {sec[at]:g} s: read as no signal"
        )


def _look_at_times(one: Recording, options: ReadOptions, report: Report) -> None:
    sec = one.sec_from_start
    step_s = step_of(sec)
    if len(sec) > 3 and step_s < _STEP_MIN_S and not options.accept_implausible:
        raise Implausible(f"{1 / step_s:.6g} samples a second: are its times in days or minutes?")
    if len(sec) > 3 and step_s >= _STEP_MAX_S:
        report.warn(f"one sample every {step_s:g} s: are its times milliseconds?")
    if len(sec) < 60 or step_s != 1 or not (np.diff(sec) == 1).all():
        return
    good = one.fhr_bpm[~np.isnan(one.fhr_bpm)]
    held = float((np.diff(good) == 0).mean()) if len(good) > 60 else 0.0
    varied = len(np.unique(good)) > 8
    if sec[-1] - sec[0] >= _SAMPLE_NUMBERS_S or (varied and held >= _HELD_SHARE):
        report.warn(
            "times rise by exactly 1: they look like sample numbers; if they are, give --rate"
            " (--rate 4 for four samples a second)"
        )
