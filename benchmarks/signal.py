"""What a sample of a simulated sensor costs, truth included, over drawing a standard normal."""

import statistics

import numpy as np

from benchmarks.measure import Figure, alternate, process_seconds
from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor

SCENARIO = "active-labour"
HOUR_S = 3_600.0
CHUNK = 240  # samples that a client asks for at once: a minute
FLEET, FLEET_MINUTES = 1_000, 13  # three blocks of 256 s and a start


def simulate(seconds):
    """Play one sensor to its end and ask for its events."""
    sensor = Sensor(load_scenario(SCENARIO), seed=1, duration_s=seconds)
    while len(sensor.read(CHUNK).sec_from_start):
        pass
    sensor.events()


def fleet_share(sensors, minutes):
    """Return the share of a core that sensors at 4 Hz need, in steady state."""
    scenario = load_scenario(SCENARIO)
    playing = [Sensor(scenario, seed=1, index=index) for index in range(sensors)]

    def play():
        for _ in range(minutes):
            for sensor in playing:
                sensor.read(CHUNK)

    return process_seconds(play) / (minutes * 60)


def measure(options):
    """Return the cost of one sensor, alone and among many."""
    seconds = 300.0 if options.quick else HOUR_S
    random = np.random.default_rng(1)
    pairs = alternate(
        lambda _: process_seconds(lambda: simulate(seconds)),
        lambda _: process_seconds(lambda: random.standard_normal(int(4 * seconds))),
        options.repeat,
    )
    sensors = 10 if options.quick else FLEET
    return [
        Figure(
            part="signal",
            name="CPU per sample ÷ drawing a standard normal",
            values=[ours / normals for ours, normals in pairs],
            beside={"× real time": seconds / statistics.median(ours for ours, _ in pairs)},
        ),
        Figure(
            part="signal",
            name=f"{sensors} sensors at 4 Hz, share of a core",
            unit="%",
            values=[
                100 * fleet_share(sensors, 1 if options.quick else FLEET_MINUTES)
                for _ in range(1 if options.quick else options.repeat)
            ],
        ),
    ]
