"""`serve` does what `ctgkit schema openapi` says: judged by Schemathesis, no code of ours.

Not installed with the others: ``pip install schemathesis``.
"""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

import ctgkit
from ctgkit.server.endpoints import openapi

TIME_S = 20
LEFT_OUT = (
    "negative_data_rejection",  # an empty parameter is an absent one
    "positive_data_acceptance",  # orders depend on the sensors, of which none runs
)


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("schemathesis"), reason="needs schemathesis")
def test_the_backend_does_what_its_openapi_document_says(tmp_path):
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(openapi()))
    with (
        ctgkit.run_backend() as backend,
        ctgkit.run_sensors(
            backend.url, backend.credentials, duration_s=60, speed=float("inf")
        ) as sensors,
    ):
        sensors.wait(60)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", document, "--url", backend.url),
                *("--max-time", str(TIME_S), "--seed", "1", "--no-color"),
                *("--exclude-checks", ",".join(LEFT_OUT)),
            ],
            cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False,
            timeout=TIME_S + 120,
        )  # fmt: skip
        assert backend.health()["status"]
    assert done.returncode == 0, done.stdout[-4000:]
    assert "Tested: " in done.stdout
