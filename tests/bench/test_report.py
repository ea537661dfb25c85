"""What the findings say: never a figure without what it belongs to."""

import json

import msgspec
import pytest

from ctgkit.bench.knee import Level, find_knee, judge
from ctgkit.bench.machine import this_machine
from ctgkit.bench.picture import draw
from ctgkit.bench.report import Findings, as_dict, conclusion, head, row, tail
from tests.extras import need

LEVELS = {50: 1.5, 100: 3.0, 200: 400.0, 150: 20.0}


@pytest.fixture
def findings():
    levels = tuple(
        judge(
            Level(
                sensors=n, due=20 * n, samples_per_s=4.0 * n, p50_ms=1.0, p99_ms=p99_ms,
                p999_ms=p99_ms, max_ms=p99_ms, statuses={"ok": n, "error": 1},
            ),
            50.0,
        )
        for n, p99_ms in LEVELS.items()
    )  # fmt: skip
    return Findings(
        target="ws://127.0.0.1:1",
        seen_at="viewer",
        acks=True,
        backend={"service": "ctgkit", "ml": "up"},
        machine=this_machine(),
        settings={"rate_hz": 4.0, "warm_up_s": 2.0, "window_s": 5.0, "max_p99_ms": 50.0},
        levels=levels,
        knee=find_knee(levels),
    )


def test_the_text_has_the_machine_the_settings_and_the_knee(findings):
    """A table, bars against the bound, and one sentence."""
    text = "\n".join([*head(findings), *map(row, findings.levels), *tail(findings)])
    for part in (
        str(this_machine()), "4 Hz a sensor", "p99 at most 50 ms", "ml up", "not a medical device",
        "seen at a viewer", "FAILS: p99 is 400.0 ms", "the viewer saw, by status: 500 ok, 4 error",
        "knee: 150 sensors of 4 Hz (600 samples/s) with p99 ≤ 50 ms and nothing lost; 200 don't",
    ):  # fmt: skip
        assert part in text
    bars = [line for line in text.splitlines() if "█" in line]
    assert [line.split()[0] for line in bars] == ["50", "100", "150", "200"]
    assert len({line.index("|") for line in bars[:3]}) == 1


def test_a_busy_machine_is_named(findings):
    """Else its noise would pass for the backend's."""
    for load, said in ((0.1, False), (99.0, True)):
        machine = msgspec.structs.replace(findings.machine, load=load)
        shown = "\n".join(head(msgspec.structs.replace(findings, machine=machine)))
        assert ("busy before the run" in shown) == said


def test_json_has_it_all(findings):
    """One object, with each level's verdict beside its figures."""
    found = json.loads(json.dumps(as_dict(findings)))
    assert [n["verdict"] for n in found["levels"]] == ["held", "held", "failed", "held"]
    assert found["levels"][2]["p99_ms"] == 400.0
    assert found["knee"]["failed_at"] == 200
    assert found["machine"]["cores"] >= 1


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ({50: 99.0}, "not even 50 sensors hold: p99 is 99.0 ms"),
        ({50: 1.0}, "at least 50 sensors of 4 Hz"),
    ],
)
def test_the_ends_of_the_scale(findings, levels, said):
    """Nothing held, or everything."""
    judged = [
        judge(Level(sensors=n, due=1, samples_per_s=1.0, p99_ms=p99_ms), 50.0)
        for n, p99_ms in levels.items()
    ]
    findings = msgspec.structs.replace(findings, levels=tuple(judged), knee=find_knee(judged))
    assert said in conclusion(findings)


@pytest.mark.parametrize(("name", "magic"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml")])
def test_the_curve_is_drawn(findings, tmp_path, name, magic):
    """As PNG or SVG."""
    need("matplotlib")
    draw(findings, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(magic)
