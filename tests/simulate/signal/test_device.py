"""What monitors do around gaps, and how the heart falls and recovers."""

from functools import cache

import numpy as np
import pytest

from ctgkit.simulate.block import BLOCK, MASK_BITS
from ctgkit.simulate.library import load_scenario
from ctgkit.simulate.patient import Patient
from ctgkit.simulate.sensor import Sensor
from ctgkit.simulate.signal.device import MARGIN, WARM_UP, hold, monitor, wild_bpm
from ctgkit.simulate.signal.stream import Streams

MONITORS = ("intrapartum-ultrasound", "intrapartum-electrode", "labour")


@cache
def hours_of(name, sensors=10, minutes=70, seed=4):
    scenario = load_scenario(name)
    return [Sensor(scenario, seed=seed, index=i).render(0, minutes * 240) for i in range(sensors)]


def gaps(heart):
    edges = np.diff(np.concatenate([[0], np.isnan(heart).astype(int), [0]]))
    pairs = zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True)
    return [(a, b) for a, b in pairs if a > 30 and b < len(heart)]


def held_s(heart, start):
    n = 1
    while abs(heart[start - 1 - n] - heart[start - 1]) <= 0.25:
        n += 1
    return n / 4


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("intrapartum-ultrasound", 0.85, 1.0),
        ("intrapartum-telemetry", 0.55, 0.9),
        ("intrapartum-electrode", 0.0, 0.2),
    ],
)
def test_how_many_gaps_begin_with_a_repeated_value(name, low, high):
    """Real: 0.97 to 1.0, 0.72 to 0.81, and 0 to 0.02 of the gaps (quartiles over recordings)."""
    held = [
        held_s(run.chunk.fhr_bpm, a) >= 1.5
        for run in hours_of(name)
        for a, _ in gaps(run.chunk.fhr_bpm)
    ]
    assert len(held) > 60
    assert low <= np.mean(held) <= high


def test_the_level_differs_across_gaps():
    """Real: a median of 12 to 19 bpm on ultrasound; before, it was 3."""
    jumps = [
        abs(run.chunk.fhr_bpm[b] - run.chunk.fhr_bpm[a - 1])
        for run in hours_of("intrapartum-ultrasound")
        for a, b in gaps(run.chunk.fhr_bpm)
    ]
    assert 6 < np.median(jumps) < 22


def test_a_held_value_is_the_last_one_give_or_take_its_last_digit():
    """Also where a block of the engine begins within the hold."""
    for run in hours_of("intrapartum-ultrasound", sensors=3):
        heart, held = run.chunk.fhr_bpm, (run.truth.mask & MASK_BITS["hold"]) > 0
        starts = np.flatnonzero(held[1:] & ~held[:-1])
        assert len(starts) > 10
        for start in starts:
            last, n = heart[start], 1
            while start + n < len(held) and held[start + n] and not np.isnan(heart[start + n]):
                assert abs(heart[start + n] - last) <= 0.25
                n += 1


def test_falls_are_steeper_than_recoveries():
    """Real: skew of 250 ms steps -1.2 on ultrasound, -2.4 on electrodes (medians)."""
    for name in ("intrapartum-ultrasound", "intrapartum-electrode"):
        skews = []
        for run in hours_of(name):
            clean = np.where(run.truth.mask > 0, np.nan, run.chunk.fhr_bpm)
            step = np.diff(clean)
            step = step[np.isfinite(step)]
            skews.append(((step - step.mean()) ** 3).mean() / step.std() ** 3)
        assert np.median(skews) < -0.3


@pytest.mark.parametrize("name", MONITORS)
def test_neighbouring_blocks_agree_on_what_is_shown_at_their_border(name):
    """The end of a block, from the block itself and from the one after it."""
    near, border = 8, MARGIN - WARM_UP
    for index in range(6):
        streams = Streams(4, index)
        patient = Patient(load_scenario(name), streams)
        ends: dict[int, list[np.ndarray]] = {}
        for block in range(8):
            first = block * BLOCK - MARGIN
            t_s = np.arange(first, first + MARGIN + BLOCK) / 4
            heart = 140 + 20 * np.sin(t_s / 7) + 5 * np.sin(t_s)
            held = np.sin(t_s[WARM_UP:] / 2) > 0.2
            bpm = monitor(patient, streams, block, first, heart)
            for shown in (
                bpm,
                hold(streams, block, bpm, held, 0.25),
                wild_bpm(patient, streams, block, t_s[WARM_UP:]),
            ):
                ends.setdefault(block, []).append(shown[border - near : border])
                ends.setdefault(block + 1, []).append(shown[-near:])
        for block in range(1, 8):
            before, after = ends[block][:3], ends[block][3:]
            assert len(after) == 3
            for one, other in zip(before, after, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", MONITORS)
def test_nothing_shows_where_blocks_meet(name):
    """Before, 18 % of the steps at borders were zero, of all others 57 %."""
    borders, others = [], []
    for run in hours_of(name, sensors=10, minutes=52):
        step = np.diff(run.chunk.fhr_bpm)
        at = np.arange(BLOCK - 1, len(step), BLOCK)
        borders += list(step[at])
        others += list(np.delete(step, at))
    borders, others = (np.abs(x)[np.isfinite(x)] for x in (np.array(borders), np.array(others)))
    assert len(borders) > 35
    assert abs(np.mean(borders == 0) - np.mean(others == 0)) < 0.15
    assert np.mean(borders > np.percentile(others, 95)) < 0.15


def test_the_heart_rate_changes_more_beside_gaps():
    """Real: over 4 s before the repeated value, and after a gap, 1.2 to 1.9 times as much."""
    before, after, usual = [], [], []
    for run in hours_of("intrapartum-ultrasound", sensors=20):
        heart = run.chunk.fhr_bpm
        held = (run.truth.mask & MASK_BITS["hold"]) > 0
        starts = np.flatnonzero(held[1:] & ~held[:-1])
        before += list(heart[starts[starts > 16]] - heart[starts[starts > 16] - 16])
        ends = np.array([b for _, b in gaps(heart) if b < len(heart) - 16])
        after += list(heart[ends + 16] - heart[ends])
        usual += list(heart[16:] - heart[:-16])
    before, after, usual = (np.nanmedian(np.abs(x)) for x in (before, after, usual))
    assert 1.2 < before / usual < 2.2
    assert 1.1 < after / usual < 2.2


def test_a_gap_ends_with_a_new_value():
    """Real: 12 % of the values after gaps are replaced within 250 ms; elsewhere 33 %. Ours: 21."""
    steps = [
        run.chunk.fhr_bpm[b + 1] - run.chunk.fhr_bpm[b]
        for run in hours_of("intrapartum-ultrasound")
        for _, b in gaps(run.chunk.fhr_bpm)
        if b < len(run.chunk.fhr_bpm) - 1
    ]
    assert np.nanmean(np.array(steps) == 0) > 0.74
