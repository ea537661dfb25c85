"""Run the naive backend as a process: ``python -m tests.check.naive CONFIG.json [FAULT]``."""

import asyncio
import json
import signal
import sys
from pathlib import Path

from tests.check.naive.backend import start


async def main(config, bug):
    try:
        backend, server = await start(config, bug)
    except OSError as error:
        print("running" if bug == "runs on without a port" else error, flush=True)
        if bug == "waits for the port for ever":
            await asyncio.sleep(3600)
        return 0 if bug == "runs on without a port" else 1
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    print(f"serving on {server.sockets[0].getsockname()[1]}", flush=True)
    await stop.wait()
    server.close()
    await backend.stop()
    if bug == "never ends":
        await asyncio.sleep(3600)
    return 2 if bug == "stops with an error" else 0


sys.exit(asyncio.run(main(json.loads(Path(sys.argv[1]).read_text()), " ".join(sys.argv[2:]))))
