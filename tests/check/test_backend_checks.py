"""Our own backend keeps every clause, and what the checker says of a catalogue is true."""

import asyncio
import errno
import logging
import re

import pytest

from ctgkit.check.allowed import allowed_checks, parse_allowed
from ctgkit.check.backend.catalogue import BACKEND
from ctgkit.check.checks import (
    Catalogue,
    Check,
    Mismatch,
    NotJudged,
    Skip,
    Verdict,
    exit_code,
)
from ctgkit.check.profile import ANCESTOR, ANCESTOR_ML
from ctgkit.check.report import clauses_of, likely_causes
from ctgkit.check.run import run_checks
from ctgkit.check.sensor.catalogue import SENSOR
from ctgkit.check.service.catalogue import SERVICE
from ctgkit.config import SensorEntry
from ctgkit.errors import StoreError
from ctgkit.mlstub.service import MlService, MlSettings
from ctgkit.server.app import run_backend
from ctgkit.server.settings import BackendSettings
from tests.check import protocol_table
from tests.check.benches import explain, failed, judge, judge_mutant, judge_service
from tests.ports import free_port

PARTS = 4
NEEDS_RUN = {c.clause for c in BACKEND.checks.values() if "run" in c.needs}


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
        return asyncio.run(all_parts())
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
    """With the ML side, the database, controls and the limit, all can be judged.

    Two beds and a grace period are test_mutants'.
    """
    skipped = {v.check.id: v.actual for v in ours if v.outcome == "skipped"}
    others = skipped.keys() - {"S-5.2/beds", "S-5.3/rejoins"}
    assert {i.partition("/")[0] for i in others} == {"V-1.2", "H-2.3", *NEEDS_RUN}, skipped


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
        verdicts = await judge(
            backend.url, entries, BACKEND.select(["S-4.8", "M-2.2"], strict=False)
        )
    outcomes = {v.check.clause: v.outcome for v in verdicts}
    assert outcomes == {"S-4.8": "pass", "M-2.2": "skipped"}
    assert {v.actual for v in verdicts if v.outcome == "skipped"} == {"needs --ml-listen"}


async def test_wrong_credentials_are_one_failure_not_a_hundred(tmp_path):
    entries = sensors()
    settings = BackendSettings(sensors=entries, database=tmp_path / "c.db", port=0, ml_url=None)
    async with run_backend(settings) as backend:
        wrong = (SensorEntry(id=entries[0].id, token="wrong"),)
        verdicts = await judge(backend.url, wrong, BACKEND.select(["S-1", "S-4"], strict=False))
    assert failed(verdicts) == {"S-1.1/enters"}
    assert {v.outcome for v in verdicts if v.check.clause.startswith("S-4")} == {"not judged"}


class Patient:
    """A target that can be killed, lamed and restarted."""

    def __init__(self, *, revives=False):
        self.lacks, self.offered, self.timeout_s, self.moved_at_s = {}, frozenset(), 1.0, 0.0
        self.dead, self.lame, self.revives = False, "", revives

    async def alive(self):
        return not self.dead

    async def prepare(self):
        pass

    async def ailment(self):
        return self.lame

    async def revive(self):
        self.dead, self.lame = not self.revives and self.dead, "" if self.revives else self.lame
        return self.revives


async def kill(patient):
    patient.dead = True
    raise OSError("connection reset")


async def lame(patient):
    patient.lame = "viewers get nothing"


async def fine(_patient):
    pass


async def outcomes_of(patient, *runs):
    checks = [Check(id=f"S-1.{n}", title="t", run=run) for n, run in enumerate(runs, 1)]
    verdicts = await run_checks(patient, checks)
    return [v.outcome for v in verdicts], verdicts


async def test_a_target_that_dies_is_named_once():
    """The check that killed it fails; those after it are blocked, not failed."""
    outcomes, verdicts = await outcomes_of(Patient(), fine, kill, fine)
    assert outcomes == ["pass", "fail", "blocked"]
    assert "S-1.2" in verdicts[-1].actual


async def test_a_check_after_which_nothing_works_fails_though_it_passed():
    outcomes, verdicts = await outcomes_of(Patient(), lame, fine, fine)
    assert outcomes == ["fail", "blocked", "blocked"]
    assert "viewers get nothing" in verdicts[0].actual
    assert verdicts[1].actual == "viewers get nothing, since S-1.1"
    assert likely_causes(verdicts) == [
        "root cause: viewers get nothing, since S-1.1; what came later was not judged"
    ]


async def test_a_target_that_can_be_restarted_is_judged_to_the_end():
    outcomes, verdicts = await outcomes_of(Patient(revives=True), lame, fine, kill, fine)
    assert outcomes == ["fail", "pass", "fail", "pass"]
    assert "after a restart it works again" in verdicts[0].actual


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (StoreError("ctg.db", "database is locked"), "not judged"),
        (OSError(errno.EMFILE, "Too many open files"), "not judged"),
        (KeyError("a mistake of the check"), "not judged"),
        (NotJudged("no trace reached it", counts=False), "not judged"),
        (ConnectionResetError("reset by peer"), "fail"),
        (Mismatch("101", "503"), "fail"),
        (Skip("needs --store"), "skipped"),
    ],
)
async def test_the_checkers_own_trouble_is_not_the_targets(error, outcome):
    async def troubled(_patient):
        raise error

    logging.disable(logging.CRITICAL)
    try:
        outcomes, _ = await outcomes_of(Patient(), troubled)
    finally:
        logging.disable(logging.NOTSET)
    assert outcomes == [outcome]


async def test_slow_is_not_hanging(monkeypatch):
    """A check lasts for as long as something moves, and no longer."""
    monkeypatch.setattr("ctgkit.check.run.CHECK_MAX_S", 0.4)
    patient = Patient()
    patient.timeout_s = 0.01

    async def slow(patient):
        for _ in range(8):
            await asyncio.sleep(0.1)
            patient.moved_at_s = asyncio.get_running_loop().time()

    async def hanging(_patient):
        await asyncio.sleep(60)

    outcomes, verdicts = await outcomes_of(patient, slow, hanging)
    assert outcomes == ["pass", "fail"]
    assert "nothing moved" in verdicts[1].actual


async def test_nobody_dials_the_ml_side(tmp_path):
    """--ml-listen was given: that nobody comes is a failure, what needs it isn't judged."""
    entries = sensors()
    settings = BackendSettings(sensors=entries, database=tmp_path / "c.db", port=0, ml_url=None)
    async with run_backend(settings) as backend:
        checks = BACKEND.select(["M-1.1", "M-2.1"], strict=False)
        verdicts = await judge(backend.url, entries, checks, ml_port=free_port())
    assert failed(verdicts) == {"M-1.1/path"}
    others = [v for v in verdicts if v.check.id != "M-1.1/path" and "run" not in v.check.needs]
    assert {v.outcome for v in others} == {"not judged"}
    assert exit_code(verdicts[1:], strict=False) == 1


# The catalogue and PROTOCOL.md


def test_every_clause_has_a_check_or_a_reason():
    """The table at the end of PROTOCOL.md is what the catalogues are; none is made up."""
    text = protocol_table.PROTOCOL.read_text()
    assert "???" not in protocol_table.table()
    assert text.endswith(protocol_table.MARK + "\n" + protocol_table.table()), (
        "run `python -m tests.check.protocol_table`"
    )
    judged = clauses_of(BACKEND) | clauses_of(SERVICE) | clauses_of(SENSOR)
    clauses = set(protocol_table.CLAUSE.findall(text))
    assert judged <= clauses
    assert protocol_table.WHY_NONE.keys() <= clauses - judged


@pytest.mark.parametrize(
    "catalogue", [BACKEND, SERVICE, SENSOR], ids=["backend", "service", "sensor"]
)
def test_each_check_judges_one_clause_and_says_how(catalogue):
    for check in catalogue.checks.values():
        assert re.fullmatch(r"[A-Z]-\d+(\.\d+)?(/[\w.-]+)?", check.id)
        assert len(check.title) < 80


def test_profiles_name_checks_that_exist():
    assert ANCESTOR.keys() <= BACKEND.checks.keys()
    assert ANCESTOR_ML.keys() <= SERVICE.checks.keys()


async def test_a_profile_turns_failures_into_warnings(tmp_path):
    """What the original decides otherwise warns; other bugs still fail."""
    checks = BACKEND.select(["S-2.1", "S-1.3/wrong-token"], strict=False)
    lenient = {"S-2.1/foreign", "S-2.1/null", "S-2.1/near"}
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
        (["pass", "not judged"], False, 1),
        (["pass", "blocked"], False, 1),
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


def test_what_nobody_could_judge_or_the_user_allows_is_no_failure():
    fine = Verdict(check=check("S-1.1"), outcome="pass")
    unreachable = Verdict(check=check("M-3.2"), outcome="not judged", counts=False)
    allowed = Verdict(check=check("S-1.2"), outcome="warn", allowed="our gateway does that")
    assert exit_code([fine, unreachable, allowed], strict=True) == 0


async def test_an_allowed_deviation_warns_with_its_reason(tmp_path):
    checks = BACKEND.select(["S-1.2"], strict=False)
    reasons = allowed_checks(parse_allowed(["S-1.2=our gateway"]), BACKEND)
    found = await judge_mutant(tmp_path, "401 without an id", checks, allowed=reasons)
    assert {(v.outcome, v.allowed) for v in found} == {("warn", "our gateway")}
    assert exit_code(found, strict=True) == 0
