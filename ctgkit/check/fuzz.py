"""Random histories of one sensor, and the shortest one that a backend doesn't survive.

Hypothesis draws and shrinks; each history is played over real sockets. After it, exactly the good
samples must have arrived, and a new one must still get through. The shortest failing history is
kept in the native recording format, so that it can be played again.
"""

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.errors import FlakyFailure

from ctgkit import private
from ctgkit.check.backend.samples import none_but
from ctgkit.check.checks import Check, Mismatch, Verdict
from ctgkit.check.connection import Line
from ctgkit.check.histories import HISTORY_MAX, PARTINGS, STEPS, Step, frame_of
from ctgkit.check.rig import Bench, Watch
from ctgkit.clock import utc_timestamp

REPLACED = 4409
"""Close code of a connection when the same sensor connects again (PROTOCOL S-1.4)."""


@dataclass(slots=True)
class Tape:
    """What was done in one history, as lines of a recording."""

    lines: list[list[Any]] = field(default_factory=list)
    links: int = 0

    def write(self, path: Path, what: str, seed: int) -> None:
        """Write a recording that plays it again."""
        header = {
            "ctgkit_recording": 1,
            "created": utc_timestamp(),
            "made_by": "ctgkit check --fuzz",
            "simulated": True,
            "what": what,
            "seed": seed,
        }
        private.write_text(path, "".join(json.dumps(line) + "\n" for line in [header, *self.lines]))


class _Player:
    """Plays one history and notes what must come of it."""

    def __init__(self, bench: Bench, watch: Watch, tape: Tape, stack: AsyncExitStack) -> None:
        self._bench, self._watch, self._tape, self._stack = bench, watch, tape, stack
        self._began_s = asyncio.get_running_loop().time()
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
        self._note(frame)
        await line.send(frame)
        line.must_live()

    async def _connect(self) -> Line:
        self._line = await self._stack.enter_async_context(self._bench.sensor())
        self._tape.links += 1
        path = self._bench.sensor_path()
        self._add("open", {"path": path, "subprotocol": None}, self._tape.links)
        return self._line

    async def _part(self, how: str) -> None:
        """Leave, vanish, or take over; what was sent before must have arrived by then."""
        if self._line is None:
            return
        await self.arrived()
        link = self._tape.links
        if how == "again":
            await self._connect()
            self._add("close", {"by": "server", "code": REPLACED}, link)
            return
        if how == "leave":
            await self._line.connection.close()
        else:
            self._line.connection.transport.abort()
        self._add("close", {"by": "client", "code": 1000 if how == "leave" else 1006}, link)
        self._line = None

    async def arrived(self) -> None:
        """Wait for everything that must arrive."""
        for sec in self.expected:
            await self._watch.saw(sec)

    def _note(self, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            self._add(">binary", b64encode(frame).decode(), self._tape.links)
        else:
            self._add(">", frame, self._tape.links)

    def _add(self, what: str, detail: Any, link: int) -> None:
        t_s = round(asyncio.get_running_loop().time() - self._began_s, 6)
        self._tape.lines.append([t_s, f"s{link} {what}", detail])


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


async def run_fuzz(bench: Bench, count: int, seed: int, out: Path) -> Verdict:
    """Play *count* random histories, and write the shortest failing one to *out*.

    Returns
    -------
    Verdict
        As of a check; its ``actual`` names the file.
    """
    check = Check(
        id=f"fuzz/seed-{seed}",
        title=f"After {count} random histories exactly the good samples have arrived",
        run=lambda _bench: asyncio.sleep(0),
    )
    if lacking := bench.lacks.get("witness"):
        return Verdict(check=check, outcome="skipped", actual=lacking)
    loop = asyncio.get_running_loop()
    began_s, killer = loop.time(), _Killer()

    def example(history: list[Step]) -> None:
        if killer.found and history != killer.history:
            return  # the target is dead: this one says nothing
        if not killer.found:
            killer.tape = Tape()
            asyncio.run_coroutine_threadsafe(_attempt(bench, history, killer), loop).result()
        if killer.found:
            raise killer.found

    mismatch = await asyncio.to_thread(_search, example, count, seed)
    seconds = loop.time() - began_s
    if mismatch is None:
        return Verdict(check=check, outcome="pass", seconds=seconds)
    killer.tape.write(out, f"{mismatch.expected}; {mismatch.actual}", seed)
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

    tape: Tape = field(default_factory=Tape)
    history: list[Step] = field(default_factory=list)
    found: Mismatch | None = None


async def _attempt(bench: Bench, history: list[Step], killer: _Killer) -> None:
    try:
        await play(bench, history, killer.tape)
    except Mismatch as mismatch:
        if await bench.alive():
            raise
        killer.history = history
        killer.found = Mismatch(mismatch.expected, mismatch.actual + "; the target is gone")


def _search(example: Callable[[list[Step]], None], count: int, seed: int) -> Mismatch | None:
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
        )(hypothesis.given(st.lists(STEPS, max_size=HISTORY_MAX))(example))
    )
    try:
        tested()
    except Mismatch as mismatch:
        return mismatch
    except FlakyFailure as flaky:  # it failed once, and not again: worth knowing all the same
        failures = [e for e in flaky.exceptions if isinstance(e, Mismatch)]
        return failures[0] if failures else Mismatch("the same every time", str(flaky))
    return None
