"""The plain trace."""

import numpy as np
import pytest

from ctgkit.samples import FHR_MAX_BPM, FHR_MIN_BPM
from ctgkit.simulate.plain import plain_source


@pytest.mark.parametrize("sizes", [[1] * 50, [7, 64, 29], [100]])
def test_chunk_size_changes_nothing(sizes):
    """Reading in chunks of any size gives the same samples."""
    whole = plain_source(seed=1, sensor=2).read(sum(sizes))
    source = plain_source(seed=1, sensor=2)
    parts = [source.read(size) for size in sizes]
    for channel, expected in zip(zip(*parts, strict=True), whole, strict=True):
        np.testing.assert_array_equal(np.concatenate(channel), expected)


def test_seed_and_sensor_choose_the_trace():
    """Other seeds and other sensors look different."""
    a, b, c = (plain_source(seed=s, sensor=n).read(100) for s, n in ((0, 0), (0, 1), (1, 0)))
    assert not np.array_equal(a.fhr_bpm, b.fhr_bpm)
    assert not np.array_equal(a.fhr_bpm, c.fhr_bpm)


@pytest.mark.parametrize("rate_hz", [1.0, 4.0, 1 / 0.12])
def test_the_trace_is_that_of_a_healthy_fetus(rate_hz):
    """Baseline 110-160, moderate variability, accelerations, no deceleration; any rate."""
    for sensor in range(5):
        chunk = plain_source(seed=3, sensor=sensor, rate_hz=rate_hz).read(int(3600 * rate_hz))
        np.testing.assert_allclose(np.diff(chunk.sec_from_start), 1 / rate_hz)
        baseline = np.median(chunk.fhr_bpm)
        assert 110 <= baseline <= 160
        minutes = chunk.fhr_bpm[: len(chunk.fhr_bpm) // 60 * 60].reshape(60, -1)
        assert 5 <= np.median(np.ptp(minutes, axis=1)) <= 25
        assert FHR_MIN_BPM < baseline - 20 < chunk.fhr_bpm.min()
        assert baseline + 15 < chunk.fhr_bpm.max() < FHR_MAX_BPM
        assert chunk.spasms.min() >= 0
        assert chunk.spasms.max() > 30
