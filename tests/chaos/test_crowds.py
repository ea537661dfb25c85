"""Many at once: a thousand sensors come back, somebody floods, no file descriptor is left."""

import asyncio
import contextlib
import importlib.util
import json
import os
import resource
import socket
import statistics

import pytest

from tests.conftest import TIME_FACTOR
from tests.flow.clients import RawSensor, dial_sensor, sample
from tests.flow.processes import ask, sensor_url, until, until_reports
from tests.ports import free_port

DESCRIPTORS = 64
FLOOD_RATIO_MAX, FLOOD_WORST_S = 25, 2.0
"""How much longer the others' acknowledgements may take in the middle, and one of them at most,
seconds; before a flooding sensor had to wait for its rows the factor was 44."""
BACK_WITHIN_S = 20.0
"""For a thousand sensors, on a slow machine; how long it took is printed."""


def few_descriptors():
    """Let this process open few files, as when a limit was forgotten."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


def cpu_s(pid):
    """Return the processor time that a process has used, seconds."""
    with open(f"/proc/{pid}/stat") as file:
        user, system = file.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / 100


def none_left(backend):
    """Whether the process has run out; uvloop then says nothing and hangs up on newcomers."""
    return "Too many open files" in backend.err or (
        importlib.util.find_spec("uvloop") is not None
        and len(os.listdir(f"/proc/{backend.pid}/fd")) >= DESCRIPTORS - 1
    )


async def lets_in(url):
    """Return whether it answers, once those before have left: a reset from the backlog is none."""
    for _ in range(100):
        with contextlib.suppress(ConnectionError):
            return (await ask(url, "/readyz")).status == 200
        await asyncio.sleep(0.1)
    return False


async def test_out_of_file_descriptors(system):
    """Those inside are served, nobody spins, and who comes later gets in when others have left."""
    (entry,) = system.configure(1)
    backend = await system.serve(preexec_fn=few_descriptors).announced()
    host, _, port = backend.url.removeprefix("http://").partition(":")
    raw = RawSensor(entry, window=4, pause_s=0.05)
    async with asyncio.TaskGroup() as tasks:
        playing = tasks.create_task(raw.play(backend.url))
        await until(lambda: raw.acked > raw.first, "it works")
        with contextlib.ExitStack() as crowd:
            for _ in range(2 * DESCRIPTORS):
                crowd.enter_context(socket.create_connection((host, int(port))))
            await until(lambda: none_left(backend), "there are none left")
            used_s, acked = cpu_s(backend.pid), raw.acked
            await asyncio.sleep(1.0)  # an interval to measure
            assert cpu_s(backend.pid) - used_s < 0.6
            assert raw.acked > acked
        assert await lets_in(backend.url)
        raw.stop.set()
        await playing
    assert raw.connects == 1
    assert await backend.stopped() == 0
    assert backend.err.count("Too many open files") < 10
    assert "Traceback" not in backend.err
    raw.assert_stored(system)


@pytest.mark.chaos
async def test_a_thousand_sensors_come_back_at_once(system, record_property):
    """After a restart all are connected again within seconds, and nothing is lost."""
    system.configure(1_000)
    port = free_port()
    backend = await system.serve(port=port).announced()
    trace = system.directory / "trace.csv"
    trace.write_text("sec,bpm,uterus\n" + "".join(f"{n},140,10\n" for n in range(900)))
    arguments = ("--from", trace, "--json", "--url", sensor_url(backend.url))
    sensor = system.start("sensor", "--sensors", 1_000, *arguments)
    await until_reports(backend.url, {"sensors": 1_000}, "all play", 60)
    backend.kill()
    backend = await system.serve(port=port).announced()
    clock = asyncio.get_running_loop().time
    began_s = clock()
    await until_reports(backend.url, {"sensors": 1_000}, "all are back", BACK_WITHIN_S)
    back_after_s = clock() - began_s
    print(f"1,000 sensors back after {back_after_s:.1f} s")
    record_property("back_after_s", round(back_after_s, 2))
    assert await sensor.stopped(30) == 0
    assert await backend.stopped() == 0
    system.assert_sound()
    summary = json.loads(sensor.out)
    assert (summary["unacked"], summary["rejected"], summary["reconnects"]) == (0, 0, 1_000)
    assert system.query("SELECT count(*) FROM ctg") == [(summary["acked"],)]


class Flood:
    """A sensor that sends as fast as the backend reads."""

    def __init__(self):
        self.sent = 0

    async def pour(self, url, entry):
        """Send until cancelled."""
        async with dial_sensor(url, entry, numbered=False) as connection:
            while True:
                await connection.send("[" + ",".join([sample(7)] * 50) + "]")
                self.sent += 50


async def round_trips_s(url, entries, numbers):
    """Return how long acknowledgements take, seconds, for sensors that send one after another."""
    clock, taken = asyncio.get_running_loop().time, []

    async def play(entry):
        async with dial_sensor(url, entry) as connection:
            for seq in numbers:
                sent_s = clock()
                await connection.send(sample(seq))
                while json.loads(await connection.recv()).get("ack") != seq:
                    pass
                taken.append(clock() - sent_s)

    async with asyncio.TaskGroup() as tasks:
        for entry in entries:
            tasks.create_task(play(entry))
    return taken


@pytest.mark.chaos
async def test_a_flooding_sensor_does_not_hurt_the_others(system, record_property):
    """Their acknowledgements take longer, by a bounded factor; none is starved."""
    flooding, *others = system.configure(6)
    backend = await system.serve().announced()
    calm, flooded = [], []
    for first in range(1_000, 9_000, 1_000):
        calm += await round_trips_s(backend.url, others, range(first, first + 30))
        flood = Flood()
        async with asyncio.TaskGroup() as tasks:
            pouring = tasks.create_task(flood.pour(backend.url, flooding))
            await until(lambda flood=flood: flood.sent > 5_000, "a flood")
            numbers = range(first + 30, first + 60)
            flooded += await round_trips_s(backend.url, others, numbers)
            pouring.cancel()
    before_s, during_s = statistics.median(calm), statistics.median(flooded)
    ratio = during_s / before_s
    print(f"median of the others' acknowledgements: {1e3 * before_s:.1f} ms without a flood,")
    print(f"{1e3 * during_s:.1f} ms with one ({ratio:.1f} x); worst {1e3 * max(flooded):.0f} ms")
    record_property("ratio", round(ratio, 1))
    assert ratio < FLOOD_RATIO_MAX * TIME_FACTOR
    assert max(flooded) < FLOOD_WORST_S * TIME_FACTOR
    assert await backend.stopped() == 0
