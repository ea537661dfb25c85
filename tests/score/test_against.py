"""Two runs compared: what is better, worse, and what only looks so."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.score.against import DRAWS, compare_runs, permutation_p


def report(**f1):
    return {
        "recordings": [
            {"name": name, "events": {"deceleration": {"f1": value}}, "type_accuracy": None}
            for name, value in f1.items()
        ]
    }


def runs(gap, n=10, noise=0.0):
    random = np.random.default_rng(1)
    old = {f"r{k}": 0.5 + 0.02 * k for k in range(n)}
    new = {name: f1 + gap + noise * random.normal() for name, f1 in old.items()}
    return report(**old), report(**new)


@pytest.mark.parametrize(
    ("gap", "noise", "verdict"),
    [(0.1, 0.01, "better"), (-0.1, 0.01, "worse"), (0.0, 0.1, "same"), (0.0, 0.0, "same")],
)
def test_verdicts(gap, noise, verdict):
    (one,) = compare_runs(*runs(gap, noise=noise))
    assert one.metric == "F1 of decelerations"
    assert one.recordings == 10
    assert one.verdict == verdict


def test_with_few_recordings_nothing_is_proven():
    (one,) = compare_runs(*runs(0.3, n=4))
    assert (one.verdict, one.p) == ("too few", None)


def test_less_is_better_where_it_is():
    old = {"recordings": [{"name": f"r{n}", "baseline": {"rmsd_bpm": 5.0}} for n in range(8)]}
    new = {"recordings": [{"name": f"r{n}", "baseline": {"rmsd_bpm": 4.0}} for n in range(8)]}
    assert [c.verdict for c in compare_runs(old, new)] == ["better"]
    assert [c.verdict for c in compare_runs(new, old)] == ["worse"]


def test_recordings_of_one_run_only_do_not_count():
    old, new = runs(0.1)
    del new["recordings"][0]
    assert compare_runs(old, new)[0].recordings == 9
    assert compare_runs(old, {"recordings": []}) == []


@pytest.mark.parametrize("junk", [[], {}, {"recordings": 5}, {"recordings": [{}]}])
def test_another_file_is_refused(junk):
    with pytest.raises(ValueError, match="score --json"):
        compare_runs(junk, runs(0.1)[1])


@given(st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=1, max_size=8))
def test_the_test_counts_all_signs(gaps):
    """By its definition, one combination after the other."""
    reached = [
        abs(sum(s * abs(g) for s, g in zip(signs, gaps, strict=True))) >= abs(sum(gaps)) - 1e-12
        for signs in itertools.product((1, -1), repeat=len(gaps))
    ]
    assert permutation_p(gaps) == pytest.approx(sum(reached) / len(reached))


def test_many_recordings_are_drawn_the_same_every_time():
    gaps = np.random.default_rng(3).normal(0.05, 0.2, 40).tolist()
    assert permutation_p(gaps) == permutation_p(gaps)
    assert permutation_p([0.1] * 40) == pytest.approx(1 / (DRAWS + 1))


def test_a_real_report_can_be_compared_with_itself(tmp_path):
    """Nothing differs, so nothing is better or worse."""
    old, _ = runs(0.1)
    assert {c.verdict for c in compare_runs(json.loads(json.dumps(old)), old)} == {"same"}
