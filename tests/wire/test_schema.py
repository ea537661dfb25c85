"""The documents for machines agree with the codec and with what really goes over the wire."""

import json
import math

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit import wire
from ctgkit.errors import WireError
from ctgkit.samples import Prediction, Sample
from ctgkit.wire.schema import MESSAGES, asyncapi, json_schema

SCHEMA = json_schema()
SAMPLE = Sample("s", 1.5, 140.25, None, 0.0, 7)
PREDICTION = Prediction(
    hypoxia_probability=0.9, hypoxia_risk="critical", alerts=["a"], confidence=1.0,
    recommendations=[],
)  # fmt: skip


def validator(name):
    defs = SCHEMA["$defs"]
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": defs})


def test_the_document_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(MESSAGES) <= set(SCHEMA["$defs"])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SampleMessage", wire.encode_sample(SAMPLE)),
        ("SampleOut", wire.encode_sample(SAMPLE)),
        ("FlatSample", wire.encode_sample(SAMPLE, "flat")),
        ("NestedAndFlatSample", wire.encode_sample(SAMPLE, "both")),
        ("Ack", wire.encode_ack(5)),
        ("Reject", wire.encode_reject(WireError("range", "seq", "no", seq=5))),
        ("ResultOut", wire.encode_result(SAMPLE, None, "error", "2026-01-01T00:00:00Z")),
        ("ResultOut", wire.encode_result(SAMPLE, PREDICTION, "critical", "t", {"features": {}})),
        ("ErrorResult", wire.encode_error_result("no", "2026-01-01T00:00:00Z")),
    ],
)
def test_what_we_write_is_valid(name, text):
    validator(name).validate(json.loads(text))


numbers = st.none() | st.integers(-400, 400) | st.floats(-400, 400) | st.text(max_size=2)
samples = st.fixed_dictionaries(
    {
        "secFromStart": st.floats(-10, 4e7) | st.integers(-1, 40_000_000) | st.none(),
        "data": st.fixed_dictionaries({"BPMChild": numbers, "uterus": numbers, "spasms": numbers}),
    },
    optional={"sensorID": st.sampled_from(["s", "", None, 5]), "seq": st.integers(-2, 2**63)},
)


@given(samples | st.lists(samples, max_size=3))
def test_codec_and_schema_agree_about_samples(message):
    """The same messages are good for a validator that shares no code with the codec."""
    good, bad = wire.decode_frame(json.dumps(message), "s")
    name = "Batch" if isinstance(message, list) else "SampleMessage"
    assert validator(name).is_valid(message) == (bool(good) and not bad)


def test_asyncapi_refers_to_what_it_has():
    document = asyncapi()

    def references(value):
        if isinstance(value, dict):
            yield from ([value["$ref"]] if "$ref" in value else [])
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    for reference in references(document):
        place = document
        for key in reference.removeprefix("#/").split("/"):
            place = place[key]
    assert math.prod(len(o["messages"]) for o in document["operations"].values()) > 0
