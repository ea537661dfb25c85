"""A bug planted in an ML service is found by the checks that name it, and by no other."""

import asyncio
import logging

import pytest

from ctgkit.check.service.catalogue import PLAYED, SERVICE, UNREADABLE
from tests.check.benches import explain, failed, judge_service
from tests.check.ml_mutants import small_service

BUGS = {
    "": set(),
    "forgets the Z": {"M-3.1/timestamp"},
    "answers 0": {"M-3.1/echo"},
    "answers twice": {"M-3.1/order"},
    "never warns": {"M-3.2/risk-flat", "M-3.2/risk-slow"},
    "is too sure": {"M-3.2/prediction"},
    "renames a member": {
        "M-3.2/prediction",
        "M-3.6/names",
        *(f"M-3.2/risk-{name}" for name in PLAYED),
    },
    "predicts at once": {f"M-3.3/first-{hz}hz" for hz in ("1", "4", "8.33")} | {"M-3.4/restart"},
    "counts samples": {"M-3.3/first-1hz", "M-3.3/first-8.33hz"},
    "predicts every sample": {"M-3.3/period"},
    "mixes sensors": {"M-3.3/separate"},
    "never forgets": {"M-3.4/restart"},
    "dies on a bad request": {f"M-3.5/{name}" for name in UNREADABLE},
    "ignores what is no JSON": {f"M-3.5/{name}" for name in ("json", "utf8", "nan")},
}
"""The bug -> the checks that find it."""


QUICK = {c for c in SERVICE.checks if c.startswith(("M-1", "M-2", "M-3.1"))} | {"M-3.5/list"}
"""What else each is judged by; the slow test asks everything."""


@pytest.fixture(scope="module")
def verdicts():
    async def judged(bug):
        checks = [c for c in SERVICE.checks.values() if c.id in BUGS[bug] | QUICK]
        async with small_service(bug) as url:
            return await judge_service(url, checks)

    async def all_of_them():
        found = await asyncio.gather(*map(judged, BUGS))
        return dict(zip(BUGS, found, strict=True))

    logging.disable(logging.CRITICAL)
    try:
        yield asyncio.run(all_of_them())
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_found_by_its_checks_alone(verdicts, bug):
    assert failed(verdicts[bug]) == BUGS[bug], explain(verdicts[bug])


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_among_all_checks(bug):
    async def judged():
        async with small_service(bug) as url:
            return await judge_service(url, SERVICE.select((), strict=False))

    found = asyncio.run(judged())
    assert failed(found) == BUGS[bug], explain(found)
