"""What the page decides is what the terminal decides: the same numbers through both, under Node."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctgkit.display import MAX_STEP_BPM, joined
from ctgkit.samples import Sample
from ctgkit.server.livepage import page_files
from ctgkit.watch.alarms import Alarms
from ctgkit.wire import encode_result

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(not NODE, reason="Node.js isn't installed")

SERVANT = """
import { createInterface } from "node:readline";
import { Alarms } from "./alarms.js";
import { State, decode } from "./state.js";
import { layout, marks, strokes, xOf, yOf } from "./strip.js";
const number = (v) => (v === null ? NaN : v);
const tasks = {
  strokes: ({ t_s, values, max_step }) => strokes(t_s, values.map(number), max_step ?? Infinity),
  alarms: ({ samples }) => {
    const alarms = new Alarms();
    for (const [t_s, fhr_bpm, critical] of samples) {
      if (critical === "acknowledge") alarms.acknowledge();
      else alarms.judge(t_s, fhr_bpm, critical);
    }
    return alarms.all;
  },
  fold: ({ steps }) => {
    const state = new State();
    let waits_s = null;
    for (const [verb, argument, now_s] of steps) {
      if (verb === "link") state.linked(now_s);
      else if (verb === "lose") waits_s = state.lost(argument, "");
      else if (verb === "settle") state.settle(now_s);
      else {
        try { state.fold(decode(argument), now_s); } catch { state.unreadable += 1; }
      }
    }
    const seen = [...state.sensors.values()].map((s) => ({
      id: s.id, t_s: s.t_s, fhr_bpm: s.fhr_bpm.map((v) => (Number.isNaN(v) ? null : v)),
      events: [...s.events.values()], prediction: s.prediction, quality: s.quality(),
      judged_s: s.alarms.last_s,
    }));
    return { sensors: seen, unreadable: state.unreadable, link: state.link, waits_s };
  },
  plan: ({ width, height, scale, speed, edge_s, t_s, bpm, events }) => {
    const plan = layout(width, height, scale, speed, edge_s);
    return { plan, x: xOf(plan, t_s), y: yOf(plan.fhr, bpm), marks: marks(plan, events) };
  },
};
for await (const line of createInterface({ input: process.stdin })) {
  const { task, ...given } = JSON.parse(line);
  console.log(JSON.stringify(tasks[task](given)));
}
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A function that runs one of the servant's tasks with the page's own modules."""
    directory = tmp_path_factory.mktemp("page")
    files = page_files() | {"servant.js": SERVANT, "package.json": '{"type": "module"}'}
    for name, text in files.items():
        (directory / name).write_text(text, "utf-8")
    with subprocess.Popen(
        [NODE, "servant.js"],
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def ask(task, **given):
            process.stdin.write(json.dumps({"task": task} | given) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


few = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
steps_s = st.sampled_from([0.25, 1.0, 2.0, 2.25, 20.0, 61.0])
rates = st.one_of(st.none(), st.sampled_from([95.0, 110.0, 140.0, 160.0, 165.0, 170.0]))


@needs_node
@few
@given(st.lists(st.tuples(steps_s, rates), min_size=1, max_size=60))
def test_gaps_are_the_same(page, samples):
    """Strokes join exactly the neighbours that ctgkit.display.joined joins."""
    t_s = np.cumsum([step for step, _ in samples])
    values = np.array([np.nan if v is None else v for _, v in samples])
    found = page("strokes", t_s=t_s.tolist(), values=[v for _, v in samples], max_step=MAX_STEP_BPM)
    pairs = {n for first, last in found for n in range(first, last)}
    assert pairs == set(np.flatnonzero(joined(t_s, values, MAX_STEP_BPM)).tolist())
    drawn = {n for first, last in found for n in range(first, last + 1)}
    assert drawn == set(np.flatnonzero(~np.isnan(values)).tolist())


@needs_node
@few
@given(
    st.lists(
        st.tuples(steps_s, rates, st.sampled_from([False, False, False, True, "acknowledge"])),
        max_size=80,
    )
)
def test_alarms_are_the_same(page, samples):
    """Whatever happens, the page raises what the terminal raises."""
    alarms, t_s, asked = Alarms(), 0.0, []
    for step, fhr_bpm, critical in samples:
        t_s += step
        asked.append((t_s, fhr_bpm, critical))
        if critical == "acknowledge":
            alarms.acknowledge()
        else:
            alarms.judge(t_s, fhr_bpm, critical=critical)
    found = {a.pop("kind"): a for a in page("alarms", samples=asked)}
    assert found == {
        kind: {"since_s": a.since_s, "active": a.active, "acknowledged": a.acknowledged}
        for kind, a in alarms.raised.items()
    }


def text(t_s, fhr_bpm=140.0, sensor="a", **extra):
    sample = Sample(sensor, t_s, fhr_bpm, 5.0, None)
    return encode_result(sample, None, "ok", "2026-01-01T00:00:00Z", extra).decode()


def told(*times_s, now_s, fhr_bpm=140.0):
    return [("fold", text(t_s, fhr_bpm), now_s) for t_s in times_s]


@needs_node
@pytest.mark.parametrize(
    ("steps", "times_s"),
    [
        (told(1, 2, 3, now_s=9), [1, 2, 3]),
        (told(1, 2, 3, 2.5, 4, now_s=9), [1, 2, 3, 4]),
        (told(10, 11, 3, 4, now_s=9), [3, 4]),
        ([("link", 0, 0), *told(8, 9, 1, 10, now_s=1)], [8, 9, 10]),
        ([("link", 0, 0), *told(1, 2, 3, now_s=9), ("link", 0, 20), *told(2, 3, 4, 5, now_s=20)],
         [1, 2, 3, 4, 5]),
        ([("link", 0, 0), *told(8, 9, now_s=9), ("link", 0, 20), *told(0, 1, now_s=20)], [0, 1]),
    ],
    ids=["in order", "a little late", "falls back", "last result after the past",
         "past again", "another examination after an outage"],
)  # fmt: skip
def test_order(page, steps, times_s):
    """Late samples are left out, a new examination starts a new trace, the past isn't doubled."""
    assert page("fold", steps=steps)["sensors"][0]["t_s"] == times_s


@needs_node
def test_alarms_judge_again_after_an_outage(page):
    """When a reconnect brings another examination, its time is not compared with the old one's."""
    steps = [("link", 0, 0), *told(900, now_s=9), ("link", 0, 20), *told(0, 1, now_s=20)]
    assert page("fold", steps=steps)["sensors"][0]["judged_s"] == 900
    steps += [("settle", 0, 26), *told(2, now_s=27)]
    assert page("fold", steps=steps)["sensors"][0]["judged_s"] == 2


@needs_node
@pytest.mark.parametrize(
    "bad",
    ["", "null", "[]", "{}", '{"sensorID": ""}', '{"sensorID": 1, "secFromStart": 1}',
     '{"sensorID": "a"}', '{"sensorID": "a", "secFromStart": -1}',
     '{"sensorID": "a", "secFromStart": 1e300}', '{"sensorID": "a", "secFromStart": "1"}'],
)  # fmt: skip
def test_bad_results_are_counted(page, bad):
    """Nothing that isn't a result reaches the trace."""
    answer = page("fold", steps=[("fold", bad, 0)])
    assert (answer["unreadable"], answer["sensors"]) == (1, [])


@needs_node
@pytest.mark.parametrize("extra", [
    {"events": 5},
    {"events": [None, 3, {"kind": "acceleration"}]},
    {"events": [{"kind": "constructor", "onset_s": 0, "end_s": 1}]},
    {"events": [{"kind": ["acceleration"], "onset_s": 0, "end_s": 1}]},
    {"figo": 3, "features": []},
])  # fmt: skip
def test_odd_members_do_no_harm(page, extra):
    """What has the wrong shape is left out; the sample is shown."""
    (sensor,) = page("fold", steps=[("fold", text(1, **extra), 0)])["sensors"]
    assert (sensor["t_s"], sensor["events"]) == ([1], [])


@needs_node
def test_impossible_values_are_no_signal(page):
    """0, and what lies beyond the limits, is no heart rate."""
    steps = [("fold", text(n, v), 0) for n, v in enumerate([140.0, 0.0, 1000.0, None])]
    (sensor,) = page("fold", steps=steps)["sensors"]
    assert sensor["fhr_bpm"] == [140.0, None, None, None]
    assert sensor["quality"] == 0.25


@needs_node
def test_retries_wait_longer_and_stop_without_a_token(page):
    """Half a second first, five at most; no more once the token was refused."""
    waits = [page("fold", steps=[("lose", 1006, 0)] * n)["waits_s"] for n in (1, 2, 3, 9)]
    assert waits == [0.5, 1, 2, 5]
    assert page("fold", steps=[("lose", 4401, 0)]) | {"sensors": 0} == {
        "sensors": 0, "unreadable": 0, "link": "refused", "waits_s": None,
    }  # fmt: skip


@needs_node
@pytest.mark.parametrize(("lo", "hi", "per_cm"), [(50, 210, 20), (30, 240, 30)])
@pytest.mark.parametrize("speed", [1, 2, 3])
def test_paper_keeps_its_proportions(page, lo, hi, per_cm, speed):
    """A centimetre is as wide as it is high, at every speed and range."""
    scale = {"lo": lo, "hi": hi, "lines": [10, per_cm], "per_cm": per_cm}
    event = {"kind": "deceleration", "subtype": "late", "onset_s": 500, "end_s": 560}
    answer = page(
        "plan", width=800, height=400, scale=scale, speed=speed, edge_s=600, t_s=600, bpm=hi,
        events=[event, event | {"onset_s": -9999, "end_s": -9990}],
    )  # fmt: skip
    plan = answer["plan"]
    assert (answer["x"], answer["y"]) == (pytest.approx(800), 0)
    assert plan["px_per_s"] * 60 / speed == pytest.approx(plan["cm"])
    assert (plan["fhr"]["bottom"] - plan["fhr"]["top"]) / plan["cm"] == pytest.approx(
        (hi - lo) / per_cm
    )
    (mark,) = answer["marks"]
    assert (mark["sign"], mark["letter"]) == ("▼", "L" if mark["x1"] - mark["x0"] > 26 else "")
    assert mark["x1"] - mark["x0"] == pytest.approx(60 * plan["px_per_s"])
