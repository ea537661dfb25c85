"""What a sensor keeps of a block comes back as the same bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ctgkit.simulate.block import BLOCK
from ctgkit.simulate.kept import Kept
from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor

WHOLE = st.integers(-3000, 3000)
VALUES = st.one_of(
    st.floats(),
    st.just(-0.0),
    WHOLE.map(lambda n: n / 4),
    WHOLE.map(lambda n: n / 10),
    WHOLE.map(lambda n: n * 0.1),
)


@given(arrays(np.float64, (3, 20), elements=VALUES), st.integers(0, 20), st.integers(0, 20))
def test_any_values_come_back(channels, start, stop):
    """Also those that no monitor shows, in any piece."""
    piece = Kept(channels).piece(start, stop)
    assert piece.tobytes() == channels[:, start:stop].tobytes()


def test_pieces_can_be_written_to():
    """They are arrays of their own."""
    for channels in (np.full((3, 4), 0.25), np.full((3, 4), 0.3333)):
        kept = Kept(channels)
        kept.piece(0, 4)[:] = 1
        assert (kept.piece(0, 4) == channels).all()


def test_reading_and_asking_for_the_truth_agree():
    """Whichever comes first, across the border of a block."""
    sensor, asked = (Sensor(load_scenario("normal-reactive"), seed=2) for _ in range(2))
    rendered = asked.render(0, 4096 + 32).chunk
    for first in range(0, 4096 + 32, 32):
        if first == 1024:
            sensor.render(first, 32)
        for read, told in zip(sensor.read(32), rendered, strict=True):
            assert read.tobytes() == told[first : first + 32].tobytes()


@pytest.mark.parametrize("n_samples", [7, 64, 1000])
def test_nothing_but_samples_is_kept(n_samples):
    """Whatever the size of the pieces: with the truth it is five times the memory."""
    sensor = Sensor(load_scenario("normal-reactive"), seed=2)
    while sensor.position < 2 * BLOCK:
        sensor.read(n_samples)
    assert sensor._blocks
    assert all(isinstance(block, Kept) for block in sensor._blocks.values())
