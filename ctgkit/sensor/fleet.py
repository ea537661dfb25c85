"""Many sensors in one process, paced by one timer for all of them."""

import asyncio
import contextlib
import heapq
import math
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from ctgkit.clock import monotonic_s
from ctgkit.net.lags import Lags
from ctgkit.sensor.client import REASONS_MAX, SensorClient
from ctgkit.sensor.control import SwitchError, listen, serve_control
from ctgkit.sensor.pacing import Feed
from ctgkit.sensor.settings import FleetSettings

ON_TIMEOUT_S = 0.0
"""How long a sensor that is switched on dials before it says that it cannot connect: one try."""


TICK_S = 0.001
"""Shortest wait of the timer, seconds. Event loops round timers to a millisecond anyway, some of
them down, which would make the timer spin."""
LONG_TICK_S = 0.02
"""Who falls due within a tick, of many sensors, is served in one wake-up at its end, seconds.
Chosen: a twelfth of a sample's time; after a wake-up the processor's caches have to be filled
again, which at 200 sensors costs a third of all."""
MANY = 64
"""Sensors from which on the tick is the longer one."""


class LagSummary(msgspec.Struct, frozen=True):
    """How late samples were first sent, after they were due, milliseconds."""

    p50: float
    p99: float
    max: float


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a fleet did."""

    sensors: int
    sent: int
    """Samples sent, each counted once."""
    resent: int
    """Samples sent again after a reconnect."""
    acked: int
    rejected: int
    reject_reasons: dict[str, int] = {}
    """Why, as far as the backend said it."""
    unacked: int
    """Samples produced and neither acknowledged nor rejected, or never sent. 0 when all is well."""
    reconnects: int
    duration_s: float
    """From the first to the last sample sent."""
    samples_per_s: float | None
    """Of the whole fleet, without each sensor's first one: steps, not fence posts. None when too
    little was sent to tell."""
    rate_hz: float | None
    """Mean of the sensors' own rates."""
    lag_ms: LagSummary | None
    """None at maximal speed, where nothing is due at any time."""
    faults: dict[str, int]
    """Strikes by kind of fault."""
    withdrawn: int
    """Samples that faults dropped, altered or made late: sent once at most, and neither acked nor
    unacked. ``rejected`` has the rejections of those, too, as far as they came before the end."""
    failures: tuple[str, ...]
    """Why sensors gave up, each reason once."""

    def as_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built


async def run_fleet(settings: FleetSettings) -> Summary:
    """Run sensors until all have played to their end, or ``settings.stop`` is set.

    Parameters
    ----------
    settings : FleetSettings
        Which sensors, what they play and how. With ``control`` they wait to be switched on, and
        only ``stop`` ends the fleet.

    Returns
    -------
    Summary
        Also when sensors failed: look at ``failures``.

    Raises
    ------
    Unreachable
        When a control address cannot be bound.
    """
    fleet = _Fleet(settings)
    sockets = listen(settings.control, len(settings.credentials)) if settings.control else []
    async with asyncio.TaskGroup() as tasks:
        timer = tasks.create_task(fleet.timer.run())
        stopper = tasks.create_task(fleet.stop_when_asked())
        if sockets:
            await fleet.obey(tasks, sockets)
        else:
            await fleet.play_all()
        stopper.cancel()
        timer.cancel()
    return fleet.summary()


class _Timer:
    """Calls every sensor's ``pump`` when it is due; one task, whatever the number of sensors.

    Of many sensors those that fall due within a tick share a slot, and are called at its end.
    """

    def __init__(self) -> None:
        self._slots: dict[float, list[SensorClient]] = {}
        self._times: list[float] = []
        """Of the slots, as a heap."""
        self._count = 0
        self._wake = asyncio.Event()

    def add(self, client: SensorClient) -> None:
        """Call *client* from now on."""
        self._count += 1
        self._call_at(-math.inf, client)
        self._wake.set()

    def _call_at(self, at_s: float, client: SensorClient) -> None:
        slot = self._slots.get(at_s)
        if slot is None:
            self._slots[at_s] = [client]
            heapq.heappush(self._times, at_s)
        else:
            slot.append(client)

    async def run(self) -> None:
        """Do so until cancelled."""
        times = self._times
        while True:
            now = monotonic_s()  # the loop's own clock has steps of 1 ms on uvloop
            due: list[SensorClient] = []
            while times and times[0] <= now:
                due += self._slots.pop(heapq.heappop(times))
            for client in due:
                again_s = client.pump()
                if again_s == math.inf:
                    self._count -= 1
                    continue
                if again_s > now and self._count >= MANY:
                    again_s = math.ceil(again_s / LONG_TICK_S) * LONG_TICK_S
                self._call_at(again_s, client)
            await self._wait(times[0] if times else math.inf)

    async def _wait(self, until_s: float) -> None:
        wait_s = until_s - monotonic_s()
        if wait_s <= 0:
            await asyncio.sleep(0)  # let the others read
            return
        alarm = None
        if wait_s < math.inf:
            loop = asyncio.get_running_loop()
            alarm = loop.call_later(max(wait_s, TICK_S), self._wake.set)
        await self._wake.wait()
        self._wake.clear()
        if alarm is not None:
            alarm.cancel()


class _Fleet:
    def __init__(self, settings: FleetSettings) -> None:
        self.timer = _Timer()
        self._settings = settings
        self._lags = Lags()
        self._next_seq = [settings.first_seq] * len(settings.credentials)
        self.running: dict[int, SensorClient] = {}
        self._failures: list[str] = []
        self._sent = self._resent = self._acked = self._rejected = 0
        self._unacked = self._reconnects = self._withdrawn = 0
        self._faults: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._first_sent_s, self._last_sent_s = math.inf, -math.inf
        self._steps, self._span_s = 0, 0.0

    async def stop_when_asked(self) -> None:
        await self._settings.stop.wait()
        for client in self.running.values():
            client.stop()

    async def play_all(self) -> None:
        """Switch every sensor on, one after another, and play them to their end."""
        loop, count = asyncio.get_running_loop(), len(self._settings.credentials)
        began_s, step_s = loop.time(), self._settings.ramp_s / count
        async with asyncio.TaskGroup() as sensors:
            for number in range(count):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(began_s + number * step_s):
                        await self._settings.stop.wait()
                if self._settings.stop.is_set():
                    return
                client = self.switch_on(number)
                client.feed.prepare()  # one at a time: those that play already go on in between
                timeout_s = self._settings.connect_timeout_s
                sensors.create_task(self.play(client, number, timeout_s))

    async def obey(self, tasks: asyncio.TaskGroup, sockets: list[list[socket.socket]]) -> None:
        """Serve the control addresses until the fleet is stopped."""
        async with contextlib.AsyncExitStack() as servers:
            for number, bound in enumerate(sockets):
                switch = _Switch(self, number, tasks)
                server = await servers.enter_async_context(await serve_control(bound, switch))
                self._settings.on_control(server.url("http"))
            await self._settings.stop.wait()

    @property
    def choose(self) -> Callable[[int, str | None, int | None], None] | None:
        """What chooses the scenario of a sensor; None: nobody can."""
        return self._settings.choose

    def switch_on(self, number: int) -> SensorClient:
        client = SensorClient(
            self._settings,
            number,
            first_seq=self._next_seq[number],
            lags=self._lags,
            on_started=self.timer.add,
        )
        self.running[number] = client
        return client

    async def play(self, client: SensorClient, number: int, connect_timeout_s: float) -> None:
        await client.run(connect_timeout_s)
        del self.running[number]
        self._next_seq[number] = client.feed.next_seq
        self._add_up(client)

    def _add_up(self, client: SensorClient) -> None:
        outbox = client.outbox
        self._sent += outbox.sent
        self._resent += outbox.resent
        self._acked += outbox.acked
        self._rejected += outbox.rejected
        self._reasons += client.reject_reasons
        self._unacked += len(outbox)
        self._withdrawn += outbox.withdrawn
        self._reconnects += max(0, client.connects - 1)
        if client.bad_line is not None:
            self._faults += client.bad_line.counts
        # who switched a sensor on was told that it cannot connect
        told = self._settings.control is not None and not client.connects
        failure = client.failure
        if failure is not None and failure.reason not in self._failures and not told:
            self._failures.append(failure.reason)
        if outbox.sent:
            self._first_sent_s = min(self._first_sent_s, client.first_sent_s)
            self._last_sent_s = max(self._last_sent_s, client.last_sent_s)
            self._steps += outbox.sent - 1
            self._span_s += client.last_sent_s - client.first_sent_s

    def summary(self) -> Summary:
        """Add up what has ended."""
        duration_s = self._last_sent_s - self._first_sent_s if self._sent else 0.0
        p50_s, p99_s = self._lags.quantile_s(0.5), self._lags.quantile_s(0.99)
        lag_ms = None
        if p50_s is not None and p99_s is not None:
            quantiles_s = (p50_s, p99_s, self._lags.max_s)
            lag_ms = LagSummary(*(round(1e3 * s, 3) for s in quantiles_s))
        return Summary(
            sensors=len(self._settings.credentials),
            sent=self._sent,
            resent=self._resent,
            acked=self._acked,
            rejected=self._rejected,
            reject_reasons=dict(self._reasons.most_common(REASONS_MAX)),
            unacked=self._unacked,
            reconnects=self._reconnects,
            duration_s=round(duration_s, 3),
            samples_per_s=round(self._steps / duration_s, 3) if duration_s else None,
            rate_hz=round(self._steps / self._span_s, 4) if self._span_s else None,
            lag_ms=lag_ms,
            faults=dict(self._faults),
            withdrawn=self._withdrawn,
            failures=tuple(self._failures),
        )


class _Switch:
    """What one control address switches."""

    def __init__(self, fleet: _Fleet, number: int, tasks: asyncio.TaskGroup) -> None:
        self._fleet = fleet
        self._number = number
        self._tasks = tasks
        self._done: asyncio.Task[None] | None = None

    def choose(self, scenario: str | None, seed: int | None) -> None:
        """Choose what to play from the next start on; raise SwitchError when that can't be."""
        if self._done is not None and not self._done.done():
            raise SwitchError("already connected")
        choose = self._fleet.choose
        if choose is None:
            raise SwitchError("this sensor's scenario is fixed")
        try:
            choose(self._number, scenario, seed)
        except ValueError as error:
            raise SwitchError(str(error)) from error

    async def on(self) -> None:
        """Connect; raise SwitchError when that fails or it is connected already."""
        if self._done is not None and not self._done.done():
            raise SwitchError("already connected")
        client = self._fleet.switch_on(self._number)
        self._done = self._tasks.create_task(self._fleet.play(client, self._number, ON_TIMEOUT_S))
        await client.dialled.wait()
        if client.failure is not None:
            await self._done
            raise SwitchError(client.failure.reason)

    async def off(self) -> None:
        """Disconnect, after what was measured is acknowledged; raise SwitchError when it is off."""
        client = self._fleet.running.get(self._number)
        if self._done is None or client is None:
            raise SwitchError("not connected")
        client.stop()
        await self._done

    def inject(self, event: str, size: float | None, duration_s: float | None) -> float:
        """Force an event on the sensor that plays; raise SwitchError when that can't be."""
        with _refusals():
            return self._feed().inject(event, size, duration_s)

    def change(self, knob: str, to: float, ramp_s: float) -> float:
        """Let a knob of the sensor that plays go elsewhere; raise SwitchError as above."""
        with _refusals():
            return self._feed().change(knob, to, ramp_s)

    def _feed(self) -> Feed:
        client = self._fleet.running.get(self._number)
        if client is None:
            raise SwitchError("not connected")
        return client.feed


@contextmanager
def _refusals() -> Iterator[None]:
    """Let what a simulated sensor refuses be said over its control address."""
    try:
        yield
    except ValueError as error:
        raise SwitchError(str(error)) from error
