"""What the monitor makes of the heart rate: beats, averaging, the 4 Hz hold, its grid."""

import numpy as np

from ctgkit.simulate.patient import Patient
from ctgkit.simulate.signal import fitted
from ctgkit.simulate.signal.noise import ENGINE_HZ, slow
from ctgkit.simulate.signal.stream import Floats, Streams

MARGIN = 40
"""Engine samples before a stretch that the monitor needs: 10 s, 8 beats at 50 bpm."""


def monitor(
    patient: Patient, streams: Streams, block: int, first: int, heart_bpm: Floats
) -> Floats:
    """Return what the monitor shows of *heart_bpm*, after its first MARGIN samples.

    Parameters
    ----------
    patient, streams
        Whose monitor it is.
    block : int
        Row of the random numbers used.
    first : int
        Engine sample index of ``heart_bpm[0]``.
    heart_bpm : ndarray of shape (MARGIN + n_samples,)
        Heart rate, bpm.

    Returns
    -------
    ndarray of shape (n_samples,)
        bpm on the monitor's grid; each beat's value is held until the next beat.
    """
    t_s = np.arange(len(heart_bpm)) / ENGINE_HZ
    # integral pulse frequency modulation: a beat whenever the integral of the rate passes 1
    phase = np.concatenate([[0.0], np.cumsum((heart_bpm[1:] + heart_bpm[:-1]) / 2)])
    phase /= 60 * ENGINE_HZ
    phase += streams.generator("sensor.phase", block).random()
    beats_s = np.interp(np.arange(1, int(phase[-1]) + 1), phase, t_s)
    rate = 60 / np.diff(beats_s)
    known_s = beats_s[1:]
    error = fitted.BEAT_ERROR[patient.words["sensor.method"]] * patient.at("fhr.floor_bpm", first / ENGINE_HZ)
    rate += error * streams.generator("sensor.error", block).standard_normal(len(rate))
    if patient.words["sensor.method"] == "doppler":  # autocorrelation reports late and unevenly
        late = streams.generator("sensor.delay", block).random(len(rate))
        known_s = np.maximum.accumulate(known_s + fitted.DOPPLER_DELAY_S * late)
    else:  # an electrode measures intervals with a clock of 500 Hz
        step_s = fitted.ELECTRODE_STEP_S
        rate = 60 / (step_s * np.round(60 / rate / step_s))
    # a missed update repeats the value before it
    missing = patient.at("sensor.missed_update", first / ENGINE_HZ)
    missed = streams.generator("sensor.missed", block).random(len(rate)) < missing
    missed[0] = False
    rate = rate[np.maximum.accumulate(np.where(missed, 0, np.arange(len(rate))))]
    held = rate[np.searchsorted(known_s, t_s[MARGIN:], side="right") - 1]
    grid = patient.at("sensor.grid_bpm", 0.0)
    shown: Floats = np.round(held / grid) * grid
    return shown


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
