"""Ground truth: what it says is what the noise-free signal does."""

import numpy as np
import pytest

import ctgkit
from ctgkit.simulate.block import MASK_BITS
from ctgkit.simulate.generate import truth_lines
from ctgkit.simulate.library import load_scenario, scenario_names
from ctgkit.simulate.sensor import Sensor

DECELERATIONS = {
    "early-decels": ("early", 5),
    "late-decels-mild": ("late", 5),
    "late-decels-severe": ("late", 5),
    "late-shallow-low-variability": ("late", 5),
    "variable-typical": ("variable", 5),
    "variable-atypical": ("variable", 5),
    "prolonged-recovering": ("prolonged", 1),
}


def run(name, hours=1.5, seed=0):
    """Return the truth arrays and events of a run."""
    truth = Sensor(load_scenario(name), seed=seed).render(0, int(hours * 14400)).truth
    return truth, events_of(name, hours, seed)


def events_of(name, hours=1.5, seed=0):
    """Return the events of a run."""
    sensor = Sensor(load_scenario(name), seed=seed)
    sensor.seek(int(hours * 14400))
    return sensor.events()


def measured(truth, event):
    """Onset, first nadir, nadir and end, s, and depth, bpm, of the dip around an event.

    It is over where the heart is within 2.5 bpm of the baseline and doesn't come nearer.
    """
    below = truth.baseline_bpm - truth.fhr_clean_bpm
    low = high = round(event.peak_s * 4)
    while low > 0 and (below[low] > 2.5 or below[low] > below[low - 1]) and below[low] > 0.5:
        low -= 1
    while high < len(below) - 1 and below[high] > 0.5:
        if below[high] <= 2.5 and below[high + 1] >= below[high]:
            break
        high += 1
    nadir = first = low + int(np.argmax(below[low : high + 1]))
    for i in range(low + 1, nadir):
        if below[i - 1] <= below[i] > below[i + 1] and below[i] >= max(15, below[nadir] / 2):
            first = i
            break
    return low / 4, first / 4, nadir / 4, high / 4, below[nadir]


@pytest.mark.parametrize("name", sorted(DECELERATIONS))
def test_eligible_decelerations_satisfy_their_definition(name):
    """All that the truth calls eligible, measured again on the clean arrays."""
    subtype, at_least = DECELERATIONS[name]
    truth, events = run(name)
    contractions = {e.id: e for e in events if e.kind == "contraction"}
    eligible = [e for e in events if e.kind == "deceleration" and e.meets_clinical]
    eligible = [e for e in eligible if e.end_s < 5300]
    assert sum(e.subtype == subtype for e in eligible) >= at_least
    shallow = 10 if name == "late-shallow-low-variability" else 15
    for e in eligible:
        onset_s, first_s, nadir_s, end_s, depth = measured(truth, e)
        assert depth >= shallow - 0.1
        assert end_s - onset_s >= 15
        if e.subtype == "variable":
            assert first_s - onset_s < 30.5
        elif e.subtype != "prolonged":
            assert nadir_s - onset_s > 29.5
        contraction = contractions.get(e.linked_contraction)
        if e.subtype == "early":
            assert abs(nadir_s - contraction.peak_s) <= 15.5
        if e.subtype == "late":
            assert onset_s - contraction.onset_s > 19.5
            assert nadir_s > contraction.peak_s
            assert end_s > contraction.end_s
        if e.subtype == "prolonged":
            assert end_s - onset_s > 179


def test_most_decelerations_are_eligible():
    """The definition isn't met by accident."""
    for name in ("late-decels-mild", "variable-typical", "early-decels"):
        events = events_of(name)
        decelerations = [e for e in events if e.kind == "deceleration"]
        assert sum(bool(e.meets_clinical) for e in decelerations) >= 0.6 * len(decelerations)


@pytest.mark.parametrize(
    ("second", "count", "subtype"),
    [
        ((20, 60, 35), 1, "variable"),  # the second deeper: the fall of both takes over 30 s
        ((20, 40, 20), 1, "variable"),  # the heart doesn't come back between them
        ((45, 40, 35), 2, "variable"),  # one follows the other
        ((20, 80, 35), 1, "variable"),
    ],
)
def test_overlapping_decelerations_are_what_they_show(second, count, subtype):
    """Each dip that one sees is told, and of the type that it shows."""
    after_s, length_s, depth_bpm = second
    sensor = Sensor(load_scenario("tachycardia-fever"), seed=1)
    fall = "variable_deceleration"
    sensor.inject(fall, at_sample=2400, duration_s=40, size=25)
    sensor.inject(fall, at_sample=2400 + 4 * after_s, duration_s=length_s, size=depth_bpm)
    truth = sensor.render(0, 4 * 1200).truth
    sensor.seek(4 * 1200)
    told = [e for e in sensor.events() if e.kind == "deceleration" and 590 < e.onset_s < 700]
    assert len(told) == 2
    assert all(e.meets_clinical and e.subtype == subtype for e in told)
    low = truth.baseline_bpm - truth.fhr_clean_bpm > 2.5
    assert np.count_nonzero(np.diff(low[4 * 590 : 4 * 900].astype(int)) == 1) == count


def test_eligible_accelerations_rise_15_bpm_for_15_s():
    """On the clean arrays."""
    truth, events = run("normal-reactive", seed=3)
    eligible = [e for e in events if e.kind == "acceleration" and e.meets_clinical]
    assert len(eligible) >= 8
    for e in eligible:
        inside = slice(round(e.onset_s * 4), round(e.end_s * 4) + 1)
        above = (truth.fhr_clean_bpm - truth.baseline_bpm)[inside]
        assert above.max() >= 14.9
        assert e.duration_s >= 14.5


@pytest.mark.parametrize("name", scenario_names())
def test_events_are_in_order_unique_and_end_after_they_begin(name):
    """Structure that readers rely on."""
    events = events_of(name, hours=0.75)
    assert [e.onset_s for e in events] == sorted(e.onset_s for e in events)
    assert len({e.id for e in events}) == len(events)
    assert all(0 <= e.onset_s <= e.end_s for e in events)
    contractions = {e.id for e in events if e.kind == "contraction"}
    early_s = 120  # a contraction just before the start has no event
    for e in events:
        if e.linked_contraction and e.onset_s > early_s:
            assert e.linked_contraction in contractions


@pytest.mark.parametrize(
    ("kind", "bit", "name"),
    [
        ("loss", "loss", "poor-signal"),
        ("fault", "off", "sensor-off"),
        ("maternal_capture", "maternal_capture", "maternal-capture"),
        ("doubling", "doubling", "doubling-halving"),
        ("halving", "halving", "doubling-halving"),
    ],
)
def test_events_of_the_sensor_are_its_mask(kind, bit, name):
    """Event by event and sample by sample the same."""
    truth, events = run(name, hours=1)
    from_events = np.zeros(len(truth.mask), bool)
    for e in events:
        if e.kind == kind:
            from_events[int(np.ceil(e.onset_s * 4)) : int(np.ceil(e.end_s * 4))] = True
    masked = (truth.mask & MASK_BITS[bit]) > 0
    assert masked.any()
    # a gap's neighbours decide whether the signal between them is too short to be shown; at the
    # edge of a stretch they may be unknown to one of the two
    assert np.mean(masked != from_events) < 0.002


def test_events_known_early_do_not_change_later():
    """Contractions, accelerations and decelerations of a short run are those of the long one."""
    sensor = Sensor(load_scenario("variable-typical"), seed=2)
    sensor.seek(4 * 1000)
    kinds = ("contraction", "acceleration", "deceleration")
    early = [e for e in sensor.events() if e.kind in kinds]
    sensor.seek(4 * 6000)
    late = {e.id: e for e in sensor.events()}
    assert early
    for e in early:
        assert late[e.id].onset_s == pytest.approx(e.onset_s, abs=1e-6)


def test_hypoxia_phases_follow_the_timeline_and_are_labelled_simulated():
    """Names, order, and a nominal pH that falls."""
    sensor = Sensor(load_scenario("hypoxia-gradual"), seed=1)
    sensor.seek(4 * 10800)
    phases = [e for e in sensor.events() if e.kind == "hypoxia_phase"]
    assert [e.subtype for e in phases][:2] == ["normal", "decelerations"]
    assert phases[-1].subtype == "terminal"
    ph = [e.details["simulated_nominal_ph"] for e in phases]
    assert ph == sorted(ph, reverse=True)


@pytest.mark.parametrize(
    ("name", "kind", "meets"),
    [
        ("sinusoidal", "sinusoidal", True),
        ("pseudo-sinusoidal", "sinusoidal", False),
        ("saltatory", "saltatory", True),
        ("zigzag", "saltatory", False),
        ("tachysystole", "tachysystole", True),
        ("normal-reactive", "state", None),
        ("toco-drift-rezero", "rezero", None),
    ],
)
def test_patterns_are_in_the_truth(name, kind, meets):
    """With whether they last as long as their definition asks."""
    sensor = Sensor(load_scenario(name), seed=1)
    sensor.seek(int(4 * load_scenario(name).duration_s))
    found = [e for e in sensor.events() if e.kind == kind]
    assert found
    assert all(e.meets_clinical == meets for e in found)


def test_segments_name_level_and_variability():
    """Ten-minute segments of baseline and band."""
    events = events_of("tachycardia-fever", hours=0.5)
    assert {e.subtype for e in events if e.kind == "baseline"} == {"tachycardia"}
    events = events_of("reduced-variability", hours=0.5)
    assert {e.subtype for e in events if e.kind == "variability"} == {"reduced"}


@pytest.mark.parametrize("index", range(0, 12, 2))
def test_every_truth_can_be_written(index):
    """Whatever happens to a patient: numbers of numpy's own types are none of JSON's."""
    sensor = Sensor(load_scenario("intrapartum-cohort"), seed=0, index=index, duration_s=1800)
    sensor.seek(sensor.n_samples)
    assert truth_lines(sensor, {}).count(b"\n") > 1


def test_a_text_is_a_path_too(tmp_path):
    """In Python, as people write it."""
    trace = ctgkit.generate("normal-reactive", duration_s=60)
    ctgkit.write_recording(trace, str(tmp_path / "t.csv"))
    assert len(ctgkit.read_recording(str(tmp_path / "t.csv")).fhr_bpm) == 240


def found(clean_bpm):
    """Events of a noise-free heart rate by one who knows nothing of how it was made.

    What it is where it rests for 10 s, in the median over some minutes, is its baseline; what
    leaves that by 15 bpm for 15 s is an event.
    """
    x = clean_bpm[::4]
    n = len(x)
    rests = np.abs(np.gradient(x)) < 0.15
    edges = np.flatnonzero(np.diff(np.concatenate([[0], rests.astype(int), [0]])))
    for low, high in zip(edges[::2], edges[1::2], strict=True):
        rests[low:high] = high - low >= 10
    resting = np.where(rests, x, np.nan)
    for reach in (300, 150, 100):
        padded = np.pad(resting, reach, constant_values=np.nan)
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)[::10]
        known = np.flatnonzero(np.isfinite(windows).any(axis=1))
        level = np.interp(np.arange(n), known * 10, np.nanmedian(windows[known], axis=1))
        resting = np.where(rests & (np.abs(x - level) < 8), x, np.nan)
    known = np.flatnonzero(np.isfinite(resting))
    level = np.interp(np.arange(n), known, resting[known])
    level = np.convolve(np.pad(level, 15, mode="edge"), np.ones(31) / 31, "valid")
    events = []
    for kind, away in (("acceleration", x - level), ("deceleration", level - x)):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], (away > 2).astype(int), [0]])))
        events += [
            (kind, low, high)
            for low, high in zip(edges[::2], edges[1::2], strict=True)
            if high - low >= 15 and away[low:high].max() >= 15
        ]
    return events


def agreement(scenario, sensors, kind, seed=5, minutes=70):
    """F1 of the truth's events of clinical size against what is found; at 30 % overlap."""

    def near(a, b):
        return min(a[1], b[1]) - max(a[0], b[0]) >= 0.3 * min(a[1] - a[0], b[1] - b[0])

    hits = told = seen = 0
    for index in range(sensors):
        sensor = Sensor(load_scenario(scenario), seed=seed, index=index)
        clean = sensor.render(0, minutes * 240).truth.fhr_clean_bpm
        sensor.seek(minutes * 240)
        whole = [
            (e.onset_s, e.end_s) for e in sensor.events() if e.kind == kind if e.meets_clinical
        ]
        shown = [(low, high) for k, low, high in found(clean) if k == kind]
        # what is cut off by an end of the recording has no size
        truth, shown = (
            [(a, b) for a, b in events if a > 5 and b < minutes * 60 - 5]
            for events in (whole, shown)
        )
        hits += sum(any(near(a, b) for b in shown) for a in truth)
        hits += sum(any(near(a, b) for b in truth) for a in shown)
        told, seen = told + len(truth), seen + len(shown)
    assert min(told, seen) >= 15
    return hits / (told + seen)


@pytest.mark.parametrize(
    ("scenario", "sensors", "kinds"),
    [
        ("intrapartum-cohort", 10, ("acceleration", "deceleration")),
        ("variable-atypical", 3, ("acceleration", "deceleration")),
        ("normal-reactive", 2, ("acceleration",)),
    ],
)
def test_what_shows_is_in_the_truth_and_nothing_else(scenario, sensors, kinds):
    """Overshoots after decelerations too, and no slow drift that looks like an event."""
    for kind in kinds:
        assert agreement(scenario, sensors, kind) >= 0.9, kind


def test_a_dip_under_way_at_the_start_is_told():
    """It is seen, so it has an event; where it began isn't, so it has no clinical size."""
    begun = 0
    for index in range(30):
        sensor = Sensor(load_scenario("variable-atypical"), seed=2, index=index)
        truth = sensor.render(0, 480).truth
        sensor.seek(480)
        down = truth.baseline_bpm - truth.fhr_clean_bpm > 15
        if not down[:60].all():
            continue
        begun += 1
        told = [e for e in sensor.events() if e.kind == "deceleration" and e.onset_s == 0]
        assert told
        assert not any(e.meets_clinical for e in told)
    assert begun >= 3
