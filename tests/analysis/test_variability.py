"""Variability of a minute, and the sinusoidal pattern."""

import numpy as np
import pytest

from ctgkit.analysis import variability
from tests.analysis.signals import noise

LEVEL = np.full(240, 140.0)
NO_EVENT = np.zeros(240, bool)
T_10MIN_S = np.arange(600.0)


@pytest.mark.parametrize("band", [4.0, 10.0, 25.0])
def test_the_bandwidth_of_a_sine_is_its_height(band):
    fhr_bpm = 140 + band / 2 * np.sin(np.arange(240) / 240 * 2 * np.pi * 4)
    assert variability.minute(fhr_bpm, LEVEL, NO_EVENT).bandwidth_bpm == pytest.approx(
        band, rel=0.02
    )


def test_stv_is_the_mean_change_of_the_pulse_interval():
    epochs = np.repeat(np.where(np.arange(16) % 2, 60_000 / 430, 60_000 / 420), 15)
    found = variability.minute(epochs, LEVEL, NO_EVENT)
    assert found.stv_ms == pytest.approx(10)
    assert found.ltv_ms == pytest.approx(10)


def test_oscillations_are_counted():
    fhr_bpm = 140 + 5 * np.sin(np.arange(240) / 240 * 2 * np.pi * 5)
    found = variability.minute(fhr_bpm, LEVEL, NO_EVENT)
    assert found.oscillations_per_min == pytest.approx(5, abs=0.6)


@pytest.mark.parametrize(
    ("lost", "band", "stv"), [(20, True, True), (40, True, False), (70, False, False)]
)
def test_what_too_little_signal_allows(lost, band, stv):
    fhr_bpm = 140 + noise(240)
    fhr_bpm[:lost] = np.nan
    found = variability.minute(fhr_bpm, LEVEL, NO_EVENT)
    assert (found.bandwidth_bpm is not None, found.stv_ms is not None) == (band, stv)


def test_events_are_left_out():
    fhr_bpm, event = 140 + noise(240), NO_EVENT.copy()
    fhr_bpm[200:], event[200:] = 100, True
    found = variability.minute(fhr_bpm, LEVEL, event)
    assert found.bandwidth_bpm < 25
    assert found.stv_ms is None


@pytest.mark.parametrize(("per_min", "swing", "sinusoidal"), [
    (3, 12, True), (4, 25, True), (4, 4, False), (4, 36, False), (1, 12, False), (8, 12, False),
])  # fmt: skip
def test_a_sinusoidal_rhythm_has_its_rate_and_size(per_min, swing, sinusoidal):
    fhr_bpm = 140 + swing / 2 * np.sin(T_10MIN_S * per_min / 60 * 2 * np.pi) + noise(600, 0.4)
    assert variability.is_sinusoidal(fhr_bpm, np.full(600, 140.0)) == sinusoidal


def test_ordinary_variability_is_not_sinusoidal():
    assert not variability.is_sinusoidal(140 + noise(600, 4), np.full(600, 140.0))


def test_half_a_record_shows_no_rhythm():
    fhr_bpm = 140 + 6 * np.sin(T_10MIN_S / 15 * 2 * np.pi)
    fhr_bpm[::2] = np.nan
    assert not variability.is_sinusoidal(fhr_bpm, np.full(600, 140.0))
