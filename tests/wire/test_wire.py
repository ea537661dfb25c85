"""The codec: what goes in comes out, and whatever else comes in is one WireError."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.errors import WireError
from ctgkit.samples import FHR_MAX_BPM, FHR_MIN_BPM, TOCO_MAX, TOCO_MIN, Sample
from ctgkit.testing import strategies
from ctgkit.wire import (
    Ack,
    Reject,
    decode_frame,
    decode_reply,
    decode_request,
    decode_result,
    decode_result_head,
    encode_ack,
    encode_error_result,
    encode_prediction,
    encode_reject,
    encode_result,
    encode_sample,
    is_error_result,
)

SENSOR = "0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d11"

samples = strategies.samples(SENSOR) | strategies.samples(SENSOR, numbered=True)


def spec(**changes):
    """Return the specification's own example, changed."""
    message = {
        "sensorID": SENSOR,
        "secFromStart": 12.5,
        "data": {"BPMChild": 140.5, "uterus": 15.2, "spasms": 0.0},
    } | changes
    return json.dumps(message)


def only_error(frame, sensor_id=SENSOR):
    good, errors = decode_frame(frame, sensor_id)
    assert good == []
    assert len(errors) == 1
    return errors[0]


@given(st.lists(samples, min_size=1, max_size=5))
def test_what_is_encoded_is_decoded(batch):
    """A frame of any number of samples comes back as it was, as text and as bytes."""
    frame = b"[" + b",".join(encode_sample(s) for s in batch) + b"]"
    assert decode_frame(frame, SENSOR) == (batch, [])
    assert decode_frame(frame.decode(), SENSOR) == (batch, [])


@given(samples)
def test_every_ml_format_is_understood(sample):
    """Nested and both keep everything; flat writes what is absent as 0, as its readers need."""
    unnumbered = Sample(SENSOR, sample.sec_from_start, sample.fhr_bpm, sample.uterus, sample.spasms)
    assert decode_request(encode_sample(unnumbered, "nested")) == unnumbered
    assert decode_request(encode_sample(unnumbered, "both")) == unnumbered
    flat = decode_request(encode_sample(unnumbered, "flat"))
    assert flat.fhr_bpm == sample.fhr_bpm
    assert flat.uterus == (sample.uterus or 0)
    assert set(json.loads(encode_sample(sample, "flat"))) == {
        "sensorID", "secFromStart", "BPMChild", "uterus", "spasms",
    }  # fmt: skip


@given(st.binary() | st.text().map(str.encode) | st.binary().map(lambda b: b'{"data":' + b))
def test_any_bytes_give_values_or_wire_errors(frame):
    """No bytes whatever make a decoder raise anything but WireError."""
    good, errors = decode_frame(frame, SENSOR)
    assert len(good) + len(errors) >= 1
    for decode in (decode_request, decode_result, decode_result_head, decode_reply):
        with contextlib.suppress(WireError):
            decode(frame)
    is_error_result(frame)


@given(strategies.json_values())
def test_any_json_gives_valid_samples_or_wire_errors(value):
    """Whatever JSON comes, what is accepted obeys the limits."""
    good, errors = decode_frame(json.dumps(value), SENSOR)
    assert len(good) + len(errors) >= 1
    for sample in good:
        assert sample.sensor_id == SENSOR
        assert sample.fhr_bpm is None or FHR_MIN_BPM <= sample.fhr_bpm <= FHR_MAX_BPM
        assert sample.uterus is None or TOCO_MIN <= sample.uterus <= TOCO_MAX
        assert sample.sec_from_start >= 0
    for error in errors:
        assert len(error.shown) <= 80
        assert error.where


@pytest.mark.parametrize(
    "frame",
    [
        spec(),
        spec().encode(),
        spec(sensorID=""),
        spec(sensorID=SENSOR.upper()),
        spec(extra={"ignored": [1, 2]}),
        spec().replace("BPMChild", "bpmChild"),
        spec().replace("BPMChild", "BPMCHILD").replace("secFromStart", "SECFROMSTART"),
        "[" + spec() + "]",
        " \n" + spec(),
    ],
)
def test_spellings_of_the_specification_example(frame):
    """Any case of the keys, an empty id, text or bytes, alone or in an array: the same sample."""
    assert decode_frame(frame, SENSOR) == ([Sample(SENSOR, 12.5, 140.5, 15.2, 0.0)], [])


@pytest.mark.parametrize("data", [{"BPMChild": None}, {"BPMChild": 0}, {"BPMChild": -0.0}, {}])
def test_no_signal_is_none(data):
    """null, 0 and a missing heart rate all mean no signal."""
    assert decode_frame(spec(data=data), SENSOR)[0][0].fhr_bpm is None


@pytest.mark.parametrize(
    ("frame", "code", "where"),
    [
        (b"", "json", "frame"),
        (b"{", "json", "frame"),
        (b"\xff\xfe", "json", "frame"),
        (b'{"x":"\xff","secFromStart":0,"data":{"BPMChild":2}}', "utf8", "frame"),
        ("[" * 100_000, "json", "frame"),
        ("[]", "missing", "frame"),
        ("1", "type", "frame"),
        ("[[]]", "type", "frame"),
        ("{}", "missing", "secFromStart"),
        (spec(data=None), "type", "data"),
        (spec(data=[]), "type", "data"),
        (spec(secFromStart=-1), "range", "secFromStart"),
        (spec(secFromStart="1"), "type", "secFromStart"),
        (spec(secFromStart=1e12), "range", "secFromStart"),
        (spec(data={"BPMChild": "140"}), "type", "data.BPMChild"),
        (spec(data={"BPMChild": True}), "type", "data.BPMChild"),
        (spec(data={"BPMChild": 301}), "range", "data.BPMChild"),
        (spec(data={"BPMChild": -5}), "range", "data.BPMChild"),
        (spec(data={"BPMChild": 19.9}), "range", "data.BPMChild"),
        (spec(data={"uterus": 1e4}), "range", "data.uterus"),
        (spec(data={"BPMChild": float("nan")}), "json", "frame"),
        (spec(data={"BPMChild": float("inf")}), "json", "frame"),
        (spec().replace("140.5", "1e999"), "json", "frame"),
        (spec(sensorID="somebody-else"), "sensor_id", "sensorID"),
        (spec(sensorID=7), "type", "sensorID"),
        (spec(seq=-1), "range", "seq"),
        (spec(seq=1.5), "type", "seq"),
        (spec(seq=2**63), "range", "seq"),
    ],
)
def test_what_is_wrong_is_named(frame, code, where):
    """Each kind of bad sample has its code and names its field."""
    error = only_error(frame)
    assert (error.code, error.where) == (code, where)


def test_one_bad_sample_of_a_batch_spares_the_others():
    """In an array only the bad sample is rejected, and its number is known."""
    frame = "[" + ",".join([spec(seq=1), spec(seq=2, secFromStart=-1), spec(seq=3)]) + "]"
    good, errors = decode_frame(frame, SENSOR)
    assert [s.seq for s in good] == [1, 3]
    assert [e.seq for e in errors] == [2]


def test_replies_round_trip():
    """Acks and rejections come back as they were; anything else is refused."""
    assert decode_reply(encode_ack(7)) == Ack(7)
    error = WireError("range", "data.uterus", "too high", seq=9)
    assert decode_reply(encode_reject(error)) == Reject("range: data.uterus: too high", 9)
    with pytest.raises(WireError):
        decode_reply(b'{"hello": 1}')


def test_a_request_needs_its_sensor():
    """An ML service can't do without the id."""
    for frame in (spec(sensorID=""), '{"sensorID":"x","secFromStart":1}', "[]", "nonsense"):
        with pytest.raises(WireError):
            decode_request(frame)


@pytest.mark.parametrize("fhr", [0.5, 19.75])
def test_a_heart_rate_below_the_lowest_is_refused_however_plainly_it_is_spelt(fhr):
    """Between no signal (0) and 20, also on the quick way of a plain sample."""
    with pytest.raises(WireError):
        decode_request(spec(sensorID=SENSOR, data={"BPMChild": fhr, "uterus": 1, "spasms": 1}))


@given(
    samples,
    st.none() | strategies.predictions(),
)
def test_results_round_trip(sample, prediction):
    """A viewer reads what the service wrote; a prediction encoded once reads the same."""
    extra = {"features": {"baseline_bpm": 140.0}}
    text = encode_result(sample, prediction, "ok", "2026-01-01T00:00:00.000Z", extra)
    result = decode_result(text)
    assert (result.sec_from_start, result.fhr_bpm) == (sample.sec_from_start, sample.fhr_bpm)
    assert result.prediction == prediction
    assert result.features == extra["features"]
    assert decode_result_head(text).sensor_id == SENSOR
    if prediction is not None:
        raw = encode_result(sample, encode_prediction(prediction), "ok", "t")
        assert decode_result(raw).prediction == prediction


def test_an_error_result_is_no_result():
    """The original service's error answer names no sensor: it can't be relayed."""
    text = encode_error_result("Processing error: x", "t")
    assert is_error_result(text)
    assert not is_error_result(b'{"sensorID": "x"}')
    with pytest.raises(WireError):
        decode_result_head(text)


@pytest.mark.parametrize("item", ["{}", "0", '{"secFromStart":1,"data":{}}'])
def test_a_frame_of_thousands_is_rejected_whole(item):
    """Without a limit, one frame costs a tenth of a second and thousands of replies."""
    good, bad = decode_frame("[" + ",".join([item] * 513) + "]", "s")
    assert good == []
    assert [error.where for error in bad] == ["frame"]
