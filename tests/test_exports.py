"""What ``import ctgkit`` offers, used as a stranger would: in a few lines, without ``async``."""

import asyncio
import dataclasses
import importlib.util
import inspect
import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import ctgkit
import ctgkit.api
from tests.extras import need

ROOT = Path(__file__).parent.parent
NAMES = sorted(ctgkit.api.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_documented_and_no_submodule(name):
    assert inspect.getdoc(getattr(ctgkit, name))
    assert name in dir(ctgkit)
    assert importlib.util.find_spec(f"ctgkit.{name}") is None


def test_the_list_is_in_the_docs():
    text = (ROOT / "docs" / "python.md").read_text()
    assert [name for name in NAMES if f"`{name}" not in text] == []


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = ctgkit.no_such_thing


def test_importing_it_costs_nothing():
    code = "import sys, ctgkit; print('numpy' in sys.modules or 'click' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


def test_a_simulation_is_analysed_and_scored():
    trace = ctgkit.generate("late-decels-severe", seed=7, duration_s=1200)
    again = ctgkit.generate("late-decels-severe", seed=7, duration_s=600)
    assert np.array_equal(trace.fhr_bpm[:2400], again.fhr_bpm, equal_nan=True)
    assert trace.simulated
    report = ctgkit.analyze(trace)
    score = ctgkit.score_report(trace, report)
    assert ctgkit.score_report(trace.events, report.as_dict()) == score


def test_a_recording_goes_to_a_file_and_back(tmp_path):
    trace = ctgkit.generate(duration_s=120)
    assert ctgkit.write_recording(trace, tmp_path / "trace.csv") is not None
    back = ctgkit.read_recording(tmp_path / "trace.csv")
    assert np.array_equal(back.fhr_bpm, trace.fhr_bpm, equal_nan=True)
    assert ctgkit.analyze(tmp_path / "trace.csv").as_dict() == ctgkit.analyze(back).as_dict()


@pytest.mark.parametrize("library", ["pandas", "polars", None])
def test_a_recording_is_a_data_frame(library):
    trace = ctgkit.generate("poor-signal", duration_s=600)
    installed = [name for name in ("pandas", "polars") if importlib.util.find_spec(name)]
    if not installed or library not in (None, *installed):
        with pytest.raises(ctgkit.CtgkitError, match="pip install"):
            trace.to_frame(library)
        return
    frame = trace.to_frame(library)
    assert type(frame).__module__.startswith(library or installed[0])
    assert np.array_equal(frame["fhr_bpm"].to_numpy(), trace.fhr_bpm, equal_nan=True)


@pytest.mark.parametrize("name", ["strip.png", "strip.svg", "strip.pdf"])
def test_a_report_is_drawn_on_paper(tmp_path, name):
    need("matplotlib")
    trace = ctgkit.generate("late-decels-severe", seed=7, duration_s=1200)
    report = ctgkit.analyze(trace)
    assert ctgkit.draw(trace, tmp_path / name, report=report, baseline=True) == 1
    marked = (tmp_path / name).read_bytes()
    assert ctgkit.draw(trace, tmp_path / name) == 1
    assert (tmp_path / name).read_bytes() != marked
    if name.endswith("svg"):
        assert b"SIMULATED" in marked


def test_a_notebook_shows_a_recording():
    trace = ctgkit.generate(duration_s=600)
    assert "2400" in trace._repr_html_()
    assert "<script" not in dataclasses.replace(trace, sensor_id="<script>")._repr_html_()
    if importlib.util.find_spec("matplotlib"):
        assert trace._repr_png_().startswith(b"\x89PNG")


def test_parties_without_async():
    with (
        ctgkit.run_ml() as ml,
        ctgkit.run_backend(2, ml_url=ml.url) as backend,
        ctgkit.run_sensors(
            backend.url, backend.credentials, duration_s=30, speed=float("inf")
        ) as sensors,
    ):
        health = backend.url + "/api/health"
        assert sensors.wait(60).acked == 2 * 120
        with urllib.request.urlopen(health, timeout=60) as answer:
            assert json.load(answer)["service"]
    with pytest.raises(OSError, match=r"refused"):
        urllib.request.urlopen(health, timeout=60)


def test_a_backend_and_an_ml_service_are_checked():
    with ctgkit.run_ml() as ml, ctgkit.run_backend(2) as backend:
        verdicts = ctgkit.check_backend(backend.url, backend.credentials, only=["S-1.2", "S-1.3"])
        assert {v.outcome for v in verdicts} == {"pass"}
        verdicts = ctgkit.check_ml(ml.url, only=["M-3.1"])
        assert {v.outcome for v in verdicts} == {"pass"}
        with pytest.raises(ctgkit.CtgkitError, match="Q-1 names no check"):
            ctgkit.check_ml(ml.url, only=["Q-1"])
        address = backend.url
    with pytest.raises(ctgkit.CtgkitError, match="nothing listens"):
        ctgkit.check_backend(address)


async def test_parties_with_async():
    async with ctgkit.run_backend(1) as backend:
        playing = ctgkit.run_sensors(backend.url, backend.credentials, speed=20)
        async with playing as sensors:
            while not backend.stored:
                await asyncio.sleep(0.01)
            sensors.stop()
            assert (await sensors.finished()).acked > 0


def test_what_a_block_raises_comes_out_as_it_is():
    with pytest.raises(KeyError, match="mine"), ctgkit.run_backend(1):
        raise KeyError("mine")
