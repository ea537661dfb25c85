"""One connection of a scripted ML service: says what the script says, when it says."""

import asyncio
from collections.abc import Callable

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from ctgkit.clock import utc_timestamp
from ctgkit.mlstub.script import Act, Performance, Script

WAITING_MAX = 1024
"""Answers of one connection that wait for their time; when full, its requests aren't read."""


async def act_out(
    connection: ServerConnection, script: Script, honest: Callable[[bytes | str], bytes]
) -> None:
    """Play *script* until the client leaves, or the script drops it.

    Parameters
    ----------
    connection : ServerConnection
        Open.
    script : Script
        What to do.
    honest : callable
        Request -> the answer of the analysis.
    """
    performance = Performance(script, honest)
    waiting: asyncio.Queue[tuple[float, Act]] = asyncio.Queue(WAITING_MAX)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.TaskGroup() as tasks:
            speaker = tasks.create_task(_speak(connection, waiting))
            async for request in connection:
                act = performance.act(request, utc_timestamp())
                await waiting.put((loop.time() + act.delay_s, act))
            speaker.cancel()
    except* ConnectionClosed:
        pass  # the client left in the middle of an answer


async def _speak(connection: ServerConnection, waiting: asyncio.Queue[tuple[float, Act]]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due_s, act = await waiting.get()
        await asyncio.sleep(due_s - loop.time())
        if act.text is not None:
            await connection.send(act.text, text=True)
        if act.disconnect:
            connection.transport.abort()
            return
