"""Random histories: what keeps the protocol survives them, a planted bug is shrunk to its core."""

import asyncio
import json
import logging

import pytest

from ctgkit.check.bench import BenchSettings, run_bench
from ctgkit.check.fuzz import run_fuzz
from ctgkit.check.line import target_of
from ctgkit.config import SensorEntry
from tests.check.benches import free_port
from tests.check.mutants import TOKENS, small_backend


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def fuzz(directory, bug, count, seed=1):
    """Fuzz the small backend; return the verdict and the lines of the recording, if any."""
    out = directory / "failure.jsonl"

    async def judged():
        path = directory / "m.db"
        async with small_backend(path, f"ws://127.0.0.1:{free_port()}/", bug) as port:
            settings = BenchSettings(
                target=target_of(f"ws://127.0.0.1:{port}"),
                sensors=tuple(SensorEntry(id=i, token=t) for i, t in TOKENS.items()),
                store=path,
                timeout_s=0.3,
            )
            async with run_bench(settings) as bench:
                return await run_fuzz(bench, count, seed, out)

    verdict = asyncio.run(judged())
    return verdict, [json.loads(text) for text in out.read_text().splitlines()] if (
        out.exists()
    ) else []


def test_a_backend_that_keeps_the_protocol_survives(tmp_path):
    verdict, lines = fuzz(tmp_path, "", 10)
    assert verdict.outcome == "pass", verdict.actual
    assert not lines


def test_a_failure_is_shrunk_and_recorded(tmp_path):
    """One bad frame is enough, so one is left, before the good one that ends every history."""
    verdict, (header, *lines) = fuzz(tmp_path, "rejects whole arrays", 40)
    assert verdict.outcome == "fail"
    assert header["ctgkit_recording"] == 1
    assert header["simulated"] is True
    assert header["seed"] == 1
    sent = [text for _, what, text in lines if what.endswith(">")]
    assert len(sent) <= 2
    assert sorted("999" in item for item in sent[0].split("}}")[:-1]) == [False, True]
    assert lines[0][1] == "s1 open"
    assert lines[0][2]["path"].startswith("/ws/sensor?sensor_id=")
