"""One level of load over real connections: connect, pace, wait for the rest, leave."""

import asyncio
import contextlib
import gc
import math
import random
import time
from array import array
from collections import Counter
from datetime import UTC, datetime

from websockets.frames import Frame, Opcode
from websockets.protocol import State

from ctgkit.bench.backend import Backend, Line, SeenAt
from ctgkit.bench.knee import Level
from ctgkit.bench.schedule import Ledger, Schedule, milliseconds
from ctgkit.errors import Unreachable, WireError
from ctgkit.net.client import NotConnected
from ctgkit.samples import Sample
from ctgkit.wire import Ack, decode_reply, decode_result_head, encode_sample

CONNECTING_MAX = 64
"""Handshakes under way at once. Chosen: more only wait in the backend's listen queue."""
TICK_S = 0.001
"""Shortest wait of the pacer, seconds: what falls due meanwhile is written together."""
BURST = 256
"""Samples written before replies get their turn: what is late already may not starve them."""
UNSENT_MAX_BYTES = 65_536
"""A connection with more unwritten bytes than this gets no new ones: the backend doesn't read."""
PING_EVERY_S = 1.0
"""How often each sensor pings a backend that shows nothing else."""
SETTLE_S = 3.0
"""What has not come after so long without any news is lost. Chosen: a backend shows a sample
whose result is missing after 2 s (PROTOCOL V-2.2)."""
SETTLE_MAX_S = 20.0
"""Longest wait for the rest of a level, seconds."""
PROBE_RATE_HZ, PROBE_S = 10.0, 0.3
"""What a single sensor sends to find out where samples show up."""
LEAVING_S = 3.0
"""How long closing all connections may take before they are dropped."""


async def probe(backend: Backend) -> None:
    """Find out where this backend's samples can be seen, and whether it acknowledges them.

    Raises
    ------
    Unreachable
        When the first sensor isn't let in.
    """
    await backend.ask_health()
    places: tuple[SeenAt, ...] = ("viewer", "ack", "pong")
    refused = ""
    for place in places:
        if place == "ack" and not backend.acks:
            continue
        backend.seen_at = place
        level = await measure(backend, 1, rate_hz=PROBE_RATE_HZ, warm_up_s=0, window_s=PROBE_S)
        refused = level.refused
        if not refused and (place == "pong" or level.lost < level.due):
            return
    raise Unreachable(backend.base, refused)


async def measure(
    backend: Backend, sensors: int, *, rate_hz: float, warm_up_s: float, window_s: float
) -> Level:
    """Put a backend under the load of so many sensors, and say what happened.

    Raises
    ------
    Unreachable
        When it is gone, or doesn't let a sensor in for a reason that no other load would change.
    """
    luck = random.Random(sensors)  # the same level has the same phases each time
    schedule = Schedule(
        phases_s=sorted(luck.uniform(0, 1 / rate_hz) for _ in range(sensors)),
        rate_hz=rate_hz,
        warm_up=round(warm_up_s * rate_hz),
        measured=max(1, round(window_s * rate_hz)),
        first_index=backend.next_index,
    )
    backend.next_index = schedule.next_index
    async with contextlib.AsyncExitStack() as lines:
        run = _Run(backend, schedule)
        lines.push_async_callback(run.leave)
        if refused := await run.connect():
            return Level(sensors=sensors, due=run.ledger.due, samples_per_s=0.0, refused=refused)
        gc.collect()
        gc.freeze()  # thousands of connections needn't be walked through while latency counts
        try:
            await run.pace()
            await run.settle()
        finally:
            gc.unfreeze()
        return run.level()


class _Run:
    """One level."""

    def __init__(self, backend: Backend, schedule: Schedule) -> None:
        self.ledger = Ledger(schedule)
        self._backend, self._schedule = backend, schedule
        self._numbers = {s.id: n for n, s in enumerate(backend.sensors[: schedule.sensors])}
        self._lines: list[Line] = []
        self._viewer: Line | None = None
        self._first_seq = int(datetime.now(UTC).timestamp() * 1_000_000)
        self._acked = [schedule.first_index - 1] * schedule.sensors
        """Index up to which each sensor's samples are acknowledged."""
        self._sent = [schedule.first_index - 1] * schedule.sensors
        self._rejected = self._held_back = 0
        self._statuses: Counter[str] = Counter()
        self._lateness_s = array("d")
        self._start_s = self._news_s = 0.0
        self._cpu = 0.0

    async def connect(self) -> str:
        """Connect all sensors and the viewer; return why some could not, or nothing."""
        backend = self._backend
        gate = asyncio.Semaphore(CONNECTING_MAX)
        failures: list[NotConnected] = []

        async def enter(number: int) -> Line | None:
            async with gate:
                try:
                    return await backend.sensor(number)
                except NotConnected as error:
                    failures.append(error)
                    return None

        async with asyncio.TaskGroup() as entering:
            tasks = [
                entering.create_task(enter(number)) for number in range(self._schedule.sensors)
            ]
        self._lines = [line for task in tasks if (line := task.result())]
        if failures:
            reason = failures[0].reason
            if failures[0].is_final or failures[0].refused:
                raise Unreachable(backend.base, f"a sensor can't connect: {reason}")
            return f"{len(failures)} sensors could not connect: {reason}"
        for number, line in enumerate(self._lines):
            self._listen(number, line)
        if backend.seen_at == "viewer":
            try:
                self._viewer = await backend.viewer()
            except NotConnected as error:
                return f"the viewer could not connect: {error.reason}"
            self._viewer.hear = self._hear_viewer
        return ""

    def _listen(self, number: int, line: Line) -> None:
        if self._backend.acks:
            line.hear = lambda text: self._hear_reply(number, text)
        if self._backend.seen_at == "pong":
            line.hear_pong = lambda payload: self._hear_pong(number, payload)

    # What comes back

    def _hear_viewer(self, text: bytes) -> None:
        try:
            head = decode_result_head(text)
        except WireError:
            self._statuses["unreadable"] += 1  # an ML service's error answer, perhaps
            return
        number = self._numbers.get(head.sensor_id.lower())
        if number is None or head.sec_from_start is None:
            return
        self._statuses[head.status or "none"] += 1
        self._saw(number, head.sec_from_start)

    def _hear_reply(self, number: int, text: bytes) -> None:
        try:
            reply = decode_reply(text)
        except WireError:
            return  # unreadable: what it should have acknowledged shows in `unacked`
        if not isinstance(reply, Ack):
            self._rejected += 1
            return
        acked = min(reply.ack - self._first_seq, self._sent[number])  # whatever it claims
        before, self._acked[number] = self._acked[number], acked
        if self._backend.seen_at == "ack":
            for index in range(before + 1, acked + 1):
                self._saw(number, index / self._schedule.rate_hz)
        self._news_s = time.monotonic()

    def _hear_pong(self, number: int, payload: bytes) -> None:
        with contextlib.suppress(ValueError):  # unsolicited pongs are allowed
            self._saw(number, int(payload) / self._schedule.rate_hz)

    def _saw(self, number: int, sec_from_start: float) -> None:
        self._news_s = time.monotonic()
        self.ledger.saw(number, sec_from_start, self._news_s - self._start_s)

    # What goes out

    async def pace(self) -> None:
        """Send every sample when it is due."""
        schedule, clock = self._schedule, time.monotonic
        window_from = schedule.sensors * schedule.warm_up
        began_cpu_s, began_s = time.process_time(), clock()
        self._start_s = start_s = clock() + TICK_S
        number = 0
        while number < schedule.total:
            now_s = clock() - start_s
            burst_end = min(number + BURST, schedule.total)
            while number < burst_end and (due_s := schedule.due_s(number)) <= now_s:
                if number == window_from:
                    began_cpu_s, began_s = time.process_time(), clock()
                self._send(number)
                if number >= window_from:
                    self._lateness_s.append(clock() - start_s - due_s)
                number += 1
            wait_s = schedule.due_s(number) - (clock() - start_s)
            await asyncio.sleep(max(wait_s, TICK_S) if wait_s > 0 else 0)
        self._cpu = (time.process_time() - began_cpu_s) / max(clock() - began_s, TICK_S)
        self._news_s = clock()

    def _send(self, number: int) -> None:
        schedule = self._schedule
        turn, sensor = divmod(number, schedule.sensors)
        index = schedule.first_index + turn
        line = self._lines[sensor]
        if (
            line.state is not State.OPEN
            or line.transport.get_write_buffer_size() > UNSENT_MAX_BYTES
        ):
            self._held_back += turn >= schedule.warm_up
            return
        sample = Sample(
            self._backend.sensors[sensor].id,
            index / schedule.rate_hz,
            120.0 + index % 160 / 4,
            index % 100 / 2,
            0.0,
            self._first_seq + index if self._backend.acks else None,
        )
        data = Frame(Opcode.TEXT, encode_sample(sample)).serialize(mask=True)
        per_ping = math.ceil(PING_EVERY_S * schedule.rate_hz)
        if self._backend.seen_at == "pong" and (index + sensor) % per_ping == 0:
            data += Frame(Opcode.PING, b"%d" % index).serialize(mask=True)
        line.transport.write(data)
        self._sent[sensor] = index

    # The end

    async def settle(self) -> None:
        """Wait for what is on its way, as long as there is news."""
        give_up_s = time.monotonic() + SETTLE_MAX_S
        while self._outstanding():
            now_s = time.monotonic()
            if now_s > give_up_s or now_s - self._news_s > SETTLE_S:
                return
            await asyncio.sleep(0.02)

    def _outstanding(self) -> int:
        silent = self._backend.seen_at == "pong"
        missing = 0 if silent else self.ledger.missing - self._held_back
        return missing + self._unacked()

    def _unacked(self) -> int:
        if not self._backend.acks:
            return 0
        return sum(
            max(0, sent - acked) for sent, acked in zip(self._sent, self._acked, strict=True)
        )

    def level(self) -> Level:
        """Say what happened."""
        schedule, ledger = self._schedule, self.ledger
        seen_s = sorted(ledger.latencies_s)
        viewer = self._viewer
        closed = viewer is not None and viewer.state is not State.OPEN
        judged = self._backend.seen_at != "pong"
        window_s = schedule.measured / schedule.rate_hz
        return Level(
            sensors=schedule.sensors,
            due=ledger.due,
            samples_per_s=round((len(seen_s) if judged else len(self._lateness_s)) / window_s, 1),
            p50_ms=milliseconds(seen_s, 0.5),
            p99_ms=milliseconds(seen_s, 0.99),
            p999_ms=milliseconds(seen_s, 0.999),
            max_ms=milliseconds(seen_s, 1.0),
            held_back=self._held_back,
            lost=ledger.missing if judged else self._held_back,
            unacked=self._unacked(),
            rejected=self._rejected,
            cut=sum(line.state is not State.OPEN for line in self._lines),
            viewer_closed=f"{viewer.close_code} {viewer.close_reason}" if viewer and closed else "",
            lateness_p99_ms=milliseconds(sorted(self._lateness_s), 0.99) or 0.0,
            generator_cpu=round(self._cpu, 3),
            statuses=dict(self._statuses),
        )

    async def leave(self) -> None:
        """Close every connection; one that doesn't answer is dropped."""
        lines = [*self._lines, *([self._viewer] if self._viewer else [])]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVING_S), asyncio.TaskGroup() as leaving:
                for line in lines:
                    leaving.create_task(line.close())
        for line in lines:
            line.transport.abort()
