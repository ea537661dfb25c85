"""Stage 4a: variability, one number per minute, and the sinusoidal pattern.

Pure: arrays in, numbers out. Definitions and sources: notes/analysis.md 5.5.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctgkit.analysis.windows import moving_mean
from ctgkit.samples import RATE_HZ

BANDWIDTH_VALID_MIN = 0.75
"""Share of a minute that has to be usable and free of events for its bandwidth."""

GAP_S, BESIDE_S, CLEAR_MIN = 1.0, (8.0, 16.0), 0.45
"""What is this near before and after a gap of a second or more is left out of the bandwidth, where
that leaves 27 s of the minute: as the signal fades, monitors wander by 10 beats/min and more, which
would hide that a fetus has no variability. Chosen: with 20 s, real babies without acidosis were
called pathological more often (AUC for pH < 7.15 .60 instead of .71)."""

EPOCH_S = 3.75
"""Dawes-Redman epoch: 16 in a minute."""

EPOCH_VALID_MIN, STV_VALID_MIN = 0.5, 0.9

OSCILLATION_SMOOTH_S, OSCILLATION_SLOW_S, OSCILLATION_BPM = 3.0, 30.0, 1.0
"""Oscillations are crossings of the 3 s mean through the 30 s mean, by 1 beat/min (chosen)."""

SINUS_HZ = (0.03, 0.1)
"""Where a sinusoidal rhythm has its peak: 2-6 cycles/min (FIGO and NICHD say 3-5)."""

SINUS_BAND_HZ, SINUS_SHARE_MIN = 0.02, 0.6
"""A band this wide holds at least this share of the power from 0.01 to 0.5 Hz."""

SINUS_RANGE_BPM = (5.0, 30.0)
"""Peak to trough, beats/min: FIGO 5-15; fetal anaemia reaches 30."""

SINUS_REST_BPM, SINUS_WANDER_HZ = 5.0, 0.03
"""Largest bandwidth of what remains: a smooth wave without short-term variability. What lies this
near to its peak isn't that either, but the wave itself, whose rate and height wander."""

SINUS_VALID_MIN = 0.8

Floats = NDArray[np.float64]


TREND_REACH_S, TREND_FACTOR = 10.0, 1.3
"""Inside an event variability is measured from the 20 s mean, and scaled: on 501 event-free minutes
of real recordings (CTU-UHB) the bandwidth from the baseline is 1.3 x that, and the two agree on
"below 5" in 97 % of them."""

FLANK_BPM_PER_S = 1.5
"""Where that mean moves faster than this is a flank, which has no variability (chosen)."""

INSIDE_MIN_S = 20.0
"""Signal without flanks that has to remain, seconds (chosen)."""


class Variability(NamedTuple):
    """Variability of one minute; None where it can't be told."""

    bandwidth_bpm: float | None
    """1st to 99th percentile of the deviation from the baseline, beats/min."""
    stv_ms: float | None
    """Dawes-type short-term variability: mean change of the pulse interval between epochs of
    3.75 s, ms. Monitors average and hold, which makes it smaller than from beats."""
    ltv_ms: float | None
    """Range of the epochs' pulse intervals, ms."""
    oscillations_per_min: float | None
    """Zero crossings divided by two."""
    inside_bpm: float | None = None
    """Bandwidth where events leave none of the baseline to measure it from, beats/min."""


NOTHING = Variability(None, None, None, None)


def beside_gaps(fhr_bpm: Floats) -> NDArray[np.bool_]:
    """Return what is beside a gap; *fhr_bpm* is 4 Hz, NaN where there is no signal."""
    near = np.zeros(fhr_bpm.size, bool)
    lost = np.diff(np.concatenate(([False], np.isnan(fhr_bpm), [False])).astype(np.int8))
    before, after = (int(s * RATE_HZ) for s in BESIDE_S)
    for low, high in zip(np.flatnonzero(lost > 0), np.flatnonzero(lost < 0), strict=True):
        if high - low >= GAP_S * RATE_HZ:
            near[max(0, low - before) : high + after] = True
    return near


def minute(
    fhr_bpm: Floats,
    baseline_bpm: Floats,
    in_event: NDArray[np.bool_],
    faded: NDArray[np.bool_] | None = None,
) -> Variability:
    """Return the variability of one minute.

    Parameters
    ----------
    fhr_bpm, baseline_bpm : array of shape (240,)
        4 Hz, beats/min; NaN where the signal isn't usable.
    in_event : array of shape (240,)
        Where there is an acceleration or deceleration.
    faded : array of shape (240,)
        Where a gap is near; by default nowhere.
    """
    usable = np.isfinite(fhr_bpm)
    quiet, least = usable & ~in_event, BANDWIDTH_VALID_MIN
    if faded is not None and faded.any():
        clear = quiet & ~faded
        enough = np.count_nonzero(quiet) >= least * fhr_bpm.size
        if enough and np.count_nonzero(clear) >= CLEAR_MIN * fhr_bpm.size:
            quiet, least = clear, CLEAR_MIN
    deviation = (fhr_bpm - baseline_bpm)[quiet]
    bandwidth = oscillations = None
    if deviation.size >= least * fhr_bpm.size:
        bandwidth = spread(deviation, 1, 99)
        oscillations = _oscillations(deviation) * fhr_bpm.size / deviation.size
    inside_bpm = None
    if bandwidth is None and in_event.any():
        inside_bpm = inside(fhr_bpm, RATE_HZ)
    if in_event.any() or usable.mean() < STV_VALID_MIN:
        return Variability(bandwidth, None, None, oscillations, inside_bpm)
    return Variability(bandwidth, *_epochs(fhr_bpm, usable), oscillations)


def inside(fhr_bpm: Floats, rate_hz: float) -> float | None:
    """Return the bandwidth inside events, beats/min; None on too little signal.

    Parameters
    ----------
    fhr_bpm : array of shape (n_samples,)
        Beats/min; NaN where the signal isn't usable.
    rate_hz : float
        Samples per second.
    """
    known = np.flatnonzero(np.isfinite(fhr_bpm))
    if known.size < INSIDE_MIN_S * rate_hz:
        return None
    filled = np.interp(np.arange(fhr_bpm.size), known, fhr_bpm[known])
    trend = moving_mean(filled, int(TREND_REACH_S * rate_hz))
    reach = int(rate_hz)
    rise = np.abs(trend[2 * reach :] - trend[: -2 * reach]) / 2
    level = known[(known >= reach) & (known < trend.size - reach)]
    level = level[rise[level - reach] <= FLANK_BPM_PER_S]
    if level.size < INSIDE_MIN_S * rate_hz:
        return None
    return TREND_FACTOR * spread((filled - trend)[level], 1, 99)


def spread(values: Floats, low_percent: float, high_percent: float) -> float:
    """Return the distance between two percentiles, which are ranks of the sorted values."""
    ranked = np.sort(values)
    low = round((values.size - 1) * low_percent / 100)
    high = round((values.size - 1) * high_percent / 100)
    return float(ranked[high] - ranked[low])


def _epochs(fhr_bpm: Floats, usable: NDArray[np.bool_]) -> tuple[float | None, float | None]:
    """Return STV and LTV of a minute, ms."""
    shape = (-1, int(EPOCH_S * RATE_HZ))
    count = usable.reshape(shape).sum(axis=1)
    interval_ms = np.where(usable, 60_000 / np.where(usable, fhr_bpm, 1.0), 0.0).reshape(shape)
    mean_ms = interval_ms.sum(axis=1) / np.maximum(count, 1)
    known = count >= EPOCH_VALID_MIN * shape[1]
    steps = np.abs(np.diff(mean_ms))[known[1:] & known[:-1]]
    if steps.size == 0:
        return None, None
    return float(steps.mean()), float(np.ptp(mean_ms[known]))


def _oscillations(deviation: Floats) -> float:
    fine = moving_mean(deviation, int(OSCILLATION_SMOOTH_S * RATE_HZ / 2))
    slow = moving_mean(deviation, int(OSCILLATION_SLOW_S * RATE_HZ / 2))
    wave = fine - slow
    side = np.sign(wave)[np.abs(wave) >= OSCILLATION_BPM]
    return float(np.count_nonzero(np.diff(side)) / 2)


def is_sinusoidal(fhr_1hz: Floats, baseline_bpm: Floats) -> bool:
    """Whether the heart rate swings like a sine.

    Parameters
    ----------
    fhr_1hz, baseline_bpm : array of shape (n_seconds,)
        1 Hz, beats/min; 10 min, which no acceleration interrupts.
    """
    known = np.isfinite(fhr_1hz)
    if known.mean() < SINUS_VALID_MIN:
        return False
    deviation = fhr_1hz - baseline_bpm
    if not known.all():
        at = np.arange(deviation.size)
        deviation = np.interp(at, at[known], deviation[known])
    spectrum = np.fft.rfft(deviation - deviation.mean())
    hertz = np.arange(spectrum.size) / fhr_1hz.size
    power = spectrum.real**2 + spectrum.imag**2
    first, end, slow = np.searchsorted(hertz, (*np.nextafter(SINUS_HZ, (0, 1)), 0.01))
    peak = hertz[first + int(np.argmax(power[first:end]))]
    away = np.abs(hertz - peak)
    band = away <= SINUS_BAND_HZ / 2
    if power[band].sum() < SINUS_SHARE_MIN * power[slow:].sum():
        return False
    swing = np.fft.irfft(np.where(band, spectrum, 0), deviation.size)
    peak_to_trough = 2 * np.sqrt(2) * float(swing.std())
    low, high = SINUS_RANGE_BPM
    if not low <= peak_to_trough <= high:
        return False
    fast = np.where((away > SINUS_WANDER_HZ) & (hertz >= 0.01), spectrum, 0)
    rest = moving_mean(np.fft.irfft(fast, deviation.size), 1)
    return spread(rest[known], 5, 95) < SINUS_REST_BPM
