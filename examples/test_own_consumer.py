"""Tests of a consumer of the viewer stream: `pytest examples/test_own_consumer.py` runs them.

The consumer is a toy. Put yours in its place; with `--ctgkit-url URL` and your sensors in
ctgkit.toml the same tests ask your own backend, and skip what only CTGKit's can do.
docs/testing.md has more: async tests, Hypothesis strategies.
"""

import json
from typing import Any

import pytest
from websockets.sync.client import connect


class Ward:
    """The consumer: the last heart rate of each patient, and who is in danger."""

    def __init__(self) -> None:
        self.rates: dict[str, float] = {}
        self.alarmed: set[str] = set()

    def read(self, message: dict[str, Any]) -> None:
        """Take one message."""
        rate = message["data"]["BPMChild"]
        if rate is not None:  # null: no signal
            self.rates[message["sensorID"]] = rate
        if message["status"] == "critical":
            self.alarmed.add(message["sensorID"])

    def watch(self, url: str, patients: int) -> None:
        """Read the stream at *url* until so many patients are known."""
        with connect(url, proxy=None, close_timeout=1) as stream:  # it leaves while more is coming
            while len(self.rates) < patients:
                self.read(json.loads(stream.recv(timeout=10)))


def test_it_finds_every_patient(ctgkit_backend, ctgkit_sensors):
    """Live, over its own connection, while sensors play beside the test."""
    for sensor in ctgkit_sensors:
        sensor.start(speed=60)
    ward = Ward()
    ward.watch(ctgkit_backend.viewer_url, len(ctgkit_sensors))
    assert ward.rates.keys() == {sensor.id for sensor in ctgkit_sensors}


def test_a_lost_signal_leaves_the_last_rate(ctgkit_sensor, ctgkit_viewer):
    """Sample by sample."""
    ctgkit_sensor.send(141)
    ctgkit_sensor.send(None)
    ctgkit_viewer.wait_for(count=2)
    ward = Ward()
    for message in ctgkit_viewer.messages:
        ward.read(message)
    assert ward.rates == {ctgkit_sensor.id: 141}


@pytest.mark.ctgkit_ml_script({"fhr_below": 110, "prediction": {"hypoxia_probability": 0.9}})
@pytest.mark.ctgkit_scenario("bradycardia-stable-105")
@pytest.mark.usefixtures("ctgkit_ml")
def test_it_sees_the_alarm(ctgkit_sensor, ctgkit_viewer):
    """The heart is slow in the scenario, and the ML stub says what the script tells it to."""
    ctgkit_sensor.play(duration_s=60)
    ward = Ward()
    ward.read(ctgkit_viewer.wait_for(lambda message: message["status"] == "critical"))
    assert ward.alarmed == {ctgkit_sensor.id}
