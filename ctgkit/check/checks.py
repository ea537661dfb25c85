"""What a check is: an address, a sentence, and a function that says what it expected and saw.

This module performs no I/O. A check's id is the clause of PROTOCOL.md that it judges, with a
name behind a slash where the clause has several checks: ``S-4.8/nan``.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["MUST", "SHOULD"]
TIMED = 2
"""Tries of a check in which 2 s of a backend decide."""
Outcome = Literal["pass", "warn", "fail", "skipped", "not judged", "blocked"]
Run = Callable[[Any], Awaitable[None]]


class Mismatch(Exception):
    """The peer did something else than the clause asks."""

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(expected, actual)
        self.expected, self.actual = expected, actual


class Skip(Exception):
    """The check needs something that the user did not offer; the text says what."""


class NotJudged(Exception):
    """The check was made and says nothing about the target; the text says why.

    Parameters
    ----------
    why : str
        What came between.
    counts : bool
        The user gave what the check needs, so the missing verdict fails the run.
    """

    def __init__(self, why: str, *, counts: bool = True) -> None:
        super().__init__(why)
        self.counts = counts


@contextmanager
def arranging(what: str) -> Iterator[None]:
    """Do what a check needs but isn't about: if that goes wrong, the check says nothing."""
    try:
        yield
    except Mismatch as mismatch:
        raise NotJudged(
            f"{what}: expected {mismatch.expected}, got {mismatch.actual}"
        ) from mismatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question about one clause."""

    id: str
    title: str
    run: Run
    level: Level = "MUST"
    strict: bool = False
    """Abuse, or minutes rather than moments: only with ``--strict``, or when named."""
    needs: tuple[str, ...] = ()
    """What the bench must have for it, as its ``lacks`` names it."""
    tries: int = 1
    """How often it is made before it fails: where seconds matter, a busy machine may cost some."""

    @property
    def clause(self) -> str:
        """The clause it judges."""
        return self.id.partition("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came out of one check."""

    check: Check
    outcome: Outcome
    expected: str = ""
    actual: str = ""
    """What was seen; for ``skipped``, ``not judged`` and ``blocked``, why."""
    allowed: str = ""
    """Why the user allows what was found; then it is a warning, even when strict."""
    counts: bool = True
    """Whether ``not judged`` fails the run: the user gave what the check needs."""
    seconds: float = 0.0

    @property
    def is_bad(self) -> bool:
        """Whether it fails the run."""
        return self.outcome in ("fail", "blocked") or (self.outcome == "not judged" and self.counts)


class Catalogue:
    """Checks in the order in which they run."""

    def __init__(self) -> None:
        self.checks: dict[str, Check] = {}

    def add(
        self,
        check_id: str,
        title: str,
        *,
        needs: str = "",
        level: Level = "MUST",
        strict: bool = False,
        tries: int = 1,
    ) -> Callable[[Run], Run]:
        """Return a decorator that adds a function as a check; *needs* are words."""

        def register(run: Run) -> Run:
            if check_id in self.checks:
                raise ValueError(f"two checks are called {check_id}")
            self.checks[check_id] = Check(
                id=check_id,
                title=title,
                run=run,
                level=level,
                strict=strict,
                needs=tuple(needs.split()),
                tries=tries,
            )
            return run

        return register

    def select(self, only: Sequence[str], strict: bool) -> list[Check]:
        """Return the checks that are asked for.

        Parameters
        ----------
        only : sequence of str
            Check ids, clauses, or their beginnings (``S``, ``S-4``, ``S-4.8``); empty for all.
        strict : bool
            Include strict ones even where they aren't named.

        Raises
        ------
        LookupError
            When one of *only* names no check; its text says which.
        """
        chosen: dict[str, Check] = {}
        for address in only:
            named = {c.id: c for c in self.checks.values() if matches(c.id, address)}
            if not named:
                raise LookupError(address)
            chosen |= named
        if only:
            return [c for c in self.checks.values() if c.id in chosen]
        return [c for c in self.checks.values() if strict or not c.strict]


def matches(check_id: str, address: str) -> bool:
    """Return whether *address* is the id or a part of it that ends at a boundary.

    >>> [matches("S-4.10/text", a) for a in ("S", "S-4", "S-4.1", "S-4.10", "S-4.10/text")]
    [True, True, False, True, True]
    """
    rest = check_id.removeprefix(address)
    return check_id.startswith(address) and (not rest or rest[0] in "-./")


def exit_code(verdicts: Iterable[Verdict], strict: bool) -> int:
    """Return 0 when something was judged and nothing failed, otherwise 1.

    With *strict*, a broken SHOULD counts too. What could not be judged although the user gave
    what it needs counts as a failure, and so does what a broken target blocked.
    """
    found = list(verdicts)
    bad = any(v.is_bad or (strict and v.outcome == "warn" and not v.allowed) for v in found)
    judged = any(v.outcome in ("pass", "warn", "fail") for v in found)
    return 0 if judged and not bad else 1
