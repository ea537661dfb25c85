"""Replies to a sensor that reads late, or not: the last acknowledgement comes, nothing is lost."""

import asyncio
import base64
import json
import os
import socket
import struct
from urllib.parse import urlsplit

import pytest

from ctgkit.server import ingest
from tests.server.parties import SENSORS, backend_on, message, until

REJECTIONS = 6_000
RECEIVE_BUFFER_BYTES = 16_384
"""Of the sensor's socket: so few replies wait in the kernel."""


def frame(text):
    """Return a masked text frame."""
    data = text.encode()
    length = (
        bytes((0x80 | len(data),)) if len(data) < 126 else b"\xfe" + struct.pack("!H", len(data))
    )
    return b"\x81" + length + bytes(4) + data  # a mask of zeros changes nothing


async def raw_sensor(backend, header=""):
    """Connect as a sensor with nothing but a socket."""
    parts = urlsplit(backend.url)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (parts.hostname, parts.port))
    reader, writer = await asyncio.open_connection(sock=sock)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /ws/sensor?sensor_id={SENSORS[0].id} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: ctgkit.v1\r\n"
        f"X-Auth-Sensor-Token: {SENSORS[0].token}\r\n{header}\r\n".encode()
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def replies(reader):
    """Yield what the server says."""
    while True:
        head = await reader.readexactly(2)
        length = head[1]
        if length == 126:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
        data = await reader.readexactly(length)
        if head[0] == 0x81:
            yield json.loads(data)


def rejections():
    """Return frames: many samples out of range, a good one in every fifty."""
    return [
        frame(message(seq, fhr=140.0 if seq % 50 == 0 else 1e9)) for seq in range(2, REJECTIONS + 2)
    ]


async def heard(reader, last):
    """Return the numbers of the rejected samples, read until *last* is acknowledged."""
    rejected = []
    async for reply in replies(reader):
        if "error" in reply:
            rejected.append(reply["seq"])
        elif reply["ack"] >= last:
            return rejected
    raise AssertionError("it never came")


@pytest.mark.parametrize("pause_s", [0.0, 0.5])
async def test_every_rejection_is_answered(tmp_path, pause_s):
    """Also when the sensor reads its replies later: it isn't read meanwhile."""
    last = REJECTIONS + 2
    async with backend_on(tmp_path / "x.db") as backend:
        reader, writer = await raw_sensor(backend)

        async def send():
            for frames in rejections():
                writer.write(frames)
                await writer.drain()
            writer.write(frame(message(last)))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            await asyncio.sleep(pause_s)
            rejected = await heard(reader, last)
        assert rejected == [seq for seq in range(2, last) if seq % 50]
        assert backend.counters.dropped == {}
        writer.close()


async def test_who_reads_only_at_the_end_is_acknowledged(tmp_path, monkeypatch):
    """It sends everything first; error replies are dropped and counted, the last ack comes."""
    monkeypatch.setattr(ingest, "REPLIES_WAIT_S", 0.2)
    last = REJECTIONS + 2
    async with backend_on(tmp_path / "x.db") as backend:
        reader, writer = await raw_sensor(backend)
        writer.transport.pause_reading()
        for frames in rejections():
            writer.write(frames)
            await writer.drain()
        writer.write(frame(message(last)))
        while backend.stored < REJECTIONS / 50 + 1:
            await asyncio.sleep(0.01)
        writer.transport.resume_reading()
        rejected = await heard(reader, last)  # no further sample is needed
        assert backend.counters.dropped["reply"] > 0
        assert len(rejected) + backend.counters.dropped["reply"] == REJECTIONS * 49 // 50
        writer.close()


async def test_one_acknowledgement_stands_for_several(tmp_path, monkeypatch):
    """It waits for others, until the sensor pings or 64 numbers wait; then nothing is missing."""
    monkeypatch.setattr(ingest, "GROUPED_ACK_S", 3600.0)
    monkeypatch.setattr(ingest, "PROMPT_S", 0.0)
    async with backend_on(tmp_path / "ctg.db") as backend:
        reader, writer = await raw_sensor(backend, "X-Sensor-Acks: grouped\r\n")
        heard = replies(reader)
        writer.write(frame(message(1000)))
        assert await anext(heard) == {"ack": 1000}
        for seq in (1001, 1002, 1003):
            writer.write(frame(message(seq)))
            await until(lambda seq=seq: backend.stored == seq - 999)
        writer.write(b"\x89\x80" + bytes(4))
        assert await anext(heard) == {"ack": 1003}
        for seq in range(1004, 1101):
            writer.write(frame(message(seq)))
        assert (await anext(heard))["ack"] >= 1003 + 64
        writer.close()


async def test_it_comes_when_nothing_more_does(tmp_path, monkeypatch):
    """Within a second (PROTOCOL S-6.3); without the header it comes with its commit."""
    async with backend_on(tmp_path / "ctg.db") as backend:
        reader, writer = await raw_sensor(backend, "X-Sensor-Acks: grouped\r\n")
        heard = replies(reader)
        for seq in (1000, 1001):
            writer.write(frame(message(seq)))
        while await anext(heard) != {"ack": 1001}:
            pass
        writer.close()
    assert ingest.GROUPED_ACK_S < 1.0
    monkeypatch.setattr(ingest, "GROUPED_ACK_S", 3600.0)
    async with backend_on(tmp_path / "ctg.db") as backend:
        reader, writer = await raw_sensor(backend)
        for seq in (2000, 2001):
            writer.write(frame(message(seq)))
            assert await anext(replies(reader)) == {"ack": seq}
        writer.close()
