"""Every example runs, ends by itself, and does what it promises."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ctgkit.config import new_sensors, write_config
from ctgkit.mlstub.script import parse_script
from tests.ports import free_port

EXAMPLES = Path(__file__).parent.parent / "examples"
PRINTS = {
    "whole_system.py": "599.75 s:",
    "check_your_backend.py": "53 pass, 7 skipped",
    "own_fault.py": "all in steps of 10: True",
    "own_ml_service.py": "140 bpm: ok\n160 bpm: warning",
    "own_analyzer.py": "slow heart at 13 min",
    "own_scenario.py": "prolonged at 8.0 min for 4.0 min, 50 bpm",
    "analyze_recording.py": "late decelerations; FIGO: ",
    "test_own_consumer.py": "3 passed",
    "record_replay_expect.sh": "0 differ, 0 missing, 0 unexpected\nas expected",
}
"""File -> something true that it prints."""


def run(*command, cwd, code=0):
    """Run a command in which `ctgkit` is ours; return what it printed."""
    scripts = Path(sys.executable).parent
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CTGKIT_", "PYTEST_"))}
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=cwd,
        env=kept | {"PATH": path, "HOME": str(cwd)},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_every_example_is_tried_and_listed():
    """Here, and in the folder's README."""
    files = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"}
    assert files - {"ml_script.toml", "own_scenario.toml", "check_in_ci.yml"} == set(PRINTS)
    assert set(re.findall(r"\]\((.*?)\)", (EXAMPLES / "README.md").read_text())) == files


@pytest.mark.parametrize("name", sorted(PRINTS))
def test_example(name, tmp_path):
    """It ends with code 0 and says what it found."""
    command, path = {".py": [sys.executable], ".sh": ["sh"]}[Path(name).suffix], EXAMPLES / name
    if name.startswith("test_"):
        command += ["-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
        path = shutil.copy(path, tmp_path)  # away from our own settings of pytest
    assert PRINTS[name] in run(*command, path, cwd=tmp_path)


def test_the_script_of_the_ml_stub_is_valid():
    """Each of its rules."""
    name = "ml_script.toml"
    assert len(parse_script((EXAMPLES / name).read_text(), name).rule) == 4


def test_the_workflow_checks_a_backend(tmp_path):
    """Its commands, with our backend as theirs and other ports."""
    workflow = yaml.safe_load((EXAMPLES / "check_in_ci.yml").read_text())
    assert set(workflow[True]) == {"push", "pull_request"}  # `on` is a boolean in YAML 1.1
    (job,) = workflow["jobs"].values()
    install, start, check = [step["run"] for step in job["steps"] if "run" in step]
    assert install == "pip install ctgkit"

    (sensor,) = new_sensors(1)
    write_config(tmp_path / "ctgkit.toml", (sensor,))
    (tmp_path / "token.txt").write_text(sensor.token)
    port, ml_port = str(free_port()), str(free_port())
    start = start.replace(
        "./start-your-backend", f"ctgkit serve --ml-retry 0.1 --ml ws://127.0.0.1:{ml_port}/ws/ctg"
    ).replace("--database ctg.db", "--store sqlite:///ctg.db")
    check = check.replace("00000000-0000-4000-8000-000000000001", sensor.id)
    check = check.strip() + " --only S-4.1 --only M-2.1"
    script = f"{start}\ntrap 'kill $!' EXIT\n{check}".replace("8080", port).replace("8081", ml_port)
    assert " fail" not in run("bash", "-ec", script, cwd=tmp_path)
    assert "<testsuite" in (tmp_path / "protocol.xml").read_text()
