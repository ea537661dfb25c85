"""A scenario of your own: what you will see is what happens in it, from its ground truth.

The scenario stands in own_scenario.toml; edit it and run this again.
"""

from pathlib import Path

import numpy as np

from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor

scenario = load_scenario(str(Path(__file__).with_suffix(".toml")))
sensor = Sensor(scenario, seed=1)
trace = sensor.read(20 * 240)  # twenty minutes at 4 Hz

lost = np.isnan(trace.fhr_bpm)
print(f"signal lost: {lost[: 14 * 240].mean():.0%} before minute 14, {lost[15 * 240 :].mean():.0%}")
for event in sensor.events():
    if event.kind == "deceleration":
        at_min, length_min = event.onset_s / 60, event.duration_s / 60
        print(f"{event.subtype} at {at_min:.1f} min for {length_min:.1f} min, {event.size:.0f} bpm")
