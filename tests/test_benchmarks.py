"""The benchmarks still run; what they say is for `make bench` on a quiet machine."""

import importlib
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import guard
from benchmarks.guard import PARTS, REPEAT, slower, worse
from benchmarks.measure import Figure, Options, alternate, as_markdown, as_text
from ctgkit.analysis import Analyzer

ROOT = Path(__file__).parent.parent


def test_pairs_alternate():
    """Each repetition measures both, and who goes first changes."""
    order = []
    pairs = alternate(
        lambda n: order.append(f"ours {n}") or n, lambda n: order.append(f"floor {n}") or -n, 3
    )
    assert pairs == [(0, 0), (1, -1), (2, -2)]
    assert order == ["ours 0", "floor 0", "floor 1", "ours 1", "ours 2", "floor 2"]


@pytest.mark.parametrize(
    ("values", "at_least", "verdict"),
    [
        ((0.4, 0.5, 0.9), True, "met"),
        ((0.7,), True, "stretch"),
        ((0.4,), True, "missed"),
        ((0.4,), False, "stretch"),
        ((0.65,), False, "missed"),
    ],
)
def test_the_median_is_judged(values, at_least, verdict):
    """Against the target and the stretch, whichever way is better."""
    limits = (0.5, 0.65) if at_least else (0.6, 0.5)
    figure = Figure(
        part="x", name="y", values=values, target=limits[0], stretch=limits[1], at_least=at_least
    )
    assert figure.verdict == verdict
    assert as_text([figure]).splitlines()[1].split()[-1] == verdict
    assert f"| {verdict} |" in as_markdown([figure])


@pytest.mark.parametrize("name", ["store", "startup", "analysis"])
def test_the_quick_ones_measure(name, tmp_path):
    """Those that need no load give figures; the difference of two starts may be anything here."""
    options = Options(repeat=1, quick=True, directory=tmp_path)
    figures = importlib.import_module(f"benchmarks.{name}").measure(options)
    assert figures
    assert all(figure.median > 0 for figure in figures if name != "startup")


@pytest.mark.slow
def test_all_measure(tmp_path):
    """Every part runs, with real processes, and the table and the JSON hold its figures."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--markdown", "--json", tmp_path / "b.json",
         "--out", tmp_path],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "b.json").read_text())
    parts = {figure["part"] for figure in measured["figures"]}
    here = {"postgres", "bus", "page"}  # where there is a PostgreSQL, a NATS, a Chromium
    assert parts - here == {
        "startup", "ingest", "store", "latency", "fanout", "fleet", "memory", "scale", "signal",
        "analysis", "flood", "profile",
    }  # fmt: skip
    assert done.stdout.count("\n| ") >= len(measured["figures"])
    assert (tmp_path / "scale.csv").read_text().startswith("sensors,")


@pytest.mark.slow
def test_the_profile_names_the_parser():
    """Half of the loop's time is the frames' parser: a profile without it is broken."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--profile"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "websockets.frames: Frame.parse" in done.stdout


def test_worse_is_what_is_worse_in_each_repetition():
    """By more than a quarter of the kept median: one slow run is the machine's."""
    kept = {"flood": [1.0, 0.9, 1.4], "paced": [2.0], "gone": [1.0]}
    figures = {"flood": [1.3, 1.9, 1.26], "paced": [2.4, 9.0, 9.0], "new": [7.0]}
    assert worse(figures, kept) == {"flood": "1.26 to 1.90, kept 1.00"}


PACED = (1.34, 0.91, 1.06, 0.96, 1.19, 1.13, 1.39, 1.19, 1.05, 1.07, 1.12, 1.24)
"""Ratios as twelve repetitions measured them, the same code each time."""


def failures(factor):
    """Return how often the guard fails, of 2,000 times, where the code takes *factor* as long."""
    chance = random.Random(18)

    def repetitions(slower_by):
        return {"paced": [slower_by * chance.choice(PACED) for _ in range(REPEAT)]}

    return sum(
        bool(slower(repetitions(factor), repetitions(1), lambda _: repetitions(factor)))
        for _ in range(2_000)
    )


def test_noise_passes_the_guard_and_what_is_slower_does_not():
    """Of the noisiest of its ratios."""
    assert failures(1.0) <= 2
    assert failures(2.0) >= 1_900


@pytest.mark.slow
def test_the_guard_finds_an_analyzer_that_takes_twice_as_long(tmp_path, monkeypatch, capsys):
    """And says nothing of the same one."""
    kept = tmp_path / "kept.json"
    chosen = ["--part", "analysed"]
    assert guard.main([*chosen, "--keep", str(kept)]) == 0
    assert guard.main([*chosen, "--against", str(kept)]) == 0
    add = Analyzer.add

    def twice(analyzer, sample):
        began_s = time.process_time()
        result = add(analyzer, sample)
        ends_s = 2 * time.process_time() - began_s
        while time.process_time() < ends_s:
            pass
        return result

    monkeypatch.setattr(Analyzer, "add", twice)
    assert guard.main([*chosen, "--against", str(kept)]) == 1
    assert "slower by more than a quarter: analysed" in capsys.readouterr().out


def test_the_kept_ratios_are_those_that_are_measured():
    kept = json.loads((ROOT / "benchmarks" / "kept.json").read_text())
    assert set(kept["figures"]) == set(PARTS)
    assert kept["machine"]["commit"]
