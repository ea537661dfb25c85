"""HTTP and WebSockets on plain asyncio streams, after RFC 9112 and RFC 6455.

Written for the naive backend alone: no library and nothing of ctgkit, so that what is judged
shares no code with its judge.
"""

import asyncio
import base64
import hashlib
import os
import struct
import time
from contextlib import suppress
from http import HTTPStatus
from typing import NamedTuple

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CLOSE_S = 1.0
REASONS = {s.value: s.phrase for s in HTTPStatus}


class Closed(Exception):
    """The connection has ended."""


class Request(NamedTuple):
    method: str
    target: str
    headers: dict

    @property
    def path(self):
        return self.target.partition("?")[0]


class Answer(NamedTuple):
    status: int
    body: str = ""
    headers: tuple = ()


class Socket:
    """One WebSocket, on either side."""

    def __init__(self, reader, writer, *, client=False, limit=16_384, subprotocol=None):
        self.reader, self.writer, self.client, self.limit = reader, writer, client, limit
        self.subprotocol = subprotocol
        self.said_goodbye = False
        self.limits_messages = True
        self.code = 1006
        self.heard_goodbye = False
        self.budget, self.spent_at_s = 1000, 0.0
        self.stream, self.spelt, self.bug = "", "", ""

    async def recv(self):
        """Return the next message; answer pings, raise Closed at the end."""
        pieces, kind, size = [], None, 0
        while True:
            try:
                fin, opcode, payload = await self._frame(size if self.limits_messages else 0)
            except (asyncio.IncompleteReadError, OSError):
                raise Closed from None
            if opcode == 8:
                self.heard_goodbye = True
                self.code = struct.unpack(">H", payload[:2])[0] if len(payload) > 1 else 1000
                await self.close(self.code)
                raise Closed
            if opcode >= 9 or len(payload) < 16:
                await self.spend()
            if opcode == 9 and self.bug != "answers no pings":
                await self._write(10, b"" if self.bug == "pongs without the payload" else payload)
            if opcode >= 8 or self.said_goodbye:
                continue
            kind = opcode or kind
            pieces.append(payload)
            size += len(payload)
            if fin or self.bug == "reads frames, not messages":
                message = b"".join(pieces)
                if kind == 2:
                    return message
                try:
                    return message.decode()
                except UnicodeDecodeError:
                    await self.close(1007)
                    raise Closed from None

    async def spend(self):
        """Take a frame that says nothing from the budget: 1,000 and 100 a second."""
        now_s = time.monotonic()
        self.budget = min(1000, self.budget + 100 * (now_s - self.spent_at_s)) - 1
        self.spent_at_s = now_s
        least = 900 if self.bug == "closes who pings often" else 0
        if self.budget < least and self.bug != "endures floods of pings" and not self.client:
            await self.close(1008)

    async def _frame(self, before):
        first, second = await self.reader.readexactly(2)
        length = second & 127
        if length == 126:
            (length,) = struct.unpack(">H", await self.reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", await self.reader.readexactly(8))
        if before + length > self.limit and not self.said_goodbye:
            await self.close(1008 if self.bug == "closes large frames with 1008" else 1009)
        mask = await self.reader.readexactly(4) if second & 128 else None
        payload = await self.reader.readexactly(length)
        if mask:
            payload = _masked(payload, mask)
        return first & 128, first & 15, payload

    async def send(self, text):
        await self._write(1, text.encode())

    async def send_bytes(self, data):
        await self._write(2 if self.bug == "relays results as binary" else 1, data)

    async def _write(self, opcode, payload):
        if self.said_goodbye:
            raise Closed
        bit, n = (128 if self.client else 0), len(payload)
        if n < 126:
            head = bytes((128 | opcode, bit | n))
        elif n < 65_536:
            head = bytes((128 | opcode, bit | 126)) + struct.pack(">H", n)
        else:
            head = bytes((128 | opcode, bit | 127)) + struct.pack(">Q", n)
        if self.client:
            mask = os.urandom(4)
            head, payload = head + mask, _masked(payload, mask)
        try:
            self.writer.write(head + payload)
            await self.writer.drain()
        except OSError:
            raise Closed from None

    async def close(self, code):
        """Say goodbye; whoever reads sees the end, at the latest after a second."""
        if self.said_goodbye:
            return
        with suppress(Closed, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._write(8, struct.pack(">H", code))
        self.said_goodbye = True
        asyncio.get_running_loop().call_later(CLOSE_S, self.writer.transport.abort)

    async def finish(self):
        """Let the peer read what was sent and say goodbye, then hang up."""
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(CLOSE_S):
                while not self.heard_goodbye:
                    _, opcode, _ = await self._frame(0)
                    self.heard_goodbye = opcode == 8
        self.writer.close()


def _masked(payload, mask):
    n = len(payload)
    key = int.from_bytes((mask * (n // 4 + 1))[:n], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(n, "big")


async def read_head(reader):
    """Return the first line and the headers of a request or an answer."""
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = text.split("\r\n")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return first, headers


async def serve(host, port, route, *, limit=16_384, tweak=lambda _socket: None):
    """Serve *route*: a request in, an Answer out, or (handler, subprotocol) of a WebSocket."""

    async def connected(reader, writer):
        try:
            async with asyncio.timeout(2):
                first, headers = await read_head(reader)
            method, target, _ = first.split(" ", 2)
            answer = await route(Request(method, target, headers))
            if isinstance(answer, Answer):
                writer.write(_answer_text(answer))
                await writer.drain()
                return
            handler, subprotocol = answer
            key = headers.get("sec-websocket-key", "") + GUID
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
            more = (
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Accept", accept),
            )
            if subprotocol:
                more += (("Sec-WebSocket-Protocol", subprotocol),)
            writer.write(_answer_text(Answer(101, "", more)))
            await writer.drain()
            socket = Socket(reader, writer, limit=limit, subprotocol=subprotocol)
            tweak(socket)
            try:
                await handler(socket)
            except Closed:
                pass
            finally:
                await socket.close(1011)
                await socket.finish()
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        except TimeoutError:
            pass
        finally:
            writer.close()

    return await asyncio.start_server(connected, host, port, backlog=1024)


def _answer_text(answer):
    lines = [f"HTTP/1.1 {answer.status} {REASONS[answer.status]}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    body = answer.body.encode()
    if answer.status != 101:
        lines += [f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def dial(host, port, path, *, limit=1 << 20):
    """Connect a WebSocket; OSError when it isn't granted."""
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 21)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n".encode()
        + b"Sec-WebSocket-Version: 13\r\n\r\n"
    )
    try:
        first, _ = await read_head(reader)
    except asyncio.IncompleteReadError:
        writer.close()
        raise OSError("no answer") from None
    if first.split()[1] != "101":
        writer.close()
        raise OSError(first)
    return Socket(reader, writer, client=True, limit=limit)


async def get(address, path, timeout_s=2.0):
    """Return the status of a GET, 0 when there is none."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
                first, _ = await read_head(reader)
                return int(first.split()[1])
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return 0
