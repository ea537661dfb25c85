"""How fast a sensor is synthesised, as ratios to floors measured in the same run.

    python -m benchmarks.signal [--json]

Floor: numpy drawing as many standard normals. NeuroKit2's ecg_simulate, when installed, for
comparison. CPU time of this process; the machine may be shared.
"""

import json
import statistics
import sys
import time

import numpy as np

from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor

SCENARIO = "active-labour"
REPEATS = 5
SENSORS = 1000
CHUNK = 240  # samples that a client asks for at once: a minute


def cpu_s(work):
    """Return the median CPU time of *work*."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def one_sensor(duration_s):
    """Return the CPU time of samples and events of one sensor."""
    scenario = load_scenario(SCENARIO)

    def work():
        sensor = Sensor(scenario, seed=1, duration_s=duration_s)
        while len(sensor.read(CHUNK).sec_from_start):
            pass
        sensor.events()

    return cpu_s(work)


def fleet_share():
    """Return the share of a core that 1,000 sensors at 4 Hz need, in steady state."""
    scenario = load_scenario(SCENARIO)
    sensors = [Sensor(scenario, seed=1, index=i) for i in range(SENSORS)]
    minutes = 13  # three blocks of 256 s and a start
    start = time.process_time()
    for _ in range(minutes):
        for sensor in sensors:
            sensor.read(CHUNK)
    return (time.process_time() - start) / (minutes * 60)


def neurokit_s_per_min():
    """Return NeuroKit2's CPU time for a minute of ECG, or None."""
    try:
        import neurokit2
    except ImportError:
        return None
    return cpu_s(lambda: neurokit2.ecg_simulate(duration=60, sampling_rate=250))


def main():
    """Measure and print."""
    hour_s = one_sensor(3600)
    rng = np.random.default_rng(1)
    normals_s = cpu_s(lambda: rng.standard_normal(4 * 3600))
    per_min = {str(minutes): one_sensor(60 * minutes) / minutes for minutes in (1, 5, 60, 24 * 60)}
    neurokit = neurokit_s_per_min()
    results = {
        "times_real_time": 3600 / hour_s,
        "ratio_to_standard_normal": hour_s / normals_s,
        "cpu_ms_per_simulated_minute_by_length_min": {k: 1000 * v for k, v in per_min.items()},
        "fleet_1000_share_of_a_core": fleet_share(),
        "neurokit2_ecg_over_ours_per_minute": neurokit and neurokit / (hour_s / 60),
    }
    if "--json" in sys.argv:
        print(json.dumps(results))
        return
    print(f"one sensor with truth       {results['times_real_time']:>10,.0f} x real time")
    print(f"over drawing normals        {results['ratio_to_standard_normal']:>10.0f} x")
    for length, value in results["cpu_ms_per_simulated_minute_by_length_min"].items():
        print(f"per minute, {length:>4} min long    {value:>10.2f} ms CPU")
    print(f"1,000 sensors at 4 Hz       {results['fleet_1000_share_of_a_core']:>10.1%} of a core")
    if neurokit:
        ratio = results["neurokit2_ecg_over_ours_per_minute"]
        print(f"NeuroKit2 ecg_simulate      {ratio:>10.1f} x our time per minute")


if __name__ == "__main__":
    main()
