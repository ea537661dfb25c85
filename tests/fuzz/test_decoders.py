"""Broken bytes for the wire's decoders and the recording readers: one kind of error each."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.extras import need
from tests.fuzz.budget import FUZZ_S, lucks
from tests.fuzz.harness import NAMES, harness, valid_inputs
from tests.fuzz.mutation import mutated

NEEDS = {".edf": "edfio", ".parquet": "pyarrow"}
INPUTS_PER_BATCH = {"wire": 400, ".edf": 10, ".parquet": 5}


@pytest.fixture(params=NAMES)
def name(request):
    """A harness whose library is here."""
    if request.param in NEEDS:
        need(NEEDS[request.param])
    return request.param


def test_mutations(name):
    """Bytes a little wrong give values, or the one error that names what is wrong."""
    take, valid = harness(name), valid_inputs(name)
    for data in valid:
        take(data)
    for luck in lucks(5):
        for _ in range(INPUTS_PER_BATCH.get(name, 25)):
            data = mutated(luck, luck.choice(valid))
            try:
                take(data)
            except Exception as error:
                raise AssertionError(f"{data!r}") from error


@pytest.mark.skipif(
    not (FUZZ_S and importlib.util.find_spec("atheris")),
    reason="only with CTGKIT_FUZZ_SECONDS and atheris",
)
def test_guided_by_coverage():
    """The same by atheris, which keeps what reaches new code."""
    for name in NAMES:
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.guided", name, str(int(FUZZ_S))],
            cwd=Path(__file__).parent.parent.parent, capture_output=True, text=True, check=False,
            timeout=60 + 2 * FUZZ_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3_000:]
