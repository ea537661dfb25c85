"""CTG paper for the live page: `ctgkit paper` draws it in a process of its own.

Drawing takes seconds of processor time, which the sensors shall not notice; a request waits
:data:`PATIENCE_S` for it and is told to come again.
"""

import asyncio
import importlib.util
import json
import os
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from ctgkit.display import EVENT_SIGNS, FHR_SCALES
from ctgkit.dsn import Dsn
from ctgkit.errors import excerpt
from ctgkit.events import Event
from ctgkit.net.http import Answer, json_answer, problem
from ctgkit.server.pageasks import PaperQuery

JOBS_MAX = 4
"""Sheets that are drawn, or wait to be fetched, at a time."""
PATIENCE_S = 5.0
"""How long one request waits, seconds: below the time that it may take in all."""
DRAWN_WITHIN_S = 60.0
"""How long drawing may take, seconds."""


@cache
def can_print() -> bool:
    """Return whether the paper extra is installed."""
    return importlib.util.find_spec("matplotlib") is not None


class Printer:
    """Draws stretches of stored examinations as PDF, one after the other."""

    def __init__(self) -> None:
        self._jobs: dict[PaperQuery, asyncio.Task[Answer]] = {}
        self._turn = asyncio.Semaphore(1)
        self._tasks = asyncio.TaskGroup()

    async def run(self) -> None:
        """Own what is being drawn, until cancelled."""
        async with self._tasks:
            await asyncio.Event().wait()

    async def pdf(
        self,
        database: Path | Dsn,
        wanted: PaperQuery,
        read_events: Callable[[], Awaitable[Sequence[dict[str, Any]]]],
    ) -> Answer:
        """Return the sheets, or 202 while they are being drawn.

        Parameters
        ----------
        database : Path or Dsn
            Where the examination is stored.
        wanted : PaperQuery
            Which stretch of it.
        read_events : callable
            Returns what was said of it, where nobody has asked for these sheets; events that can't
            be drawn are left out.
        """
        if wanted not in self._jobs:
            events = _drawable(await read_events())
            if wanted not in self._jobs and not self._begin(database, wanted, events):
                return problem(503, "too many sheets are being drawn")
        job = self._jobs[wanted]
        done, _ = await asyncio.wait({job}, timeout=PATIENCE_S)
        if not done:
            return json_answer({"status": "drawing"}, 202)
        if self._jobs.get(wanted) is job:  # others may wait for the same
            del self._jobs[wanted]
        return job.result()

    def _begin(
        self, database: Path | Dsn, wanted: PaperQuery, events: Sequence[dict[str, Any]]
    ) -> bool:
        """Begin to draw; return whether there was room for it."""
        if len(self._jobs) >= JOBS_MAX:
            self._jobs = {q: job for q, job in self._jobs.items() if not job.done()}
        if len(self._jobs) >= JOBS_MAX:
            return False
        self._jobs[wanted] = self._tasks.create_task(self._draw(database, wanted, events))
        return True

    async def _draw(
        self, database: Path | Dsn, wanted: PaperQuery, events: Sequence[dict[str, Any]]
    ) -> Answer:
        try:
            async with self._turn:
                with tempfile.TemporaryDirectory(prefix="ctgkit-paper-") as folder:
                    place = Path(folder)
                    (place / "events.json").write_text(json.dumps({"events": events}))
                    trouble = await _run(_command(database, wanted), place, _secret(database))
                    if not trouble:
                        return Answer(200, (place / "strip.pdf").read_bytes(), "application/pdf")
        except OSError as error:  # no room for it, or for another process
            trouble = error.strerror or str(error)
        return problem(500, f"could not be drawn: {trouble}")


def _secret(database: Path | Dsn) -> dict[str, str]:
    """Return the environment for what no list of processes may show."""
    password = database.password if isinstance(database, Dsn) else ""
    return {"PGPASSWORD": password} if password else {}


def _command(database: Path | Dsn, wanted: PaperQuery) -> list[str]:
    source = str(database if isinstance(database, Dsn) else database.absolute())
    scale = FHR_SCALES[wanted.scale]
    return [
        sys.executable, "-m", "ctgkit", "paper", source, "--out", "strip.pdf",
        "--exam", str(wanted.examination), "--sensor", wanted.sensor, "--events", "events.json",
        f"--from={wanted.from_s:.2f}", f"--to={wanted.to_s:.2f}",
        "--speed-cm-min", str(wanted.speed_cm_min), "--range", f"{scale.lo:g}-{scale.hi:g}",
    ]  # fmt: skip


async def _run(command: list[str], place: Path, secret: Mapping[str, str]) -> str:
    """Run a command; return what went wrong, or ""."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CTGKIT_")}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=place, env={**clean, **secret}, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE
    )
    try:
        async with asyncio.timeout(DRAWN_WITHIN_S):
            _, said = await process.communicate()
    except TimeoutError:
        return f"not within {DRAWN_WITHIN_S:g} s"
    finally:
        if process.returncode is None:
            process.kill()
    lines = said.decode(errors="replace").strip().splitlines()
    return "" if process.returncode == 0 else excerpt(lines[-1] if lines else "no reason given")


def _drawable(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events that paper has signs for and that are well formed."""
    found = []
    for event in events:
        try:
            one = msgspec.convert({k: v for k, v in event.items() if v is not None}, Event)
        except msgspec.ValidationError:
            continue
        if one.kind in EVENT_SIGNS:
            found.append(msgspec.to_builtins(one))
    return found
