"""The soak itself, for half a minute."""

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_short_soak_adds_up(tmp_path):
    """Everything starts, is disturbed, ends, and the accounts agree."""
    command = [sys.executable, "-m", "benchmarks.soak", "--minutes", "0.5", "--sensors", "10"]
    done = subprocess.run(
        [*command, "--every", "1", "--out", tmp_path / "soak", "--directory", tmp_path],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    found = json.loads((tmp_path / "soak.json").read_text())
    assert [what for what, holds, _ in found["accounts"] if not holds] == [], done.stdout
    assert found["disturbances"]["malformed frames"] > 0
    assert found["disturbances"]["messages read"] > 0
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")
