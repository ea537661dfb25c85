"""Random histories of one sensor, and the shortest one that a backend doesn't survive.

Hypothesis draws and shrinks; each history is played over real sockets. After it, exactly the good
samples must have arrived, and a new one must still get through. The shortest failing history is
kept in the native recording format, so that it can be played again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.errors import FlakyFailure

from ctgkit.check.backend.samples import none_but
from ctgkit.check.checks import Check, Mismatch, Verdict
from ctgkit.check.connection import Line
from ctgkit.check.histories import HISTORY_MAX, NUMBERED, PARTINGS, Step, frame_of, steps
from ctgkit.check.numbered import play_numbered
from ctgkit.check.rig import Bench
from ctgkit.check.tape import REPLACED, Tape
from ctgkit.check.watch import Watch


class _Player:
    """Plays one history and notes what must come of it."""

    def __init__(self, bench: Bench, watch: Watch, tape: Tape, stack: AsyncExitStack) -> None:
        self._bench, self._watch, self._tape, self._stack = bench, watch, tape, stack
        self._line: Line | None = None
        self.expected: list[float] = []

    async def play(self, step: Step) -> None:
        """Do one step."""
        if step[0] in PARTINGS:
            await self._part(step[0])
            return
        line = self._line or await self._connect()
        frame, secs = frame_of(step, self._bench)
        self.expected += secs
        self._tape.sent(frame)
        await line.send(frame)
        line.must_live()

    async def _connect(self) -> Line:
        self._line = await self._stack.enter_async_context(self._bench.sensor())
        self._tape.opened(self._bench.sensor_path(), None)
        return self._line

    async def _part(self, how: str) -> None:
        """Leave, vanish, or take over; what was sent before must have arrived by then."""
        if self._line is None:
            return
        await self.arrived()
        if how == "again":
            older = self._tape.links
            await self._connect()
            self._tape.closed("server", REPLACED, older)
            return
        if how == "leave":
            await self._line.connection.close()
        else:
            self._line.connection.transport.abort()
        self._tape.closed("client", 1000 if how == "leave" else 1006, self._tape.links)
        self._line = None

    async def arrived(self) -> None:
        """Wait for everything that must arrive."""
        for sec in self.expected:
            await self._watch.saw(sec)


async def play(bench: Bench, history: list[Step], tape: Tape) -> None:
    """Play one history, then a good sample, and expect exactly the good ones.

    Raises
    ------
    Mismatch
        When one is missing, or something else arrived, or a connection was closed.
    """
    async with bench.watch() as watch, AsyncExitStack() as stack:
        player = _Player(bench, watch, tape, stack)
        for step in [*history, ("good", "S-4.1/text")]:
            await player.play(step)
        await player.arrived()
        none_but(watch, *player.expected)


Play = Callable[[Bench, list[Step], Tape], Awaitable[None]]


async def run_fuzz(
    bench: Bench, count: int, seed: int, out: Path, excused: Collection[str] = ()
) -> list[Verdict]:
    """Play *count* random histories of each kind, and write the shortest failing one to *out*.

    Parameters
    ----------
    bench : Bench
        Around the backend.
    count, seed : int
        How many, and which.
    out : Path
        Where the recording goes; the numbered histories' has ``-v1`` in its name.
    excused : collection of str
        Checks that may fail: what they send is left out.

    Returns
    -------
    list of Verdict
        As of two checks: plain histories, and those of ``ctgkit.v1``.
    """
    plain = Check(
        id=f"fuzz/seed-{seed}",
        title=f"After {count} random histories exactly the good samples have arrived",
        run=_nothing,
        needs=("witness",),
    )
    numbered = Check(
        id=f"fuzz/v1-seed-{seed}",
        title=f"After {count} random histories under ctgkit.v1 each good sample is stored once",
        run=_nothing,
        needs=("v1", "store"),
    )
    kinds: tuple[tuple[Check, Play, st.SearchStrategy[Step], Path], ...] = (
        (plain, play, steps(excused), out),
        (numbered, play_numbered, NUMBERED, out.with_name(f"{out.stem}-v1{out.suffix}")),
    )
    verdicts: list[Verdict] = []
    for check, player, drawn, path in kinds:
        if lack := next((n for n in check.needs if n in bench.lacks), ""):
            verdict = Verdict(check=check, outcome="skipped", actual=bench.lacks[lack])
        elif not await bench.alive():
            verdict = Verdict(check=check, outcome="blocked", actual="the target is gone")
        else:
            verdict = await _fuzzed(bench, check, player, drawn, (count, seed), path)
        verdicts.append(verdict)
    return verdicts


async def _nothing(_bench: Any) -> None:
    """Do nothing: random histories are no check of the catalogue."""


async def _fuzzed(
    bench: Bench,
    check: Check,
    player: Play,
    drawn: st.SearchStrategy[Step],
    count_and_seed: tuple[int, int],
    out: Path,
) -> Verdict:
    loop = asyncio.get_running_loop()
    began_s, killer = loop.time(), _Killer()

    def example(history: list[Step]) -> None:
        if killer.found and history != killer.history:
            return  # the target is dead: this one says nothing
        if not killer.found:
            killer.tape = Tape(began_s=loop.time())
            attempt = _attempt(bench, player, history, killer)
            asyncio.run_coroutine_threadsafe(attempt, loop).result()
        if killer.found:
            raise killer.found

    mismatch = await asyncio.to_thread(_search, example, drawn, *count_and_seed)
    seconds = loop.time() - began_s
    if mismatch is None:
        return Verdict(check=check, outcome="pass", seconds=seconds)
    killer.tape.write(out, f"{mismatch.expected}; {mismatch.actual}", count_and_seed[1])
    frames = sum(">" in line[1] for line in killer.tape.lines)
    return Verdict(
        check=check,
        outcome="fail",
        expected=mismatch.expected,
        actual=f"{mismatch.actual}; the shortest history has {frames} frames: {out}",
        seconds=seconds,
    )


@dataclass(slots=True)
class _Killer:
    """The latest tape, and the history after which the target was gone."""

    tape: Tape = field(default_factory=lambda: Tape(began_s=0.0))
    history: list[Step] = field(default_factory=list)
    found: Mismatch | None = None


async def _attempt(bench: Bench, player: Play, history: list[Step], killer: _Killer) -> None:
    try:
        await player(bench, history, killer.tape)
    except Mismatch as mismatch:
        if await bench.alive():
            raise
        killer.history = history
        killer.found = Mismatch(mismatch.expected, mismatch.actual + "; the target is gone")


def _search(
    example: Callable[[list[Step]], None], drawn: st.SearchStrategy[Step], count: int, seed: int
) -> Mismatch | None:
    """Let Hypothesis try histories; return the mismatch of the shortest that fails."""
    tested = hypothesis.seed(seed)(
        hypothesis.settings(
            max_examples=count,
            deadline=None,
            database=None,
            print_blob=False,
            report_multiple_bugs=False,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
            verbosity=hypothesis.Verbosity.quiet,
        )(hypothesis.given(st.lists(drawn, max_size=HISTORY_MAX))(example))
    )
    try:
        tested()
    except Mismatch as mismatch:
        return mismatch
    except FlakyFailure as flaky:  # it failed once, and not again: worth knowing all the same
        failures = [e for e in flaky.exceptions if isinstance(e, Mismatch)]
        return failures[0] if failures else Mismatch("the same every time", str(flaky))
    return None
