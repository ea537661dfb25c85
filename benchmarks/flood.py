"""How long acknowledgements and health answers take while peers flood with small frames.

Four sensors send a sample every 0.1 s and wait for its acknowledgement; health is asked every
0.1 s; one process floods, connecting again whenever it is closed. On each event loop. Each
figure is written to standard error as soon as it is known: all take six minutes.
"""

import asyncio
import json
import subprocess
import sys
from contextlib import contextmanager

from benchmarks.measure import Figure
from benchmarks.system import configured
from ctgkit.config import SensorEntry
from tests.flow.clients import dial_sensor, sample
from tests.flow.flooders import KINDS
from tests.flow.processes import on_loop

SENSORS, EVERY_S, SECONDS = 4, 0.1, 4.0
ACK_P99_MS, HEALTH_MS = {0: 100.0, 1: 100.0, 20: 500.0}, {0: 200.0, 1: 200.0, 20: 500.0}
"""Targets by number of flooders."""


@contextmanager
def flooding(**arguments):
    """Flood from a process of its own; yield it."""
    command = [sys.executable, "-m", "tests.flow.flooders", json.dumps(arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


async def acknowledgements_ms(url, entry, seconds, taken, first):
    """Send a sample at a time for some seconds; note how long each acknowledgement takes."""
    clock = asyncio.get_running_loop().time
    ends_s, seq = clock() + seconds, first
    async with dial_sensor(url, entry, ping_interval=None) as connection:
        while clock() < ends_s:
            sent_s = clock()
            await connection.send(sample(seq))
            while json.loads(await connection.recv()).get("ack") != seq:
                pass
            taken.append(1e3 * (clock() - sent_s))
            seq += 1
            await asyncio.sleep(EVERY_S)


async def health_ms(url, seconds, taken):
    """Ask for the health again and again; note how long each answer takes."""
    clock = asyncio.get_running_loop().time
    host, _, port = url.removeprefix("http://").partition(":")
    ends_s = clock() + seconds
    while clock() < ends_s:
        asked_s = clock()
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET /api/health HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        assert b" 200 " in await reader.read()
        writer.close()
        taken.append(1e3 * (clock() - asked_s))
        await asyncio.sleep(EVERY_S)


async def suffered(url, entries, seconds, first):
    """Return the sorted times of acknowledgements and of health answers, ms."""
    acks, healths = [], []
    async with asyncio.TaskGroup() as tasks:
        for entry in entries:
            tasks.create_task(acknowledgements_ms(url, entry, seconds, acks, first))
        tasks.create_task(health_ms(url, seconds, healths))
    return sorted(acks), sorted(healths)


def p99(values):
    """Return the 99th percentile."""
    return values[min(len(values) - 1, int(0.99 * len(values)))]


def flooded(system, entries, loop, kind, count, token, options):
    """Return the figures of one kind of flood."""
    seconds = 1.0 if options.quick else SECONDS
    environment = on_loop(loop, system.directory)
    backend = asyncio.run(system.serve("-q", env=environment).announced())
    port = int(backend.url.rpartition(":")[2])
    where = {"path": "/ws"}
    if token:
        victim = entries[-1]
        where = {
            "path": f"/ws/sensor?sensor_id={victim.id}",
            "headers": {"X-Auth-Sensor-Token": victim.token},
        }
    acks, healths = [], []
    for number in range(options.repeat):
        if count:
            with flooding(port=port, kind=kind, count=count, seconds=60, **where):
                taken = asyncio.run(
                    suffered(backend.url, entries[:-1], seconds, 1000 * (number + 1))
                )
        else:
            taken = asyncio.run(suffered(backend.url, entries[:-1], seconds, 1000 * (number + 1)))
        acks.append(p99(taken[0]))
        healths.append(taken[1][-1])
    asyncio.run(backend.stopped(60))
    name = (
        f"{count} × {kind}{' of a sensor' if token else ''}, {loop}" if count else f"calm, {loop}"
    )
    return [
        Figure(part="flood", name=f"ack p99: {name}", unit="ms", values=acks,
               target=ACK_P99_MS[count]),
        Figure(part="flood", name=f"slowest health: {name}", unit="ms", values=healths,
               target=HEALTH_MS[count]),
    ]  # fmt: skip


def measure(options):
    """Return a figure for each kind of flood, number of flooders, and event loop."""
    figures = []
    with configured(SENSORS + 1, options.directory) as (system, credentials):
        entries = [SensorEntry(id=one, token=token) for one, token in credentials]
        for loop in ("uvloop", "asyncio"):
            plans = [("calm", 0, False)]
            plans += [(kind, 1, token) for kind in KINDS for token in (False, True)]
            plans += [(kind, 20, False) for kind in ("pings", "tiny", "mixed")]
            for kind, count, token in plans[: 3 if options.quick else None]:
                figures += (new := flooded(system, entries, loop, kind, count, token, options))
                for figure in new:
                    print(f"{figure.name} {figure.median:.1f} ms {figure.verdict}",
                          file=sys.stderr, flush=True)  # fmt: skip
    return figures
