"""A replay, the answers to it, and their comparison with the recorded ones."""

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ctgkit import __version__
from ctgkit.clock import utc_timestamp
from ctgkit.errors import CtgkitError
from ctgkit.recording.captures import AnyRecording
from ctgkit.recording.format import VERSION, Header
from ctgkit.recording.journal import JournalReader, JournalWriter
from ctgkit.recording.recorder import follow
from ctgkit.recording.tape import Tape
from ctgkit.replay.expect import Difference, Verdict, answers, compare
from ctgkit.replay.player import Player, ReplaySettings, ReplaySummary

QUIET_S = 3.0
"""Chosen: more than the 2 s after which a backend answers for a silent ML service (PROTOCOL
V-2.2)."""
QUIET_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a replay's answers are compared with, and how."""

    journal: AnyRecording
    stream_url: str
    """The viewer stream of the backend that is played against."""
    viewer_token: str | None = None
    tolerance: float = 0.0
    tolerances: Mapping[str, float] = field(default_factory=dict)
    """Name of a member -> its own tolerance."""
    ignored: tuple[str, ...] = ()
    quiet_s: float = QUIET_S
    """How long no answer must come before the last one is taken for the last, seconds."""


async def rehearse(
    journal: AnyRecording,
    settings: ReplaySettings,
    stop: asyncio.Event,
    *,
    out: Path,
    expectation: Expectation,
) -> ReplaySummary:
    """Replay a recording and record the backend's answers in *out*.

    Raises
    ------
    CtgkitError
        What :meth:`Player.run` raises; Unreachable also when the viewer stream cannot be read.
    """
    header = Header(
        version=VERSION,
        created=utc_timestamp(),
        made_by=f"ctgkit {__version__}",
        simulated=journal.header.simulated,
        what=f"replay of {journal.path.name} against {settings.url}",
    )
    failure: CtgkitError | None = None
    summary: ReplaySummary | None = None
    with JournalWriter(out, header) as writer:
        tape = Tape(writer, stop)
        enough, connected = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(
                follow(
                    expectation.stream_url,
                    tape,
                    enough,
                    token=expectation.viewer_token,
                    connect_timeout_s=settings.connect_timeout_s,
                    connected=connected,
                )
            )
            await connected.wait()
            if not following.done():
                try:
                    summary = await Player(journal, settings, tape).run(stop)
                    await _quiet(tape, stop, expectation.quiet_s)
                except CtgkitError as error:  # raised once the tasks have ended
                    failure = error
            enough.set()
        failure = failure or tape.failure or following.result()
    if failure is not None:
        raise failure
    assert summary is not None
    return summary


async def _quiet(tape: Tape, stop: asyncio.Event, quiet_s: float) -> None:
    """Wait until no answers come any more."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + QUIET_TIMEOUT_S
    seen, since_s = -1, loop.time()
    while loop.time() < min(since_s + quiet_s, deadline_s) and not stop.is_set():
        if tape.frames["v <"] != seen:
            seen, since_s = tape.frames["v <"], loop.time()
        await asyncio.sleep(quiet_s / 30)


def judge(
    expectation: Expectation, replayed: Path, summary: ReplaySummary, verdict: Verdict
) -> Iterator[Difference]:
    """Yield how the answers in *replayed* differ from the expected ones."""
    renamed = {actual: recorded for recorded, actual in summary.played_as.items()}
    yield from compare(
        answers(expectation.journal),
        answers(JournalReader(replayed), renamed),
        verdict,
        tolerance=expectation.tolerance,
        tolerances=expectation.tolerances,
        ignored=expectation.ignored,
    )


@contextlib.contextmanager
def place_for(out: Path | None) -> Iterator[Path]:
    """Yield *out*, or a temporary file."""
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="ctgkit-replay-") as directory:
        yield Path(directory) / "answers.jsonl.gz"
