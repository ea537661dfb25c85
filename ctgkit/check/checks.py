"""What a check is: an address, a sentence, and a function that says what it expected and saw.

This module performs no I/O. A check's id is the clause of PROTOCOL.md that it judges, with a
name behind a slash where the clause has several checks: ``S-4.8/nan``.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["MUST", "SHOULD"]
Outcome = Literal["pass", "warn", "fail", "skipped"]
Run = Callable[[Any], Awaitable[None]]


class Mismatch(Exception):
    """The peer did something else than the clause asks."""

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(expected, actual)
        self.expected, self.actual = expected, actual


class Skip(Exception):
    """The check cannot be made here; the text says why."""


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
    """What was seen; for ``skipped``, why it was."""
    seconds: float = 0.0


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

    With *strict*, a broken SHOULD counts too.
    """
    outcomes = [v.outcome for v in verdicts]
    bad = {"fail", "warn"} if strict else {"fail"}
    judged = any(o != "skipped" for o in outcomes)
    return 0 if judged and not bad & set(outcomes) else 1
