"""What a sample costs on a foreign wire, over what it costs on ours.

Twice: the text alone, rendered by a profile and encoded by the built-in codec; and the whole sensor
process at 4 Hz per sensor, to a server that reads, with synthesis, pacing and sending.
"""

import asyncio
import statistics
import time

from benchmarks.fleet import SETTLE_PER_SENSOR_S, SETTLE_S, us_per_sample
from benchmarks.load import Role
from benchmarks.measure import Figure, alternate, process_seconds
from benchmarks.system import configured
from ctgkit.profile.library import load_profile
from ctgkit.profile.session import Session
from ctgkit.samples import Sample
from ctgkit.wire import encode_sample

SHAPE, SENSORS, SECONDS = "signal-messages", 100, 10.0
SAMPLES, TURNS = 10_000, 30
"""Messages of a turn, which takes some 10 ms; turns of each side, alternating."""
SENSOR = "76c4d1f9-022d-54e3-8d62-c293f412c7db"


def text(options):
    """Return the figure for the texts alone."""
    samples = [Sample(SENSOR, n / 4, 120 + n % 40 / 4, n % 100 / 2, 0.0) for n in range(SAMPLES)]
    renderer = load_profile(SHAPE)
    session = Session(SENSOR, 1.7e9)

    def render_all():
        for sample in samples:  # nothing is kept, as in a sensor: what is costs collections
            renderer.render((sample,), session)

    def encode_all():
        for sample in samples:
            encode_sample(sample)

    turns = 3 if options.quick else TURNS * options.repeat
    pairs = alternate(
        lambda _: process_seconds(render_all), lambda _: process_seconds(encode_all), turns
    )
    return Figure(
        part="profile",
        name=f"CPU per message, {SHAPE} ÷ built-in codec",
        values=[ours / floor for ours, floor in pairs],
        target=3.0,
        beside={
            "µs": 1e6 / SAMPLES * statistics.median(ours for ours, _ in pairs),
            "built-in µs": 1e6 / SAMPLES * statistics.median(floor for _, floor in pairs),
        },
    )


def sensor_us(system, seconds, *arguments):
    """Return what a sensor process spends on a sample once all are connected."""
    fleet = system.start("sensor", "-q", "--sensors", SENSORS, *arguments)
    time.sleep(SETTLE_S + SETTLE_PER_SENSOR_S * SENSORS)
    cost_us = us_per_sample(fleet.pid, SENSORS, seconds)
    asyncio.run(fleet.stopped())
    return cost_us


def whole(options):
    """Return the figure for the whole process."""
    seconds = 1.0 if options.quick else SECONDS
    with (
        configured(SENSORS, options.directory) as (system, _),
        Role("acknowledge") as acks,
        Role("receive") as reads,
    ):
        ours = acks.first.replace("http", "ws", 1) + "/ws/sensor"
        theirs = reads.first.replace("http", "ws", 1) + "/ws"
        pairs = alternate(
            lambda _: sensor_us(system, seconds, "--profile", SHAPE, "--url", theirs),
            lambda _: sensor_us(system, seconds, "--url", ours),
            options.repeat,
        )
    return Figure(
        part="profile",
        name=f"CPU per sample, {SENSORS} sensors of {SHAPE} ÷ of ctgkit.v1",
        values=[theirs / ours for theirs, ours in pairs],
        target=3.0,
        stretch=1.5,
        beside={
            "µs": statistics.median(theirs for theirs, _ in pairs),
            "ctgkit.v1 µs": statistics.median(ours for _, ours in pairs),
        },
    )


def measure(options):
    """Return both figures."""
    return [text(options), whole(options)]
