"""Every example runs, ends by itself, and prints what it promises."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
PRINTS = {
    "whole_system.py": "599.75 s:",
    "check_your_backend.py": "43 pass, 2 skipped",
    "own_fault.py": "all in steps of 10: True",
    "own_ml_service.py": "140 bpm: ok\n160 bpm: warning",
    "analyze_recording.py": "late decelerations; FIGO: ",
}
"""File -> something true that it prints."""


def test_every_example_is_listed():
    """No example goes unchecked."""
    assert {p.name for p in EXAMPLES.glob("*.py")} <= set(PRINTS)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.name)
def test_example(path, tmp_path):
    """It ends with code 0 and says what it found."""
    done = subprocess.run(
        [sys.executable, path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert PRINTS[path.name] in done.stdout
