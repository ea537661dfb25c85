"""The mother's breathing, as a belt feels it."""

import numpy as np

from ctgkit.simulate.patient import Patient
from ctgkit.simulate.signal import fitted
from ctgkit.simulate.signal.contraction import Contraction
from ctgkit.simulate.signal.noise import slow_samples
from ctgkit.simulate.signal.stream import Floats, Streams

_CYCLE = 2 * np.pi * np.arange(256) / 256


def breathing(
    patient: Patient,
    streams: Streams,
    t_s: Floats,
    contractions: list[Contraction],
    restless: Floats,
) -> Floats:
    """Return the mother's breathing: one breath after the other, of a rate that wanders.

    In a contraction she breathes slower or faster, by whole breaths in all: what comes after it
    depends on nothing before it.

    Parameters
    ----------
    patient, streams
        Whose it is.
    t_s : ndarray of shape (n_samples,)
        Times of consecutive engine samples, seconds.
    contractions : list of Contraction
        Those that touch the stretch.
    restless : ndarray of shape (n_samples,)
        What makes breaths uneven, of unit variance.

    Returns
    -------
    ndarray of shape (n_samples,)
        Toco units, on a belt as taut as at a height of 9.
    """
    per_s = patient.at("toco.breathing_per_min", 0.0) / 60
    own = streams.generator("toco.breath.kind", 0).random(4).tolist()
    least, most = fitted.BREATH_UNEVEN
    uneven = per_s * least * (most / least) ** own[3]
    skewed = _CYCLE + fitted.BREATH_SKEW * np.sin(_CYCLE)
    slow = 1 / (4 * per_s)
    peak = fitted.BREATH_PEAK * (0.05 + own[0]) * min(slow, slow**2)
    shape = np.exp(peak * np.cos(skewed))
    shape -= shape.mean() * own[1] + shape.min() * (1 - own[1])
    shape /= shape.std()
    width = patient.at("toco.breathing_width", 0.0)
    breaths = per_s * t_s + uneven * restless
    wander = per_s * width * fitted.BREATH_WANDER_S
    breaths += wander * slow_samples(streams, "toco.breath.rate", t_s, 20.0, 60.0)
    fewest, most = fitted.BREATHS_IN_CONTRACTION
    more = most + (fewest - most) * own[2] ** 4
    for c in contractions:
        length_s = c.end_s - c.onset_s
        first, stop = t_s.searchsorted((c.onset_s, c.end_s)).tolist()
        x = (t_s[first:stop] - c.onset_s) / length_s
        breaths[first:stop] += round(more * per_s * length_s) * x * x * (3 - 2 * x)
    depth = fitted.BREATH_DEPTH * slow_samples(streams, "toco.breath.depth", t_s, 60.0, 400.0)
    size = patient.at("toco.breathing", t_s) * fitted.BREATH_GAIN * np.exp(depth)
    wave: Floats = size * shape[(breaths * 256).astype(np.intp) & 255]
    return wave
