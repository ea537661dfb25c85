"""Comparing answers: what pairs, what differs, what doesn't count."""

import json

import pytest

from ctgkit.recording.format import Line
from ctgkit.replay.expect import PENDING_MAX, Verdict, answers, compare, settled

A, B = "0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d01", "0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d02"


def result(sec, sensor=A, *, risk=0.1, status="ok", **more):
    body = {
        "sensorID": sensor,
        "secFromStart": sec,
        "data": {"BPMChild": 140.0, "uterus": 1.0, "spasms": None},
        "prediction": None if risk is None else {"hypoxia_probability": risk, "alerts": ["x"]},
        "status": status,
        "timestamp": "now",
    }
    return Line(0.0, "v1", "<", json.dumps(body | more).encode())


def fallback(sec, sensor=A, **more):
    return result(sec, sensor, risk=None, status="error", **more)


def stream(*lines):
    return [Line(0.0, "v1", "open", about={}), *lines]


def told(expected, actual, renamed=None, **options):
    verdict = Verdict()
    differences = compare(
        answers(stream(*expected)), answers(stream(*actual), renamed), verdict, **options
    )
    return [str(d) for d in differences], verdict


def test_equal_answers_in_another_order_and_at_another_time():
    """Sensors may be interleaved otherwise; the timestamp doesn't count."""
    expected = [result(n, s) for n in range(50) for s in (A, B)]
    actual = [result(n, s, timestamp="later") for n in range(50) for s in (B, A)]
    differences, verdict = told(expected, actual)
    assert (differences, verdict.ok, verdict.compared) == ([], True, 100)


def test_a_difference_names_sensor_sample_and_member():
    """Also inside lists, and members that are new or gone."""
    differences, verdict = told(
        [result(12.5), result(13, figo="x")],
        [result(12.5, risk=0.4), result(13, features={"a": 1})],
    )
    assert differences == [
        f"{A} at 12.5 s: prediction.hypoxia_probability: 0.1 -> 0.4",
        f'{A} at 13 s: figo: "x" -> absent',
        f'{A} at 13 s: features: absent -> {{"a":1}}',
    ]
    assert (verdict.different, verdict.ok) == (2, False)


@pytest.mark.parametrize(("tolerance", "ok"), [(0.0, False), (0.05, True), (0.01, False)])
def test_tolerance(tolerance, ok):
    """Absolute and relative."""
    assert told([result(1)], [result(1, risk=0.14)], tolerance=tolerance)[1].ok is ok


def test_ignored_members():
    """By name, at any depth."""
    changed = result(1, risk=0.9)
    assert told([result(1)], [changed], ignored=["hypoxia_probability"])[1].ok
    assert told([result(1)], [changed], ignored=["prediction"])[1].ok


def test_what_is_missing_and_what_was_not_expected():
    """Each is counted and shown; nothing compared is not ok."""
    differences, verdict = told([result(1), result(2)], [result(2), result(3)])
    assert (verdict.compared, verdict.missing, verdict.unexpected) == (1, 1, 1)
    assert any(f"{A} at 1 s: answer: " in d and d.endswith("-> none") for d in differences)
    assert not told([], [])[1].ok


def test_where_the_ml_service_was_away_only_the_samples_count():
    """But where it is away now and was not then, that is a difference."""
    assert told([fallback(1)], [result(1)])[1].ok
    assert told([fallback(1)], [fallback(1)])[1].ok
    assert not told([fallback(1)], [result(1, data={"BPMChild": 150.0})])[1].ok
    assert not told([result(1)], [fallback(1)])[1].ok


def test_the_last_word_counts():
    """A late result replaces the backend's own; a second examination is another answer."""
    assert told([fallback(1), result(1)], [result(1)])[1].ok
    assert told([result(1)], [fallback(1), result(1)])[1].ok
    assert told([result(1), fallback(1)], [result(1)])[1].ok
    assert told([result(1), result(1, risk=0.3)], [result(1), result(1, risk=0.3)])[1].ok
    assert not told([result(1), result(1)], [result(1)])[1].ok


def test_sensors_that_were_played_by_others():
    """Their ids are no difference."""
    assert told([result(1, A)], [result(1, B)], {B: A})[1].ok
    assert not told([result(1, A)], [result(1, B)])[1].ok


def test_rejections_are_compared_in_order():
    """By their reason, whatever their number."""
    opened = Line(0.0, "s1", "open", about={"path": f"/ws/sensor?sensor_id={A}"})

    def rejected(*reasons):
        frames = [json.dumps({"error": r, "seq": n}).encode() for n, r in enumerate(reasons)]
        return [opened, *(Line(0.0, "s1", "<", frame) for frame in frames)]

    assert told(rejected("json", "range"), rejected("json", "range"))[1].ok
    differences, _ = told(rejected("json", "range"), rejected("json", "type"))
    assert differences == [f'{A} at rejection 2: rejected: "range" -> "type"']


def test_little_is_held():
    """Streams much longer than what may wait are compared with bounded memory."""
    n = 3 * PENDING_MAX
    verdict = Verdict()
    expected = answers(iter(stream(*(result(k) for k in range(0, n, 40)))))
    actual = answers(iter(stream(*(result(k) for k in range(0, n, 40)))))
    assert list(compare(expected, actual, verdict)) == []
    assert len(list(settled(answers(stream(*(result(k % 5) for k in range(100))))))) == 100
