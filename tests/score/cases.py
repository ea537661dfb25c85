"""A simulated patient: its truth, and what a perfect analyzer would say."""

from functools import cache

from ctgkit.score.results import Found, Results
from ctgkit.score.truth import simulated
from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor


@cache
def events_of(name, minutes=60, seed=1):
    """Return what truly happens in a scenario."""
    sensor = Sensor(load_scenario(name), seed=seed)
    sensor.seek(minutes * 240)
    return tuple(sensor.events())


def truth_of(name, minutes=60, seed=1):
    """Return the truth of a scenario."""
    return simulated(name, events_of(name, minutes, seed))


def perfect(truth, delay_s=60.0):
    """Return results that say exactly what is true, a minute after each onset."""
    return Results(
        events=tuple(
            Found(e.kind, e.onset_s, e.end_s, f"e{n}", e.subtype, named_at_s=e.onset_s + delay_s)
            for n, e in enumerate(truth.events)
        ),
        baseline=truth.baseline,
        alarms=truth.alarms,
        alarms_by_code=True,
    )
