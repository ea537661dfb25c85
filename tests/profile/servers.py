"""Other people's servers, in plain asyncio: they share nothing with what they judge."""

import asyncio
import base64
import hashlib
import inspect
import json
import struct
from contextlib import asynccontextmanager


class Heard:
    """What a server was sent."""

    def __init__(self):
        self.requests = []
        """(method, path, headers in lower case, body) of each HTTP request."""
        self.lines = []
        """(path, text) of each WebSocket message."""
        self.answer = lambda method, path, headers, body: (200, b"{}")
        self.url = ""
        self.drop_after = None
        """WebSocket messages after which each connection is cut, once."""
        self.shut = None
        """The answer to every request, WebSockets included."""
        self.refuse = None
        """Close code for every WebSocket message."""
        self.farewell = None
        """Is waited for before a close frame is answered."""


@asynccontextmanager
async def listening(heard=None):
    """Serve HTTP/1.1 and RFC 6455, as much of them as these tests need."""
    heard = heard or Heard()
    writers = set()

    async def serve(reader, writer):
        writers.add(writer)
        try:
            while head := await _head(reader):
                method, path, headers = head
                if headers.get("upgrade", "").lower() == "websocket" and not heard.shut:
                    return await _websocket(heard, path, headers, reader, writer)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                heard.requests.append((method, path, headers, body))
                answered = heard.shut or heard.answer(method, path, headers, body)
                if inspect.isawaitable(answered):
                    answered = await answered
                status, answer, *more = answered
                extra = "".join(f"{k}: {v}\r\n" for k, v in (more[0] if more else {}).items())
                text = f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\n{extra}\r\n"
                writer.write(text.encode() + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # it hung up, or the test is over
        finally:
            writers.discard(writer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    heard.url = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield heard
    finally:
        server.close()
        for writer in [*writers]:
            writer.transport.abort()


async def _head(reader):
    line = await reader.readline()
    if not line:
        return None
    method, path, _ = line.decode().split(" ", 2)
    headers = {}
    while (line := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode().partition(":")
        headers[name.strip().lower()] = value.strip()
    return method, path, headers


async def _websocket(heard, path, headers, reader, writer):
    key = headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    writer.write(
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    count = 0
    while True:
        first, second = await reader.readexactly(2)
        length = second & 127
        if length == 126:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
        mask = await reader.readexactly(4)
        data = bytes(b ^ mask[i % 4] for i, b in enumerate(await reader.readexactly(length)))
        if first & 15 == 9:
            writer.write(bytes([0x8A, len(data)]) + data)
        if first & 15 == 8:
            if heard.farewell:
                await heard.farewell()
            writer.write(bytes([0x88, len(data)]) + data)
            await writer.drain()
            return
        if first & 15 == 1:
            heard.lines.append((path, data.decode()))
            count += 1
            if heard.refuse:
                writer.write(bytes([0x88, 5]) + struct.pack("!H", heard.refuse) + b"bad")
                await writer.drain()
                return
        if heard.drop_after == count:
            heard.drop_after = None
            writer.transport.abort()
            return


def as_json(answer):
    """Return an answer of JSON."""
    return json.dumps(answer).encode()
