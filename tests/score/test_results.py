"""What an analyzer said: a report, or results one by one."""

import msgspec
import pytest

from ctgkit.samples import Prediction
from ctgkit.score.alarms import ANY, Alarm
from ctgkit.score.results import Listener, from_report
from ctgkit.score.truth import Span
from ctgkit.wire import Result


def result(at_s, **members):
    shape = {"prediction": None, "status": "ok"}
    return Result(
        sensor_id="x", sec_from_start=at_s, fhr_bpm=140.0, uterus=None, spasms=None, timestamp="",
        **(shape | members),
    )  # fmt: skip


def heard(*results):
    listener = Listener()
    for one in results:
        listener.take(one)
    return listener.results()


def event(onset_s, end_s, name="", **more):
    return {"kind": "deceleration", "onset_s": onset_s, "end_s": end_s, "id": name, **more}


def prediction(probability=0.1, *alerts):
    risk = "low" if probability <= 0.3 else "high"
    return Prediction(
        hypoxia_probability=probability, hypoxia_risk=risk, alerts=list(alerts), confidence=1.0,
        recommendations=[],
    )  # fmt: skip


def test_an_event_counts_as_it_was_told_last_and_as_soon_as_it_was_told_first():
    said = heard(
        result(300, events=[event(250, 280, "a", tier="provisional")]),
        result(300.25, prediction=prediction()),
        result(330, events=[event(250, 320, "a", subtype="late", tier="provisional")]),
        result(360, events=[event(255, 320, "a", subtype="late")]),
        result(390, events=[]),
    )
    (found,) = said.events
    assert (found.onset_s, found.end_s, found.subtype) == (255, 320, "late")
    assert found.named_at_s == 300


def test_an_event_that_was_not_final_and_is_told_no_more_is_withdrawn():
    said = heard(
        result(300, events=[event(250, 280, "a", tier="provisional"), event(1, 60, "b")]),
        result(330, events=[]),
    )
    assert [e.id for e in said.events] == ["b"]


def test_events_without_an_id_are_recognised_by_their_time():
    said = heard(
        result(300, events=[event(200, 280)]),
        result(330, events=[event(205, 290), event(300, 320)]),
    )
    assert [(e.onset_s, e.end_s, e.named_at_s) for e in said.events] == [
        (205, 290, 300), (300, 320, 330),
    ]  # fmt: skip


def test_an_event_that_turns_out_to_be_two_is_two():
    said = heard(
        result(300, events=[event(200, 280)]),
        result(330, events=[event(200, 230), event(250, 290)]),
    )
    assert sorted((e.onset_s, e.end_s) for e in said.events) == [(200, 230), (250, 290)]


def test_the_names_of_a_result_go_before_those_of_a_report():
    said = heard(result(300, events=[event(200, 280, type="late", start_s=0)]))
    assert [(e.kind, e.onset_s) for e in said.events] == [("deceleration", 200)]


def test_without_any_prediction_nothing_is_known():
    said = heard(result(10), result(600))
    assert (said.events, said.baseline, said.alarms) == (None, None, None)


def test_a_minimal_service_says_nothing_about_events_but_raises_alarms():
    said = heard(
        result(300, prediction=prediction(0.1)),
        result(330, prediction=prediction(0.6), status="warning"),
        result(330.25, prediction=prediction(0.6), status="warning"),
        result(360, prediction=prediction(0.1)),
        result(390, prediction=prediction(0.2, "Тахикардия")),
        result(420, prediction=prediction(0.2, "Тахикардия")),
    )
    assert (said.events, said.baseline) == (None, None)
    assert said.alarms == (Alarm(ANY, 330, 360), Alarm(ANY, 390, 420))
    assert not said.alarms_by_code


def test_alarms_with_codes_are_told_apart():
    said = heard(
        result(300, prediction=prediction(0.9), alert_details=[{"code": "tachycardia"}]),
        result(330, prediction=prediction(0.9)),
        result(360, prediction=prediction(0.1), alert_details=[]),
        result(390, prediction=prediction(0.1), alert_details="none"),
    )
    assert said.alarms == (Alarm("tachycardia", 300, 360),)
    assert said.alarms_by_code


def test_the_backends_word_in_the_services_place_ends_no_alarm():
    said = heard(
        result(300, prediction=prediction(0.9)),
        result(330, status="error"),
        result(360, prediction=prediction(0.9)),
    )
    assert len(said.alarms) == 1


def test_the_baseline_is_that_of_the_ten_minutes_before():
    said = heard(
        result(300, features={"baseline_bpm": 140}),
        result(310, features={"baseline_bpm": 141}),
        result(900, features={"baseline_bpm": None}),
        result(930, features={"baseline_bpm": 142.5}),
    )
    assert said.baseline == (Span(0, 300, 140), Span(330, 930, 142.5))


def test_what_cannot_be_used_is_left_out_and_counted():
    said = heard(
        result(900, events=[{"kind": "deceleration"}, event(800, 860, "a")]),
        result(10, events=[event(1, 5, "other")]),
    )
    assert [e.id for e in said.events] == ["a"]
    assert said.unreadable == 2


def test_a_report_has_the_members_that_event_score_reads():
    said = from_report(
        msgspec.json.encode(
            {
                "events": [{"type": "acceleration", "start_s": 10, "end_s": 40, "size": 20}],
                "baseline_per_minute": [None, 140.5],
            }
        )
    )
    (found,) = said.events
    assert (found.kind, found.onset_s, found.end_s, found.named_at_s) == (
        "acceleration", 10, 40, None,
    )  # fmt: skip
    assert said.baseline == (Span(60, 120, 140.5),)
    assert said.alarms is None


@pytest.mark.parametrize(("alerts", "by_code"), [
    ([[], ["tachycardia"]], True), ([[], ["high risk"]], False), ([None, None], False),
])  # fmt: skip
def test_the_alarms_of_a_report(alerts, by_code):
    course = [
        {"at_s": 300 + 30 * n, "hypoxia_probability": 0.9 * n, "alerts": up}
        for n, up in enumerate(alerts)
    ]
    said = from_report(msgspec.json.encode({"course": course}))
    assert said.alarms_by_code == by_code
    assert said.alarms == (Alarm("tachycardia" if by_code else ANY, 330, 330),)


@pytest.mark.parametrize("text", [
    b'{"course": [{"at_s": 300, "hypoxia_probability": 1.01}]}',
    b"{", b"[]", b"{}", b'{"events": [{"type": "acceleration"}]}', b'{"events": 5}', b"\xff",
])  # fmt: skip
def test_what_is_no_report_is_refused(text):
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        from_report(text)
