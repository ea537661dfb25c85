"""What a run of checks shows and writes: verdicts as they fall, then the reports."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from ctgkit.check.allowed import allowed_checks, parse_allowed
from ctgkit.check.checks import Catalogue, Check, Verdict, exit_code
from ctgkit.check.page import as_html
from ctgkit.check.report import (
    COLOURS,
    as_dict,
    as_junit,
    catalogue_lines,
    details,
    likely_causes,
    summary,
    unjudged,
)
from ctgkit.cli.progress import progress, say

Tell = Callable[[Verdict], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """The options that all judging commands have."""

    only: tuple[str, ...] = ()
    listing: bool = False
    strict: bool = False
    profile: str = "specification"
    allow: tuple[str, ...] = ()
    allow_file: Path | None = None
    as_json: bool = False
    junit: Path | None = None
    html: Path | None = None
    wait_s: float = 0.0
    timeout_s: float = 3.0

    @property
    def ancestor(self) -> bool:
        """Whether the original system is judged."""
        return self.profile == "ancestor"

    @property
    def abroad(self) -> str | None:
        """The profile of another wire, if there is one."""
        return None if self.profile in ("specification", "ancestor") else self.profile

    def no_abroad(self) -> None:
        """Refuse a profile of another wire where only our own is judged."""
        if self.abroad:
            raise click.BadParameter(
                f"{self.profile!r} is neither specification nor ancestor", param_hint="--profile"
            )

    def selected(self, catalogue: Catalogue) -> list[Check]:
        """Return the checks that are asked for."""
        try:
            only = [word.strip() for text in self.only for word in text.split(",") if word.strip()]
            return catalogue.select(only, self.strict or self.listing)
        except LookupError as error:
            raise click.BadParameter(
                f"no check is called {error}; --list shows them", param_hint="--only"
            ) from error

    def allowed(self, catalogue: Catalogue) -> dict[str, str]:
        """Return check id -> reason of the deviations that the user allows."""
        lines = list(self.allow)
        if self.allow_file:
            lines += self.allow_file.read_text(encoding="utf-8", errors="replace").splitlines()
        try:
            return allowed_checks(parse_allowed(lines), catalogue)
        except LookupError as error:
            raise click.BadParameter(
                f"no check is called {error}; --list shows them", param_hint="--allow"
            ) from error

    def list_checks(self, checks: Sequence[Check]) -> int:
        """Print what checks there are."""
        if self.as_json:
            members = ("id", "clause", "level", "strict", "title")
            click.echo(json.dumps([{m: getattr(c, m) for m in members} for c in checks]))
        else:
            click.echo("\n".join(catalogue_lines(checks)))
        return 0

    @contextmanager
    def telling(self, checks: int) -> Iterator[Tell]:
        """Print verdicts as they fall, and on a terminal how many of the checks are made."""
        tell = self.teller()
        with progress("checking", "checks", checks) as advance:

            def told(verdict: Verdict) -> None:
                tell(verdict)
                advance(1)

            yield told

    def teller(self) -> Tell:
        """Return what prints a verdict as it falls; what isn't judged is folded in the end."""
        plain = bool(os.environ.get("NO_COLOR"))
        forced = True if os.environ.get("FORCE_COLOR") and not plain else None

        def tell(verdict: Verdict) -> None:
            if verdict.outcome in ("skipped", "not judged", "blocked"):
                return
            outcome = "FAIL" if verdict.outcome == "fail" else verdict.outcome
            name = f"{verdict.check.id:19}"
            shown = outcome if plain else click.style(outcome, fg=COLOURS[verdict.outcome])
            say(
                f"{name} {shown}{' ' * (8 - len(outcome))}{verdict.check.title}",
                err=self.as_json,
                color=forced,
            )
            for line in details(verdict):
                say(f"{'':28}{line}", err=self.as_json)

        return tell

    def report(self, target: str, verdicts: Sequence[Verdict], seconds: float) -> int:
        """Write what is asked for, print the rest, and return the exit code."""
        if self.junit:
            self.junit.write_bytes(as_junit(target, verdicts, self.strict))
        if self.html:
            page = as_html(target, self.profile, verdicts, seconds)
            self.html.write_text(page, encoding="utf-8")
        for line in (*unjudged(verdicts), *likely_causes(verdicts)):
            click.echo(line, err=self.as_json)
        if self.as_json:
            click.echo(json.dumps(as_dict(target, self.profile, verdicts, seconds)))
        else:
            click.echo(summary(verdicts, seconds))
        return exit_code(verdicts, self.strict)
