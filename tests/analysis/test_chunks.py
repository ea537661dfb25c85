"""The analyzer's results don't depend on how the samples are handed over."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ctgkit.analysis import Analyzer
from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor

SAMPLES = 12 * 240


def analyzed(seed, sizes):
    """Return all that is said when each piece is simulated and fed by itself, and reports read."""
    sensor, analyzer = Sensor(load_scenario("variable-atypical"), seed=seed), Analyzer()
    said, n, turn = [], 0, 0
    while n < SAMPLES:
        chunk = sensor.read(min(sizes[turn % len(sizes)], SAMPLES - n))
        n, turn = n + len(chunk.sec_from_start), turn + 1
        rate = np.where(np.isfinite(chunk.fhr_bpm), chunk.fhr_bpm, 0.0).tolist()
        for sample in zip(chunk.sec_from_start.tolist(), rate, chunk.uterus.tolist(), strict=True):
            analysis = analyzer.push(*sample)
            if analysis is not None:
                said.append(repr(analysis))
        _ = analyzer.events, analyzer.minutes  # reading them in between changes nothing
    said.append(repr(analyzer.finish()))
    return said, repr(analyzer.events), repr(analyzer.minutes)


WHOLE = {}


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(1, 2), sizes=st.lists(st.integers(30, 1500), min_size=1, max_size=6))
def test_results_do_not_depend_on_the_chunks(seed, sizes):
    if seed not in WHOLE:
        WHOLE[seed] = analyzed(seed, [SAMPLES])
        assert len(WHOLE[seed][0]) > 10
        assert "deceleration" in WHOLE[seed][1]
    assert analyzed(seed, sizes) == WHOLE[seed]
