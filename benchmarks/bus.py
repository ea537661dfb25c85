"""What it costs to show a result at another node, over NATS: groups against a message per result.

Publisher and subscriber are in this process, nats-server beside it; both count.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from nats.aio.client import Client

from benchmarks.load import sample_text
from benchmarks.measure import Figure, alternate
from ctgkit.net.eventloop import run
from ctgkit.server.bus.nats import NatsBus

RESULTS, CHUNK, TURN = 64_000, 1_024, 64
"""Sent in all, before the receiver has to have them, and at a time: what the ML link hands over."""
SENSOR = "0c7f4a34-0000-4000-8000-00000000000a"
TEXT = sample_text(SENSOR, 1, 0.25) + b" " * 200
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def seconds_of(pid):
    """Return a process's processor time, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


@contextmanager
def server():
    """Run a nats-server; yield its address and its process."""
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    program = shutil.which("nats-server", path="/usr/sbin:" + os.environ["PATH"])
    if program is None:
        raise SystemExit("nats-server is not installed")
    process = subprocess.Popen(
        [program, "-a", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL
    )
    try:
        while True:
            with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), 1)):
                break
            time.sleep(0.02)
        yield f"nats://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()


async def grouped(url, count, spent):
    """Send results as nodes do; return the processor time between start and end."""
    got, wake = 0, asyncio.Event()

    def take(texts):
        nonlocal got
        got += len(texts)
        if got % CHUNK == 0:
            wake.set()

    sender = NatsBus(url, "a", lambda texts: None, lambda seconds, why: None)
    receiver = NatsBus(url, "b", take, lambda seconds, why: None)
    tasks = [asyncio.ensure_future(bus.run()) for bus in (sender, receiver)]
    while {sender.state, receiver.state} != {"up"}:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    started_s = spent()
    for _ in range(0, count, CHUNK):
        wake.clear()
        for _ in range(0, CHUNK, TURN):
            sender.publish([(SENSOR, TEXT)] * TURN)
        await wake.wait()
    spent_s = spent() - started_s
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return spent_s


async def single(url, count, spent):
    """Send a message for each; return the same."""
    got, wake = 0, asyncio.Event()

    async def take(message):
        nonlocal got
        got += 1
        if got % CHUNK == 0:
            wake.set()

    async def note(error):
        print(error)

    sender, receiver = Client(), Client()
    for client in (sender, receiver):
        await client.connect(url, error_cb=note)
    await receiver.subscribe("results", cb=take)
    await receiver.flush()
    started_s = spent()
    for _ in range(0, count, CHUNK):
        wake.clear()
        for _ in range(CHUNK):
            await sender.publish("results", TEXT)
        await wake.wait()
    spent_s = spent() - started_s
    for client in (sender, receiver):
        await client.close()
    return spent_s


def us_per_result(send, count):
    """Return the processor time for one result, of both ends and the server, microseconds."""
    with server() as (url, process):
        spent_s = run(send(url, count, lambda: time.process_time() + seconds_of(process.pid)))
    return 1e6 * spent_s / count


def measure(options):
    """Return the figure: groups over single messages."""
    count = 4 * CHUNK if options.quick else RESULTS
    pairs = alternate(
        lambda _: us_per_result(grouped, count), lambda _: us_per_result(single, count),
        options.repeat,
    )  # fmt: skip
    return [
        Figure(
            part="bus",
            name="CPU per result at another node, groups ÷ a message each",
            values=[ours / theirs for ours, theirs in pairs],
            target=0.35,
            beside={
                "µs": sorted(ours for ours, _ in pairs)[len(pairs) // 2],
                "a message each": sorted(theirs for _, theirs in pairs)[len(pairs) // 2],
            },
        )
    ]
