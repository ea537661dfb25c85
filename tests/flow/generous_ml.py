"""An ML service that answers each request with many large results; prints its port."""

import asyncio
import contextlib
import json
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

BYTES, TIMES = 900_000, 20


async def answer(connection):
    """Answer; the features are padding."""
    with contextlib.suppress(ConnectionClosed):
        async for text in connection:
            result = json.loads(text) | {"prediction": None, "status": "ok"}
            for _ in range(TIMES):
                await connection.send(json.dumps(result | {"features": "x" * BYTES}))


async def main():
    """Serve until stdin ends."""
    async with serve(answer, "127.0.0.1", 0, compression=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
