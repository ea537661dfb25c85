"""Scenarios: what is accepted, what is refused and how the refusal reads."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.errors import ScenarioError
from ctgkit.simulate.knobs import CHOICES, KNOBS
from ctgkit.simulate.library import load_scenario, scenario_names, scenario_text
from ctgkit.simulate.patient import Patient
from ctgkit.simulate.scenario import Draw, Shares, parse_scenario
from ctgkit.simulate.signal.stream import Streams

CATALOGUE = [
    "normal-reactive",
    "quiet-sleep",
    "active-4F",
    "early-labour",
    "active-labour",
    "second-stage-pushing",
    "early-decels",
    "late-decels-mild",
    "late-decels-severe",
    "late-shallow-low-variability",
    "variable-typical",
    "variable-atypical",
    "prolonged-recovering",
    "terminal-bradycardia",
    "tachycardia-fever",
    "bradycardia-stable-105",
    "reduced-variability",
    "absent-variability",
    "saltatory",
    "zigzag",
    "sinusoidal",
    "pseudo-sinusoidal",
    "tachysystole",
    "hypertonus",
    "hypoxia-acute",
    "hypoxia-subacute",
    "hypoxia-gradual",
    "hypoxia-chronic",
    "chorioamnionitis",
    "preterm-28w",
    "maternal-capture",
    "dead-fetus-mhr",
    "doubling-halving",
    "poor-signal",
    "toco-drift-rezero",
    "sensor-off",
    "mixed-cohort",
    "original-healthy",
    "original-hypoxia",
    "intrapartum-cohort",
]


def parse(text, **others):
    """Parse *text* as scenario ``mine``; shipped and *others* can be extended."""
    texts = {"mine": text, **others}
    return parse_scenario("mine", lambda name: texts.get(name) or scenario_text(name))


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_catalogue_is_shipped_and_loads(name):
    """Every scenario of the catalogue exists, has a title and a sensible length."""
    scenario = load_scenario(name)
    assert scenario.id == name
    assert scenario.title
    assert 600 <= scenario.duration_s <= 4 * 3600


def test_nothing_is_shipped_that_does_not_load():
    """All names load."""
    assert set(CATALOGUE) <= set(scenario_names())
    for name in scenario_names():
        load_scenario(name)


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("[fhr]\nbaselin_bpm = 140", "fhr.baselin_bpm", "did you mean 'baseline_bpm'"),
        ("[fh]\nbaseline_bpm = 140", "fh", "did you mean 'fhr'"),
        ("[fhr]\nbaseline_bpm = 1400", "fhr.baseline_bpm", "outside 50 to 220 bpm"),
        ("[fhr]\nbaseline_bpm = nan", "fhr.baseline_bpm", "expected a number"),
        ("[fhr]\nbaseline_bpm = true", "fhr.baseline_bpm", "expected a number"),
        ("[fhr]\nbaseline_bpm = 'x'", "fhr.baseline_bpm", "expected a number"),
        ("[fhr]\nbaseline_bpm = {p5 = 130, p50 = 120}", "fhr.baseline_bpm", "must not decrease"),
        ("[fhr]\nbaseline_bpm = {p5 = 13}", "fhr.baseline_bpm.p5", "outside"),
        ("[fhr]\nbaseline_bpm = {q5 = 130}", "fhr.baseline_bpm.q5", "percentiles"),
        ("[fhr]\nbaseline_bpm = {}", "fhr.baseline_bpm", "at least one percentile"),
        ("[state]\nmode = 'cylcing'", "state.mode", "did you mean 'cycling'"),
        ("[state]\nmode = {cycling = 0}", "state.mode", "more than 0"),
        ("[meta]\nduration = '10 parsecs'", "meta.duration", "such as '90s'"),
        ("[meta]\nextends = 'normal-reactiv'", "", "did you mean 'normal-reactive'"),
        ("[meta]\nextends = 'mine'", "meta.extends", "extends itself"),
        ("[[at]]\nset = {}", "at[0].t", "missing"),
        ("[[at]]\nt = 5\nset = {'fhr.bandwith_bpm' = 3}", "at[0].set.fhr.bandwith_bpm", "did you"),
        ("[[at]]\nt = 5\nforce = {event = 'acceleratio'}", "at[0].force.event", "did you mean"),
        ("[[at]]\nt = 5\nforce = {event = 'loss', size = 3}", "at[0].force.size", "outside"),
        (
            "[[at]]\nt = 5\nscale = {'toco.grid' = 2}",
            "at[0].scale.toco.grid",
            "stays the same for a whole run",
        ),
        ("[[at]]\nt = 5\nchance = 2", "at[0].chance", "outside 0 to 1"),
        ("[at]\nt = 5", "at", "[[at]]"),
        ("[mix]\nmine = 1", "mix.mine", "mixes itself"),
        ("[mix]\nmixed-cohort = 1", "mix.mixed-cohort", "itself a mix"),
        ("[fhr", "", "not TOML"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, where, what):
    """The error names the key and what was expected."""
    with pytest.raises(ScenarioError) as caught:
        parse(text)
    assert caught.value.key == where
    assert what in caught.value.reason


@given(st.text(max_size=60))
def test_any_text_is_a_scenario_or_a_scenario_error(text):
    """Nothing else comes out."""
    with contextlib.suppress(ScenarioError):
        parse_scenario("mine", lambda name: text if name == "mine" else scenario_text(name))


@given(st.sampled_from(sorted(KNOBS)), st.floats(0, 1))
def test_every_value_in_range_is_accepted(path, share):
    """Schema, parser and patient agree on every knob."""
    knob = KNOBS[path]
    value = knob.low + share * (knob.high - knob.low)
    section, key = path.split(".", 1)
    scenario = parse(f"[{section}]\n{key} = {value!r}")
    assert Patient(scenario, Streams(0, 0)).at(path, 5.0) == value


def test_defaults_are_inside_their_ranges():
    """The schema is consistent with itself."""
    assert all(k.low <= k.default <= k.high for k in KNOBS.values())
    assert all(c.default in c.options for c in CHOICES.values())


def test_extending_overrides_single_keys_and_joins_timelines():
    """The child's keys win, the parent's others stay, both timelines happen."""
    parent = "[fhr]\nbaseline_bpm = 150\nbandwidth_bpm = 5\n[[at]]\nt = 10\nphase = 'a'"
    child = "[meta]\nextends = 'parent'\n[fhr]\nbaseline_bpm = 120\n[[at]]\nt = 20\nphase = 'b'"
    scenario = parse(child, parent=parent)
    assert scenario.numbers["fhr.baseline_bpm"] == 120
    assert scenario.numbers["fhr.bandwidth_bpm"] == 5
    assert [c.phase for c in scenario.timeline] == ["a", "b"]


def test_a_ramp_goes_straight_and_a_later_change_cuts_it():
    """Value before, halfway, and after a second change that begins during the first ramp."""
    text = """
[fhr]
baseline_bpm = 120
[[at]]
t = "10min"
ramp = "10min"
set = { "fhr.baseline_bpm" = 140 }
[[at]]
t = "15min"
ramp = "5min"
scale = { "fhr.baseline_bpm" = 0.5 }
"""
    patient = Patient(parse(text), Streams(0, 0))
    values = [patient.at("fhr.baseline_bpm", 60.0 * m) for m in (0, 10, 12.5, 15, 20, 60)]
    assert values == pytest.approx([120, 120, 125, 130, 65, 65])


def test_patients_differ_and_follow_their_distribution():
    """Percentiles in, percentiles out; shares in, shares out."""
    text = """
[fhr]
baseline_bpm = { p0 = 120, p50 = 130, p100 = 160 }
[sensor]
method = { doppler = 3, scalp = 1 }
"""
    patients = [Patient(parse(text), Streams(0, i)) for i in range(400)]
    baselines = sorted(p.at("fhr.baseline_bpm", 0.0) for p in patients)
    assert baselines[200] == pytest.approx(130, abs=2)
    assert baselines[0] >= 120
    assert baselines[-1] <= 160
    scalp = sum(p.words["sensor.method"] == "scalp" for p in patients) / len(patients)
    assert scalp == pytest.approx(0.25, abs=0.05)


def test_what_a_mix_sets_holds_for_its_parts():
    """Its knobs, timeline, faults and gestational age, as if each of them were extended."""
    text = """
        [meta]
        extends = "intrapartum-cohort"
        ga_weeks = 26
        [accel]
        per_h = 30
        [[at]]
        t = "10min"
        set = { "fhr.baseline_bpm" = 100 }
        [[fault]]
        kind = "drop"
        rate = 0.1
    """
    scenario = parse_scenario("mine", lambda name: text if name == "mine" else scenario_text(name))
    plain = load_scenario("intrapartum-cohort")
    for (share, part), (_, before) in zip(scenario.mix, plain.mix, strict=True):
        assert 0 < share <= 1
        assert part.ga_weeks == 26
        assert part.numbers == before.numbers | {"accel.per_h": 30.0}
        assert part.timeline[:-1] == before.timeline
        assert part.timeline[-1].set == {"fhr.baseline_bpm": 100.0}
        assert [fault.kind for fault in part.faults] == ["drop"]


def test_a_mix_draws_by_share():
    """A ward of 1,000 has about 8 % pathological and 70 % normal patients."""
    scenario = load_scenario("mixed-cohort")
    ids = [Patient(scenario, Streams(1, i)).scenario.id for i in range(500)]
    normal = {"normal-reactive", "early-labour", "active-labour", "quiet-sleep"}
    assert sum(i in normal for i in ids) / 500 == pytest.approx(0.70, abs=0.05)
    assert len(set(ids)) == 14


def test_draws_interpolate_between_percentiles():
    """Linear between the given percentiles, constant outside."""
    draw = Draw((10.0, 50.0), (1.0, 2.0))
    assert [draw.at(u) for u in (0.0, 0.1, 0.3, 0.9)] == pytest.approx([1, 1, 1.5, 2])
    assert Shares(("a", "b"), (0.25, 1.0)).at(0.25) == "b"


def test_a_file_may_extend_a_file_beside_it(tmp_path):
    """Relative names in a file are looked up beside it."""
    (tmp_path / "base.toml").write_text("[fhr]\nbaseline_bpm = 151")
    (tmp_path / "top.toml").write_text("[meta]\nextends = 'base.toml'")
    assert load_scenario(str(tmp_path / "top.toml")).numbers["fhr.baseline_bpm"] == 151


def test_a_missing_file_is_a_scenario_error(tmp_path):
    """With its path."""
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_scenario(str(tmp_path / "none.toml"))
