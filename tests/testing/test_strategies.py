"""The strategies keep what they promise, and reach what they name."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from ctgkit.samples import FHR_MAX_BPM, FHR_MIN_BPM
from ctgkit.simulate.sensor import Sensor
from ctgkit.testing import strategies
from ctgkit.testing.history import History, Part, Send
from ctgkit.wire import decode_frame, decode_result


@settings(max_examples=25)
@given(strategies.frames())
def test_every_sample_of_a_valid_frame_is_accepted(frame):
    """By the reference."""
    good, errors = decode_frame(frame, strategies.SENSOR_ID)
    assert good
    assert errors == []


@settings(max_examples=25)
@given(strategies.hostile_frames())
def test_nothing_of_a_hostile_frame_is_accepted(frame):
    """And it is short enough to be read."""
    good, errors = decode_frame(frame, strategies.SENSOR_ID)
    assert good == []
    assert errors
    assert len(frame) <= 16_384


@settings(max_examples=25)
@given(strategies.results())
def test_results_are_what_a_viewer_reads(text):
    """Status and risk go with the probability."""
    result = decode_result(text)
    assert result.sensor_id == strategies.SENSOR_ID
    if result.prediction is None:
        assert result.status in ("ok", "error")
    else:
        assert (result.status == "ok") == (result.prediction.hypoxia_probability <= 0.5)
    assert result.timestamp.endswith("Z")


@settings(max_examples=10)
@given(strategies.scenarios())
def test_every_drawn_scenario_can_be_played(scenario):
    """Its samples are in range."""
    chunk = Sensor(scenario, seed=0).read(240)
    fhr = chunk.fhr_bpm[~np.isnan(chunk.fhr_bpm)]
    assert ((fhr >= FHR_MIN_BPM) & (fhr <= FHR_MAX_BPM)).all()


@settings(max_examples=25)
@given(strategies.histories(from_s=100))
def test_a_history_knows_what_must_arrive(history):
    """Data times are unique, and each belongs to a sample that the reference accepts."""
    assert history.expected == sorted(set(history.expected))
    accepted = [
        sample.sec_from_start
        for step in history.steps
        if isinstance(step, Send)
        for sample in decode_frame(step.frame, strategies.SENSOR_ID)[0]
    ]
    assert accepted == history.expected
    assert all(sec >= 100 for sec in accepted)


@pytest.mark.parametrize(
    ("strategy", "holds"),
    [
        (strategies.samples(numbered=True), lambda s: s.seq and s.fhr_bpm is None),
        (strategies.frames(), lambda f: f[:1] == b"["),
        (strategies.frames(), lambda f: isinstance(f, str) and "bpmChild" in f),
        (strategies.hostile_frames(), lambda f: "NaN" in str(f)),
        (strategies.hostile_frames(), lambda f: isinstance(f, bytes) and b"\xff" in f),
        (strategies.results(), lambda r: json.loads(r)["status"] == "critical"),
        (strategies.results(), lambda r: json.loads(r)["status"] == "error"),
        (strategies.histories(), lambda h: Part("drop") in h.steps and h.expected),
    ],
)
def test_the_strategies_reach(strategy, holds):
    """What they are there for."""
    quickly = settings(max_examples=1000, database=None, phases=[Phase.generate])
    assert find(strategy, holds, settings=quickly)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_history_may_happen_to_the_backend(data, ctgkit_sensor, ctgkit_viewer):
    """Exactly what must arrive arrives: the property that a backend is tested by."""
    history = data.draw(strategies.histories())
    ctgkit_viewer.forget()
    ctgkit_sensor.perform(History((*history.steps, Part("leave"))))
    ctgkit_sensor.send(140, sec=31_000_000)
    ctgkit_viewer.wait_for(lambda message: message["secFromStart"] == 31_000_000)
    arrived = [message["secFromStart"] for message in ctgkit_viewer.messages]
    assert arrived == [*history.expected, 31_000_000]
    ctgkit_sensor.leave()
