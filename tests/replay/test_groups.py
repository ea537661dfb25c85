"""Differences as a report: what is folded together, and what it says."""

from xml.etree import ElementTree

import pytest

from ctgkit.replay.expect import Difference, Verdict
from ctgkit.replay.groups import CHANGES_MAX, Grouping, html, junit
from tests.replay.test_expect import result, told


def grouped(*differences):
    grouping = Grouping()
    for difference in differences:
        grouping.add(difference)
    return grouping.groups()


def risk(sensor, sec, was="low", now="medium"):
    return Difference(sensor, f"{sec:g} s", "prediction.hypoxia_risk", f'"{was}"', f'"{now}"')


def test_one_change_is_one_line():
    """By sensors, member, change and time range, however often it comes."""
    groups = grouped(*(risk(s, sec) for s in "abc" for sec in range(412, 1981)))
    assert [str(g) for g in groups] == [
        'prediction.hypoxia_risk: "low" → "medium", 3 sensors, 412–1,980 s, 4,707 results'
    ]


def test_numbers_are_one_group_with_the_largest_gap():
    groups = grouped(
        Difference("a", "1 s", "prediction.hypoxia_probability", "0.1", "0.15"),
        Difference("a", "2 s", "prediction.hypoxia_probability", "0.5", "0.25"),
        Difference("a", "2 s", "prediction.alerts[0]", '"x"', '"y"'),
        Difference("a", "2 s", "prediction.alerts[3]", '"x"', '"y"'),
    )
    assert [str(g) for g in groups] == [
        'prediction.alerts[]: "x" → "y", 1 sensor, 2 s, 2 results',
        "prediction.hypoxia_probability: differs by up to 0.25, 1 sensor, 1–2 s, 2 results",
    ]


def test_an_object_that_is_gone_is_one_group_whatever_it_held():
    """Each prediction has another confidence; that there is none any more is one change."""
    grouping = Grouping()
    for n in range(50):
        key, held = f"{n} s", f'{{"confidence": {n / 50}}}'
        grouping.add(Difference("a", key, "prediction", held, "null"))
    assert [str(g) for g in grouping.groups()] == [
        "prediction: an object → null, 1 sensor, 0–49 s, 50 results"
    ]


def test_missing_answers_and_rejections():
    groups = grouped(
        Difference("a", "1 s", "answer", "{…}", "none"),
        Difference("a", "rejection 3", "answer", "none", "{…}"),
    )
    assert {str(g) for g in groups} == {
        "answer: missing, 1 sensor, 1 s, 1 result",
        "answer: not expected, 1 sensor, 1 result",
    }


def test_many_different_changes_stay_few_groups():
    """Memory is bounded by kinds, not by differences."""
    groups = grouped(*(risk("a", n, now=f"text {n}") for n in range(1000)))
    assert len(groups) == CHANGES_MAX + 1
    assert sum(g.count for g in groups) == 1000
    assert groups[0].change == "other changes"


def test_reports_for_ci_and_for_people():
    """Hostile text stays text."""
    groups = grouped(risk("a", 1, now="<script>alert(1)</script>"))
    verdict = Verdict(compared=5, different=1)
    suite = ElementTree.fromstring(junit("run.jsonl", groups, verdict, ok=False))
    assert (suite.get("tests"), suite.get("failures")) == ("2", "2")
    page = html("run.jsonl", groups, verdict, ok=False)
    assert "<script>" not in page
    assert "http://" not in page


@pytest.mark.parametrize(("allowed", "ok"), [(0.1, True), (0.01, False)])
def test_a_tolerance_of_its_own(allowed, ok):
    """Of one member; the others keep theirs."""
    changed = result(1, risk=0.15)
    assert told([result(1)], [changed], tolerances={"hypoxia_probability": allowed})[1].ok is ok
    moved = result(1, data={"BPMChild": 140.05, "uterus": 1.0, "spasms": None})
    assert not told([result(1)], [moved], tolerances={"hypoxia_probability": 1})[1].ok
