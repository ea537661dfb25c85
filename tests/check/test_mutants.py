"""A planted fault is found by the checks of the clause that it breaks, and by no other.

In the default run some faults are judged by their checks and a share of the quick others; the slow
ones judge every fault by the whole catalogue.
"""

import asyncio
import json
import logging
import shlex
import socket
import sys
import time
from pathlib import Path

import pytest

from ctgkit.check.backend.catalogue import BACKEND
from tests.check.benches import (
    explain,
    failed,
    judge_mutant,
    judge_process,
    judge_reference,
    naive_config,
    quick_checks,
)
from tests.check.naive.faults import FAULTS, GRACE_FAULTS, PROCESS_FAULTS, REFERENCE_FAULTS
from tests.check.reference import PLANTED
from tests.ports import free_port
from tests.programs import started

ROOT = Path(__file__).parent.parent.parent
FAST = (
    "compares the token's beginning",
    "the older connection ends the examination",
    "refuses quick reconnects",
    "stores under a second sensor's id",
    "accepts NaN",
    "ends with the first who leaves",
    "acknowledges before it commits",
    "drops a restarted sensor's data",
    "stops nobody",
    "locks up when many viewers vanish",
    "predictions before the past",
    "relays wrong types",
)
PARTS = 6
"""The quick checks are dealt out to the faults of the default run."""


@pytest.fixture(autouse=True, scope="module")
def quiet():
    logging.disable(logging.CRITICAL)  # the library logs what the mutants break
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    directory = tmp_path_factory.mktemp("mutants")

    async def judged(number, fault):
        named = FAULTS.get(fault, set())
        quick = {c.id for c in list(quick_checks())[number % PARTS :: PARTS]}
        checks = [c for c in BACKEND.checks.values() if c.id in named | quick]
        return await judge_mutant(directory, fault, checks)

    async def all_of_them():  # at a time: they mostly wait
        faults = ["", *FAST]
        found = await asyncio.gather(*(judged(n, fault) for n, fault in enumerate(faults)))
        return dict(zip(faults, found, strict=True))

    return asyncio.run(all_of_them())


def test_without_a_fault_it_passes(verdicts):
    assert not failed(verdicts[""]), explain(verdicts[""])


@pytest.mark.parametrize("fault", FAST)
def test_a_fault_is_found_by_its_checks_alone(verdicts, fault):
    """The named checks fail, and nothing else does."""
    assert failed(verdicts[fault]) == FAULTS[fault], explain(verdicts[fault])


def test_there_are_sixty_faults_and_more():
    assert len(FAULTS) + len(PROCESS_FAULTS) >= 60
    planted = REFERENCE_FAULTS | GRACE_FAULTS
    assert planted.keys() == PLANTED.keys()
    every = [*FAULTS.values(), *PROCESS_FAULTS.values(), *planted.values()]
    assert set().union(*every) <= BACKEND.checks.keys()
    assert set(FAST) <= FAULTS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["", *FAULTS])
def test_a_fault_among_all_checks(tmp_path, fault):
    """The same with the whole catalogue."""
    found = asyncio.run(judge_mutant(tmp_path, fault, BACKEND.select((), strict=False)))
    assert failed(found) == FAULTS.get(fault, set()), explain(found)


PROCESS_CHECKS = [c for c in BACKEND.checks.values() if "run" in c.needs]


def test_a_process_without_a_fault_passes(tmp_path):
    found = judge_process(tmp_path, "", PROCESS_CHECKS)
    assert {v.outcome for v in found} == {"pass"}, explain(found)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(f, marks=() if f.startswith("runs on") else pytest.mark.slow)
        for f in PROCESS_FAULTS
    ],
)
def test_a_fault_of_the_process_is_found(tmp_path, fault):
    """Judged by the checks that start, stop and kill it, and those that name it."""
    named = PROCESS_FAULTS[fault]
    checks = [
        c
        for c in BACKEND.checks.values()
        if c.id in named or (c in PROCESS_CHECKS and not fault.startswith("runs on"))
    ]
    found = judge_process(tmp_path, fault, checks)
    assert failed(found) == named, explain(found)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["", *REFERENCE_FAULTS, *GRACE_FAULTS])
def test_a_fault_in_the_reference_is_found(tmp_path, fault):
    """Judged by the checks of the clauses that it breaks."""
    named = (REFERENCE_FAULTS | GRACE_FAULTS).get(fault, {"S-1.1/enters", "V-1.2/before"})
    clauses = {i.partition("/")[0] for i in named}
    checks = [c for c in BACKEND.select((), strict=False) if c.clause in clauses]
    grace_s = 1.5 if fault in GRACE_FAULTS else 0.0
    found = judge_reference(tmp_path, fault, checks, grace_s=grace_s)
    assert failed(found) == (named if fault else set()), explain(found)


def test_a_lock_up_is_named_once_and_the_rest_blocked(tmp_path):
    """After viewers get nothing more, nothing else is said to have failed."""
    checks = BACKEND.select(["V-2.4/aborts", "S-1.2"], strict=False)
    order = sorted(checks, key=lambda c: not c.id.endswith("aborts"))
    found = asyncio.run(judge_mutant(tmp_path, "locks up when many viewers vanish", order))
    assert [v.outcome for v in found] == ["fail", *["blocked"] * (len(found) - 1)], explain(found)
    assert all("since V-2.4/aborts" in v.actual for v in found[1:])


def test_a_check_that_is_stopped_leaves_no_backend_behind(tmp_path):
    """SIGTERM, as CI sends it when a job takes too long."""
    port = free_port()
    config, _ = naive_config(tmp_path, "left", port=port)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    command = shlex.join([sys.executable, "-m", "tests.check.naive", str(file)])
    with started(
        *(sys.executable, "-m", "ctgkit", "check", "backend", f"http://127.0.0.1:{port}"),
        *("--run", f"env PYTHONPATH={ROOT} {command}", "--only", "S-2.4/dropped"),
        cwd=tmp_path,
    ) as checking:
        deadline_s = time.monotonic() + 60
        while not listens(port):
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        checking.terminate()
        _, said = checking.communicate(timeout=60)
        assert checking.returncode == 143
        assert "Traceback" not in said
        assert not listens(port)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
