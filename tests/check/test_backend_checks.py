"""Our own backend keeps every clause, and what the checker says of a catalogue is true."""

import asyncio
import logging
import re
from pathlib import Path

import pytest

from ctgkit.check.backend.catalogue import BACKEND
from ctgkit.check.checks import Catalogue, Check, Verdict, exit_code
from ctgkit.check.profile import ANCESTOR, ANCESTOR_ML
from ctgkit.check.report import clauses_of
from ctgkit.check.run import run_checks
from ctgkit.check.service.catalogue import SERVICE
from ctgkit.config import SensorEntry
from ctgkit.mlstub.service import MlService, MlSettings
from ctgkit.server.app import run_backend
from ctgkit.server.settings import BackendSettings
from tests.check.benches import explain, failed, free_port, judge, judge_mutant, judge_service

ROOT = Path(__file__).parent.parent.parent
CLAUSE = re.compile(r"^- \*\*([SMVHC]-\d+\.\d+)\*\*", re.MULTILINE)
PARTS = 4


def sensors():
    return tuple(
        SensorEntry(
            id=f"0c7f0a3e-5b3a-4c1e-9d57-0f2a6c9b1d{n:02x}",
            token=f"token-{n}",
            control=f"127.0.0.1:{free_port()}",
        )
        for n in range(2)
    )


async def judge_ours(directory, checks, **more):
    """Run checks against `ctgkit serve` with everything that they can use."""
    ml_port, entries = free_port(), sensors()
    settings = BackendSettings(
        sensors=entries,
        database=directory / "ctg.db",
        port=0,
        ml_url=f"ws://127.0.0.1:{ml_port}/ws/ctg",
        ml_retry_s=0.1,
        max_connections=40,
    )
    async with run_backend(settings) as backend:
        return await judge(
            backend.url, entries, checks, ml_port=ml_port, store=settings.database,
            max_connections=40, **more,
        )  # fmt: skip


async def judge_as_remote(directory):
    """Judge V-1.2 and H-2.3 on an address that isn't loopback by name."""
    settings = BackendSettings(
        sensors=sensors(),
        database=directory / "ctg.db",
        host="0.0.0.0",
        hosts=frozenset({"0.0.0.0"}),
        port=0,
        ml_url=None,
        viewer_token="let-me-see",
    )
    async with run_backend(settings) as backend:
        checks = BACKEND.select(["V-1", "H-2.3"], strict=False)
        return await judge(backend.url, settings.sensors, checks, viewer_token="let-me-see")


async def test_a_second_run_on_the_same_database_passes_too(tmp_path):
    """What the first one stored, at the same moments, isn't taken for its own."""
    settings = BackendSettings(
        sensors=sensors(), database=tmp_path / "ctg.db", port=0, ml_url=None, grace_s=0
    )
    async with run_backend(settings) as backend:
        for _ in range(2):
            verdicts = await judge(
                backend.url, settings.sensors, BACKEND.select(["S-5"], strict=False),
                store=settings.database,
            )  # fmt: skip
            assert failed(verdicts) == set(), explain(verdicts)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """All checks of the default run, against our backend; in parts, which mostly wait."""
    checks = BACKEND.select((), strict=False)
    directories = [tmp_path_factory.mktemp("ours") for _ in range(PARTS + 1)]

    async def all_parts():
        parts = (judge_ours(directories[n], checks[n::PARTS]) for n in range(PARTS))
        return await asyncio.gather(judge_as_remote(directories[-1]), *parts)

    logging.disable(logging.CRITICAL)
    try:
        yield asyncio.run(all_parts())
    finally:
        logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def remote(everything):
    return everything[0]


@pytest.fixture(scope="module")
def ours(everything):
    return [verdict for part in everything[1:] for verdict in part]


def test_our_backend_passes(ours):
    assert not failed(ours), explain(ours)


def test_nothing_is_skipped_but_what_needs_another_address(ours):
    """With the ML side, the database, controls and the limit, all can be judged."""
    skipped = {v.check.clause: v.actual for v in ours if v.outcome == "skipped"}
    assert skipped.keys() == {"V-1.2", "H-2.3"}, skipped


@pytest.mark.slow
def test_our_backend_endures_abuse(tmp_path):
    strict = [c for c in BACKEND.checks.values() if c.strict]
    verdicts = asyncio.run(judge_ours(tmp_path, strict))
    assert {v.outcome for v in verdicts} == {"pass"}, explain(verdicts)


def test_a_remote_viewer_needs_its_token(remote):
    assert {v.outcome for v in remote} == {"pass"}, explain(remote)


def test_our_ml_service_passes():
    async def judged():
        async with MlService(MlSettings(port=0)) as service:
            return await judge_service(service.url, SERVICE.select((), strict=False))

    verdicts = asyncio.run(judged())  # not in the debug mode of async tests: 20,000 requests
    assert {v.outcome for v in verdicts} == {"pass"}, explain(verdicts)


async def test_without_ml_side_and_database_viewers_are_the_witness(tmp_path):
    """What needs neither is judged all the same; the rest says what it needs."""
    entries = sensors()
    settings = BackendSettings(sensors=entries, database=tmp_path / "ctg.db", port=0, ml_url=None)
    async with run_backend(settings) as backend:
        verdicts = await judge(backend.url, entries, BACKEND.select(["S-4.8", "M-2"], strict=False))
    outcomes = {v.check.clause: v.outcome for v in verdicts}
    assert outcomes == {"S-4.8": "pass", "M-2.1": "skipped", "M-2.2": "skipped"}
    assert {v.actual for v in verdicts if v.outcome == "skipped"} == {"needs --ml-listen"}


async def test_wrong_credentials_are_one_failure_not_a_hundred(tmp_path):
    entries = sensors()
    settings = BackendSettings(sensors=entries, database=tmp_path / "c.db", port=0, ml_url=None)
    async with run_backend(settings) as backend:
        wrong = (SensorEntry(id=entries[0].id, token="wrong"),)
        verdicts = await judge(backend.url, wrong, BACKEND.select(["S-1", "S-4"], strict=False))
    assert failed(verdicts) == {"S-1.1/enters"}
    assert {v.outcome for v in verdicts if v.check.clause.startswith("S-4")} == {"skipped"}


class Dead:
    """A target that went away."""

    def __init__(self):
        self.lacks = {}

    async def alive(self):
        return False

    async def prepare(self):
        pass


async def test_a_target_that_dies_is_named_once():
    """The check that killed it fails; those after it are skipped, not failed."""

    async def dying(bench):
        raise OSError("connection reset")

    checks = [Check(id=f"S-1.{n}", title="t", run=dying) for n in (1, 2)]
    verdicts = await run_checks(Dead(), checks)
    assert [v.outcome for v in verdicts] == ["fail", "skipped"]
    assert "S-1.1" in verdicts[1].actual


# The catalogue and PROTOCOL.md


def not_checkable():
    """Return the clauses that docs/check.md lists as not checkable from outside."""
    table = (ROOT / "docs" / "check.md").read_text().partition("## What it cannot judge")[2]
    return set(re.findall(r"^\| ([SMVHC]-\d+\.\d+) \|", table, re.MULTILINE))


def test_every_clause_has_a_check_or_a_reason():
    """Each clause is judged, or docs/check.md says why not; never both, and none is made up."""
    defined = set(CLAUSE.findall((ROOT / "PROTOCOL.md").read_text()))
    judged = clauses_of(BACKEND) | clauses_of(SERVICE)
    assert judged | not_checkable() == defined
    assert not judged & not_checkable()


@pytest.mark.parametrize("catalogue", [BACKEND, SERVICE], ids=["backend", "service"])
def test_each_check_judges_one_clause_and_says_how(catalogue):
    for check in catalogue.checks.values():
        assert re.fullmatch(r"[SMVHC]-\d+\.\d+(/[\w.-]+)?", check.id)
        assert len(check.title) < 80


def test_profiles_name_checks_that_exist():
    assert ANCESTOR.keys() <= BACKEND.checks.keys()
    assert ANCESTOR_ML.keys() <= SERVICE.checks.keys()


async def test_a_profile_turns_failures_into_warnings(tmp_path):
    """What the original decides otherwise warns; other bugs still fail."""
    checks = BACKEND.select(["S-2.1", "S-1.3/wrong-token"], strict=False)
    lenient = {"S-2.1/foreign", "S-2.1/null"}
    found = await judge_mutant(tmp_path, "lets every origin in", checks, excused=lenient)
    assert {v.check.id for v in found if v.outcome == "warn"} == lenient
    assert not [v for v in found if v.outcome == "fail"]


def check(check_id, **more):
    async def run(_bench):
        pass

    return Check(id=check_id, title="A title", run=run, **more)


def test_selection():
    """By check, clause or beginning, in the catalogue's order; strict ones when named."""
    catalogue = Catalogue()
    for each in (check("S-4.1/a"), check("S-4.10"), check("V-1.1", strict=True)):
        catalogue.checks[each.id] = each
    select = catalogue.select
    assert [c.id for c in select((), strict=False)] == ["S-4.1/a", "S-4.10"]
    assert [c.id for c in select((), strict=True)] == ["S-4.1/a", "S-4.10", "V-1.1"]
    assert [c.id for c in select(["V-1", "S-4.1"], strict=False)] == ["S-4.1/a", "V-1.1"]
    with pytest.raises(LookupError, match=r"S-4\.2"):
        select(["S-4.2"], strict=False)


@pytest.mark.parametrize(
    ("outcomes", "strict", "code"),
    [
        (["pass", "skipped"], False, 0),
        (["pass", "warn"], False, 0),
        (["pass", "warn"], True, 1),
        (["pass", "fail"], False, 1),
        (["skipped"], False, 1),
        ([], False, 1),
    ],
)
def test_exit_codes(outcomes, strict, code):
    """A failure is 1; so is nothing checked."""
    verdicts = [Verdict(check=check("S-1.1"), outcome=o) for o in outcomes]
    assert exit_code(verdicts, strict) == code
