"""Pings that a sensor of one's own leaves unanswered, on a socket without any library."""

import asyncio
import base64
import itertools
import os
import struct
from urllib.parse import urlsplit

import pytest

from ctgkit.net import server
from tests.server.parties import SENSORS, backend_on, message

PING, PONG, CLOSE = 0x9, 0xA, 0x8


def frame(opcode, data):
    mask = os.urandom(4)
    head = bytes([0x80 | opcode, 0x80 | (len(data) if len(data) < 126 else 126)])
    head += struct.pack(">H", len(data)) if len(data) >= 126 else b""
    return head + mask + bytes(b ^ m for b, m in zip(data, itertools.cycle(mask), strict=False))


async def converse(backend, *, answers):
    """Send samples, and pongs if it *answers*, until it is closed; return the code, and pings.

    A sensor that answers leaves after its fifth ping: its code is None.
    """
    port = urlsplit(backend.url).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    entry, key = SENSORS[0], base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /ws/sensor?sensor_id={entry.id} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"X-Auth-Sensor-Token: {entry.token}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b" 101 " in await reader.readline()
    await reader.readuntil(b"\r\n\r\n")

    async def send():
        for n in itertools.count():
            writer.write(frame(0x1, message(sec=n / 4).encode()))
            await asyncio.sleep(0.02)

    sending, pings = asyncio.ensure_future(send()), 0
    try:
        while pings < 5 or not answers:
            opcode, length = await reader.readexactly(2)
            data = await reader.readexactly(length)
            if opcode & 0xF == CLOSE:
                return struct.unpack(">H", data[:2])[0], pings
            if opcode & 0xF == PING:
                pings += 1
                if answers:
                    writer.write(frame(PONG, data))
        return None, pings
    finally:
        sending.cancel()
        writer.transport.abort()


@pytest.mark.parametrize(("answers", "code"), [(False, 1011), (True, None)])
async def test_samples_are_no_answer_to_pings(tmp_path, monkeypatch, answers, code):
    """PROTOCOL C-2.3: who leaves a ping unanswered is closed, whatever else it sends."""
    monkeypatch.setitem(server.open_server.__kwdefaults__, "ping_every_s", 0.2)
    monkeypatch.setattr(server, "PONG_TIMEOUT_S", 5.0 if answers else 0.5)
    async with backend_on(tmp_path / "b.db") as backend:
        closed_with, pings = await converse(backend, answers=answers)
        assert closed_with == code
        assert pings >= 1
