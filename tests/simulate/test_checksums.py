"""The same seed gives the same bytes: for every shipped scenario and every fault."""

import hashlib
import json
from pathlib import Path

import pytest

from ctgkit.faults.fault import Message
from ctgkit.faults.line import Line
from ctgkit.faults.schema import KINDS, parse_fault
from ctgkit.samples import Sample
from ctgkit.simulate.library import load_scenario, scenario_names
from ctgkit.simulate.sensor import Sensor
from ctgkit.wire import encode_sample

FROZEN = Path(__file__).with_name("checksums.json")
"""SHA-256 of 15 minutes each. After a change that is meant to give other bytes, and a new signal
version that says so, ``python -m tests.simulate.test_checksums`` writes them again."""
N_SAMPLES = 3600


def value(number):
    return None if number != number else float(number)


def scenario_sum(name):
    chunk = Sensor(load_scenario(name), seed=7, index=1).read(N_SAMPLES)
    digest = hashlib.sha256()
    for sec, fhr, uterus, spasms in zip(*chunk, strict=True):
        sample = Sample("s", float(sec), value(fhr), value(uterus), value(spasms))
        digest.update(encode_sample(sample))
    return digest.hexdigest()


def fault_sum(kind):
    digest = hashlib.sha256()
    for spec in (f"{kind}:rate=0.1", f"{kind}:at=30"):
        line = Line([parse_fault(spec)], seed=7, party="p")
        digest.update(repr(line.open(0.0)).encode())
        for n in range(400):
            frame = encode_sample(Sample("s", n / 4, 140.0 + n / 100, 10.0, 0.0))
            passed = line.take(Message(n, n / 4, frame))
            digest.update(repr((passed.messages, passed.impairment)).encode())
    return digest.hexdigest()


def sums():
    return {
        "scenarios": {name: scenario_sum(name) for name in scenario_names()},
        "faults": {kind: fault_sum(kind) for kind in sorted(KINDS)},
    }


def test_the_list_is_complete():
    frozen = json.loads(FROZEN.read_text())
    assert sorted(frozen["scenarios"]) == sorted(scenario_names())
    assert sorted(frozen["faults"]) == sorted(KINDS)


@pytest.mark.parametrize("name", scenario_names())
def test_scenarios(name):
    assert scenario_sum(name) == json.loads(FROZEN.read_text())["scenarios"][name]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_faults(kind):
    assert fault_sum(kind) == json.loads(FROZEN.read_text())["faults"][kind]


if __name__ == "__main__":
    FROZEN.write_text(json.dumps(sums(), indent=1) + "\n")
