"""What the monitor makes of the heart rate: beats, and the 4 Hz hold."""

import numpy as np
from numpy.typing import NDArray

from ctgkit.simulate.patient import Patient
from ctgkit.simulate.signal import fitted
from ctgkit.simulate.signal.field import floor_factor
from ctgkit.simulate.signal.noise import ENGINE_HZ, slow
from ctgkit.simulate.signal.stream import Floats, Streams

WARM_UP = 32
"""Engine samples at the start that the monitor cannot show: 8 s, 6 beats at 50 bpm."""

MARGIN = WARM_UP + 32
"""Engine samples before a stretch: the warm-up, and 8 s in which a held value may begin."""


def monitor(
    patient: Patient, streams: Streams, block: int, first: int, heart_bpm: Floats
) -> Floats:
    """Return what the monitor shows of *heart_bpm*, after its first WARM_UP samples.

    Parameters
    ----------
    patient, streams
        Whose monitor it is.
    block : int
        Row of the random numbers used.
    first : int
        Engine sample index of ``heart_bpm[0]``.
    heart_bpm : ndarray of shape (WARM_UP + n_samples,)
        Heart rate, bpm.

    Returns
    -------
    ndarray of shape (n_samples,)
        bpm; each beat's value is held until the next beat.
    """
    t_s = np.arange(len(heart_bpm)) / ENGINE_HZ
    # integral pulse frequency modulation: a beat whenever the integral of the rate passes 1
    phase = np.concatenate([[0.0], np.cumsum((heart_bpm[1:] + heart_bpm[:-1]) / 2)])
    phase /= 60 * ENGINE_HZ
    phase += streams.generator("sensor.phase", block).random()
    beats_s = np.interp(np.arange(1, int(phase[-1]) + 1), phase, t_s)
    rate = 60 / np.diff(beats_s)
    known_s = beats_s[1:]
    method = patient.words["sensor.method"]
    error = fitted.BEAT_ERROR[method] * patient.at("sensor.beat_error", 0.0)
    error *= patient.at("fhr.floor_bpm", first / ENGINE_HZ)
    error *= float(floor_factor(patient, first / ENGINE_HZ))
    # and where the rate changes, the intervals that are compared differ
    change = np.abs(heart_bpm[3:] - heart_bpm[:-3]) * (ENGINE_HZ / 3)
    blur = patient.at("sensor.blur_s", 0.0) * np.interp(known_s, t_s[3:], change)
    z = streams.generator("sensor.error", block).standard_normal((len(rate), 3))
    slips = streams.generator("sensor.slip", block).random(len(rate)) < fitted.BEAT_SLIP
    z[slips, 0] *= fitted.SLIP_FACTOR
    # a normal whose variance is exponential: Laplacian, as successive values differ [M]
    rate += np.hypot(error, blur) * z[:, 0] * np.sqrt((z[:, 1] ** 2 + z[:, 2] ** 2) / 2)
    if method == "doppler":  # autocorrelation reports late and unevenly
        late = streams.generator("sensor.delay", block).random(len(rate))
        known_s = np.maximum.accumulate(known_s + fitted.DOPPLER_DELAY_S * late)
    step_s = patient.at("sensor.interval_ms", 0.0) / 1000
    rate = 60 / (step_s * np.round(60 / rate / step_s))
    if method == "doppler":  # ultrasound monitors cut off, electrodes round [M]
        step_bpm = patient.at("sensor.grid_bpm", 0.0)
        rate = step_bpm * np.floor(rate / step_bpm)
    missed = _missed(patient, streams, block, first, len(rate))
    rate = rate[np.maximum.accumulate(np.where(missed, 0, np.arange(len(rate))))]
    held: Floats = rate[np.searchsorted(known_s, t_s[WARM_UP:], side="right") - 1]
    return held


def _missed(
    patient: Patient, streams: Streams, block: int, first: int, count: int
) -> NDArray[np.bool_]:
    """Return which beats don't update the shown value: single ones, and spells of doubt."""
    u = streams.generator("sensor.missed", block).random((count, 3))
    missed = u[:, 0] < patient.at("sensor.missed_update", first / ENGINE_HZ)
    per_beat = patient.at("sensor.doubt_per_h", first / ENGINE_HZ) / 3600 * 0.43
    lengths = (3 - fitted.DOUBT_BEATS * np.log1p(-u[:, 2])).astype(np.intp)
    for i in np.flatnonzero(u[:, 1] < per_beat):
        missed[i : i + lengths[i]] = True
    missed[0] = False
    return missed


def hold(
    streams: Streams, block: int, shown_bpm: Floats, held: NDArray[np.bool_], step_bpm: float
) -> Floats:
    """Return *shown_bpm* with the last value before each held stretch repeated through it.

    Parameters
    ----------
    streams, block
        Whose monitor it is, and the row of the random numbers used.
    shown_bpm, held : ndarray of shape (n_samples,)
        What would be shown, and where the monitor repeats itself.
    step_bpm : float
        Its last digit flickers by this much.
    """
    index = np.arange(len(shown_bpm))
    last = np.maximum.accumulate(np.where(held, 0, index))
    u = streams.generator("sensor.flicker", block).random((len(shown_bpm), 2))
    flicker = np.cumsum(u[:, 0] < fitted.HOLD_FLICKER) % 2 * np.where(u[last, 1] < 0.5, -1, 1)
    return np.where(held, shown_bpm[last] + step_bpm * flicker, shown_bpm)


def wild_bpm(patient: Patient, streams: Streams, block: int, t_s: Floats) -> Floats:
    """Return what the monitor makes of noise, bpm: a level that holds for seconds, unevenly."""
    z = streams.generator("artefact.outlier.value", block).standard_normal(len(t_s))
    uneven = np.repeat(z[::2], 2)[: len(t_s)]
    level: Floats = 136 + 30 * slow(streams, "artefact.outlier.value", t_s, 40.0, 20.0)
    return level + fitted.WILD_BPM[patient.words["sensor.method"]] * uneven


def mother_bpm(
    patient: Patient, streams: Streams, t_s: Floats, contraction_level: Floats
) -> Floats:
    """Return the mother's heart rate, bpm; it rises with contractions, like an acceleration."""
    rate: Floats = (
        patient.at("artefact.mhr_bpm", t_s)
        + 4 * slow(streams, "mother", t_s, 5.0, 15.0)
        + 5 * slow(streams, "mother.drift", t_s, 120.0, 600.0)
        + 12 * contraction_level
    )
    return rate
