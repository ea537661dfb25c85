"""What the analyzer costs per sample, over decoding the sample (see also `benchmarks.analyzer`)."""

import statistics

from benchmarks.measure import Figure, alternate, process_seconds
from ctgkit import wire
from ctgkit.analysis import Analyzer
from ctgkit.samples import Sample
from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.sensor import Sensor

SENSOR = "0c7f4a34-0000-4000-8000-00000000000a"
SCENARIO = "active-labour"
HOUR = 14_400


def labour(count):
    """Return simulated samples."""
    chunk = Sensor(load_scenario(SCENARIO), seed=1).read(count)
    channels = zip(*(channel.tolist() for channel in chunk), strict=True)
    return [
        Sample(SENSOR, second, *(value if value == value else None for value in values))
        for second, *values in channels
    ]


def measure(options):
    """Return the ratio."""
    samples = labour(HOUR // 12 if options.quick else HOUR)
    frames = [wire.encode_sample(sample) for sample in samples]

    def analyse(_):
        analyzer = Analyzer()
        return process_seconds(lambda: [analyzer.add(sample) for sample in samples])

    pairs = alternate(
        analyse,
        lambda _: process_seconds(lambda: [wire.decode_request(frame) for frame in frames]),
        options.repeat,
    )
    return [
        Figure(
            part="analysis",
            name="CPU per sample analysed ÷ decoding it",
            values=[analysed / decoded for analysed, decoded in pairs],
            beside={
                "µs": 1e6 / len(samples) * statistics.median(ours for ours, _ in pairs),
                "decoding": 1e6 / len(samples) * statistics.median(floor for _, floor in pairs),
            },
        )
    ]
