"""Replay in the role of the recorded sensors: each message when it is due, many sensors at once."""

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import msgspec

from ctgkit.config import SensorEntry
from ctgkit.errors import ConfigError, Unreachable, WireError
from ctgkit.net.lags import Lags
from ctgkit.recording.captures import AnyRecording
from ctgkit.recording.format import Line
from ctgkit.recording.tape import Tape
from ctgkit.replay.client import Due, Performer
from ctgkit.replay.roles import Casting, Part
from ctgkit.wire import SENSOR_ID_PARAMETER, Reject, decode_reply

log = logging.getLogger(__name__)

STOPPED_WITHIN_S = 3.0
"""How long connections may take to end after a signal, seconds."""
YIELD_EVERY = 64
"""Lines after which connections get their turn even when the replay is late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings:
    """What is played against which backend, and how."""

    url: str
    """The backend's sensor endpoint, without a sensor's id."""
    credentials: Sequence[SensorEntry]
    speed: float = 1.0
    """Recorded seconds per second, > 0; ``inf`` for as fast as the backend takes it."""
    loops: int = 1
    """How often it is played; 0 for ever."""
    from_s: float = 0.0
    to_s: float = math.inf
    """Which part of the recording, seconds since it began."""
    renumber: bool = False
    """Give samples new sequence numbers already in the first pass; later passes always do."""
    connect_timeout_s: float = 10.0


class Lag(msgspec.Struct, frozen=True):
    """How late messages were sent, after they were due, milliseconds."""

    p50: float
    p99: float
    max: float


class ReplaySummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay did."""

    sensors: int
    connections: int
    sent: int
    resent: int
    acked: int
    rejected: int
    reject_reasons: dict[str, int]
    """Why, as far as the backend said it."""
    recorded_rejected: int
    """Rejections in the recording itself, of the played part."""
    unacked: int
    overdue: int
    """Those of them that the backend had 15 s to acknowledge (PROTOCOL S-6.3: within 1 s)."""
    unconfirmed: int
    """Messages over connections without `ctgkit.v1`, where nothing says what became of them."""
    discarded: int
    """Messages after the backend had closed the connection for good."""
    reconnects: int
    """Connections made again because the backend lost them."""
    other_closes: tuple[str, ...]
    """Connections that ended otherwise than recorded."""
    duration_s: float
    recorded_s: float
    """Length of what was played, in the recording's time."""
    lag_ms: Lag | None
    """None at maximal speed, where nothing is due at any time."""
    skipped_lines: int
    """Lines that could not be read."""
    played_as: dict[str, str]
    """Recorded sensor -> the sensor that played it."""


class Player:
    """Plays a recording.

    Parameters
    ----------
    journal : JournalReader or CaptureReader
        The recording.
    settings : ReplaySettings
        How.
    tape : Tape or None
        Where to record what happens.
    """

    def __init__(self, journal: AnyRecording, settings: ReplaySettings, tape: Tape | None) -> None:
        self.casting = Casting(settings.credentials)
        self._journal, self._settings, self._tape = journal, settings, tape
        self._lags = Lags()
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._recorded_rejected = 0
        self._other_closes: list[str] = []
        self._failure: Unreachable | None = None
        self._links: dict[str, Performer] = {}
        self._links_played = 0
        self._running: list[asyncio.Task[None]] = []
        self._by_sensor: dict[str, Performer] = {}
        self._zero_s = self._base_s = self._last_s = math.nan
        self._recorded_s = 0.0

    async def run(self, stop: asyncio.Event) -> ReplaySummary:
        """Play to the end, or until *stop* is set.

        Raises
        ------
        Unreachable
            When a sensor cannot connect.
        ConfigError
            When the recording has more sensors than there are credentials.
        RecordingError
            When the recording is corrupt; what came before it was played.
        """
        began_s = time.monotonic()
        passes = 0
        while not stop.is_set() and passes != (self._settings.loops or -1):
            for part in self.casting.parts.values():
                part.begin(self._new_seq(passes))
            await self._play_once(passes, stop)
            if self._failure is not None:
                raise self._failure
            if not self._links_played:
                break
            passes += 1
        return self._summary(time.monotonic() - began_s)

    def _new_seq(self, passes: int) -> int | None:
        """Return where numbers begin in a pass: above all used before, as the clock is."""
        if passes == 0 and not self._settings.renumber:
            return None
        return int(datetime.now(UTC).timestamp() * 1_000_000)

    async def _play_once(self, passes: int, stop: asyncio.Event) -> None:
        self._zero_s = self._base_s = math.nan
        self._links, self._by_sensor, self._links_played, self._running = {}, {}, 0, []
        error: BaseException | None = None
        async with asyncio.TaskGroup() as tasks:
            ending = tasks.create_task(self._end_soon(stop))
            try:
                await self._perform(tasks, passes, stop)
            except Exception as raised:  # it leaves only after the connections have ended
                error = raised
            for performer in self._links.values():
                performer.end("client", 1000, "")
            if self._running:
                await asyncio.wait(self._running)
            ending.cancel()
        self._recorded_s += 0.0 if math.isnan(self._base_s) else self._last_s - self._base_s
        if error is not None:
            raise error

    async def _end_soon(self, stop: asyncio.Event) -> None:
        """Once stopped, give connections a moment to end, and cancel what still dials."""
        await stop.wait()
        running = list(self._running)
        if running:
            await asyncio.wait(running, timeout=STOPPED_WITHIN_S)
        for task in running:
            task.cancel()

    async def _perform(self, tasks: asyncio.TaskGroup, passes: int, stop: asyncio.Event) -> None:
        for n, line in enumerate(self._lines()):
            due_s = self._due(line.t_s)
            if due_s > time.monotonic():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(due_s - time.monotonic()):
                        await stop.wait()
            elif n % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            if stop.is_set() or self._failure is not None:
                return
            match line.what:
                case "open":
                    await self._open(tasks, line, passes)
                case ">" if line.link in self._links:
                    performer = self._links[line.link]
                    await performer.put(Due(due_s, performer.part.text(line.frame), line.is_text))
                case "close" if line.link in self._links:
                    about = line.about
                    self._links.pop(line.link).end(
                        str(about.get("by", "client")),
                        int(about.get("code", 1000)),
                        str(about.get("reason", "")),
                    )

    def _lines(self) -> Iterator[Line]:
        """Yield what sensors did in the played part, first the connections that are open there."""
        from_s, to_s = self._settings.from_s, self._settings.to_s
        open_before: dict[str, Line] = {}
        for line in self._journal:
            if not line.link.startswith("s") or line.what not in ("open", ">", "<", "close"):
                continue
            if line.what == "<":
                self._recorded_rejected += from_s <= line.t_s < to_s and _is_rejection(line.frame)
                continue
            if line.t_s >= to_s:
                return
            if line.t_s < from_s:
                if line.what == "open":
                    open_before[line.link] = line
                elif line.what == "close":
                    open_before.pop(line.link, None)
                continue
            for earlier in open_before.values():
                yield earlier._replace(t_s=line.t_s)
            open_before.clear()
            yield line

    def _due(self, t_s: float) -> float:
        """Return when a line is due: an absolute deadline, so that lateness never adds up."""
        self._last_s = t_s
        if math.isnan(self._zero_s):
            self._zero_s, self._base_s = time.monotonic(), t_s
        if self._settings.speed == math.inf:
            return -math.inf
        return self._zero_s + (t_s - self._base_s) / self._settings.speed

    async def _open(self, tasks: asyncio.TaskGroup, line: Line, passes: int) -> None:
        """Open a connection, after those that had ended before it; wait until it stands."""
        for performer in list(self._by_sensor.values()):
            if performer.ending:
                await performer.done.wait()
        part = self._part(str(line.about.get("path", "")), passes)
        performer = Performer(
            self._settings.url,
            part,
            line.about,
            connect_timeout_s=self._settings.connect_timeout_s,
            lags=self._lags,
            tape=self._tape,
        )
        self._links[line.link] = self._by_sensor[part.recorded_id] = performer
        self._links_played += 1
        self._running.append(tasks.create_task(self._run(performer)))
        await performer.dialled.wait()

    async def _run(self, performer: Performer) -> None:
        await performer.run()
        self._counts += performer.counts
        self._reasons += performer.reject_reasons
        self._counts["reconnects"] += max(0, performer.counts["connects"] - 1)
        if performer.other_close:
            self._other_closes.append(f"{performer.part.recorded_id}: {performer.other_close}")
        self._failure = self._failure or performer.failure

    def _part(self, path: str, passes: int) -> Part:
        recorded_id = parse_qs(urlsplit(path).query).get(SENSOR_ID_PARAMETER, [""])[0]
        try:
            fresh = recorded_id.lower() not in self.casting.parts
            part = self.casting.part(recorded_id)
        except LookupError as error:
            raise ConfigError(
                "credentials",
                f"{len(self._settings.credentials)} sensors are configured, the recording has more;"
                " `ctgkit init --sensors N` writes more",
            ) from error
        if fresh:
            part.begin(self._new_seq(passes))
            if part.entry.id != part.recorded_id:
                log.warning(
                    "recorded sensor %s is unknown here: played as %s, with its id in the messages",
                    part.recorded_id or "without an id", part.entry.id,
                )  # fmt: skip
        return part

    def _summary(self, duration_s: float) -> ReplaySummary:
        counts = self._counts
        p50_s, p99_s = self._lags.quantile_s(0.5), self._lags.quantile_s(0.99)
        lag_ms = None
        if p50_s is not None and p99_s is not None:
            lag_ms = Lag(*(round(1e3 * s, 3) for s in (p50_s, p99_s, self._lags.max_s)))
        return ReplaySummary(
            sensors=len(self.casting.parts),
            connections=counts["connects"],
            sent=counts["sent"],
            resent=counts["resent"],
            acked=counts["acked"],
            rejected=counts["rejected"],
            reject_reasons=dict(self._reasons),
            recorded_rejected=self._recorded_rejected,
            unacked=counts["unacked"],
            overdue=counts["overdue"],
            unconfirmed=counts["unconfirmed"],
            discarded=counts["discarded"],
            reconnects=counts["reconnects"],
            other_closes=tuple(self._other_closes),
            duration_s=round(duration_s, 3),
            recorded_s=round(self._recorded_s, 3),
            lag_ms=lag_ms,
            skipped_lines=self._journal.bad,
            played_as={p.recorded_id: p.entry.id for p in self.casting.parts.values()},
        )


def _is_rejection(frame: bytes) -> bool:
    try:
        return isinstance(decode_reply(frame), Reject)
    except WireError:
        return False
