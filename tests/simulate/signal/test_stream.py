"""Random numbers depend on (seed, sensor, name, row) and nothing else."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.simulate.signal.noise import (
    FRAME,
    SLOW_FRAME,
    TAPER,
    amplitudes,
    noise,
    slow,
    slow_samples,
)
from ctgkit.simulate.signal.stream import Streams

NAMES = st.sampled_from(["a", "toco.noise", "fhr.deceleration"])
ROWS = st.integers(-500, 10_000)


@given(NAMES, ROWS, st.integers(1, 90), st.integers(0, 80), st.booleans())
def test_rows_are_the_same_from_any_start(name, first, count, skip, normal):
    """Rows read from the middle are those read from the start."""
    streams = Streams(3, 1)
    read = streams.normal if normal else streams.uniform
    whole = read(name, first, first + skip + count, 3)
    assert np.array_equal(whole[skip:], read(name, first + skip, first + skip + count, 3))


@given(NAMES, ROWS)
def test_other_draws_in_between_change_nothing(name, row):
    """A component's draws don't depend on what others drew before."""
    alone = Streams(1, 2).generator(name, row).standard_normal(5)
    streams = Streams(1, 2)
    streams.generator("other", 3).random(7)
    streams.generator(name, row + 1).integers(0, 9, 3)
    assert np.array_equal(streams.generator(name, row).standard_normal(5), alone)


def test_streams_differ_by_seed_sensor_name_and_row():
    """No two streams share their numbers."""
    keys = [(0, 0, "a", 0), (1, 0, "a", 0), (0, 1, "a", 0), (0, 0, "b", 0), (0, 0, "a", 1)]
    drawn = [Streams(s, i).generator(n, r).random() for s, i, n, r in keys]
    assert len(set(drawn)) == len(keys)


def test_hash_seed_of_python_does_not_matter():
    """Two processes with different hash seeds draw the same."""
    code = (
        "from ctgkit.simulate.signal.stream import Streams;"
        "print(Streams(5, 2).normal('fhr.x', 7, 9, 2).tobytes().hex())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, check=True, text=True, env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(outputs) == 1


COEFFICIENTS = [FRAME // 2 + 1, SLOW_FRAME // 2 + 1]


@given(
    st.integers(-5000, 50_000),
    st.integers(1, 3000),
    st.integers(0, 2500),
    st.sampled_from(COEFFICIENTS),
)
def test_noise_is_the_same_in_any_pieces(first, count, skip, coefficients):
    """Noise rendered from the middle is bitwise that rendered from the start."""
    scale = amplitudes(np.ones(coefficients))
    whole = noise(Streams(0, 0), "n", first, skip + count, scale)
    assert np.array_equal(whole[skip:], noise(Streams(0, 0), "n", first + skip, count, scale))


@pytest.mark.parametrize("coefficients", COEFFICIENTS)
def test_noise_has_the_power_of_its_spectrum(coefficients):
    """White noise of 1 unit^2/Hz up to 2 Hz has variance 2, evenly over time."""
    wave = noise(Streams(0, 0), "n", 0, 400_000, amplitudes(np.ones(coefficients)))
    assert abs(wave.var() - 2.0) < 0.04
    hop = FRAME - TAPER if coefficients == COEFFICIENTS[0] else SLOW_FRAME // 2
    by_phase = wave[: 390 * 1024 // hop * hop].reshape(-1, hop).var(axis=0)  # no frame must show
    assert abs(by_phase[: hop // 2].mean() / by_phase[hop // 2 :].mean() - 1) < 0.02


def test_slow_wandering_is_smooth_and_of_unit_size():
    """Its variance is near one (interpolation takes some) and steps are small."""
    wave = slow(Streams(0, 0), "w", np.arange(0, 400_000, 5.0), 60.0, 400.0)
    assert 0.8 < wave.var() < 1.1
    assert np.abs(np.diff(wave)).max() < 0.4


@given(
    st.integers(-5000, 50_000), st.integers(1, 3000), st.sampled_from([0.25, 1.0, 1.5, 12.0, 220.0])
)
def test_slow_wandering_is_the_same_at_engine_samples(first, count, knot_s):
    """The quick way to wander along engine samples gives what any times give."""
    t_s = np.arange(first, first + count) / 4
    quick = slow_samples(Streams(0, 0), "w", t_s, knot_s, 3 * knot_s)
    assert np.allclose(quick, slow(Streams(0, 0), "w", t_s, knot_s, 3 * knot_s), atol=1e-9)
