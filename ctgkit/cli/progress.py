"""Progress of what takes longer than a moment: on a terminal a line with rate and time left.

Nothing is written where stderr is no terminal, and nothing before :data:`QUIET_S` have passed. What
is written meanwhile takes the line away first: :func:`say` does, and the log.
"""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import click

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")

QUIET_S = 2.0
"""What is done by then needs no progress."""
LOOK_EVERY_S = 0.1

Advance = Callable[[float], None]
"""Called with how much was done since the last call."""


@contextmanager
def progress(
    what: str, unit: str, total: float | Callable[[], float] | None = None
) -> Iterator[Advance]:
    """Show how far something is while the block runs.

    Parameters
    ----------
    what : str
        What is done, in a word or two.
    unit : str
        Of what is counted, in the plural.
    total : float or callable or None
        How much there is, or what counts it where it is shown; None where nobody knows.
    """
    if not _has_terminal():
        yield lambda amount: None
        return
    line = _Line(what, unit, total() if callable(total) else total)
    try:
        yield line.advance
    finally:
        line.close()


def say(text: str, **how: Any) -> None:
    """Write a line as ``click.echo`` does, not into a line of progress."""
    clear()
    click.echo(text, **how)


def clear() -> None:
    """Take the lines of progress away until they are drawn again."""
    for line in list(_Line.drawn):
        line.close()


def counted(
    things: Iterable[T], what: str, unit: str, total: int | None = None
) -> Generator[T, None, None]:
    """Yield *things*, showing how many of them were taken."""
    with progress(what, unit, total) as advance:
        for thing in things:
            yield thing
            advance(1)


def _has_terminal() -> bool:
    quiet = logging.getLogger().level > logging.INFO
    dumb = os.environ.get("TERM", "dumb") in ("dumb", "unknown")
    return sys.stderr.isatty() and not dumb and not quiet


class _Line:
    """A line at the bottom of the terminal; it appears late and leaves nothing behind."""

    drawn: ClassVar[list["_Line"]] = []
    """Those on the terminal now."""

    def __init__(self, what: str, unit: str, total: float | None) -> None:
        self._what, self._unit, self._total = what, unit, total
        self._began_s = self._looked_s = time.monotonic()
        self._done = 0.0
        self._stack = contextlib.ExitStack()
        self._shown: Progress | None = None

    def advance(self, amount: float) -> None:
        """Count, and draw now and then."""
        self._done += amount
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_EVERY_S or now_s - self._began_s < QUIET_S:
            return
        self._looked_s = now_s
        shown = self._shown or self._show()
        rate = self._done / (now_s - self._began_s)
        text = f"{rate:,.0f} {self._unit}/s" if rate >= 10 else f"{rate:.1f} {self._unit}/s"
        if self._total and rate > 0:
            from ctgkit.display import clock  # msgspec: not for --help

            text += f" · {clock(max(0.0, self._total - self._done) / rate, seconds=True)} left"
        shown.update(shown.task_ids[0], completed=self._done, rate=text, refresh=True)

    def _show(self) -> "Progress":
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._shown = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            console=Console(file=sys.stderr),
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,  # data stay where they belong
            redirect_stderr=False,
        )
        self._shown.add_task(self._what, total=self._total, rate="")
        self._stack.enter_context(self._shown)
        _Line.drawn.append(self)
        return self._shown

    def close(self) -> None:
        """Take the line away."""
        self._stack.close()
        self._shown = None
        if self in _Line.drawn:
            _Line.drawn.remove(self)
