"""A planted bug is found by the checks that name it, and by no other."""

import asyncio
import logging

import pytest

from ctgkit.check.backend.catalogue import BACKEND
from tests.check.benches import explain, failed, judge_mutant, quick_checks

BUGS = {
    "forgets the token": {"S-1.3/wrong-token", "S-1.3/no-token", "S-1.3/in-url", "S-1.3/same-body"},
    "takes a token from the URL": {"S-1.3/in-url"},
    "tells who is known": {"S-1.3/unknown", "S-1.3/same-body"},
    "refuses a second connection": {"S-1.4/closed", "S-1.4/serves", "S-1.4/examination"},
    "lets every origin in": {"S-2.1/foreign", "S-2.1/null"},
    "case-sensitive keys": {"S-4.2/bpmChild", "S-4.2/upper"},
    "stores 0 for no signal": {"S-4.4/null", "S-4.4/zero", "S-4.4/absent"},
    "rejects whole arrays": {"S-4.5/one-bad"},
    "accepts NaN": {"S-4.8/nan", "S-4.8/infinity", "S-4.8/overflow"},
    "dies on invalid JSON": {
        *(f"S-4.8/{name}" for name in ("json", "utf8", "empty", "deep", "digits")),
        "S-6.4/unreadable",
    },
    "endures any rubbish": {"S-4.9/hundred"},
    "takes frames of any size": {"S-4.10/larger", "S-4.10/fragments"},
    "drops what goes back in time": {"S-4.11/reordered", "S-4.11/back"},
    "stores twice": {"S-5.1/stored-once"},
    "mixes sensors": {"S-5.1/own-rows"},
    "never closes examinations": {"S-5.3/closed", "S-5.3/next"},
    "writes to every sensor": {"S-6.1/silent"},
    "acknowledges too early": {"S-6.3/committed"},
    "stores resent samples again": {"S-6.5/once", "S-6.5/earlier"},
    "always says ok": {"H-1.1/degraded"},
    "rewrites results": {"V-2.1/bytes"},
    "knows two viewers at most": {"V-2.1/all"},
    "shows nothing without the ML service": {
        *(f"V-2.2/{name}" for name in ("silent", "lost", "error", "down"))
    },
    "waits for slow viewers": {"V-2.3/others", "V-2.3/closed"},
    "has no past": {"V-3.1/past", "V-3.1/seconds", "V-3.1/prediction"},
    "never redials": {"M-1.1/redials"},
    "loses data while the ML service is down": {"M-1.2/down"},
    "sends resent samples to the ML service": {"M-2.2/once"},
    "relays garbage": {
        "M-4.1/wrong-type",
        *(f"M-4.1/{n}" for n in ("json", "binary", "scalar", "list", "no-id", "stranger", "error")),
    },
}
"""The bug -> the checks that find it."""


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Each bug judged by the checks that name it, and every fourth of the quick ones."""
    directory = tmp_path_factory.mktemp("mutants")

    async def judged(number, bug):
        named = BUGS.get(bug, set())
        quick = {c.id for c in list(quick_checks())[number % 4 :: 4]}
        checks = [c for c in BACKEND.checks.values() if c.id in named | quick]
        return await judge_mutant(directory, bug, checks)

    async def all_of_them():  # at a time: they mostly wait
        bugs = ["", *BUGS]
        return dict(
            zip(
                bugs, await asyncio.gather(*(judged(n, b) for n, b in enumerate(bugs))), strict=True
            )
        )

    logging.disable(logging.CRITICAL)  # the library logs what the mutants break
    try:
        yield asyncio.run(all_of_them())
    finally:
        logging.disable(logging.NOTSET)


def test_without_a_bug_it_passes(verdicts):
    assert not failed(verdicts[""]), explain(verdicts[""])


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_found_by_its_checks_alone(verdicts, bug):
    """The named checks fail, and nothing else does."""
    assert failed(verdicts[bug]) == BUGS[bug], explain(verdicts[bug])


@pytest.mark.slow
@pytest.mark.parametrize("bug", ["", *BUGS])
def test_a_bug_among_all_checks(tmp_path, bug):
    """The same with the whole catalogue."""
    found = asyncio.run(judge_mutant(tmp_path, bug, BACKEND.select((), strict=False)))
    assert failed(found) == BUGS.get(bug, set()), explain(found)
