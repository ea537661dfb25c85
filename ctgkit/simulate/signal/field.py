"""Heart rate as it is, before any sensor: baseline, events, variability."""

from typing import NamedTuple

import numpy as np

from ctgkit.simulate.patient import Patient
from ctgkit.simulate.signal import fitted
from ctgkit.simulate.signal.acceleration import Acceleration, bump
from ctgkit.simulate.signal.behaviour import Behaviour
from ctgkit.simulate.signal.deceleration import Deceleration, break_up, depth, rebound
from ctgkit.simulate.signal.fetus import Fetus
from ctgkit.simulate.signal.noise import (
    ENGINE_HZ,
    FREQUENCIES_HZ,
    SLOW_HZ,
    amplitudes,
    noise,
    slow,
    slow_samples,
)
from ctgkit.simulate.signal.stream import Floats, Streams


def _reference(frequencies_hz: Floats) -> Floats:
    """Return the spectrum of a band of 10 bpm."""
    f = np.log(np.maximum(frequencies_hz, fitted.VARIABILITY_HZ[0]))
    psd = np.interp(f, np.log(fitted.VARIABILITY_HZ), np.log(fitted.VARIABILITY_PSD))
    return np.asarray(np.exp(psd))


_OSCILLATION = np.exp(-0.5 * ((FREQUENCIES_HZ - 0.13) / 0.04) ** 2)  # 0.08-0.2 Hz
_PLAIN = amplitudes(_reference(FREQUENCIES_HZ) * (FREQUENCIES_HZ >= fitted.SWING_HZ))
_SWING = amplitudes(_reference(SLOW_HZ) * (SLOW_HZ < fitted.SWING_HZ))
_FLOOR_PSD = 1 / np.maximum(FREQUENCIES_HZ, 0.25) ** fitted.FLOOR_SLOPE * (FREQUENCIES_HZ > 0.1)
_FLOOR = amplitudes(_FLOOR_PSD / (_FLOOR_PSD.sum() * FREQUENCIES_HZ[1]))

_VAGAL_SLOT = 8  # engine samples

LOWEST_BPM, HIGHEST_BPM = 52.0, 230.0
"""Where the composite is bent towards, softly. Chosen: what monitors show."""


class Composite(NamedTuple):
    """Heart rate without noise; arrays of shape (n_samples,), bpm."""

    baseline: Floats
    clean: Floats
    """With accelerations, decelerations and sinusoidal pattern, without variability."""
    inside: Floats
    """Factor on variability inside decelerations."""
    beside: Floats
    """What breaks decelerations up without being an event, bpm upwards."""
    rise: Floats
    """Of accelerations, shoulders and overshoots."""


def _soft_clip(bpm: Floats) -> Floats:
    """Bend smoothly within 15 bpm of the limits; the identity elsewhere."""
    soft = 15.0
    low, high = LOWEST_BPM + soft, HIGHEST_BPM - soft
    over, under = np.maximum(bpm - high, 0), np.maximum(low - bpm, 0)
    bent: Floats = (
        np.clip(bpm, low, high) + soft * np.tanh(over / soft) - soft * np.tanh(under / soft)
    )
    return bent


def _sinus(patient: Patient, streams: Streams, t_s: Floats) -> "Floats | float":
    size = patient.at("fhr.sinus_bpm", t_s)
    if isinstance(size, float) and size == 0:
        return 0.0
    per_min = patient.at("fhr.sinus_per_min", 0.0)  # its phase needs one frequency
    wander = 0.5 * slow(streams, "fhr.sinus", t_s, 30.0, 120.0)  # radians: about 3 % in frequency
    cycles = t_s * per_min / 60 + wander / (2 * np.pi)
    jagged = patient.at("fhr.sinus_jagged", t_s)
    triangle = 2 * np.abs(2 * (cycles - np.floor(cycles + 0.5))) - 1
    return size * ((1 - jagged) * np.sin(2 * np.pi * cycles) + jagged * triangle)


def composite(
    patient: Patient,
    streams: Streams,
    behaviour: Behaviour,
    fetus: Fetus,
    t_s: Floats,
    accelerations: list[Acceleration],
    decelerations: list[Deceleration],
) -> Composite:
    """Return the heart rate without variability.

    Parameters
    ----------
    patient, streams, behaviour, fetus
        Whose heart it is.
    t_s : ndarray of shape (n_samples,)
        Times, seconds.
    accelerations, decelerations : list
        Those that touch the stretch.
    """
    shift_bpm = behaviour.effects(t_s)[1] + fetus.effects(t_s).shift_bpm
    wander = patient.at("fhr.drift_bpm", t_s) * slow(streams, "fhr.drift", t_s, *fitted.DRIFT_S)
    younger = fitted.TERM_WEEKS - patient.scenario.ga_weeks
    baseline = patient.at("fhr.baseline_bpm", t_s) + shift_bpm + wander
    baseline = baseline + fitted.BASELINE_PER_WEEK_BPM * younger
    rise = np.zeros_like(t_s)
    for a in accelerations:
        rise += bump(a, t_s)
    fall, inside, beside = np.zeros_like(t_s), np.ones_like(t_s), np.zeros_like(t_s)
    for d in decelerations:
        low, high = t_s.searchsorted((d.onset_s, d.end_s)).tolist()
        if low < high:
            wave = depth(d, t_s[low:high] - d.onset_s)
            fall[low:high] = np.maximum(fall[low:high], wave)
            if d.variability != 1.0:
                full = np.minimum(wave / (0.4 * d.depth_bpm), 1)
                inside[low:high] *= 1 + (d.variability - 1) * full
        if d.shoulder_bpm or d.overshoot_bpm:
            rise = np.maximum(rise, rebound(d, t_s))  # no two add up to an acceleration
        break_up(beside, d, streams, t_s)
    clean = _soft_clip(baseline + rise - fall + _sinus(patient, streams, t_s))
    return Composite(baseline, clean, inside, beside, rise)


_BURST = np.exp(-np.arange(-1, 60) / ENGINE_HZ / fitted.VAGAL_S)
_BURST[0] = 0.5


def floor_factor(patient: Patient, t_s: "Floats | float") -> "Floats | float":
    """Return how much larger the fast part is for a band other than 10 bpm."""
    factor: Floats | float = (patient.at("fhr.bandwidth_bpm", t_s) / 10) ** fitted.FLOOR_POWER
    return factor


def _vagal(streams: Streams, first: int, count: int) -> Floats:
    """Return bursts of the vagus, mean 0: the heart slows within a beat and recovers slowly.

    What makes falls steeper than rises; in units of a mean burst, shape (count,).
    """
    reach = len(_BURST) - 1
    low, stop = (first - reach) // _VAGAL_SLOT, (first + count) // _VAGAL_SLOT + 1
    u = streams.uniform("fhr.vagal", low, stop, 3)
    share = fitted.VAGAL_PER_MIN / 60 * _VAGAL_SLOT / ENGINE_HZ
    at = (np.arange(low, stop) + u[:, 1]) * _VAGAL_SLOT
    index = at.astype(np.intp) - (first - reach)
    size = np.where(u[:, 0] < share, -np.log1p(-u[:, 2]), 0.0) ** fitted.VAGAL_POWER
    keep = (index >= 0) & (index < count + reach)
    impulses = np.bincount(index[keep], size[keep], count + reach)
    mean = fitted.VAGAL_MEAN * _BURST.sum() * share / _VAGAL_SLOT
    wave: Floats = mean - np.convolve(impulses, _BURST, "valid")
    return wave


def heart_rate(
    patient: Patient,
    streams: Streams,
    behaviour: Behaviour,
    fetus: Fetus,
    first: int,
    heart: Composite,
    contraction_level: Floats,
) -> Floats:
    """Return what a perfect sensor would see: the composite with its variability.

    Parameters
    ----------
    patient, streams, behaviour, fetus
        Whose heart it is.
    first : int
        Engine sample index (4 Hz) of the composite's first sample.
    heart : Composite
        Arrays of shape (n_samples,).
    contraction_level : ndarray of shape (n_samples,)
        Strength of the contraction, 0 to 1: variability rises with it.

    Returns
    -------
    ndarray of shape (n_samples,)
        bpm.
    """
    count = len(heart.clean)
    t_s = np.arange(first, first + count) / ENGINE_HZ
    band_bpm = patient.at("fhr.bandwidth_bpm", t_s)
    spread = patient.at("fhr.bandwidth_spread", t_s)
    swell = np.exp(spread * slow_samples(streams, "fhr.bandwidth", t_s, 20.0, 60.0))
    gain = fitted.BAND_GAIN / 10 * band_bpm * fitted.maturity(patient.scenario.ga_weeks)
    gain = gain * behaviour.effects(t_s)[0] * swell * fetus.effects(t_s).bandwidth
    # power rises in contractions (Cesarelli 2010)
    gain = gain * heart.inside * (1 + 0.3 * contraction_level)
    gain = np.hypot(gain, fitted.RAGGED_RISE * heart.rise)

    def spectrum(centre_s: float) -> Floats:
        boost = patient.at("fhr.oscillation", max(centre_s, 0.0))
        if boost == 1.0:
            return _PLAIN
        scale: Floats = _PLAIN * np.sqrt(1 + (boost - 1) * _OSCILLATION)
        return scale

    bouts = np.exp(fitted.FLOOR_BOUTS * slow_samples(streams, "fhr.floor", t_s, 8.0, 12.0))
    steady = len(patient.edges_s("fhr.oscillation")) == 1
    scale = spectrum(0.0) if steady else spectrum
    wave = gain * noise(streams, "fhr.variability", first, count, scale)
    swing = gain * noise(streams, "fhr.swing", first, count, _SWING)
    largest = np.maximum(fitted.SWING_BPM, fitted.SWING_BAND * band_bpm)
    wave += largest * np.tanh(swing / largest)
    bursts = gain * patient.at("fhr.vagal", t_s) * _vagal(streams, first, count)
    wave += fitted.VAGAL_BPM * np.tanh(bursts / fitted.VAGAL_BPM)
    fast = patient.at("fhr.floor_bpm", t_s) * floor_factor(patient, t_s) * bouts * np.sqrt(swell)
    wave += fast * noise(streams, "fhr.floor", first, count, _FLOOR)
    rises, highest = np.maximum(wave, 0.0), np.maximum(fitted.HIGHEST_RISE_BPM, 1.6 * band_bpm)
    wave += highest * np.tanh(rises / highest) - rises
    return _soft_clip(heart.clean + heart.beside + wave)
