"""What showing a result to one more viewer costs, over ``websockets.broadcast``.

One server process with both; the viewers are another process that reads and forgets. Results come
in turns of four, as many as 500 sensors at 4 Hz send in 2 ms.
"""

import asyncio
import statistics
import time
from collections import Counter

from websockets.asyncio.server import broadcast, serve

from benchmarks.load import Role, sample_text
from benchmarks.measure import Figure, alternate
from ctgkit.net.eventloop import run
from ctgkit.server.broadcast import Broadcast

VIEWERS = {1: None, 100: (1.0, 0.5), 1_000: None}
TURN = 4
DELIVERIES = 200_000
TEXT = sample_text("0c7f4a34-0000-4000-8000-00000000000a", 1, 0.25) + b" " * 100


async def drained(connections):
    """Wait until what was written is with the kernel."""
    await asyncio.sleep(0)
    while any(c.transport.get_write_buffer_size() for c in connections):  # noqa: ASYNC110
        await asyncio.sleep(0)


async def us_per_delivery(viewers, turns, ours):
    """Return the processor time of this process for one result to one viewer."""
    board, connections = Broadcast(Counter(), Counter()), set()

    async def past():
        return
        yield

    async def handle(connection):
        connections.add(connection)
        await (board.serve(connection, past()) if ours else connection.wait_closed())

    async with serve(handle, "127.0.0.1", 0, compression=None) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        role = await asyncio.to_thread(Role, "drink", url=url, path="/", count=viewers)
        with role:
            await drained(connections)
            started_s = time.process_time()
            for _ in range(turns):
                if ours:
                    board.publish([("a", TEXT)] * TURN)
                    while board.depth():  # noqa: ASYNC110 (the writers' turn)
                        await asyncio.sleep(0)
                else:
                    for _ in range(TURN):
                        broadcast(connections, TEXT, text=True)
                await drained(connections)
            spent_s = time.process_time() - started_s
            assert len(connections) == viewers
        server.close()
    return 1e6 * spent_s / (turns * TURN * viewers)


def shown(options, viewers, limits):
    """Return the figure for a number of viewers."""
    deliveries = 2_000 if options.quick else DELIVERIES
    turns = max(2, deliveries // (TURN * viewers))
    target, stretch = limits or (None, None)

    def spend(ours):
        return run(us_per_delivery(viewers, turns, ours))

    pairs = alternate(lambda _: spend(True), lambda _: spend(False), options.repeat)
    return Figure(
        part="fanout",
        name=f"CPU per delivered result, {viewers} viewers ÷ websockets.broadcast",
        values=[ours / theirs for ours, theirs in pairs],
        target=target,
        stretch=stretch,
        beside={
            "µs": statistics.median(ours for ours, _ in pairs),
            "websockets.broadcast": statistics.median(theirs for _, theirs in pairs),
        },
    )


def measure(options):
    """Return a figure for each number of viewers."""
    return [
        shown(options, viewers, limits)
        for viewers, limits in VIEWERS.items()
        if not (options.quick and viewers > 100)
    ]
