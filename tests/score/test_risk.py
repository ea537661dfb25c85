"""The hypoxia probability against the simulated pH."""

import numpy as np
import pytest

from ctgkit.score.risk import Risk, auc, verdict


def flat(acidotic, probability, since_s=None):
    course = tuple((float(t), probability) for t in range(120, 3600, 60))
    return Risk(acidotic, since_s if acidotic else None, course)


def test_a_perfect_service():
    risks = [flat(True, 0.8, 1200.0)] * 4 + [flat(False, 0.1)] * 8
    v = verdict(risks)
    assert (v.acidotic, v.others) == (4, 8)
    assert v.auc == 1
    assert v.sensitivity == 1
    assert v.delay_s == 0
    assert v.calibration[-1].observed == 1


def test_a_service_that_says_always_the_same():
    v = verdict([flat(True, 0.5, 0.0)] * 5 + [flat(False, 0.5)] * 5)
    assert v.auc == 0.5
    assert v.sensitivity == 0
    assert v.delay_s is None


def test_auc_is_that_of_counting_pairs():
    random = np.random.default_rng(3)
    a, b = np.round(random.random(23), 1), np.round(random.random(31), 1)
    pairs = [(x > y) + (x == y) / 2 for x in a for y in b]
    assert auc(a, b) == pytest.approx(np.mean(pairs))


def test_the_interval_holds_the_auc_and_is_the_same_every_time():
    random = np.random.default_rng(5)
    risks = [flat(i % 3 == 0, float(random.random()), 600.0) for i in range(60)]
    v = verdict(risks)
    low, high = v.auc_95
    assert low <= v.auc <= high
    assert verdict(risks) == v


def test_the_delay_counts_from_the_ph():
    rising = tuple((float(t), t / 3600) for t in range(120, 3601, 60))
    others = [flat(False, 0.4)] * 10
    v = verdict([Risk(True, 600.0, rising), *others])
    assert v.threshold == pytest.approx(0.4)
    assert v.delay_s == pytest.approx(1500 - 600)


def test_without_both_kinds_nothing_is_said():
    v = verdict([flat(False, 0.4)] * 3)
    assert v.auc is None
    assert v.calibration
