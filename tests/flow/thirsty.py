"""Viewers that take what they are given and only count it: ``… PORT PATH COUNT RESULTS``.

Prints a line when every one of COUNT viewers has got RESULTS results.
"""

import asyncio
import sys

MEMBER = b'"secFromStart"'
PING = b"\x89\x04"
"""Of four bytes, as the backend's are; the results are plain ASCII."""
READ_BYTES = 1 << 18


async def drink(port, path, results):
    """Read until so many results have come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode()
    )
    seen, tail = 0, b""
    while seen < results:
        data = tail + await reader.read(READ_BYTES)
        assert len(data) > len(tail), "the connection ended"
        seen += data.count(MEMBER)
        if (at := data.find(PING)) >= 0:
            writer.write(b"\x8a\x84" + bytes(4) + data[at + 2 : at + 6])
        tail = data[1 - len(MEMBER) :]
    writer.transport.abort()


async def main(port, path, count, results):
    """Let all drink."""
    await asyncio.gather(*(drink(int(port), path, int(results)) for _ in range(int(count))))
    print("all of it", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
