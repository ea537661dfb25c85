"""Plain signals with known truth, for the tests of the stages."""

import numpy as np

from ctgkit.samples import Sample

SENSOR = "6f1c1f0a-8a3e-4a53-b9f4-6c3b9f5d0001"


def noise(n, size_bpm=3.0, seed=0):
    """Return smooth noise, so that neighbours resemble each other as in a real heart rate."""
    white = np.random.default_rng(seed).normal(0, 1, n + 8)
    smooth = np.convolve(white, np.ones(9) / 9, "valid")
    return smooth / smooth.std() * size_bpm


def bump(t_s, onset_s, fall_s, hold_s, rise_s, size):
    """Return an event: half-cosine flanks round a plateau."""
    x = np.zeros(len(t_s))
    u = t_s - onset_s
    going = (u >= 0) & (u < fall_s)
    x[going] = (1 - np.cos(np.pi * u[going] / fall_s)) / 2
    x[(u >= fall_s) & (u < fall_s + hold_s)] = 1
    back = (u >= fall_s + hold_s) & (u < fall_s + hold_s + rise_s)
    x[back] = (1 + np.cos(np.pi * (u[back] - fall_s - hold_s) / rise_s)) / 2
    return size * x


def contraction(t_s, peak_s, size=40.0, width_s=22.0):
    """Return a bell of some 95 s at 10 % of its height."""
    return size * np.exp(-0.5 * ((t_s - peak_s) / width_s) ** 2)


def feed(analyzer, t_s, fhr_bpm, toco=None):
    """Add samples; return the analyses."""
    toco = np.full(len(t_s), 10.0) if toco is None else toco
    found = []
    for second, rate, tone in zip(t_s.tolist(), fhr_bpm.tolist(), toco.tolist(), strict=True):
        sample = Sample(SENSOR, second, rate if rate > 0 else None, tone, None)
        if (analysis := analyzer.add(sample)) is not None:
            found.append(analysis)
    return found
