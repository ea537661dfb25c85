"""A sensor is a function of (scenario, seed, index, sample) and of nothing else."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctgkit.simulate.block import BLOCK, MASK_BITS
from ctgkit.simulate.knobs import FORCED, KNOBS
from ctgkit.simulate.library import load_scenario, scenario_names, scenario_text
from ctgkit.simulate.scenario import parse_scenario
from ctgkit.simulate.sensor import Sensor
from ctgkit.simulate.signal.contraction import Contractions

FEW = ("normal-reactive", "second-stage-pushing", "intrapartum-cohort", "doubling-halving")
SCENARIOS = {name: load_scenario(name) for name in FEW}
NAMES = st.sampled_from(FEW)
SEEDS = st.integers(0, 2**63 - 1)


def variant(base, text):
    """Return *base* with the TOML *text* on top."""
    mine = f"[meta]\nextends = '{base}'\n{text}"
    return parse_scenario("mine", lambda name: mine if name == "mine" else scenario_text(name))


def same(a, b):
    """Whether two chunks (or truths) are equal, NaN included."""
    return all(
        np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a, b, strict=True)
    )


@settings(max_examples=15, deadline=None)
@given(NAMES, SEEDS, st.lists(st.integers(1, 1500), min_size=1, max_size=6))
def test_chunk_sizes_do_not_matter(name, seed, sizes):
    """Read in pieces of any size: the same bytes, samples and truth."""
    total = sum(sizes)
    whole = Sensor(SCENARIOS[name], seed=seed).render(0, total)
    sensor = Sensor(SCENARIOS[name], seed=seed)
    pieces = [sensor.read(n) for n in sizes]
    assert same(whole.chunk, [np.concatenate(arrays) for arrays in zip(*pieces, strict=True)])


@settings(max_examples=15, deadline=None)
@given(NAMES, SEEDS, st.integers(0, 400_000), st.integers(1, 900), st.integers(0, 900))
def test_starting_anywhere_does_not_matter(name, seed, first, count, skip):
    """Seeking gives the samples and the truth that reading through gives."""
    sensor = Sensor(SCENARIOS[name], seed=seed)
    whole = sensor.render(first, skip + count)
    other = Sensor(SCENARIOS[name], seed=seed)
    other.seek(first + skip)
    assert same([a[skip:] for a in whole.chunk], other.read(count))
    assert same([a[skip:] for a in whole.truth], other.render(first + skip, count).truth)


@pytest.mark.parametrize("size", [1, 7, 137, 4096])
def test_the_chunk_sizes_of_the_acceptance_list(size):
    """1, 7, 137 and 4096 samples at a time."""
    scenario = SCENARIOS["second-stage-pushing"]
    whole = Sensor(scenario, seed=4).read(4096)
    sensor = Sensor(scenario, seed=4)
    pieces = [sensor.read(min(size, 4096 - k)) for k in range(0, 4096, size)]
    assert same(whole, [np.concatenate(arrays) for arrays in zip(*pieces, strict=True)])


@settings(max_examples=15, deadline=None)
@given(NAMES, SEEDS, st.floats(1, 4000), st.floats(1, 4000))
def test_a_longer_run_begins_with_the_shorter_one(name, seed, one_s, other_s):
    """Duration only cuts."""
    short, long = sorted((one_s, other_s))
    a = Sensor(SCENARIOS[name], seed=seed, duration_s=short)
    b = Sensor(SCENARIOS[name], seed=seed, duration_s=long)
    chunk = a.read(10**6)
    assert len(chunk.sec_from_start) == round(short * 4)
    assert same(chunk, b.read(len(chunk.sec_from_start)))
    assert len(a.read(5).sec_from_start) == 0


@pytest.mark.parametrize(
    ("off", "keeps"),
    [
        ("[decel]\nearly = 0\nvariable = 0\natypical = 0\n[loss]\nevents = 1", ("toco_clean",)),
        ("[accel]\nper_h = 0", ("toco_clean", "mask", "uterus")),
        ("[loss]\nshare = 0", ("toco_clean", "fhr_clean_bpm", "uterus")),
        ("[toco]\nnoise = 0\nspikes_per_h = 0", ("toco_clean", "fhr_clean_bpm", "fhr_bpm", "mask")),
        ("[fhr]\nfloor_bpm = 0", ("toco_clean", "fhr_clean_bpm", "uterus", "mask")),
        ("[toco]\npush = 0", ("fhr_clean_bpm", "fhr_bpm", "mask")),
    ],
)  # fmt: skip
def test_switching_one_component_off_leaves_the_others_alone(off, keeps):
    """Arrays that a component has no part in keep every bit."""
    with_it = Sensor(SCENARIOS["second-stage-pushing"], seed=3).render(0, 9000)
    without = Sensor(variant("second-stage-pushing", off), seed=3).render(0, 9000)
    both = [{**r.chunk._asdict(), **r.truth._asdict()} for r in (with_it, without)]
    changed = {
        k for k in both[0] if not np.array_equal(both[0][k], both[1][k], equal_nan=k != "mask")
    }
    assert changed, "the component did nothing"
    assert changed & set(keeps) == set()


def test_seeds_and_sensors_differ():
    """Another seed or index is another patient."""
    scenario = SCENARIOS["normal-reactive"]
    runs = [
        Sensor(scenario, seed=s, index=i).read(400).fhr_bpm for s, i in ((0, 0), (0, 1), (1, 0))
    ]
    assert not any(np.array_equal(a, b) for a, b in zip(runs, runs[1:] + runs[:1], strict=True))


def test_bytes_are_those_of_another_process():
    """Hash seed and process don't matter."""
    code = (
        "from ctgkit.simulate.library import load_scenario as l; import hashlib;"
        "from ctgkit.simulate.sensor import Sensor;"
        "c=Sensor(l('second-stage-pushing'),seed=9).read(3000);"
        "print(hashlib.sha256(b''.join(a.tobytes() for a in c)).hexdigest())"
    )
    run = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True,
                       env={"PYTHONHASHSEED": seed}).stdout
        for seed in ("11", "12")
    ]  # fmt: skip
    assert run[0] == run[1]


@pytest.mark.parametrize("rate_hz", [1.0, 2.0, 8.0, 10.0])
def test_other_rates_hold_or_skip_the_monitors_samples(rate_hz):
    """At any rate the value shown is that of the latest 250 ms."""
    scenario = SCENARIOS["normal-reactive"]
    base = Sensor(scenario, seed=2).read(8000)
    other = Sensor(scenario, seed=2, rate_hz=rate_hz).read(int(rate_hz * 1000))
    index = np.floor(other.sec_from_start * 4 + 1e-9).astype(int)
    assert np.array_equal(other.fhr_bpm, base.fhr_bpm[index], equal_nan=True)
    assert np.allclose(np.diff(other.sec_from_start), 1 / rate_hz)


@pytest.mark.parametrize("name", scenario_names())
def test_every_scenario_stays_on_the_wire(name):
    """Ranges, grid, and NaN exactly where the mask says there is no signal."""
    from ctgkit.samples import FHR_MAX_BPM, FHR_MIN_BPM, TOCO_MAX, TOCO_MIN

    sensor = Sensor(load_scenario(name), seed=1)
    for first in (0, 4 * 1536):
        chunk, truth = sensor.render(first, 1024)
        lost = (truth.mask & (MASK_BITS["loss"] | MASK_BITS["off"])) > 0
        assert np.array_equal(np.isnan(chunk.fhr_bpm), lost)
        shown = chunk.fhr_bpm[~lost]
        assert ((shown >= FHR_MIN_BPM) & (shown <= FHR_MAX_BPM)).all()
        assert np.array_equal(np.round(shown * 4), shown * 4)
        for toco in (chunk.uterus, chunk.spasms):
            toco = toco[~np.isnan(toco)]
            assert ((toco >= TOCO_MIN) & (toco <= TOCO_MAX)).all()
        assert (np.diff(chunk.sec_from_start) > 0).all()
        assert np.isfinite(truth.fhr_clean_bpm).all()


def test_original_profile_keeps_its_documented_formula():
    """spasms = 20 + 1.5 (uterus - 28) above 28, else 20, within the noise of 0.5."""
    chunk = Sensor(load_scenario("original-healthy"), seed=1).read(4 * 1200)
    expected = 20 + 1.5 * np.maximum(0, chunk.uterus - 28)
    assert np.abs(chunk.spasms - expected).max() < 3
    assert np.abs(np.mean(chunk.spasms - expected)) < 0.1
    assert 14 <= np.percentile(chunk.uterus, 5) <= 19
    assert 30 <= np.percentile(chunk.uterus, 97) <= 45


@settings(max_examples=12, deadline=None)
@given(SEEDS, st.integers(0, 3000), st.integers(0, 2000), st.sampled_from(sorted(FORCED)))
def test_injecting_changes_nothing_before_and_the_log_repeats_the_run(seed, read, later, event):
    """Bytes before the event stay; a run from the log equals the run."""
    scenario = SCENARIOS["normal-reactive"]
    plain = Sensor(scenario, seed=seed).render(0, 6000)
    sensor = Sensor(scenario, seed=seed)
    first = sensor.read(read)
    sensor.inject(event, at_sample=read + later)
    rest = sensor.read(6000 - read)
    live = [np.concatenate(pair) for pair in zip(first, rest, strict=True)]
    assert same([a[: read + later] for a in live], [a[: read + later] for a in plain.chunk])
    assert same(live, Sensor(scenario, seed=seed, injected=sensor.log).read(6000))


@pytest.mark.parametrize("event", sorted(FORCED))
def test_every_forced_event_shows(event):
    """After injection the samples differ, and the truth says what happened when."""
    sensor = Sensor(SCENARIOS["normal-reactive"], seed=1)
    sensor.read(1000)
    entry = sensor.inject(event)
    seen = sensor.read(3000)
    plain = Sensor(SCENARIOS["normal-reactive"], seed=1)
    plain.seek(1000)
    assert not same(seen, plain.read(3000))
    near = [e for e in sensor.events() if abs(e.onset_s - 250.0) < 20 and e.kind != "baseline"]
    kind = {"off": "fault"}.get(event, "deceleration" if event.endswith("deceleration") else event)
    assert kind in {e.kind for e in near}
    assert entry == sensor.log[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event": "prolonged"}, "did you mean 'prolonged_deceleration'"),
        ({"event": "acceleration", "size": 500}, "size 500 is outside 5 to 60 bpm"),
        ({"event": "acceleration", "duration_s": 1}, "duration_s 1 is outside 10 to 600 s"),
        ({"event": "acceleration", "at_sample": 3}, "sample 3 was already read; the next is 10"),
    ],
)
def test_what_cannot_be_injected_is_refused(arguments, message):
    """Unknown events, wrong sizes, and the past."""
    sensor = Sensor(SCENARIOS["normal-reactive"])
    sensor.read(10)
    with pytest.raises(ValueError, match=message):
        sensor.inject(**arguments)
    assert sensor.log == []


KNOBS_THAT_MOVE = ("fhr.baseline_bpm", "fhr.bandwidth_bpm", "toco.per_10min", "toco.amplitude",
                   "decel.late", "accel.per_h", "loss.share", "hypoxia.sensitivity",
                   "artefact.capture_per_h")  # fmt: skip


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from(("normal-reactive", "second-stage-pushing")),
    SEEDS,
    st.lists(
        st.tuples(
            st.sampled_from(KNOBS_THAT_MOVE), st.integers(0, 2000), st.floats(0, 1),
            st.floats(0, 600),
        ),
        min_size=1, max_size=3,
    ),
    st.sampled_from(sorted(FORCED)),
)  # fmt: skip
def test_changes_alter_nothing_before_and_the_logs_repeat_the_run(name, seed, turns, event):
    """Bytes before each change stay; a run from both logs equals the run."""
    total = 7000
    sensor = Sensor(SCENARIOS[name], seed=seed)
    pieces = []
    for knob, after, share, ramp_s in turns:
        pieces.append(sensor.read(after))
        before = Sensor(SCENARIOS[name], seed=seed, injected=sensor.log, changed=sensor.changes)
        rules = KNOBS[knob]
        sensor.change(knob, rules.low + share * (rules.high - rules.low), ramp_s)
        so_far = [np.concatenate(arrays) for arrays in zip(*pieces, strict=True)]
        assert same(so_far, before.read(sensor.position))
    sensor.inject(event)
    pieces.append(sensor.read(total - sensor.position))
    live = [np.concatenate(arrays) for arrays in zip(*pieces, strict=True)]
    again = Sensor(SCENARIOS[name], seed=seed, injected=sensor.log, changed=sensor.changes)
    assert same(live, again.read(total))
    assert sensor.events() == again.events()


def test_a_knob_goes_smoothly_to_where_it_is_sent():
    """The baseline falls over two minutes, without a step; contractions that began go on."""
    sensor = Sensor(variant("normal-reactive", "[loss]\nshare = 0"), seed=3)
    sensor.read(2400)
    sensor.change("fhr.baseline_bpm", 100.0, ramp_s=120)
    sensor.change("toco.amplitude", 90.0, ramp_s=30)
    sensor.change("toco.per_10min", 7.0, ramp_s=30)
    truth = sensor.render(2000, 4000).truth
    level = truth.baseline_bpm
    assert np.median(level[:400]) > 125
    assert 90 < np.median(level[-1200:]) < 110
    assert np.abs(np.diff(level)).max() < 0.5
    assert np.abs(np.diff(truth.toco_clean)).max() < 3
    late = [e for e in sensor.events() if e.kind == "contraction"]
    assert len({e.id for e in late}) == len(late)


def test_a_contraction_that_a_change_would_move_does_not_come_again():
    """It had begun when contractions became rare; half an hour later it was shown once more."""
    sensor = Sensor(load_scenario("variable-atypical"), seed=20)
    sensor.change("toco.per_10min", 0.1, ramp_s=0, at_sample=4 * 440)
    toco = sensor.render(4 * 2000, 4 * 400).truth.toco_clean
    sensor.seek(4 * 2400)
    assert [e for e in sensor.events() if e.kind == "contraction" and e.end_s > 2000] == []
    assert np.ptp(toco) < 1


def test_the_cost_of_changes_grows_no_faster_than_their_number(monkeypatch):
    """Each plan draws its own events once per block, however many follow it."""
    drawn = []
    between = Contractions.between

    def counted(self, from_s, to_s):
        drawn.append(from_s)
        return between(self, from_s, to_s)

    monkeypatch.setattr(Contractions, "between", counted)
    counts = []
    for changes in (4, 16):
        drawn.clear()
        sensor = Sensor(SCENARIOS["normal-reactive"], seed=1)
        for i in range(changes):
            sensor.change("fhr.baseline_bpm", 120 + i, ramp_s=10, at_sample=4 * i)
        sensor.read(100)
        counts.append(len(drawn))
    assert counts[1] < 5 * counts[0]


@pytest.mark.parametrize(("baseline_bpm", "seed"), [(220, 4), (50, 4)])
def test_a_monitor_that_is_far_off_still_shows_something(baseline_bpm, seed):
    """The knobs' ends: a heart of 300 or of less than 0 bpm has no beats to count."""
    text = f"[fhr]\nbaseline_bpm = {baseline_bpm}\n[sensor]\nfading = 5\n[loss]\nshare = 0.4"
    chunk = Sensor(variant("normal-reactive", text), seed=seed).read(3000)
    shown = chunk.fhr_bpm[np.isfinite(chunk.fhr_bpm)]
    assert len(shown) > 1000
    assert shown.min() > 49
    assert shown.max() < 241


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"knob": "fhr.baselin_bpm", "to": 100}, "did you mean 'fhr.baseline_bpm'"),
        ({"knob": "toco.grid", "to": 1}, "stays the same for a whole run"),
        ({"knob": "fhr.baseline_bpm", "to": 10}, "is 50 to 220 bpm, not 10"),
        ({"knob": "fhr.baseline_bpm", "to": float("nan")}, "not nan"),
        ({"knob": "fhr.baseline_bpm", "to": 100, "ramp_s": -1}, "ramp_s -1 is outside"),
        ({"knob": "fhr.baseline_bpm", "to": 100, "at_sample": 3}, "the earliest is 10"),
    ],
)
def test_what_cannot_be_changed_is_refused(arguments, message):
    sensor = Sensor(SCENARIOS["normal-reactive"])
    sensor.read(10)
    with pytest.raises(ValueError, match=message):
        sensor.change(**arguments)
    assert sensor.changes == []


def test_wrong_arguments_are_refused():
    """No negative position, no rate of zero."""
    with pytest.raises(ValueError, match="rate_hz"):
        Sensor(SCENARIOS["normal-reactive"], rate_hz=0)
    with pytest.raises(ValueError, match="at least 0"):
        Sensor(SCENARIOS["normal-reactive"]).seek(-1)


def test_extreme_knobs_do_not_break_the_engine():
    """Every numeric knob at either end of its range renders."""
    for path, knob in KNOBS.items():
        section, key = path.split(".", 1)
        for value in (knob.low, knob.high):
            chunk = Sensor(variant("active-labour", f"[{section}]\n{key} = {value!r}")).read(1200)
            assert np.isfinite(chunk.uterus).all(), path


def test_a_belt_may_be_without_any_noise():
    """Its spectrum is zero everywhere."""
    quiet = variant("active-labour", "[toco]\nnoise = 0\nnoise_tail = 0\nbreathing = 0")
    assert np.isfinite(Sensor(quiet).read(1200).uterus).all()


def test_the_next_block_is_rendered_before_it_is_needed():
    """Each sensor of a fleet at a place of its own; none stops at the border, or beyond the end."""
    places = set()
    for index in range(8):
        sensor = Sensor(load_scenario("normal-reactive"), index=index, duration_s=2 * BLOCK / 4)
        while 1 not in sensor._blocks:
            sensor.read(16)
        assert sensor.position < BLOCK
        places.add(sensor.position)
        while len(sensor.read(16).sec_from_start):
            pass
        assert 2 not in sensor._blocks
    assert len(places) == 8


def test_a_first_block_imports_no_more_of_numpy_than_numpy_does():
    """`ctgkit demo` has half a second until its first picture: numpy.ma took a thirtieth of it."""
    code = (
        "import sys; from ctgkit.simulate.library import load_scenario as load\n"
        "from ctgkit.simulate.sensor import Sensor; Sensor(load('normal-reactive')).read(4)\n"
        "late = {'numpy.ma', 'numpy.testing', 'scipy', 'pandas', 'pyarrow', 'matplotlib', 'rich'}\n"
        "sys.exit(', '.join(late & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
